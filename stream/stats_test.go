package stream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
)

func TestStatsCountWhatBecameOfEntries(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		fixed(t, client, "a", "", "skip", "bury", "once", "b")
		consumer := newConsumer(t, client, &offset.Memory{}, fates().Handle, stream.WithMiddleware(buryPermanent))
		if got := consumer.Stats(); got != (stream.Stats{}) {
			t.Errorf("before Run: %+v", got)
		}
		begun := time.Now()
		stop := start(t, consumer)
		time.Sleep(10 * time.Second)
		want := stream.Stats{
			Since: begun, Position: "6-0", Settled: "6-0", LastHandled: "6-0", WindowSize: 2001, WindowSizeBytes: 64 << 20,
			Read: 6, Handled: 3, Absorbed: 1, Skipped: 1, DeadLettered: 1, Failed: 1, Redelivered: 1,
			LastError: "entry 5-0 was held at attempt 1; the log has its error",
		}
		got := consumer.Stats()
		if wait := got.LastHandledAt.Sub(got.LastErrorAt); wait < 50*time.Millisecond || wait > time.Second || got.LastErrorAt.Before(begun) {
			t.Errorf("last handled at %v, last error at %v, begun at %v", got.LastHandledAt, got.LastErrorAt, begun)
		}
		got.LastHandledAt, got.LastErrorAt = time.Time{}, time.Time{}
		if got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}

		// After Run nothing is in hand, and all that was counted is still there.
		want.Since, want.WindowSize, want.WindowSizeBytes = time.Time{}, 0, 0
		got = consumer.Stats()
		got.LastHandledAt, got.LastErrorAt, got.LagTime = time.Time{}, time.Time{}, 0
		if got != want {
			t.Errorf("after Run: got  %+v\nwant %+v", got, want)
		}

		// A second Run goes on with the counts.
		client.XAdd(context.Background(), &redis.XAddArgs{Stream: orders.Name, ID: "7-0", Values: []string{"id", "c"}})
		stop = start(t, consumer)
		time.Sleep(10 * time.Second)
		got = consumer.Stats()
		if got.Read != 7 || got.Handled != 4 || got.Absorbed != 1 || got.Settled != "7-0" || got.LastHandled != "7-0" || got.Since.IsZero() {
			t.Errorf("in the second Run: %+v", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestStatsTellWhatIsInHandAndHowFarBehind(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		release := make(chan struct{})
		r := newRecorder()
		r.handle = func(ctx context.Context, msg *stream.Message[order]) error {
			switch msg.Value.ID {
			case "slow":
				select {
				case <-release:
				case <-ctx.Done():
					return ctx.Err()
				}
			case "bad":
				return errors.New("secret of the handler")
			}
			return nil
		}
		store := &offset.Memory{}
		consumer := newConsumer(t, client, store, r.Handle, stream.WithConcurrency(2), stream.WithBackoff(stream.Backoff{Min: time.Hour, Max: time.Hour}))
		stop := start(t, consumer)
		time.Sleep(3 * time.Second)
		if got := consumer.Stats(); got.LagTime != 0 || got.Position != "0-0" {
			t.Errorf("idle: %+v", got)
		}
		for _, id := range []string{"a", "slow", "bad", "b"} {
			add(t, client, id)
		}
		time.Sleep(7 * time.Second)
		got := consumer.Stats()
		if got.Working != 1 || got.Held != 1 || got.Window != 3 || got.WindowSize != 2002 || got.Handled != 2 || got.Failed != 1 {
			t.Errorf("two in hand: %+v", got)
		}
		if got.LagTime != 7*time.Second {
			t.Errorf("behind %v, want 7s", got.LagTime)
		}
		if strings.Contains(fmt.Sprintf("%+v", got), "secret") {
			t.Errorf("the handler's error is in %+v", got)
		}
		close(release)
		time.Sleep(time.Second)
		if got := consumer.Stats(); got.Working != 0 || got.Held != 1 || got.Window != 2 || got.LagTime != 8*time.Second {
			t.Errorf("one in hand: %+v", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if got := consumer.Stats(); got.LagTime != 68*time.Second || got.Held != 0 {
			t.Errorf("stopped: %+v", got)
		}
	})
}

// ailing runs a test in virtual time, with a server that can be told what to answer.
func ailing(t *testing.T, test func(t *testing.T, client *redis.Client, server *miniredis.Miniredis)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := miniredis.NewMiniRedis()
		client := redis.NewClient(&redis.Options{
			Addr:   "127.0.0.1:1", // an IP literal: a name would be looked up outside of the bubble
			Dialer: func(context.Context, string, string) (net.Conn, error) { return server.Dial() },
		})
		t.Cleanup(server.Close)
		t.Cleanup(func() { _ = client.Close() })
		test(t, client, server)
	})
}

// Of a server that is away, nobody knows what it holds.
func TestStatsGrowOlderWhileNothingCanBeRead(t *testing.T) {
	t.Parallel()
	ailing(t, func(t *testing.T, client *redis.Client, server *miniredis.Miniredis) {
		consumer := newConsumer(t, client, &offset.Memory{}, newRecorder().Handle)
		stop := start(t, consumer)
		time.Sleep(5 * time.Second)
		server.SetError("LOADING Redis is loading the dataset in memory")
		time.Sleep(time.Minute)
		got := consumer.Stats()
		if got.LagTime < 58*time.Second || got.LagTime > time.Minute+2*time.Second {
			t.Errorf("behind %v after a minute", got.LagTime)
		}
		if !strings.HasPrefix(got.LastError, "reading failed: LOADING") || time.Since(got.LastErrorAt) > 2*time.Second || got.Reconnects != 0 {
			t.Errorf("away: %+v", got)
		}
		server.SetError("")
		time.Sleep(5 * time.Second)
		if got := consumer.Stats(); got.LagTime != 0 || got.Reconnects != 1 {
			t.Errorf("back: %+v", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// What only Redis' answer could leak: the arguments of a command it does not know.
func TestArgumentsAreLeftOut(t *testing.T) {
	t.Parallel()
	ailing(t, func(t *testing.T, client *redis.Client, server *miniredis.Miniredis) {
		var out logs
		consumer := newConsumer(t, client, &offset.Memory{}, newRecorder().Handle, stream.WithLogger(out.Logger()))
		producer := newProducer(t, client)
		stop := start(t, consumer)
		time.Sleep(3 * time.Second)
		server.SetError("ERR unknown command 'XADD', with args beginning with: 'orders' '*' 'secret'")
		time.Sleep(5 * time.Second)
		_, once := producer.PublishOnce(t.Context(), "key", order{ID: "secret"})
		_, plain := producer.Publish(t.Context(), order{ID: "secret"})
		_, all := producer.PublishAll(t.Context(), []order{{ID: "secret"}})
		for where, said := range map[string]string{
			"the stats":   consumer.Stats().LastError,
			"the health":  consumer.Health().Reason,
			"the log":     out.String(),
			"Publish":     fmt.Sprint(plain),
			"PublishOnce": fmt.Sprint(once),
			"PublishAll":  fmt.Sprint(all),
		} {
			if strings.Contains(said, "secret") || !strings.Contains(said, "unknown command") {
				t.Errorf("%s: %s", where, said)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestStatsUnderLoad(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		const entries = 2000
		for i := range entries {
			add(t, client, fmt.Sprint(i))
		}
		r := newRecorder()
		r.handle = func(_ context.Context, msg *stream.Message[order]) error {
			if msg.Deliveries == 1 && strings.HasSuffix(msg.ID, "7") {
				return errors.New("once more")
			}
			return nil
		}
		consumer := newConsumer(t, client, &offset.Memory{}, r.Handle, stream.WithConcurrency(8), stream.WithReadCount(50),
			stream.WithObserver(&recorded{silent: true}), stream.WithBackoff(stream.Backoff{Min: time.Millisecond, Max: time.Millisecond}))
		stop := start(t, consumer)
		var watchers sync.WaitGroup
		for range 3 {
			watchers.Go(func() {
				var before stream.Stats
				for before.Handled < entries {
					now := consumer.Stats()
					_ = consumer.Health()
					if now.Handled < before.Handled || now.Read < before.Read || now.Handled > now.Read || now.Window > now.WindowSize || now.Window < 0 {
						t.Errorf("after %+v\ncame %+v", before, now)
						return
					}
					before = now
					time.Sleep(10 * time.Microsecond)
				}
			})
		}
		watchers.Wait()
		got := consumer.Stats()
		if got.Failed != got.Redelivered || got.Read != entries || got.Handled != entries {
			t.Errorf("in the end: %+v", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// Stats is a plain value: it can be compared, copied and published.
func TestStatsArePlain(t *testing.T) {
	t.Parallel()
	if !reflect.TypeFor[stream.Stats]().Comparable() {
		t.Error("Stats cannot be compared")
	}
}

// What is done and not acked yet does not count for how far behind a consumer is.
func TestStatsOfAGroupAreBehindWhatIsNotDone(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		r := newRecorder()
		r.handle = func(ctx context.Context, msg *stream.Message[order]) error {
			if msg.Value.ID == "slow" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		consumer, err := stream.NewGroupConsumer(client, orders, "g", r.Handle, stream.WithLogger(slog.New(slog.DiscardHandler)),
			stream.WithConcurrency(2), stream.WithCheckpoint(100, time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		stop := start(t, consumer)
		fixed(t, client, "first")
		time.Sleep(5 * time.Second)
		now := time.Now()
		if _, err := client.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
			p.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, ID: fmt.Sprintf("%d-0", now.Add(-10*time.Second).UnixMilli()), Values: []string{"id", "a"}})
			p.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, ID: fmt.Sprintf("%d-0", now.Add(-2*time.Second).UnixMilli()), Values: []string{"id", "slow"}})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if got := consumer.Stats(); got.LagTime != 7*time.Second || got.Window != 2 || got.Handled != 2 {
			t.Errorf("stats: %+v", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
