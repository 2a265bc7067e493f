package stream_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/stream"
)

// The fields of an entry are in their order, repeated names included, at the first delivery
// and at later ones, for which group mode fetches the entry again.
func TestFieldsAreInTheirOrder(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		pairs := []string{"z", "1", "id", "y", "a", "", "id", "x", "amount", "7", "z", "2"}
		addFields(t, client, pairs...)
		rec := newRecorder()
		rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
			if want := codec.FieldsOf(pairs...); !reflect.DeepEqual(msg.Fields, want) {
				t.Errorf("delivery %d has the fields %v, want %v", msg.Deliveries, msg.Fields, want)
			}
			if want := (order{ID: "x", Amount: 7}); msg.Value != want {
				t.Errorf("delivery %d has the value %v, want %v", msg.Deliveries, msg.Value, want)
			}
			if msg.Deliveries < 3 {
				return errors.New("not yet")
			}
			return nil
		}
		stop := start(t, mode.make(t, client, "orders", rec.Handle))
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if seen := rec.Seen(); len(seen) != 3 {
			t.Errorf("%d deliveries, want 3", len(seen))
		}
	})
}

func TestHeader(t *testing.T) {
	t.Parallel()
	msg := &stream.Message[order]{Entry: stream.Entry{Fields: codec.FieldsOf(
		"id", "x", "traceparent", "1", "tenant", "2", "millrace.anything", "3", "traceparent", "4", "baggage", "",
	)}}
	for name, want := range map[string]string{
		"traceparent": "4", "millrace.anything": "3", "baggage": "", "tracestate": "", // reserved
		"id": "", "tenant": "", "": "",
	} {
		if got := msg.Header(name); got != want {
			t.Errorf("the header %q is %q, want %q", name, got, want)
		}
	}
	if got := new(stream.Entry).Header("traceparent"); got != "" {
		t.Errorf("an entry without fields has the header %q", got)
	}
}

// Headers are not the event's: a strict consumer handles an entry that has some, and its dead
// letter, which has the six of its own besides.
func TestHeadersOfAnEntryAreInItsDeadLetter(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		strict := stream.Topic[order]{Name: orders.Name, Codec: codec.Struct[order](codec.DisallowUnknownFields())}
		producer, err := stream.NewProducer(client, strict)
		if err != nil {
			t.Fatal(err)
		}
		id, err := producer.Publish(t.Context(), order{ID: "x", Amount: 7}, stream.WithHeader("traceparent", "t"), stream.WithHeader("millrace.other", "o"))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		handle := func(_ context.Context, msg *stream.Message[order]) error {
			got = append(got, msg.Value.ID, msg.Header("traceparent"), msg.Header("millrace.other"), msg.Header(stream.DeadLetterID), msg.Header(stream.DeadLetterCause))
			return &stream.DeadLetterError{Err: errors.New("of no use")}
		}
		for _, name := range []string{strict.Name, stream.DeadLetterStream(strict.Name)} {
			strict.Name = name
			consumer, err := stream.NewGroupConsumer(client, strict, "billing", handle, quietly(nil)...)
			if err != nil {
				t.Fatal(err)
			}
			stop := start(t, consumer)
			time.Sleep(time.Minute)
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
		if want := []string{"x", "t", "o", "", "", "x", "t", "o", id, "of no use"}; !slices.Equal(got, want) {
			t.Errorf("the handlers got %q, want %q", got, want)
		}
	})
}

// TestFieldIsFoundWherePacked: the order key of an entry is the same in both forms.
func TestFieldIsFoundWherePacked(t *testing.T) {
	t.Parallel()
	key := stream.Field("account")
	for _, r := range []struct {
		fields codec.Fields
		want   string
	}{
		{codec.FieldsOf("account", "a-1", "n", "1"), "a-1"},
		{codec.FieldsOf("packed:n,account", "\x01\x021\x04a-1"), "a-1"},
		{codec.FieldsOf("packed:n,account", "\x01\x021\x00"), ""},
		{codec.FieldsOf("packed:n,account", "\x01\x021\x05a-1"), ""},
		{codec.FieldsOf("n", "1"), ""},
	} {
		if got := key(&stream.Entry{Fields: r.fields}); got != r.want {
			t.Errorf("the key of %v is %q, want %q", r.fields, got, r.want)
		}
	}
}
