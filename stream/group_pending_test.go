package stream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"millrace/middleware"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// The name of a dead consumer is removed, and not the entries pending on it, which are more
// than can be taken over at once.
func TestWhatIsPendingOnADeadConsumerIsNotRemoved(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	const total, claimIdle = 500, 10 * time.Millisecond
	names := make([]string, total)
	for i := range names {
		names[i] = fmt.Sprintf("%03d", i)
	}
	leave(t, client, "millrace:host:1:a", names...)
	<-time.After(50 * claimIdle) // so long that the name may be removed
	rec := newRecorder()
	start(t, newGroup(t, client, rec.Handle, stream.WithClaimIdle(claimIdle), stream.WithReadCount(10)))
	seen := rec.await(t, total)
	settled(t, client)
	slices.Sort(seen)
	if distinct := slices.Compact(seen); !slices.Equal(distinct, names) {
		t.Errorf("handled %d of %d", len(distinct), total)
	}
	eventually(t, "the name is removed in the end", func() bool {
		return !slices.Contains(consumers(t, client), "millrace:host:1:a")
	})
}

// A stop hands back all that was not begun, however much.
func TestGroupStopHandsBackMoreThanAHundred(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	const total = 350
	for i := range total {
		add(t, client, fmt.Sprint(i))
	}
	first := newRecorder()
	first.handle = func(ctx context.Context, _ *stream.Message[order]) error {
		<-ctx.Done()
		return ctx.Err()
	}
	never := stream.WithClaimIdle(time.Hour)
	stop := start(t, newGroup(t, client, first.Handle, never))
	first.await(t, 1)
	eventually(t, "all are pending", func() bool { return len(pending(t, client)) == total })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if names := consumers(t, client); !slices.Equal(names, []string{"millrace/handed-back"}) {
		t.Errorf("after the stop there are consumers %q", names)
	}
	second := newRecorder()
	start(t, newGroup(t, client, second.Handle, never))
	if seen := second.await(t, total); len(seen) != total {
		t.Errorf("%d deliveries, want %d", len(seen), total)
	}
	settled(t, client)
}

// An entry that is left pending over the limit of deliveries holds up nothing behind it of
// the same order key.
func TestParkedEntryLeavesItsKey(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	leave(t, client, "dead", "parked") // delivered once
	rec := newRecorder()
	consumer := newGroup(t, client, rec.Handle, stream.WithClaimIdle(50*time.Millisecond), stream.WithMaxDeliveries(1),
		stream.WithOrderKey(stream.Field("amount")), stream.WithConcurrency(4))
	start(t, consumer)
	eventually(t, "it is parked", func() bool { return consumer.Stats().Parked == 1 })
	for _, id := range []string{"a", "b", "c"} {
		add(t, client, id)
	}
	if seen := rec.await(t, 3); !slices.Equal(seen, []string{"a", "b", "c"}) {
		t.Errorf("handled %v", seen)
	}
	eventually(t, "only it is pending", func() bool { return len(pending(t, client)) == 1 })
}

// A dead letter says how often processing was tried: a delivery that is over the limit
// is no try.
func TestAttemptsInDeadLetters(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		limit int64
		retry int // in place, at each delivery
		want  string
	}{
		"one delivery, over the limit":    {limit: 1, retry: 0, want: "1"},
		"three deliveries":                {limit: 3, retry: 0, want: "3"},
		"given up at the second delivery": {limit: 5, retry: 4, want: "4"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := streamtest.StartRedis(t, "--appendonly", "no").Client()
			leave(t, client, "dead", "x")
			var mu sync.Mutex
			tried := 1 // by the one that is dead
			rec := newRecorder()
			rec.handle = func(context.Context, *stream.Message[order]) error {
				mu.Lock()
				defer mu.Unlock()
				tried++
				return errors.New("no")
			}
			stack := []stream.Middleware{middleware.DeadLetter(middleware.DeadLetterConfig{})}
			if test.retry > 0 {
				stack = append(stack, middleware.Retry(middleware.RetryConfig{Attempts: test.retry, Backoff: stream.Backoff{Min: 1, Max: 1}}))
			}
			start(t, newGroup(t, client, rec.Handle, stream.WithClaimIdle(50*time.Millisecond), stream.WithMaxDeliveries(test.limit),
				stream.WithBackoff(stream.Backoff{Min: time.Millisecond, Max: time.Millisecond}), stream.WithMiddleware(stack...)))
			settled(t, client)
			letters := deadLetters(t, client, stream.DeadLetterStream(orders.Name))
			if len(letters) != 1 {
				t.Fatalf("there are %d dead letters", len(letters))
			}
			if at := slices.Index(letters[0], stream.DeadLetterAttempts); letters[0][at+1] != test.want {
				t.Errorf("it says %s attempts, want %s; the handler was called %d times in all", letters[0][at+1], test.want, tried)
			}
		})
	}
}

// Entries that are left pending over the limit take no room from new ones.
func TestParkedEntriesLeaveRoom(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	leave(t, client, "dead", "a", "b", "c", "d", "e")
	rec := newRecorder()
	consumer := newGroup(t, client, rec.Handle, stream.WithClaimIdle(50*time.Millisecond), stream.WithMaxDeliveries(1), stream.WithWindow(5))
	start(t, consumer)
	eventually(t, "they are parked", func() bool { return consumer.Stats().Parked == 5 })
	for i := range 20 {
		add(t, client, fmt.Sprint(i))
	}
	rec.await(t, 20)
	eventually(t, "only they are pending", func() bool { return len(pending(t, client)) == 5 })
}
