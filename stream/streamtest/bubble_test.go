package streamtest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
	"millrace/stream/streamtest/history"
)

type order struct {
	ID string `mapstructure:"id" validate:"required"`
}

var orders = stream.Topic[order]{Name: "orders"}

func add(t *testing.T, client redis.UniversalClient, id string) string {
	t.Helper()
	entryID, err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, Values: []string{"id", id}}).Result()
	if err != nil {
		t.Fatal(err)
	}
	return entryID
}

// quietly is the option of consumers whose log is of no interest.
var quietly = stream.WithLogger(slog.New(slog.DiscardHandler))

func must[T any](t *testing.T) func(made T, err error) T {
	return func(made T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
}

// Minutes pass in milliseconds, and a held entry is tried again at its time.
func TestBubbleLetsTimePass(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
		id := add(t, b.Client, "a")
		begun := time.Now()
		var tries []time.Duration
		b.NewInstance().Start(must[*stream.Consumer[order]](t)(stream.NewGroupConsumer(b.Client, orders, "billing",
			func(context.Context, *stream.Message[order]) error {
				tries = append(tries, time.Since(begun))
				if time.Since(begun) < 3*time.Minute {
					return errors.New("not yet")
				}
				return nil
			}, quietly, stream.WithBackoff(stream.Backoff{Min: time.Minute, Max: time.Minute}))))
		b.Advance(0)
		if len(tries) != 1 || tries[0] != 0 {
			t.Errorf("tries before time passes: %v", tries)
		}
		streamtest.AssertPending(t, b.Client, "orders", "billing", id)
		b.Advance(6 * time.Minute)
		if n := len(tries); n < 4 || n > 7 || tries[n-1] < 3*time.Minute {
			t.Errorf("tries %v", tries)
		}
		if passed := time.Since(begun); passed != 6*time.Minute {
			t.Errorf("%v have passed", passed)
		}
		streamtest.AssertAcked(t, b.Client, "orders", "billing", id)
	})
}

func TestBubbleKeysExpire(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
		if err := b.Client.Set(t.Context(), "key", "value", time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		b.Advance(time.Minute - time.Second)
		if n := b.Client.Exists(t.Context(), "key").Val(); n != 1 {
			t.Error("the key has expired early")
		}
		b.Advance(time.Second)
		if n := b.Client.Exists(t.Context(), "key").Val(); n != 0 {
			t.Error("the key has not expired")
		}
	})
}

// An instance crashes in a handler, and another one claims its pending entries.
func TestCrashInGroupMode(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
		var recorder history.Recorder
		start := func(name string, handle stream.Handler[order]) *streamtest.Instance {
			instance := b.NewInstance()
			instance.Start(must[*stream.Consumer[order]](t)(stream.NewGroupConsumer(instance.Client, orders, "billing", handle,
				quietly, stream.WithConsumerName(name), stream.WithClaimIdle(time.Minute), stream.WithMiddleware(
					recorder.Middleware(name),
					middleware.DeadLetter(middleware.DeadLetterConfig{}),
				))))
			return instance
		}
		var ids []string
		for _, id := range []string{"a", "stuck", "bad"} {
			ids = append(ids, add(t, b.Client, id))
		}
		first := start("first", func(ctx context.Context, msg *stream.Message[order]) error {
			if msg.Value.ID == "stuck" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		b.Advance(90 * time.Second)
		streamtest.AssertAcked(t, b.Client, "orders", "billing", ids[0])
		streamtest.AssertPending(t, b.Client, "orders", "billing", ids[1:]...)

		over := recorder.Inject(history.Fault{Name: "crash", Repeats: 1})
		first.Crash()
		over()
		b.Advance(0)
		streamtest.AssertPending(t, b.Client, "orders", "billing", ids[1:]...)

		start("second", func(_ context.Context, msg *stream.Message[order]) error {
			if msg.Value.ID == "bad" {
				return stream.Permanent(errors.New("no"))
			}
			return nil
		})
		b.Advance(30 * time.Second)
		streamtest.AssertPending(t, b.Client, "orders", "billing", ids[1:]...)
		b.Advance(2 * time.Minute)
		streamtest.AssertPending(t, b.Client, "orders", "billing")
		streamtest.AssertAcked(t, b.Client, "orders", "billing", ids...)
		streamtest.AssertDeadLettered(t, b.Client, stream.DeadLetterStream("orders"), ids[2])

		events, err := recorder.Events()
		if err != nil {
			t.Fatal(err)
		}
		if findings := history.Verify(t, history.Rules{}, events, streamtest.EntryIDs(t, b.Client, "orders")); len(findings) > 0 {
			t.Errorf("found %v", findings)
		}
	})
}

// An instance in log mode crashes before it has saved. The crash cuts its store off, too, and
// the next instance handles the same entry again.
func TestCrashInLogMode(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
		var store offset.Memory
		var recorder history.Recorder
		publish := func(n int) string {
			id, err := recorder.Publish("test", "", func() (string, error) { return add(t, b.Client, fmt.Sprint(n)), nil })
			if err != nil {
				t.Error(err)
			}
			return id
		}
		var handled []string
		start := func(name string) {
			instance := b.NewInstance()
			instance.Start(must[*stream.Consumer[order]](t)(stream.NewConsumer(instance.Client, orders,
				instance.Store(recorder.Store(name, &store)),
				func(_ context.Context, msg *stream.Message[order]) error {
					handled = append(handled, msg.Value.ID)
					if msg.Value.ID == "1" && name == "first" {
						instance.Crash()
					}
					return nil
				}, quietly, stream.WithMiddleware(recorder.Middleware(name)))))
		}
		first := publish(0)
		start("first")
		b.Advance(5 * time.Second)
		if saved, _, _ := store.Load(t.Context(), "orders"); saved != first {
			t.Errorf("saved %q, want %q", saved, first)
		}
		over := recorder.Inject(history.Fault{Name: "crash", Repeats: 1})
		publish(1)
		b.Advance(5 * time.Second)
		over()
		if saved, _, _ := store.Load(t.Context(), "orders"); saved != first {
			t.Errorf("after the crash %q is saved, want %q", saved, first)
		}
		last := publish(2)
		start("second")
		b.Advance(5 * time.Second)
		if !slices.Equal(handled, []string{"0", "1", "1", "2"}) {
			t.Errorf("handled %v", handled)
		}
		if saved, _, _ := store.Load(t.Context(), "orders"); saved != last {
			t.Errorf("saved %q, want %q", saved, last)
		}
		events, _ := recorder.Events()
		findings := history.Verify(t, history.Rules{Order: history.InOrder}, events, streamtest.EntryIDs(t, b.Client, "orders"))
		if len(findings) != 1 || findings[0].Verdict != history.Repeated || findings[0].Fault != "crash" {
			t.Errorf("found %v, want the repeat that the crash explains", findings)
		}
	})
}

func TestInstanceStops(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
		instance := b.NewInstance()
		var runner stream.Runner
		runner.Add(must[*stream.Consumer[order]](t)(stream.NewGroupConsumer(instance.Client, orders, "billing",
			func(context.Context, *stream.Message[order]) error { return nil }, quietly)))
		instance.Start(&runner)
		b.Advance(time.Minute)
		if err := instance.Stop(); err != nil {
			t.Error(err)
		}
		instance.Start(runnable(func(ctx context.Context) error { <-ctx.Done(); return errors.New("broken") }))
		if err := instance.Stop(); err == nil || !strings.Contains(err.Error(), "broken") {
			t.Errorf("Stop gives %v, want what Run gave", err)
		}
		instance.Start(runnable(func(ctx context.Context) error { <-ctx.Done(); return errors.New("cut off") }))
		instance.Crash()
		if err := instance.Stop(); err != nil {
			t.Errorf("after a crash Stop gives %v", err)
		}
		if err := instance.Client.Ping(t.Context()).Err(); err == nil {
			t.Error("after a crash the server can be reached")
		}
	})
}

type runnable func(ctx context.Context) error

func (r runnable) Run(ctx context.Context) error { return r(ctx) }
