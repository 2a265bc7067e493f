package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// journal keeps the changes of a breaker, as text.
type journal struct {
	mu      sync.Mutex
	changes []string
}

func (j *journal) add(c middleware.BreakerChange) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.changes = append(j.changes, fmt.Sprintf("%v after %d", c.To, c.Failures))
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.changes)
}

func TestBreakerOpensProbesAndCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		var j journal
		var down atomic.Bool
		var calls, most, working atomic.Int64
		handler := middleware.Breaker(middleware.BreakerConfig{
			Failures: 3, Backoff: stream.Backoff{Min: 10 * time.Second, Max: 40 * time.Second},
			OnChange: j.add, Logger: slog.New(slog.NewTextHandler(&out, nil)),
		})(func(context.Context, *stream.Entry) error {
			calls.Add(1)
			most.Store(max(most.Load(), working.Add(1)))
			defer working.Add(-1)
			time.Sleep(time.Second)
			if down.Load() {
				return errBroken
			}
			return nil
		})
		deliver := func() error { return handler(t.Context(), entry()) }
		if err := deliver(); err != nil || len(j.all()) != 0 {
			t.Fatalf("closed: %v, %v", err, j.all())
		}
		down.Store(true)
		for range 3 {
			if err := deliver(); !errors.Is(err, errBroken) {
				t.Errorf("got %v", err)
			}
		}
		calls.Store(0)
		most.Store(0)
		results := make(chan error, 10)
		for range 10 {
			go func() { results <- deliver() }()
		}
		time.Sleep(4 * time.Second)
		if n := calls.Load(); n != 0 {
			t.Errorf("%d went through an open breaker", n)
		}
		time.Sleep(36 * time.Second) // two probes, after 5 to 10s, and 10 to 20s more
		if n := calls.Load(); n != 2 || most.Load() != 1 || len(results) != 2 {
			t.Errorf("%d probes, %d at once, %d have returned", n, most.Load(), len(results))
		}
		down.Store(false)
		time.Sleep(50 * time.Second)
		if len(results) != 10 || calls.Load() != 10 {
			t.Errorf("%d have returned, after %d calls", len(results), calls.Load())
		}
		want := []string{"open after 3", "half-open after 3", "open after 4", "half-open after 4", "open after 5", "half-open after 5", "closed after 0"}
		if got := j.all(); !slices.Equal(got, want) {
			t.Errorf("the changes were %v", got)
		}
		if lines := strings.Count(out.String(), "\n"); lines != 2 || !strings.Contains(out.String(), "level=WARN msg=\"processing paused") || !strings.Contains(out.String(), "level=INFO msg=\"processing goes on") {
			t.Errorf("the log has %s", out.String())
		}
	})
}

// What says nothing about the sink does not open the breaker, nor does what has a
// success in between; and a probe that says nothing is followed by another one.
func TestBreakerCounts(t *testing.T) {
	t.Parallel()
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	mine := errors.New("mine")
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			name   string
			ctx    context.Context //nolint:containedctx // a row of a table
			err    error
			opens  bool
			config middleware.BreakerConfig
		}{
			{"an error", t.Context(), errBroken, true, middleware.BreakerConfig{}},
			{"a decode error", t.Context(), &stream.DecodeError{Err: errBroken}, false, middleware.BreakerConfig{}},
			{"a skip", t.Context(), stream.Skip("x"), false, middleware.BreakerConfig{}},
			{"a permanent error", t.Context(), stream.Permanent(errBroken), false, middleware.BreakerConfig{}},
			{"a dead letter", t.Context(), &stream.DeadLetterError{Err: errBroken}, false, middleware.BreakerConfig{}},
			{"an error after a stop", stopped, errBroken, false, middleware.BreakerConfig{}},
			{"what If declines", t.Context(), mine, false, middleware.BreakerConfig{If: func(err error) bool { return !errors.Is(err, mine) }}},
			{"an If that panics", t.Context(), mine, true, middleware.BreakerConfig{If: func(error) bool { panic("no") }}},
		} {
			var j journal
			test.config.OnChange, test.config.Logger = j.add, slog.New(slog.DiscardHandler)
			var fail error
			handler := middleware.Breaker(test.config)(func(context.Context, *stream.Entry) error { return fail })
			for range 4 { // one less than the default
				fail = test.err
				_ = handler(test.ctx, entry())
			}
			fail = nil
			_ = handler(test.ctx, entry())
			for range 5 {
				fail = test.err
				if err := handler(test.ctx, entry()); !errors.Is(err, test.err) {
					t.Errorf("%s became %v", test.name, err)
				}
			}
			if got := len(j.all()) > 0; got != test.opens {
				t.Errorf("%s: opened is %v", test.name, got)
			}
			if !test.opens {
				continue
			}
			fail = stream.Skip("of no concern")
			time.Sleep(time.Minute)
			_ = handler(test.ctx, entry()) // the probe
			fail = nil
			begun := time.Now()
			if err := handler(test.ctx, entry()); err != nil || time.Since(begun) != 0 {
				t.Errorf("%s: the next probe came after %v, with %v", test.name, time.Since(begun), err)
			}
		}
	})
}

// A probe that ends its goroutine has failed, and a waiting entry whose context ends
// leaves its place to the next.
func TestBreakerOutlastsItsEntries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mode := "fail"
		handler := middleware.Breaker(middleware.BreakerConfig{
			Failures: 1, Logger: slog.New(slog.DiscardHandler), OnChange: func(middleware.BreakerChange) { panic("no") },
		})(func(context.Context, *stream.Entry) error {
			switch mode {
			case "fail":
				return errBroken
			case "exit":
				runtime.Goexit()
			}
			return nil
		})
		_ = handler(t.Context(), entry())
		mode = "exit"
		go func() { _ = handler(t.Context(), entry()) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		mode = "work"
		cause := errors.New("given up")
		ctx, cancel := context.WithCancelCause(t.Context())
		results := make(chan error, 2)
		go func() { results <- handler(ctx, entry()) }()
		synctest.Wait()
		cancel(cause)
		if err := <-results; err != nil && !errors.Is(err, cause) {
			t.Errorf("got %v", err)
		}
		if err := handler(t.Context(), entry()); err != nil {
			t.Errorf("got %v", err)
		}
	})
}

// A sink is away for 20 seconds: few attempts are made, none of them makes a dead
// letter, and all is delivered within two seconds after.
func TestBreakerSparesAttempts(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 4} {
		t.Run(fmt.Sprint(workers, " workers"), func(t *testing.T) {
			t.Parallel()
			streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
				client := b.Client
				for i := range 50 {
					if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "payments", Values: []string{"id", fmt.Sprint(i)}}).Err(); err != nil {
						t.Fatal(err)
					}
				}
				var down atomic.Bool
				down.Store(true)
				var mu sync.Mutex
				tried, done := make(map[string]int), make(map[string]bool)
				handle := func(_ context.Context, msg *stream.Message[payment]) error {
					mu.Lock()
					defer mu.Unlock()
					if down.Load() {
						tried[msg.ID]++
						return errBroken
					}
					done[msg.ID] = true
					return nil
				}
				consumer, err := stream.NewGroupConsumer(client, stream.Topic[payment]{Name: "payments"}, "billing", handle,
					stream.WithConcurrency(workers), stream.WithLogger(slog.New(slog.DiscardHandler)), stream.WithMaxDeliveries(3),
					stream.WithMiddleware(
						middleware.DeadLetter(middleware.DeadLetterConfig{}),
						middleware.Retry(middleware.RetryConfig{Attempts: 100, Backoff: stream.Backoff{Max: 500 * time.Millisecond}}),
						middleware.Breaker(middleware.BreakerConfig{Logger: slog.New(slog.DiscardHandler)}),
						middleware.Timeout(time.Second),
					))
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- consumer.Run(ctx) }()
				time.Sleep(20 * time.Second)
				synctest.Wait()
				attempts := 0
				mu.Lock()
				for _, n := range tried {
					attempts += n
				}
				mu.Unlock()
				if attempts > 5+workers+25 {
					t.Errorf("%d attempts in the outage", attempts)
				}
				down.Store(false)
				time.Sleep(2500 * time.Millisecond) // the back-off of the breaker, and that of Retry
				synctest.Wait()
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				if len(done) < 50 {
					t.Errorf("%d of 50 handled", len(done))
				}
				if n := client.XLen(context.Background(), "{payments}:dead").Val(); n != 0 {
					t.Errorf("%d dead letters", n)
				}
			})
		})
	}
}

// A stop does not wait for an open breaker, also with a drain timeout, and is no failure.
func TestBreakerAtTheStop(t *testing.T) {
	t.Parallel()
	for _, drain := range []time.Duration{0, time.Minute} {
		t.Run(fmt.Sprint("drain ", drain), func(t *testing.T) {
			t.Parallel()
			streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
				client := b.Client
				for i := range 10 {
					if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "payments", Values: []string{"id", fmt.Sprint(i)}}).Err(); err != nil {
						t.Fatal(err)
					}
				}
				var tried atomic.Int64
				handle := func(context.Context, *stream.Message[payment]) error {
					tried.Add(1)
					return errBroken
				}
				stack := stream.WithMiddleware(
					middleware.Logging(slog.New(slog.DiscardHandler)),
					middleware.DeadLetter(middleware.DeadLetterConfig{If: func(error) bool { return true }}),
					middleware.Retry(middleware.RetryConfig{Attempts: 1000}),
					middleware.Breaker(middleware.BreakerConfig{Backoff: stream.Backoff{Min: time.Hour}, Logger: slog.New(slog.DiscardHandler)}))
				opts := []stream.Option{stream.WithConcurrency(3), stream.WithLogger(slog.New(slog.DiscardHandler)), stream.WithDrainTimeout(drain), stack}
				group, err := stream.NewGroupConsumer(client, stream.Topic[payment]{Name: "payments"}, "billing", handle, opts...)
				if err != nil {
					t.Fatal(err)
				}
				log, err := stream.NewConsumer(client, stream.Topic[payment]{Name: "payments"}, &offset.Memory{}, handle, opts...)
				if err != nil {
					t.Fatal(err)
				}
				for _, consumer := range []*stream.Consumer[payment]{group, log} {
					ctx, cancel := context.WithCancel(t.Context())
					ended := make(chan error, 1)
					go func() { ended <- consumer.Run(ctx) }()
					time.Sleep(time.Minute)
					begun := time.Now()
					cancel()
					if err := <-ended; err != nil || time.Since(begun) > 100*time.Millisecond {
						t.Errorf("%v stopped after %v, with %v", consumer, time.Since(begun), err)
					}
					if stats := consumer.Stats(); stats.Failed != 0 || stats.DeadLettered != 0 {
						t.Errorf("%v: the stop was a failure: %+v", consumer, stats)
					}
				}
				if n := client.XLen(context.Background(), "{payments}:dead").Val(); n != 0 {
					t.Errorf("%d dead letters", n)
				}
			})
		})
	}
}

// Redis counts no further delivery of an entry that waits at an open breaker, however
// often it is renewed, and none at all once a stop has handed it back.
func TestBreakerLeavesTheCountOfDeliveries(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	for i := range 50 {
		if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "payments", Values: []string{"id", fmt.Sprint(i)}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	tried := make(map[string]int64)
	var changes journal
	consumer, err := stream.NewGroupConsumer(client, stream.Topic[payment]{Name: "payments"}, "billing",
		func(_ context.Context, msg *stream.Message[payment]) error {
			mu.Lock()
			defer mu.Unlock()
			tried[msg.ID]++
			return errBroken
		},
		stream.WithConcurrency(4), stream.WithLogger(slog.New(slog.DiscardHandler)), stream.WithClaimIdle(100*time.Millisecond),
		stream.WithBackoff(stream.Backoff{Min: 10 * time.Millisecond}), stream.WithDrainTimeout(time.Minute),
		stream.WithMiddleware(middleware.Breaker(middleware.BreakerConfig{
			Logger: slog.New(slog.DiscardHandler), OnChange: changes.add, Backoff: stream.Backoff{Min: 50 * time.Millisecond, Max: 50 * time.Millisecond},
		})))
	if err != nil {
		t.Fatal(err)
	}
	deliveries := func() map[string]int64 {
		pending, err := client.XPendingExt(context.Background(), &redis.XPendingExtArgs{Stream: "payments", Group: "billing", Start: "-", End: "+", Count: 100}).Result()
		if err != nil || len(pending) != 50 {
			t.Errorf("%d pending, %v", len(pending), err)
		}
		counts := make(map[string]int64)
		for _, one := range pending {
			counts[one.ID] = one.RetryCount
		}
		return counts
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- consumer.Run(ctx) }()
	streamtest.Await(t, "ten probes have failed", func() bool { return len(changes.all()) > 20 })
	counts := deliveries()
	mu.Lock()
	for id, n := range counts {
		if most := tried[id] + 1; n > most {
			t.Errorf("entry %s was delivered %d times, and tried %d times", id, n, tried[id])
		}
	}
	mu.Unlock()
	begun := time.Now()
	cancel()
	if err := <-ended; err != nil || time.Since(begun) > 5*time.Second {
		t.Errorf("stopped after %v, with %v", time.Since(begun), err)
	}
	for id, n := range deliveries() {
		if n > tried[id] {
			t.Errorf("entry %s was handed back with %d deliveries, and was tried %d times", id, n, tried[id])
		}
	}
}

// A probe that does not return is not waited for alone: others may have to come before
// it can be handled, as in a batch. The next probe is alone again.
func TestBreakerProbeIsJoined(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		free := make(chan struct{})
		handler := middleware.Breaker(middleware.BreakerConfig{
			Failures: 1, Backoff: stream.Backoff{Min: time.Second, Max: 10 * time.Second}, Logger: slog.New(slog.DiscardHandler),
		})(func(context.Context, *stream.Entry) error {
			if calls.Add(1) > 1 {
				<-free
			}
			return errBroken
		})
		deliver := func() { _ = handler(t.Context(), entry()) }
		deliver()
		for range 5 {
			go deliver()
		}
		expect := func(want int64, when string) {
			t.Helper()
			synctest.Wait()
			if n := calls.Load(); n != want {
				t.Errorf("%d calls %s, want %d", n, when, want)
			}
		}
		time.Sleep(10 * time.Second)
		expect(2, "while the probe is young")
		time.Sleep(time.Second)
		expect(6, "when the probe is old")
		go deliver()
		expect(7, "after an entry that came later")
		for range 6 {
			free <- struct{}{} // all fail
		}
		synctest.Wait()
		for range 3 {
			go deliver()
		}
		time.Sleep(5 * time.Second) // the next probe is let through after 1 to 2 seconds
		go deliver()
		expect(8, "with the next probe")
		close(free)
		time.Sleep(time.Minute) // each that waits is a probe, and fails
	})
}

// Batches go on when a sink is back, although a probe is only one message of a batch.
func TestBreakerWithBatches(t *testing.T) {
	t.Parallel()
	discard := slog.New(slog.DiscardHandler)
	type stack = []stream.Middleware
	for name, test := range map[string]struct {
		stack   stack
		options []stream.Option
		group   bool
		dead    bool
	}{
		"log mode":               {stack{middleware.Breaker(middleware.BreakerConfig{Logger: discard})}, nil, false, false},
		"group mode":             {stack{middleware.Breaker(middleware.BreakerConfig{Logger: discard})}, nil, true, false},
		"three batches at once":  {stack{middleware.Breaker(middleware.BreakerConfig{Logger: discard})}, []stream.Option{stream.WithConcurrency(3), stream.WithOrderKey(stream.Field("id"))}, false, false},
		"Standard, log mode":     {stack{middleware.Standard(discard)}, nil, false, true},
		"Standard in group mode": {stack{middleware.Standard(discard)}, []stream.Option{stream.WithConcurrency(3)}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
				ids := make([]string, 200)
				for i := range ids {
					ids[i] = fmt.Sprint(i)
				}
				addPayments(t, b.Client, ids...)
				var mu sync.Mutex
				handled, last := 0, time.Time{}
				back := time.Now().Add(time.Minute)
				handle := func(_ context.Context, batch []*stream.Message[payment]) error {
					mu.Lock()
					defer mu.Unlock()
					if time.Now().Before(back) {
						return errBroken
					}
					handled, last = handled+len(batch), time.Now()
					return nil
				}
				options := append(test.options, stream.WithBatch(10, time.Second), stream.WithLogger(discard), stream.WithMiddleware(test.stack...))
				topic := stream.Topic[payment]{Name: "payments"}
				consumer, err := stream.NewBatchConsumer(b.Client, topic, &offset.Memory{}, handle, options...)
				if test.group {
					consumer, err = stream.NewGroupBatchConsumer(b.Client, topic, "billing", handle, options...)
				}
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				if err := consumer.Run(ctx); err != nil {
					t.Fatal(err)
				}
				dead := len(deadPayments(t, b.Client))
				if handled+dead != len(ids) || (dead > 0) != test.dead || dead > len(ids)/2 {
					t.Errorf("%d handled and %d dead of %d", handled, dead, len(ids))
				}
				if after := last.Sub(back); after > time.Minute {
					t.Errorf("the last was handled %v after the sink was back", after)
				}
				t.Logf("%d handled, %d dead, the last %v after the sink was back", handled, dead, last.Sub(back))
			})
		})
	}
}
