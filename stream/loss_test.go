package stream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// losses are those that a consumer has told of.
type losses struct {
	mu   sync.Mutex
	list []stream.LossError
}

// policy notes the loss and decides like next.
func (l *losses) policy(next stream.LossPolicy) stream.Option {
	return stream.WithLossPolicy(func(ctx context.Context, loss *stream.LossError) (stream.Start, error) {
		l.mu.Lock()
		l.list = append(l.list, *loss)
		l.mu.Unlock()
		return next(ctx, loss)
	})
}

func (l *losses) get() []stream.LossError {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

// addAs adds an order under an ID of the test's choice.
func addAs(t testing.TB, client redis.UniversalClient, id, order string) {
	t.Helper()
	if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, ID: id, Values: []string{"id", order, "amount", "1"}}).Err(); err != nil {
		t.Fatal(err)
	}
}

// Whatever happens to a stream behind the back of a consumer that reads together with
// others is told, once, with its cause, and what the stream still has is handled. What
// one that reads alone tells is in the room faults.
func TestLossesInARunner(t *testing.T) {
	t.Parallel()
	fill := func(t *testing.T, client redis.Cmdable, from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			client.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, Values: []string{"id", fmt.Sprint(i), "amount", "1"}})
		}
	}
	for name, row := range map[string]struct {
		harm  func(t *testing.T, tx redis.Pipeliner) // behind ten entries that were handled
		cause stream.LossCause
		count int64 // while the consumer runs: with the ten that it has not read
		exact bool
		want  []string // handled afterwards, among others that are handled again
		// between is set if it is for a consumer that waits for entries.
		between bool
	}{
		"trimmed": {func(t *testing.T, tx redis.Pipeliner) {
			t.Helper()
			fill(t, tx, 10, 30)
			tx.XTrimMaxLen(t.Context(), orders.Name, 5)
		}, stream.LossTrimmed, 25, true, []string{"25", "29"}, false},
		"trimmed between two reads": {func(t *testing.T, tx redis.Pipeliner) {
			t.Helper()
			fill(t, tx, 10, 30)
			tx.XTrimMaxLen(t.Context(), orders.Name, 5)
		}, stream.LossTrimmed, 15, true, []string{"25", "29"}, true},
		"trimmed to nothing": {func(t *testing.T, tx redis.Pipeliner) {
			t.Helper()
			fill(t, tx, 10, 30)
			tx.XTrimMaxLen(t.Context(), orders.Name, 0)
			fill(t, tx, 30, 31)
		}, stream.LossTrimmed, 30, true, []string{"30"}, false},
		"deleted between two reads": {func(t *testing.T, tx redis.Pipeliner) {
			t.Helper()
			fill(t, tx, 10, 15)
			for _, id := range []string{"9999999999990-1", "9999999999990-2"} {
				tx.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, ID: id, Values: []string{"id", id, "amount", "1"}})
			}
			tx.XDel(t.Context(), orders.Name, "9999999999990-1")
		}, stream.LossTrimmed, 1, true, []string{"10", "14", "9999999999990-2"}, true},
		"deleted and made again": {func(t *testing.T, tx redis.Pipeliner) {
			t.Helper()
			tx.Del(t.Context(), orders.Name)
			fill(t, tx, 10, 15)
		}, stream.LossRecreated, -1, false, []string{"10", "14"}, false},
		"made again between two reads": {func(t *testing.T, tx redis.Pipeliner) {
			t.Helper()
			tx.Del(t.Context(), orders.Name)
			tx.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, ID: "5-1", Values: []string{"id", "early", "amount", "1"}})
			tx.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, ID: "9999999999990-0", Values: []string{"id", "late", "amount", "1"}})
		}, stream.LossRecreated, -1, false, []string{"late", "early"}, true},
		"flushed": {func(t *testing.T, tx redis.Pipeliner) {
			t.Helper()
			fill(t, tx, 10, 15)
			tx.Del(t.Context(), orders.Name)
		}, stream.LossRecreated, -1, false, nil, false},
		"ahead": {func(t *testing.T, tx redis.Pipeliner) {
			t.Helper()
			tx.Del(t.Context(), orders.Name)
			tx.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, ID: "5-1", Values: []string{"id", "early", "amount", "1"}})
		}, stream.LossAhead, -1, false, []string{"early"}, false},
		"replaced": {func(t *testing.T, tx redis.Pipeliner) {
			t.Helper()
			tx.Del(t.Context(), orders.Name)
			tx.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, ID: "5-1", Values: []string{"id", "early", "amount", "1"}})
			tx.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, ID: "9999999999990-0", Values: []string{"id", "late", "amount", "1"}})
		}, stream.LossReplaced, -1, false, []string{"early", "late"}, false},
	} {
		for when, running := range map[string]bool{"while it runs": true, "while it is down": false} {
			if row.between && !running {
				continue
			}
			t.Run(name+" "+when, func(t *testing.T) {
				t.Parallel()
				client := streamtest.StartRedis(t, "--appendonly", "no").Client()
				store, err := offset.NewRedis(client, "")
				if err != nil {
					t.Fatal(err)
				}
				fill(t, client, 0, 10)
				var told losses
				var out logs
				rec := newRecorder()
				hold := make(chan struct{})
				rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
					if msg.Value.ID == "hold" {
						<-hold
					}
					return nil
				}
				run := func() (stop func() error) {
					var r stream.Runner
					r.Add(newConsumer(t, client, store, rec.Handle, told.policy(stream.ResumeAtKnown), stream.WithLogger(out.Logger()),
						stream.WithReadCount(10), stream.WithWindow(10), stream.WithBlock(20*time.Millisecond), stream.WithInspection(30*time.Millisecond)))
					return start(t, &r)
				}
				stop := run()
				rec.await(t, 10)
				streamtest.Await(t, "the offset is saved", func() bool {
					id, _, _ := store.Load(t.Context(), orders.Name)
					last := client.XRevRangeN(t.Context(), orders.Name, "+", "-", 1).Val()
					return len(last) == 1 && last[0].ID == id
				})
				switch {
				case !running:
					if err := stop(); err != nil {
						t.Fatal(err)
					}
				case !row.between:
					// It must not be reading while the stream is changed.
					add(t, client, "hold")
					rec.await(t, 11)
					fill(t, client, 100, 110)
				}
				tx := client.TxPipeline()
				row.harm(t, tx)
				if _, err := tx.Exec(t.Context()); err != nil {
					t.Fatal(err)
				}
				if running {
					close(hold)
				} else {
					run()
				}
				t.Cleanup(func() {
					if t.Failed() {
						t.Logf("handled %v\n%s\n%v", rec.Seen(), out.String(), client.XInfoStream(context.Background(), orders.Name).Val())
					}
				})
				streamtest.Await(t, "the loss is told", func() bool { return len(told.get()) > 0 })
				for _, want := range row.want {
					streamtest.Await(t, "what is there is handled: "+want, func() bool { return slices.Contains(rec.Seen(), want) })
				}
				loss := told.get()[0]
				if running && (loss.Count != row.count || loss.Exact != row.exact) {
					t.Errorf("told %+v, want %d, exact %t", loss, row.count, row.exact)
				}
				// Made again within a millisecond it has an entry with the same ID.
				sameMs := row.cause == stream.LossRecreated && loss.Cause == stream.LossReplaced
				if loss.Cause != row.cause && !sameMs || loss.Label != orders.Name || loss.Stream != orders.Name || loss.From == "" {
					t.Errorf("told %+v, want the cause %q", loss, row.cause)
				}
				if len(out.lines("ERROR", "entries lost")) == 0 {
					t.Errorf("the log does not say so:\n%s", out.String())
				}
			})
		}
	}
}

// wantLossOnStop: with StopOnLoss Run returns the loss.
func TestStopOnLoss(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t, "--appendonly", "no")
	client := server.Client()
	store := &offset.Memory{}
	if err := store.Save(t.Context(), orders.Name, "9999999999999-0"); err != nil {
		t.Fatal(err)
	}
	add(t, client, "a")
	err := newConsumer(t, client, store, newRecorder().Handle, stream.WithLossPolicy(stream.StopOnLoss)).Run(t.Context())
	var loss *stream.LossError
	if !errors.As(err, &loss) || loss.Cause != stream.LossAhead || !strings.Contains(err.Error(), "policy says stop") {
		t.Errorf("Run returned %v", err)
	}
	wrong := errors.New("no, thanks")
	err = newConsumer(t, client, store, newRecorder().Handle, stream.WithLossPolicy(func(context.Context, *stream.LossError) (stream.Start, error) {
		return stream.Start{}, wrong
	})).Run(t.Context())
	if !errors.As(err, &loss) || !errors.Is(err, wrong) {
		t.Errorf("Run returned %v, want the loss and the policy's error", err)
	}
}

// Where a policy goes on, and that the offset follows it, also backwards.
func TestLossPolicies(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		policy stream.LossPolicy
		want   []string
	}{
		"first":    {stream.ResumeAtFirst, []string{"1", "2", "3", "4", "new"}},
		"known":    {nil, []string{"1", "2", "3", "4", "new"}}, // after a restart nothing is known
		"end":      {stream.ResumeAtEnd, []string{"new"}},
		"back":     {stream.ResumeBack(1500 * time.Millisecond), []string{"3", "4", "new"}},
		"callback": {func(context.Context, *stream.LossError) (stream.Start, error) { return stream.FromID("3000-0"), nil }, []string{"4", "new"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := streamtest.StartRedis(t, "--appendonly", "no")
			client := server.Client()
			store, err := offset.NewRedis(client, "")
			if err != nil {
				t.Fatal(err)
			}
			if err := store.Save(t.Context(), orders.Name, "9000-0"); err != nil {
				t.Fatal(err)
			}
			for i := range 4 {
				addAs(t, client, fmt.Sprintf("%d000-0", i+1), fmt.Sprint(i+1))
			}
			var told losses
			policy := row.policy
			if policy == nil {
				policy = stream.ResumeAtKnown
			}
			rec := newRecorder()
			stop := start(t, newConsumer(t, client, store, rec.Handle, told.policy(policy)))
			streamtest.Await(t, "the loss is told", func() bool { return len(told.get()) == 1 })
			streamtest.Await(t, "the offset follows", func() bool {
				id, _, _ := store.Load(t.Context(), orders.Name)
				return id != "9000-0"
			})
			addAs(t, client, "5000-0", "new")
			seen := rec.await(t, len(row.want))
			if err := stop(); err != nil {
				t.Error(err)
			}
			if !slices.Equal(seen, row.want) {
				t.Errorf("handled %v, want %v", seen, row.want)
			}
			if id, _, _ := store.Load(t.Context(), orders.Name); id != "5000-0" {
				t.Errorf("the offset is %s, want 5000-0", id)
			}
			// A restart finds nothing wrong.
			stop = start(t, newConsumer(t, client, store, rec.Handle, told.policy(policy)))
			addAs(t, client, "6000-0", "newer")
			rec.await(t, len(row.want)+1)
			if err := stop(); err != nil {
				t.Error(err)
			}
			if n := len(told.get()); n != 1 {
				t.Errorf("%d losses were told, want 1", n)
			}
		})
	}
}

// After a failover only what the new timeline has instead is handled, not all of
// it again: the consumer knows what it has read.
func TestResumeAtKnownAfterAFailover(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t, "--appendonly", "no")
	client := server.Client()
	for i := range 40 {
		addAs(t, client, fmt.Sprintf("%d-0", i+1), fmt.Sprint(i))
	}
	var told losses
	rec := newRecorder()
	store := &offset.Memory{}
	start(t, newConsumer(t, client, store, rec.Handle, told.policy(stream.ResumeAtKnown), stream.WithReadCount(4),
		stream.WithBlock(20*time.Millisecond), stream.WithInspection(30*time.Millisecond)))
	rec.await(t, 40)
	// The new master has the first 30 of them, and two others.
	pipe := client.TxPipeline()
	pipe.Del(t.Context(), orders.Name)
	for i := range 30 {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, ID: fmt.Sprintf("%d-0", i+1), Values: []string{"id", fmt.Sprint(i), "amount", "1"}})
	}
	pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, ID: "30-1", Values: []string{"id", "other", "amount", "1"}})
	pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, ID: "30-2", Values: []string{"id", "another", "amount", "1"}})
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	streamtest.Await(t, "the others are handled", func() bool { return slices.Contains(rec.Seen(), "another") })
	again := rec.Seen()[40:]
	if len(again) < 2 || len(again) > 2+4 {
		t.Errorf("handled %v after the failover, want the two others and less than a batch again", again)
	}
	if list := told.get(); len(list) != 1 || list[0].Cause != stream.LossAhead {
		t.Errorf("told %+v, want one that is ahead", list)
	}
	streamtest.Await(t, "the offset follows", func() bool {
		id, _, _ := store.Load(t.Context(), orders.Name)
		return id == "30-2"
	})
}

// Nothing is told that is none, however often it is looked: trims of what was handled,
// deletes, restarts, cut connections. See also the room faults.
func TestNoLossInCleanSteps(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t, "--appendonly", "no")
	client := server.Client()
	store, err := offset.NewRedis(client, "")
	if err != nil {
		t.Fatal(err)
	}
	var told losses
	rec := newRecorder()
	steps := 10_000
	if testing.Short() {
		steps = 1000
	}
	run := func() func() error {
		return start(t, newConsumer(t, client, store, rec.Handle, told.policy(stream.ResumeAtKnown), stream.WithReadCount(10),
			stream.WithBlock(5*time.Millisecond), stream.WithInspection(time.Millisecond)))
	}
	stop := run()
	handled, last := 0, ""
	caughtUp := func() {
		t.Helper()
		streamtest.Await(t, "the offset is at the end", func() bool {
			id, _, _ := store.Load(t.Context(), orders.Name)
			return id == last
		})
	}
	for step := range steps {
		switch step % 100 {
		case 20:
			caughtUp()
			if err := client.XTrimMinID(t.Context(), orders.Name, last).Err(); err != nil { // keeps the last
				t.Fatal(err)
			}
		case 40:
			caughtUp()
			if err := client.XTrimMaxLen(t.Context(), orders.Name, 3).Err(); err != nil {
				t.Fatal(err)
			}
		case 60:
			caughtUp()
			if err := client.XDel(t.Context(), orders.Name, last).Err(); err != nil {
				t.Fatal(err)
			}
		case 80:
			if err := client.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
				t.Fatal(err)
			}
		case 90:
			if step%300 == 90 {
				caughtUp()
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				if step%600 == 90 { // with more behind the place
					if err := client.XDel(t.Context(), orders.Name, last).Err(); err != nil {
						t.Fatal(err)
					}
					add(t, client, "more")
					add(t, client, "more")
					handled += 2
				}
				stop = run()
			}
		}
		last = add(t, client, fmt.Sprint(step))
		handled++
	}
	rec.await(t, handled)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if list := told.get(); len(list) > 0 {
		t.Errorf("%d losses were told in %d clean steps, the first: %v", len(list), steps, list[0].Error())
	}
}

// A read that fails before anything was counted does not make a loss of what was read, handled
// and trimmed afterwards.
func TestNoLossAfterAFailedRead(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t, "--appendonly", "no")
	direct := server.Client()
	first := add(t, direct, "before")
	add(t, direct, "a")
	store := new(offset.Memory)
	if err := store.Save(t.Context(), orders.Name, first); err != nil {
		t.Fatal(err)
	}
	proxy := streamtest.StartProxy(t, server.Addr)
	proxy.CutReply("\r\nstreams\r\n", 0) // the first read
	told := &lossObserver{}
	rec := newRecorder()
	working, goOn := make(chan struct{}), make(chan struct{})
	rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
		if msg.Value.ID == "b" {
			close(working)
			<-goOn
		}
		return nil
	}
	// With a window of one entry, nothing is read while b is at work.
	consumer := newConsumer(t, proxy.Client(), store, rec.Handle, stream.WithObserver(told), stream.WithReadCount(1), stream.WithWindow(1))
	start(t, consumer)
	add(t, direct, "b")
	<-working
	if _, err := direct.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
		p.XTrimMaxLen(t.Context(), orders.Name, 0)
		p.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, Values: []string{"id", "c"}})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	streamtest.Await(t, "all are handled", func() bool { return consumer.Stats().Handled == 3 })
	if consumer.Stats().Reconnects == 0 {
		t.Error("no read has failed")
	}
	if list := told.get(); len(list) > 0 {
		t.Errorf("told of %+v", list)
	}
}
