package lifecycle_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/lifecycle"
	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// bubble runs a test in virtual time, with a Redis of its own in memory and a
// configuration that is complete.
func bubble(t *testing.T, test func(t *testing.T, config lifecycle.Config, out *bytes.Buffer)) {
	t.Helper()
	streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
		var out bytes.Buffer
		test(t, lifecycle.Config{
			Client: b.Client, Stream: lifecycle.DefaultStream, BlockTimeout: time.Second, OffsetStore: &offset.Memory{},
			Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})),
		}, &out)
	})
}

func newConsumer(t *testing.T, config lifecycle.Config) *lifecycle.Consumer {
	t.Helper()
	consumer, err := lifecycle.NewConsumer(config)
	if err != nil {
		t.Fatal(err)
	}
	return consumer
}

// run runs the consumer until the returned function is called, which returns
// what Run did.
func run(t *testing.T, consumer *lifecycle.Consumer) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- consumer.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return stop
}

func publish(t *testing.T, config lifecycle.Config, eventType, userID string) string {
	t.Helper()
	id, err := config.Client.XAdd(t.Context(), &redis.XAddArgs{Stream: config.Stream, Values: []string{
		"event_type", eventType, "user_id", userID, "occurred_at_ms", "1700000000123",
	}}).Result()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func saved(t *testing.T, config lifecycle.Config) string {
	t.Helper()
	id, _, err := config.OffsetStore.Load(t.Context(), "user_lifecycle")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestConsumerHandlesKnownEvents(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, config lifecycle.Config, _ *bytes.Buffer) {
		config.EventTypes = []string{" user.lifecycle.created\t"} // trimmed, as an event's type is
		first := publish(t, config, lifecycle.TypeDeleted, "u1")
		publish(t, config, lifecycle.TypePermanentBlocked, "u2")
		last := publish(t, config, "user.lifecycle.created", "u3")
		var got []lifecycle.Event
		consumer := newConsumer(t, config)
		consumer.OnEvent(func(_ context.Context, event lifecycle.Event) error {
			got = append(got, event)
			return nil
		})
		stop := run(t, consumer)
		synctest.Wait()
		if len(got) != 3 || got[0].EntryID != first || got[0].UserID != "u1" || got[1].EventType != lifecycle.TypePermanentBlocked || got[2].EntryID != last {
			t.Errorf("got %+v", got)
		}
		if err := stop(); err != context.Canceled { //nolint:errorlint // Run promises ctx.Err() itself
			t.Errorf("Run returned %v, want ctx.Err()", err)
		}
		if id := saved(t, config); id != last {
			t.Errorf("the offset is %q, want %q", id, last)
		}
	})
}

func TestMalformedAndUnknownEventsAreLoggedAndPassed(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, config lifecycle.Config, out *bytes.Buffer) {
		unknown := publish(t, config, "user.lifecycle.s3cr3t", "u1")
		malformed := publish(t, config, lifecycle.TypeDeleted, " ")
		last := publish(t, config, lifecycle.TypeDeleted, "u3")
		var got []string
		consumer := newConsumer(t, config)
		consumer.OnEvent(func(_ context.Context, event lifecycle.Event) error {
			got = append(got, event.UserID)
			return nil
		})
		stop := run(t, consumer)
		synctest.Wait()
		_ = stop()
		if !slices.Equal(got, []string{"u3"}) || saved(t, config) != last {
			t.Errorf("handled %v, offset %q", got, saved(t, config))
		}
		for _, want := range []string{
			`reason="unknown event type"`, "entry_id=" + unknown, "cannot be decoded", "entry_id=" + malformed, "user_id", "label=user_lifecycle",
		} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q is not in the log:\n%s", want, out)
			}
		}
		if strings.Contains(out.String(), "s3cr3t") {
			t.Errorf("a value is in the log:\n%s", out)
		}
	})
}

func TestFailedEventIsHeldWithBackoff(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, config lifecycle.Config, _ *bytes.Buffer) {
		first := publish(t, config, lifecycle.TypeDeleted, "u1")
		publish(t, config, lifecycle.TypeDeleted, "u2")
		last := publish(t, config, lifecycle.TypeDeleted, "u3")
		var got []string
		var failing atomic.Bool
		failing.Store(true)
		consumer := newConsumer(t, config)
		consumer.OnEvent(func(_ context.Context, event lifecycle.Event) error {
			fails := event.UserID == "u2" && failing.Load()
			got = append(got, event.UserID)
			if fails {
				return errors.New("not yet")
			}
			return nil
		})
		run(t, consumer)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(got); n < 1800 || n > 5000 || slices.Contains(got, "u3") || saved(t, config) != first {
			t.Errorf("%d deliveries in an hour, offset %q", n, saved(t, config))
		}
		failing.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got[len(got)-1] != "u3" || saved(t, config) != last {
			t.Errorf("after the handler recovered the offset is %q, want %q", saved(t, config), last)
		}
	})
}

func TestOnEventAtAnyTime(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, config lifecycle.Config, out *bytes.Buffer) {
		var got []string
		to := func(name string) lifecycle.Handler {
			return func(_ context.Context, event lifecycle.Event) error {
				got = append(got, name+" "+event.UserID)
				return nil
			}
		}
		consumer := newConsumer(t, config)
		run(t, consumer)
		for i, register := range []func(){
			func() {},
			func() { consumer.OnEvent(to("first")) },
			func() { consumer.OnEvent(to("second")) },
			func() { consumer.OnEvent(nil) },
		} {
			register()
			id := publish(t, config, lifecycle.TypeDeleted, string(rune('a'+i)))
			time.Sleep(time.Second)
			if saved(t, config) != id {
				t.Errorf("event %d was not passed", i)
			}
		}
		if !slices.Equal(got, []string{"first b", "second c"}) {
			t.Errorf("got %v", got)
		}
		if n := strings.Count(out.String(), `level=WARN msg="event dropped: no handler is registered`); n != 2 {
			t.Errorf("%d warnings of events without a handler, want 2:\n%s", n, out)
		}
	})
}

func TestOffsetOutlivesARenamedStream(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, config lifecycle.Config, _ *bytes.Buffer) {
		var got []string
		handler := func(_ context.Context, event lifecycle.Event) error {
			got = append(got, event.UserID)
			return nil
		}
		publish(t, config, lifecycle.TypeDeleted, "u1")
		consumer := newConsumer(t, config)
		consumer.OnEvent(handler)
		stop := run(t, consumer)
		synctest.Wait()
		_ = stop()
		if err := config.Client.Rename(t.Context(), config.Stream, "renamed").Err(); err != nil {
			t.Fatal(err)
		}
		config.Stream = "renamed"
		publish(t, config, lifecycle.TypeDeleted, "u2")
		consumer = newConsumer(t, config)
		consumer.OnEvent(handler)
		run(t, consumer)
		synctest.Wait()
		if !slices.Equal(got, []string{"u1", "u2"}) {
			t.Errorf("handled %v", got)
		}
	})
}

func TestMiddlewareAndClock(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, config lifecycle.Config, out *bytes.Buffer) {
		seen := 0
		config.Middleware = []stream.Middleware{func(next stream.EntryHandler) stream.EntryHandler {
			return func(ctx context.Context, entry *stream.Entry) error { seen++; return next(ctx, entry) }
		}}
		added := time.Now()
		config.Clock = func() time.Time { return added.Add(90 * time.Second) }
		if err := config.Client.XAdd(t.Context(), &redis.XAddArgs{
			Stream: config.Stream, ID: stringOf(added), Values: []string{"event_type", lifecycle.TypeDeleted, "user_id", "u", "occurred_at_ms", "1"},
		}).Err(); err != nil {
			t.Fatal(err)
		}
		consumer := newConsumer(t, config)
		consumer.OnEvent(func(context.Context, lifecycle.Event) error { return nil })
		run(t, consumer)
		synctest.Wait()
		if seen != 1 || !strings.Contains(out.String(), "age=1m30s") {
			t.Errorf("the middleware saw %d entries; the log is\n%s", seen, out)
		}
	})
}

func stringOf(t time.Time) string { return offset.ID{Ms: uint64(t.UnixMilli())}.String() }

func TestNewConsumerRefuses(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{})
	defer func() { _ = client.Close() }()
	complete := lifecycle.Config{Client: client, Stream: "s", BlockTimeout: time.Second, OffsetStore: &offset.Memory{}}
	if _, err := lifecycle.NewConsumer(complete); err != nil {
		t.Fatalf("a complete configuration: %v", err)
	}
	seen := make(map[string]string)
	for name, change := range map[string]func(*lifecycle.Config){
		"Client":        func(c *lifecycle.Config) { c.Client = nil },
		"Stream":        func(c *lifecycle.Config) { c.Stream = " \t" },
		"BlockTimeout":  func(c *lifecycle.Config) { c.BlockTimeout = 0 },
		"BlockTimeout ": func(c *lifecycle.Config) { c.BlockTimeout = -time.Second },
		"OffsetStore":   func(c *lifecycle.Config) { c.OffsetStore = nil },
		"EventTypes[1]": func(c *lifecycle.Config) { c.EventTypes = []string{"user.lifecycle.created", " \t"} },
	} {
		config := complete
		change(&config)
		_, err := lifecycle.NewConsumer(config)
		if err == nil || !strings.Contains(err.Error(), "Config."+name) && !strings.Contains(err.Error(), "Config."+strings.TrimSpace(name)) {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		if other, double := seen[err.Error()]; double {
			t.Errorf("%s and %s have the same message", name, other)
		}
		seen[err.Error()] = name
	}
	_, err := lifecycle.NewConsumer(lifecycle.Config{})
	for _, name := range []string{"Client", "Stream", "BlockTimeout", "OffsetStore"} {
		if err == nil || !strings.Contains(err.Error(), "Config."+name) {
			t.Errorf("an empty configuration: %s is not in %v", name, err)
		}
	}
	complete.BlockTimeout = time.Microsecond
	if _, err := lifecycle.NewConsumer(complete); !errors.Is(err, stream.ErrInvalidOption) {
		t.Errorf("a block timeout below a millisecond: got %v", err)
	}
}

func TestNilReceiverAndNilContext(t *testing.T) {
	t.Parallel()
	var none *lifecycle.Consumer
	none.OnEvent(func(context.Context, lifecycle.Event) error { return nil })
	if err := none.Run(t.Context()); err == nil {
		t.Error("Run on a nil consumer returned nil")
	}
	if err := new(lifecycle.Consumer).Run(t.Context()); err == nil {
		t.Error("Run on a zero consumer returned nil")
	}
	bubble(t, func(t *testing.T, config lifecycle.Config, _ *bytes.Buffer) {
		consumer := newConsumer(t, config)
		//nolint:staticcheck // the mistake is what is tested
		if err := consumer.Run(nil); err == nil {
			t.Error("Run(nil) returned nil")
		}
		//nolint:staticcheck // the mistake is what is tested
		if err := consumer.Shutdown(nil); err == nil {
			t.Error("Shutdown(nil) returned nil")
		}
		if err := consumer.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown returned %v", err)
		}
	})
}

// Two consumers of one group share the events; a failed one does not hold up the
// others.
func TestGroupConsumer(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, config lifecycle.Config, _ *bytes.Buffer) {
		config.OffsetStore = nil
		for _, user := range []string{"fails", "u1", "u2", "u3"} {
			publish(t, config, lifecycle.TypeDeleted, user)
		}
		var mu sync.Mutex
		var got []string
		for range 2 {
			consumer, err := lifecycle.NewGroupConsumer(config, "billing", stream.WithConcurrency(2))
			if err != nil {
				t.Fatal(err)
			}
			consumer.OnEvent(func(_ context.Context, event lifecycle.Event) error {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, event.UserID)
				if event.UserID == "fails" && len(got) < 5 {
					return errors.New("not yet")
				}
				return nil
			})
			run(t, consumer)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(got)
		if !slices.Equal(slices.Compact(got), []string{"fails", "u1", "u2", "u3"}) || config.Client.XPending(t.Context(), config.Stream, "billing").Val().Count != 0 {
			t.Errorf("handled %v", got)
		}
	})
}

func TestNewGroupConsumerRefuses(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{})
	defer func() { _ = client.Close() }()
	_, err := lifecycle.NewGroupConsumer(lifecycle.Config{OffsetStore: &offset.Memory{}}, "billing")
	for _, name := range []string{"Client", "Stream", "BlockTimeout", "OffsetStore is given"} {
		if err == nil || !strings.Contains(err.Error(), "Config."+name) {
			t.Errorf("%s is not in %v", name, err)
		}
	}
	complete := lifecycle.Config{Client: client, Stream: "s", BlockTimeout: time.Second}
	if _, err := lifecycle.NewGroupConsumer(complete, " "); !errors.Is(err, stream.ErrInvalidOption) {
		t.Errorf("a blank group: got %v", err)
	}
}

// A Runner has the consumer that does the work among its members, and knows its health.
func TestConsumerIsAMember(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, config lifecycle.Config, _ *bytes.Buffer) {
		consumer := newConsumer(t, config)
		var r stream.Runner
		r.Add(consumer, new(lifecycle.Consumer))
		members := slices.Collect(r.Members())
		if len(members) != 1 {
			t.Fatalf("the members are %v", members)
		}
		inner, is := members[0].(*stream.Consumer[lifecycle.Event])
		if !is || inner.Identity().Stream != config.Stream || consumer.Health() != inner.Health() {
			t.Errorf("the member is %v", members[0])
		}
		if h := new(lifecycle.Consumer).Health(); h.Live || h.Ready || h.Reason == "" {
			t.Errorf("a zero consumer has the health %+v", h)
		}
	})
}
