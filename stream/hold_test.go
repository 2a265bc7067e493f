package stream_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
)

func TestFailedEntryIsHeldUntilItSucceeds(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		first := add(t, client, "a")
		add(t, client, "b")
		last := add(t, client, "c")
		store := &offset.Memory{}
		var waits []time.Duration
		var deliveries []int64
		previous := time.Now()
		rec := newRecorder()
		rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
			if msg.Value.ID != "b" {
				return nil
			}
			waits = append(waits, time.Since(previous))
			deliveries = append(deliveries, msg.Deliveries)
			previous = time.Now()
			if id, _, _ := store.Load(t.Context(), "orders"); msg.Deliveries > 1 && id != first {
				t.Errorf("while b is held, the offset is %q, want that of a, %q", id, first)
			}
			if len(deliveries) < 3 {
				return errors.New("not yet")
			}
			return nil
		}
		stop := start(t, newConsumer(t, client, store, rec.Handle, stream.WithBackoff(stream.Backoff{Min: 10 * time.Second, Max: time.Minute})))
		synctest.Wait()
		if seen := rec.Seen(); !slices.Equal(seen, []string{"a", "b"}) {
			t.Errorf("before the wait is over, %v was delivered", seen)
		}
		time.Sleep(time.Minute) // virtual
		synctest.Wait()
		if seen := rec.Seen(); !slices.Equal(seen, []string{"a", "b", "b", "b", "c"}) {
			t.Errorf("delivered %v", seen)
		}
		if !slices.Equal(deliveries, []int64{1, 2, 3}) {
			t.Errorf("delivery counts %v", deliveries)
		}
		if waits[1] < 5*time.Second || waits[1] > 10*time.Second || waits[2] < 10*time.Second || waits[2] > 20*time.Second {
			t.Errorf("waited %v, want half to whole of 10s, then of 20s", waits[1:])
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if id, _, _ := store.Load(context.Background(), "orders"); id != last {
			t.Errorf("the offset is %q, want %q", id, last)
		}
	})
}

func TestEntryThatFailsForEverIsNeverPassed(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func() error{
		"error":          func() error { return errors.New("no") },
		"permanent":      func() error { return stream.Permanent(errors.New("no")) },
		"panic":          func() error { panic("no") },
		"run-time panic": func() error { return []error{}[len(os.Args)+1] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, client *redis.Client) {
				first := add(t, client, "a")
				add(t, client, "bad")
				add(t, client, "behind")
				store := &offset.Memory{}
				var out logs
				rec := newRecorder()
				rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
					if msg.Value.ID == "bad" {
						return fail()
					}
					return nil
				}
				stop := start(t, newConsumer(t, client, store, rec.Handle, stream.WithLogger(out.Logger())))
				time.Sleep(24 * time.Hour) // virtual
				synctest.Wait()
				seen := rec.Seen()
				if slices.Contains(seen, "behind") {
					t.Error("an entry behind the held one was delivered")
				}
				// A day of waits of at most 2s, at least half of that each: it holds up others.
				if n := len(seen) - 1; n < 24*1800 || n > 24*1800*2+20 {
					t.Errorf("tried %d times in a day", n)
				}
				if id, _, _ := store.Load(t.Context(), "orders"); id != first {
					t.Errorf("the offset is %q, want %q", id, first)
				}
				if held := out.lines("ERROR", "entry held", "entry_id="); len(held) != 1 {
					t.Errorf("%d lines for the first failure", len(held))
				}
				if sums := out.lines("ERROR", "entries held", "held=1", "oldest=", "failures="); len(sums) < 24*110 || len(sums) > 24*120 {
					t.Errorf("%d sums in a day, want one in half a minute", len(sums))
				}
				if single := out.lines("DEBUG", "entry held"); len(single) < len(seen)-1-24*120-1 {
					t.Errorf("%d single lines for %d failures", len(single), len(seen)-1)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestSkippedEntryIsLoggedAndPassed(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		id := add(t, client, "a")
		store := &offset.Memory{}
		var out logs
		rec := newRecorder()
		rec.handle = func(context.Context, *stream.Message[order]) error { return stream.Skip("of no concern") }
		start(t, newConsumer(t, client, store, rec.Handle, stream.WithLogger(out.Logger())))
		time.Sleep(time.Minute)
		if saved, _, _ := store.Load(t.Context(), "orders"); saved != id || len(rec.Seen()) != 1 {
			t.Errorf("offset %q after %d deliveries, want %q after 1", saved, len(rec.Seen()), id)
		}
		if len(out.lines("INFO", "skipped", "entry_id="+id, `reason="of no concern"`, "stream=orders", "label=orders")) != 1 {
			t.Errorf("the skip is not in the log:\n%s", out.String())
		}
	})
}

func TestUndecodableEntriesAreLoggedAndPassed(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		var bad []string
		add(t, client, "first")
		for _, pairs := range [][]string{
			{"amount", "1"},
			{"id", "", "amount", "1"},
			{"id", "x", "amount", "s3cr3t"},
			{"id", "x", "amount", ""},
			{"id", "x", "amount", "0x10"},
			{"id", "x", "amount", "1_000"},
			{"id", "x", "amount", "1e3"},
			{"id", "x", "amount", "99999999999999999999"},
			{"unknown", "s3cr3t"},
			{"", ""},
			{"id\x00", "x"},
			{"id", "x", "amount", "1\x00"},
			{"id", "x", "amount", "\xff\xfe"},
			{"id", "x", "amount", strings.Repeat("9", 10<<20)},
		} {
			bad = append(bad, addFields(t, client, pairs...))
			add(t, client, "good\xff\x00")
		}
		store := &offset.Memory{}
		var out logs
		rec := newRecorder()
		start(t, newConsumer(t, client, store, rec.Handle, stream.WithLogger(out.Logger())))
		time.Sleep(time.Minute)
		if n := len(rec.Seen()); n != 1+len(bad) {
			t.Errorf("%d good entries were delivered, want %d", n, 1+len(bad))
		}
		for _, id := range bad {
			if len(out.lines("WARN", "cannot be decoded", "entry_id="+id+" ")) != 1 {
				t.Errorf("entry %s is not in the log", id)
			}
		}
		if len(out.lines("s3cr3t")) != 0 {
			t.Errorf("a field's value is in the log:\n%s", out.String())
		}
	})
}

// What a stop interrupts is no failure: it is not passed, not counted, not a
// dead letter, and the next run has it again.
func TestCancelIsNoFailure(t *testing.T) {
	t.Parallel()
	for name, result := range map[string]func(context.Context) error{
		"the context's error": func(ctx context.Context) error { return ctx.Err() },
		"another error":       func(context.Context) error { return errors.New("broken off") },
		"a dead letter":       func(ctx context.Context) error { return &stream.DeadLetterError{Err: ctx.Err()} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, client *redis.Client) {
				first := add(t, client, "a")
				add(t, client, "b")
				store := &offset.Memory{}
				var out logs
				var interrupted atomic.Bool
				rec := newRecorder()
				rec.handle = func(ctx context.Context, msg *stream.Message[order]) error {
					if msg.Value.ID == "b" && !interrupted.Swap(true) {
						<-ctx.Done()
						return result(ctx)
					}
					return nil
				}
				consumer := newConsumer(t, client, store, rec.Handle, stream.WithLogger(out.Logger()))
				stop := start(t, consumer)
				synctest.Wait()
				if err := stop(); err != nil {
					t.Errorf("Run returned %v", err)
				}
				if id, _, _ := store.Load(context.Background(), "orders"); id != first {
					t.Errorf("the offset is %q, want that of what was finished, %q", id, first)
				}
				if len(out.lines("ERROR")) != 0 {
					t.Errorf("logged as a failure:\n%s", out.String())
				}
				start(t, consumer)
				synctest.Wait()
				if seen := rec.Seen(); !slices.Equal(seen, []string{"a", "b", "b"}) {
					t.Errorf("delivered %v", seen)
				}
				if n := client.XLen(t.Context(), stream.DeadLetterStream("orders")).Val(); n != 0 {
					t.Errorf("%d dead letters", n)
				}
			})
		})
	}
}

// A slow handler stops the reading: what is in memory is four batches.
func TestReadsNoMoreThanTheWindow(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		for range 100 {
			add(t, client, "x")
		}
		rec := newRecorder()
		release := make(chan struct{})
		rec.handle = func(context.Context, *stream.Message[order]) error { <-release; return nil }
		counter := &readCounter{}
		start(t, newConsumer(t, withReadsCounted(client, counter), &offset.Memory{}, rec.Handle, stream.WithReadCount(10)))
		time.Sleep(time.Hour)
		if n := counter.reads.Load(); n != 4 {
			t.Errorf("%d reads while the first entry is processed, want 4", n)
		}
		close(release)
		time.Sleep(time.Minute)
		if n := len(rec.Seen()); n != 100 {
			t.Errorf("%d deliveries in the end, want 100", n)
		}
	})
}

// A slow batch saves its offset on the way.
func TestOffsetIsSavedWhileABatchLasts(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		var ids []string
		for range 10 {
			ids = append(ids, add(t, client, "x"))
		}
		store := &offset.Memory{}
		rec := newRecorder()
		rec.handle = func(ctx context.Context, _ *stream.Message[order]) error {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			<-ctx.Done()
			return nil
		}
		start(t, newConsumer(t, client, store, rec.Handle))
		time.Sleep(5*time.Minute + time.Second)
		if id, _, _ := store.Load(t.Context(), "orders"); id != ids[4] {
			t.Errorf("in the middle of the batch the offset is %q, want %q", id, ids[4])
		}
	})
}

// A middleware that panics does not end the consumer either.
func TestPanickingMiddleware(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		add(t, client, "a")
		rec := newRecorder()
		panics := 0
		start(t, newConsumer(t, client, &offset.Memory{}, rec.Handle, stream.WithMiddleware(func(next stream.EntryHandler) stream.EntryHandler {
			return func(ctx context.Context, entry *stream.Entry) error {
				if panics++; panics < 3 {
					panic("no")
				}
				return next(ctx, entry)
			}
		})))
		time.Sleep(time.Minute)
		synctest.Wait()
		if seen := rec.Seen(); !slices.Equal(seen, []string{"a"}) || panics != 3 {
			t.Errorf("delivered %v after %d attempts", seen, panics)
		}
	})
}
