package lifecycle_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/lifecycle"
	"millrace/stream"
)

func deleted(user string) lifecycle.Event {
	return lifecycle.Event{
		EventType: lifecycle.TypeDeleted, UserID: user, OccurredAt: time.UnixMilli(1_700_000_000_123).UTC(),
		Source: "admin", ActorType: "staff", ActorID: "s1", ReasonCode: "asked", TraceID: "t1",
	}
}

func newProducer(t *testing.T, config lifecycle.Config, eventTypes ...string) *lifecycle.Producer {
	t.Helper()
	producer, err := lifecycle.NewProducer(lifecycle.ProducerConfig{Client: config.Client, Stream: config.Stream, EventTypes: eventTypes})
	if err != nil {
		t.Fatal(err)
	}
	return producer
}

func TestWhatIsPublishedIsConsumed(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, config lifecycle.Config, _ *bytes.Buffer) {
		config.EventTypes = []string{"user.lifecycle.created"}
		producer := newProducer(t, config, config.EventTypes...)
		created := deleted("u3")
		created.EventType, created.EntryID = "user.lifecycle.created", "ignored"
		minimal := lifecycle.Event{EventType: lifecycle.TypePermanentBlocked, UserID: "u2", OccurredAt: time.UnixMilli(1).UTC()}
		want := []lifecycle.Event{deleted("u1"), minimal, created}
		for i := range want {
			id, err := producer.Publish(t.Context(), want[i])
			if err != nil {
				t.Fatal(err)
			}
			want[i].EntryID = id
		}
		var got []lifecycle.Event
		consumer := newConsumer(t, config)
		consumer.OnEvent(func(_ context.Context, event lifecycle.Event) error {
			got = append(got, event)
			return nil
		})
		run(t, consumer)
		synctest.Wait()
		for i := range want {
			if len(got) != len(want) || got[i] != want[i] {
				t.Fatalf("consumed %+v, published %+v", got, want)
			}
		}
	})
}

func TestPublishOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, config lifecycle.Config, _ *bytes.Buffer) {
		producer := newProducer(t, config)
		first, err := producer.PublishOnce(t.Context(), "request-1", deleted("u1"))
		if err != nil {
			t.Fatal(err)
		}
		if second, err := producer.PublishOnce(t.Context(), "request-1", deleted("u1")); second != first || err != nil {
			t.Errorf("got %s, %v, want %s again", second, err, first)
		}
		if n := config.Client.XLen(t.Context(), config.Stream).Val(); n != 1 {
			t.Errorf("%d entries", n)
		}
	})
}

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, config lifecycle.Config, _ *bytes.Buffer) {
		producer := newProducer(t, config)
		isUnknownType := func(err error) bool { return errors.Is(err, lifecycle.ErrUnknownType) }
		isInvalid := func(err error) bool {
			_, is := errors.AsType[codec.FieldErrors](err)
			return is
		}
		for name, test := range map[string]struct {
			change func(*lifecycle.Event)
			is     func(error) bool
		}{
			"a type that is not configured": {func(e *lifecycle.Event) { e.EventType = "user.lifecycle.s3cr3t" }, isUnknownType},
			"a type in other letters":       {func(e *lifecycle.Event) { e.EventType = strings.ToUpper(e.EventType) }, isUnknownType},
			"a blank type":                  {func(e *lifecycle.Event) { e.EventType = " " }, isUnknownType},
			"no type":                       {func(e *lifecycle.Event) { e.EventType = "" }, isInvalid},
			"no user":                       {func(e *lifecycle.Event) { e.UserID = "" }, isInvalid},
			"no time":                       {func(e *lifecycle.Event) { e.OccurredAt = time.Time{} }, isInvalid},
			"a time before 1970":            {func(e *lifecycle.Event) { e.OccurredAt = time.UnixMilli(-1) }, isInvalid},
		} {
			event := deleted("u1")
			test.change(&event)
			_, err := producer.Publish(t.Context(), event)
			_, once := producer.PublishOnce(t.Context(), "key", event)
			if !test.is(err) || !test.is(once) || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("%s: got %v and %v", name, err, once)
			}
		}
		if n := config.Client.DBSize(t.Context()).Val(); n != 0 {
			t.Errorf("%d keys were written", n)
		}
	})
}

func TestNewProducerRefuses(t *testing.T) {
	t.Parallel()
	_, err := lifecycle.NewProducer(lifecycle.ProducerConfig{Stream: " ", EventTypes: []string{""}})
	for _, name := range []string{"Client", "Stream", "EventTypes[0]"} {
		if err == nil || !strings.Contains(err.Error(), "ProducerConfig."+name) {
			t.Errorf("%s is not in %v", name, err)
		}
	}
	client := redis.NewClient(&redis.Options{})
	defer func() { _ = client.Close() }()
	config := lifecycle.ProducerConfig{Client: client, Stream: lifecycle.DefaultStream, Options: []stream.ProducerOption{stream.WithMaxLen(5)}}
	if _, err := lifecycle.NewProducer(config); err != nil {
		t.Error(err)
	}
	config.Options = []stream.ProducerOption{stream.WithMaxLen(0)}
	if _, err := lifecycle.NewProducer(config); !errors.Is(err, stream.ErrInvalidOption) {
		t.Errorf("got %v", err)
	}
}

// A header travels beside the event, and is no part of it.
func TestHeadersOfEvents(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, config lifecycle.Config, _ *bytes.Buffer) {
		producer := newProducer(t, config)
		trace := stream.WithHeader("traceparent", "t")
		if _, err := producer.Publish(t.Context(), deleted("u1"), trace); err != nil {
			t.Fatal(err)
		}
		if _, err := producer.PublishOnce(t.Context(), "k", deleted("u2"), trace); err != nil {
			t.Fatal(err)
		}
		entries, err := config.Client.XRange(t.Context(), config.Stream, "-", "+").Result()
		if err != nil || len(entries) != 2 {
			t.Fatal(entries, err)
		}
		for _, entry := range entries {
			if entry.Values["traceparent"] != "t" {
				t.Errorf("the entry lacks the header: %v", entry.Values)
			}
		}
	})
}
