package stream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
)

// batches keeps what a batch handler was given.
type batches struct {
	mu   sync.Mutex
	seen [][]string
	at   []time.Time
	// handle decides about a batch; nil handles it.
	handle func(ctx context.Context, ids []string) error
}

func (b *batches) Handle(ctx context.Context, batch []*stream.Message[order]) error {
	ids := make([]string, len(batch))
	for i, msg := range batch {
		ids[i] = msg.Value.ID
	}
	b.mu.Lock()
	b.seen = append(b.seen, ids)
	b.at = append(b.at, time.Now())
	b.mu.Unlock()
	if b.handle != nil {
		return b.handle(ctx, ids)
	}
	return nil
}

func (b *batches) Seen() [][]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.seen)
}

// last is when the last batch was given.
func (b *batches) last() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.at[len(b.at)-1]
}

// failFirst returns a handle of batches, called by one goroutine at a time, that fails the
// first n times.
func failFirst(n int) func(context.Context, []string) error {
	calls := 0
	return func(context.Context, []string) error {
		if calls++; calls <= n {
			return errors.New("down")
		}
		return nil
	}
}

// inBothBatchModes runs a test in virtual time for each mode. settled returns how
// many of the entries with the given IDs are settled.
func inBothBatchModes(t *testing.T, test func(t *testing.T, client *redis.Client, construct func(stream.BatchHandler[order], ...stream.Option) *stream.Consumer[order], settled func(ids []string) int)) {
	t.Helper()
	t.Run("log", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, client *redis.Client) {
			store := &offset.Memory{}
			test(t, client, func(handle stream.BatchHandler[order], opts ...stream.Option) *stream.Consumer[order] {
				consumer, err := stream.NewBatchConsumer(client, orders, store, handle, quietly(opts)...)
				if err != nil {
					t.Fatal(err)
				}
				return consumer
			}, func(ids []string) int {
				id, _, _ := store.Load(t.Context(), orders.Name)
				return slices.Index(ids, id) + 1
			})
		})
	})
	t.Run("group", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, client *redis.Client) {
			test(t, client, func(handle stream.BatchHandler[order], opts ...stream.Option) *stream.Consumer[order] {
				consumer, err := stream.NewGroupBatchConsumer(client, orders, "billing", handle, quietly(opts)...)
				if err != nil {
					t.Fatal(err)
				}
				return consumer
			}, func(ids []string) int {
				return len(ids) - len(pending(t, client))
			})
		})
	})
}

func addNumbered(t *testing.T, client *redis.Client, from, to int) (ids []string) {
	t.Helper()
	for i := from; i < to; i++ {
		ids = append(ids, add(t, client, strconv.Itoa(i)))
	}
	return ids
}

// A batch is as large as the size says or, when no more come in time, smaller.
func TestBatches(t *testing.T) {
	t.Parallel()
	inBothBatchModes(t, func(t *testing.T, client *redis.Client, construct func(stream.BatchHandler[order], ...stream.Option) *stream.Consumer[order], settled func([]string) int) {
		ids := addNumbered(t, client, 0, 25)
		rec := &batches{}
		begun := time.Now()
		stop := start(t, construct(rec.Handle, stream.WithBatch(10, time.Minute)))
		time.Sleep(30 * time.Second)
		if seen := rec.Seen(); len(seen) != 2 || len(seen[0]) != 10 || len(seen[1]) != 10 || seen[0][0] != "0" || !slices.Equal(seen[1], []string{"10", "11", "12", "13", "14", "15", "16", "17", "18", "19"}) {
			t.Errorf("batches %v, want two of ten in order", seen)
		}
		time.Sleep(31 * time.Second)
		if seen := rec.Seen(); len(seen) != 3 || len(seen[2]) != 5 {
			t.Errorf("batches %v, want a third of five", seen)
		} else if waited := rec.last().Sub(begun); waited < time.Minute || waited > time.Minute+time.Second {
			t.Errorf("the third batch waited %v, want a minute", waited)
		}
		time.Sleep(2 * time.Second)
		if n := settled(ids); n != 25 {
			t.Errorf("%d entries are settled, want 25", n)
		}
		// A stop does not wait for a batch to fill.
		more := addNumbered(t, client, 25, 27)
		time.Sleep(time.Second)
		begun = time.Now()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > time.Second || len(rec.Seen()) != 3 {
			t.Errorf("the stop took %v, %d batches were handled, want 3", took, len(rec.Seen()))
		}
		start(t, construct(rec.Handle, stream.WithBatch(10, time.Second)))
		time.Sleep(5 * time.Second)
		if seen := rec.Seen(); len(seen) != 4 || !slices.Equal(seen[3], []string{"25", "26"}) || settled(append(ids, more...)) != 27 {
			t.Errorf("after the stop the batches are %v", seen)
		}
	})
}

// What fails as a whole is tried again as a whole, or moved to the dead letters,
// entry by entry.
func TestBatchThatFails(t *testing.T) {
	t.Parallel()
	inBothBatchModes(t, func(t *testing.T, client *redis.Client, construct func(stream.BatchHandler[order], ...stream.Option) *stream.Consumer[order], settled func([]string) int) {
		ids := addNumbered(t, client, 0, 10)
		rec := &batches{}
		rec.handle = failFirst(2)
		start(t, construct(rec.Handle, stream.WithBatch(10, time.Second),
			stream.WithMiddleware(middleware.DeadLetter(middleware.DeadLetterConfig{}), middleware.Retry(middleware.RetryConfig{Attempts: 2, Backoff: stream.Backoff{Min: time.Millisecond, Max: time.Millisecond}}))))
		time.Sleep(time.Minute)
		synctest.Wait()
		// Twice in place, then all are given up.
		if seen := rec.Seen(); len(seen) != 2 || len(seen[0]) != 10 || len(seen[1]) != 10 {
			t.Errorf("batches %v, want two of ten", seen)
		}
		if n := client.XLen(t.Context(), stream.DeadLetterStream(orders.Name)).Val(); n != 10 {
			t.Errorf("%d dead letters, want 10", n)
		}
		if n := settled(ids); n != 10 {
			t.Errorf("%d entries are settled, want 10", n)
		}
	})
}

// Each entry of a batch has an end of its own: done, held and delivered again,
// skipped, a dead letter, or not decoded and in no batch at all.
func TestBatchWithResultsOfItsOwn(t *testing.T) {
	t.Parallel()
	inBothBatchModes(t, func(t *testing.T, client *redis.Client, construct func(stream.BatchHandler[order], ...stream.Option) *stream.Consumer[order], settled func([]string) int) {
		ids := addNumbered(t, client, 0, 3)
		ids = append(ids, addFields(t, client, "amount", "no number"))
		ids = append(ids, addNumbered(t, client, 3, 6)...)
		rec := &batches{}
		held := 0
		rec.handle = func(_ context.Context, batch []string) error {
			errs := make([]error, len(batch))
			for i, id := range batch {
				switch id {
				case "1":
					if held++; held < 3 {
						errs[i] = errors.New("not yet")
					}
				case "2":
					errs[i] = stream.Skip("of no concern")
				case "4":
					errs[i] = stream.Permanent(errors.New("never"))
				}
			}
			return stream.Partial(errs)
		}
		start(t, construct(rec.Handle, stream.WithBatch(6, time.Second), stream.WithMiddleware(middleware.DeadLetter(middleware.DeadLetterConfig{}))))
		time.Sleep(time.Minute)
		synctest.Wait()
		want := [][]string{{"0", "1", "2", "3", "4", "5"}, {"1"}, {"1"}}
		if seen := rec.Seen(); fmt.Sprint(seen) != fmt.Sprint(want) {
			t.Errorf("batches %v, want %v", seen, want)
		}
		if n := client.XLen(t.Context(), stream.DeadLetterStream(orders.Name)).Val(); n != 2 {
			t.Errorf("%d dead letters, want 2: the malformed entry and 4", n)
		}
		if n := settled(ids); n != 7 {
			t.Errorf("%d entries are settled, want 7", n)
		}
	})
}

func TestBisect(t *testing.T) {
	t.Parallel()
	inBothBatchModes(t, func(t *testing.T, client *redis.Client, construct func(stream.BatchHandler[order], ...stream.Option) *stream.Consumer[order], settled func([]string) int) {
		ids := addNumbered(t, client, 0, 16)
		done := make(map[string]int)
		rec := &batches{}
		rec.handle = func(_ context.Context, batch []string) error {
			if slices.Contains(batch, "5") {
				return stream.Permanent(errors.New("5 is not wanted"))
			}
			for _, id := range batch {
				done[id]++
			}
			return nil
		}
		start(t, construct(stream.Bisect(rec.Handle), stream.WithBatch(16, time.Second), stream.WithMiddleware(middleware.DeadLetter(middleware.DeadLetterConfig{}))))
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(done) != 15 || len(rec.Seen()) != 9 {
			t.Errorf("%d entries are done, want 15, with %d calls, want 9", len(done), len(rec.Seen()))
		}
		if n := client.XLen(t.Context(), stream.DeadLetterStream(orders.Name)).Val(); n != 1 || settled(ids) != 16 {
			t.Errorf("%d dead letters, want 1; %d settled, want 16", n, settled(ids))
		}
	})
}

// A batch handler that panics, ends its goroutine or tells of too few messages has
// failed with all of them; nothing hangs.
func TestBatchHandlerThatMisbehaves(t *testing.T) {
	t.Parallel()
	for name, misbehave := range map[string]func() error{
		"panic":  func() error { panic("no") },
		"goexit": func() error { goexit(); return nil },
		"short":  func() error { return stream.Partial([]error{errors.New("no")}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBothBatchModes(t, func(t *testing.T, client *redis.Client, construct func(stream.BatchHandler[order], ...stream.Option) *stream.Consumer[order], settled func([]string) int) {
				ids := addNumbered(t, client, 0, 4)
				rec := &batches{}
				calls := 0
				rec.handle = func(context.Context, []string) error {
					if calls++; calls == 1 {
						return misbehave()
					}
					return nil
				}
				start(t, construct(rec.Handle, stream.WithBatch(4, time.Second)))
				time.Sleep(time.Minute)
				synctest.Wait()
				if n := settled(ids); n != 4 || calls < 2 {
					t.Errorf("%d entries are settled after %d calls, want 4", n, calls)
				}
			})
		})
	}
}

// Several batches are handled at once if the concurrency says so, and no more.
func TestBatchesAtOnce(t *testing.T) {
	t.Parallel()
	inBothBatchModes(t, func(t *testing.T, client *redis.Client, construct func(stream.BatchHandler[order], ...stream.Option) *stream.Consumer[order], settled func([]string) int) {
		ids := addNumbered(t, client, 0, 100)
		var mu sync.Mutex
		working, most := 0, 0
		rec := &batches{}
		rec.handle = func(context.Context, []string) error {
			mu.Lock()
			working++
			most = max(most, working)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			working--
			mu.Unlock()
			return nil
		}
		start(t, construct(rec.Handle, stream.WithBatch(10, 10*time.Millisecond), stream.WithConcurrency(3)))
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := settled(ids); n != 100 || most != 3 {
			t.Errorf("%d entries are settled, want 100; %d batches at once, want 3", n, most)
		}
	})
}
