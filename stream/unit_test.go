package stream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
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

// ledger is a table of payments with the position in the same transaction, as the
// package documentation recommends: the rows up to the position are there already.
type ledger struct {
	offset.Memory
	rows     []string
	position offset.ID
}

func (l *ledger) commit(batch []*stream.Message[order]) {
	for _, msg := range batch {
		if id, _ := offset.Parse(msg.ID); id.Compare(l.position) > 0 {
			l.rows, l.position = append(l.rows, msg.Value.ID), id
		}
	}
}

// With the position in the handler's transaction no row is lost, however batches fail,
// with and without attempts in place.
func TestBatchesInATransactionLoseNoRow(t *testing.T) {
	t.Parallel()
	for _, attempts := range []int{1, 3} {
		t.Run(fmt.Sprint(attempts), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, client *redis.Client) {
				addNumbered(t, client, 0, 1000)
				table, calls := &ledger{}, 0
				handle := func(_ context.Context, batch []*stream.Message[order]) error {
					if calls++; calls%3 == 1 {
						return errors.New("deadlock, try again")
					}
					table.commit(batch)
					return nil
				}
				consumer, err := stream.NewBatchConsumer(client, orders, table, handle, quietly([]stream.Option{
					stream.WithBatch(100, 10*time.Millisecond), stream.WithMiddleware(middleware.Retry(middleware.RetryConfig{Attempts: attempts})),
				})...)
				if err != nil {
					t.Fatal(err)
				}
				start(t, consumer)
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if s := consumer.Stats(); s.Handled != 1000 || len(table.rows) != 1000 {
					t.Errorf("%d rows, and %d entries handled, want 1000", len(table.rows), s.Handled)
				}
				for i, row := range table.rows {
					if row != strconv.Itoa(i) {
						t.Fatalf("row %d is of payment %s", i, row)
					}
				}
			})
		})
	}
}

// After an outage of the sink batches are as large as before it, as soon as the failed ones
// are done, however small they were.
func TestBatchesAfterAnOutage(t *testing.T) {
	t.Parallel()
	inBothBatchModes(t, func(t *testing.T, client *redis.Client, construct func(stream.BatchHandler[order], ...stream.Option) *stream.Consumer[order], settled func([]string) int) {
		const size = 100
		ids := addNumbered(t, client, 0, 13)
		rec := &batches{}
		begun := time.Now()
		rec.handle = func(context.Context, []string) error {
			if time.Since(begun) < 20*time.Second {
				return errors.New("down")
			}
			time.Sleep(50 * time.Millisecond) // longer than a batch waits
			return nil
		}
		start(t, construct(rec.Handle, stream.WithBatch(size, 10*time.Millisecond)))
		time.Sleep(time.Second)
		ids = append(ids, addNumbered(t, client, 13, 5013)...)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if n := settled(ids); n != len(ids) {
			t.Errorf("%d entries are settled, want %d", n, len(ids))
		}
		var sizes []int
		for i, batch := range rec.Seen() {
			if rec.at[i].Sub(begun) >= 20*time.Second {
				sizes = append(sizes, len(batch))
			}
		}
		if len(sizes) > 1+5000/size+1 {
			t.Errorf("after the outage %d batches, of %v entries, want 51", len(sizes), sizes)
		}
	})
}

// unitOfFour runs a consumer in group mode whose first batch, of four entries, fails,
// calls spoil while they are held, and returns the batches that were delivered.
func unitOfFour(t *testing.T, client *redis.Client, spoil func(ids []string), handle func(calls int, batch []string) error, opts ...stream.Option) *batches {
	t.Helper()
	ids := addNumbered(t, client, 0, 4)
	rec := &batches{}
	calls := 0
	rec.handle = func(_ context.Context, batch []string) error {
		calls++
		if err := handle(calls, batch); err != nil {
			return err
		}
		if calls == 1 {
			return errors.New("down")
		}
		return nil
	}
	consumer, err := stream.NewGroupBatchConsumer(client, orders, "billing", rec.Handle, append(quietly(opts),
		stream.WithBatch(4, 10*time.Millisecond), stream.WithBackoff(stream.Backoff{Min: 4 * time.Second, Max: 4 * time.Second}), stream.WithClaimIdle(1500*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	start(t, consumer)
	time.Sleep(time.Second)
	spoil(ids)
	time.Sleep(time.Minute)
	synctest.Wait()
	if s := consumer.Stats(); s.Held != 0 || s.Working != 0 {
		t.Errorf("%+v", s)
	}
	return rec
}

// However a member of a failed batch leaves it, the others come back together, and
// without it.
func TestMembersLeaveAFailedBatch(t *testing.T) {
	t.Parallel()
	nothing := func(int, []string) error { return nil }
	partly := func(failure error) func(int, []string) error {
		return func(calls int, batch []string) error {
			errs := make([]error, len(batch))
			for i, id := range batch {
				if id == "1" {
					errs[i] = failure
				} else if calls == 1 {
					errs[i] = errors.New("down")
				}
			}
			return stream.Partial(errs)
		}
	}
	for name, test := range map[string]struct {
		spoil  func(t *testing.T, client *redis.Client, ids []string)
		handle func(int, []string) error
		opts   []stream.Option
	}{
		"claimed by another consumer": {spoil: func(t *testing.T, client *redis.Client, ids []string) {
			if err := client.XClaim(t.Context(), &redis.XClaimArgs{Stream: "orders", Group: "billing", Consumer: "thief", Messages: ids[1:2]}).Err(); err != nil {
				t.Error(err)
			}
			// It lives, and keeps its entries.
			for range 4 {
				time.Sleep(time.Second)
				client.XClaim(t.Context(), &redis.XClaimArgs{Stream: "orders", Group: "billing", Consumer: "thief", Messages: ids[1:2]})
			}
			client.XAck(t.Context(), "orders", "billing", ids[1])
		}},
		"acked by hand": {spoil: func(t *testing.T, client *redis.Client, ids []string) {
			client.XAck(t.Context(), "orders", "billing", ids[1])
		}},
		"skipped":                    {handle: partly(stream.Skip("of no concern"))},
		"done":                       {handle: partly(nil)},
		"dead-lettered":              {handle: partly(stream.Permanent(errors.New("no"))), opts: []stream.Option{toDeadLetters(middleware.DeadLetterConfig{})}},
		"a dead letter, not written": {handle: partly(&stream.DeadLetterError{Stream: "wrong", Err: errors.New("no")})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, client *redis.Client) {
				client.Set(t.Context(), "wrong", "no stream", 0)
				if test.handle == nil {
					test.handle = nothing
				}
				rec := unitOfFour(t, client, func(ids []string) {
					if test.spoil != nil {
						test.spoil(t, client, ids)
					}
					if name == "a dead letter, not written" {
						time.Sleep(20 * time.Second)
						client.Del(t.Context(), "wrong")
					}
				}, test.handle, test.opts...)
				if later := rec.Seen()[1:]; fmt.Sprint(later) != "[[0 2 3]]" {
					t.Errorf("then came %v, want 0, 2 and 3", later)
				} else if after := rec.at[1].Sub(rec.at[0]); after > 10*time.Second {
					t.Errorf("they came after %v, want one back-off", after)
				}
				if ids := pending(t, client); len(ids) > 0 {
					t.Errorf("pending are %v", ids)
				}
			})
		})
	}
}

// A member of a failed batch is deleted from the stream before that comes back.
func TestMemberOfAFailedBatchIsDeleted(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	ids := addNumbered(t, client, 0, 4)
	rec := &batches{}
	rec.handle = failFirst(1)
	consumer, err := stream.NewGroupBatchConsumer(client, orders, "billing", rec.Handle, quietly([]stream.Option{
		stream.WithBatch(4, time.Second), stream.WithBackoff(stream.Backoff{Min: time.Second, Max: time.Second}),
	})...)
	if err != nil {
		t.Fatal(err)
	}
	start(t, consumer)
	eventually(t, "it has failed", func() bool { return consumer.Stats().Held == 4 })
	command(t, client, "XDEL", "orders", ids[0], ids[2])
	eventually(t, "all is over", func() bool { return consumer.Stats().Window == 0 })
	if seen := rec.Seen(); len(seen) != 2 || !slices.Equal(seen[1], []string{"1", "3"}) || consumer.Stats().Lost != 2 {
		t.Errorf("batches %v, %d lost", seen, consumer.Stats().Lost)
	}
}

// Members that are over the limit of deliveries leave their batch, one after the other
// as Redis counts, or all at once.
func TestFailedBatchOverTheLimitOfDeliveries(t *testing.T) {
	t.Parallel()
	for _, discard := range []bool{false, true} {
		t.Run(fmt.Sprint("discard ", discard), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, client *redis.Client) {
				addNumbered(t, client, 0, 8)
				rec := &batches{}
				rec.handle = func(_ context.Context, batch []string) error {
					if slices.Contains(batch, "0") {
						return errors.New("no")
					}
					return nil
				}
				opts := []stream.Option{stream.WithBatch(4, 10*time.Millisecond), stream.WithMaxDeliveries(2), stream.WithBackoff(stream.Backoff{Min: 10 * time.Millisecond, Max: 10 * time.Millisecond})}
				if discard {
					opts = append(opts, stream.WithDiscard())
				}
				consumer, err := stream.NewGroupBatchConsumer(client, orders, "billing", rec.Handle, quietly(opts)...)
				if err != nil {
					t.Fatal(err)
				}
				start(t, consumer)
				time.Sleep(time.Minute)
				want := [][]string{{"0", "1", "2", "3"}, {"4", "5", "6", "7"}, {"0", "1", "2", "3"}}
				seen := rec.Seen()
				slices.SortStableFunc(seen[1:], func(a, b []string) int { return -len(a) + len(b) })
				if len(seen) != 3 || fmt.Sprint(seen) != fmt.Sprint(want) {
					t.Errorf("batches %v, want %v", seen, want)
				}
				if s := consumer.Stats(); s.Parked+int(s.Discarded) != 4 || s.Handled != 4 || s.Held != 0 || s.Working != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// Nothing is begun behind a batch that fails: in log mode later entries get to no
// middleware either, and with several batches at once those at work may end.
func TestNothingBehindAFailedBatch(t *testing.T) {
	t.Parallel()
	for _, atOnce := range []int{1, 3} {
		t.Run(fmt.Sprint(atOnce), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, client *redis.Client) {
				addNumbered(t, client, 0, 60)
				rec := &batches{}
				var down atomic.Bool
				down.Store(true)
				rec.handle = func(_ context.Context, batch []string) error {
					if batch[0] == "0" && down.Load() {
						return errors.New("down")
					}
					time.Sleep(time.Second)
					return nil
				}
				var begun atomic.Int64
				count := func(next stream.EntryHandler) stream.EntryHandler {
					return func(ctx context.Context, entry *stream.Entry) error {
						begun.Add(1)
						return next(ctx, entry)
					}
				}
				consumer, err := stream.NewBatchConsumer(client, orders, &offset.Memory{}, rec.Handle, quietly([]stream.Option{
					stream.WithBatch(10, 10*time.Millisecond), stream.WithConcurrency(atOnce),
					stream.WithMiddleware(count, middleware.Retry(middleware.RetryConfig{Attempts: 1_000_000})),
				})...)
				if err != nil {
					t.Fatal(err)
				}
				start(t, consumer)
				time.Sleep(time.Hour)
				others := 0
				for _, batch := range rec.Seen() {
					if len(batch) != 10 {
						t.Errorf("a batch of %v", batch)
					}
					if batch[0] != "0" {
						others++
					}
				}
				if others >= atOnce {
					t.Errorf("%d other batches were delivered, want fewer than %d", others, atOnce)
				}
				if n := begun.Load(); atOnce == 1 && n != 10 {
					t.Errorf("%d entries were begun, want those of the batch", n)
				}
				down.Store(false)
				time.Sleep(time.Minute)
				if s := consumer.Stats(); s.Handled != 60 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// A stop while messages wait for the rest of their failed batch: it does not wait for
// that, nothing counts as a failure, and the next run has them all.
func TestStopWhileABatchWaitsForItsRest(t *testing.T) {
	t.Parallel()
	inBothBatchModes(t, func(t *testing.T, client *redis.Client, construct func(stream.BatchHandler[order], ...stream.Option) *stream.Consumer[order], settled func([]string) int) {
		ids := addNumbered(t, client, 0, 4)
		rec := &batches{}
		rec.handle = failFirst(1)
		var slow atomic.Int64
		consumer := construct(rec.Handle, stream.WithBatch(4, 10*time.Millisecond), stream.WithDrainTimeout(time.Hour),
			stream.WithMiddleware(middleware.DeadLetter(middleware.DeadLetterConfig{}), middleware.Retry(middleware.RetryConfig{Attempts: 2}), func(next stream.EntryHandler) stream.EntryHandler {
				return func(ctx context.Context, entry *stream.Entry) error {
					if entry.ID == ids[2] && slow.Add(1) == 2 { // at its second attempt
						<-ctx.Done()
						return context.Cause(ctx)
					}
					return next(ctx, entry)
				}
			}))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- consumer.Run(ctx) }()
		time.Sleep(time.Minute)
		if n := len(rec.Seen()); n != 1 {
			t.Errorf("%d batches, want one", n)
		}
		cancel()
		time.Sleep(time.Second)
		if s := consumer.Stats(); s.Working != 1 {
			t.Errorf("%d entries are at work, want the one that is in its middleware", s.Working)
		}
		time.Sleep(time.Hour)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := client.XLen(t.Context(), stream.DeadLetterStream(orders.Name)).Val(); n != 0 || settled(ids) != 0 {
			t.Errorf("%d dead letters, %d settled", n, settled(ids))
		}
		start(t, consumer)
		time.Sleep(time.Minute)
		if seen := rec.Seen(); len(seen) != 2 || len(seen[1]) != 4 || settled(ids) != 4 {
			t.Errorf("batches %v, %d settled", seen, settled(ids))
		}
	})
}

// A batch handler that middleware calls with a context of its own is told, and nothing
// hangs.
func TestBatchWithoutItsContext(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		add(t, client, "a")
		var out logs
		consumer, err := stream.NewBatchConsumer(client, orders, &offset.Memory{}, (&batches{}).Handle, stream.WithLogger(out.Logger()),
			stream.WithMiddleware(func(next stream.EntryHandler) stream.EntryHandler {
				return func(_ context.Context, entry *stream.Entry) error { return next(context.Background(), entry) }
			}))
		if err != nil {
			t.Fatal(err)
		}
		stop := start(t, consumer)
		time.Sleep(time.Second)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if len(out.lines("entry held", "hand that on")) == 0 {
			t.Errorf("the log is\n%s", out.String())
		}
	})
}
