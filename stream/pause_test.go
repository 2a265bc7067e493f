package stream_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// pause pauses a consumer for some time.
func pause(t testing.TB, consumer *stream.Consumer[order], d time.Duration) {
	t.Helper()
	if err := consumer.Pause("bad  deploy\n", time.Now().Add(d)); err != nil {
		t.Fatal(err)
	}
}

// In a pause a handler at work finishes and is settled, and nothing else begins; the consumer is
// live and ready, and says why. The pause ends by itself, and everything is handled once.
func TestPause(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		release := make(chan struct{})
		rec := newRecorder()
		rec.handle = func(context.Context, *stream.Message[order]) error { <-release; return nil }
		consumer := mode.make(t, client, orders.Name, rec.Handle)
		addTo(t, client, orders.Name, 3)
		begun := time.Now()
		stop := start(t, consumer)
		time.Sleep(3 * time.Second)
		pause(t, consumer, time.Hour)
		if mode.name == "log" {
			addTo(t, client, orders.Name, 3) // while a read waits
		}
		release <- struct{}{}
		time.Sleep(10 * time.Second)
		if mode.name == "group" {
			addTo(t, client, orders.Name, 3)
		}
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if seen := rec.Seen(); len(seen) != 1 {
			t.Errorf("in the pause %v were begun", seen)
		}
		wantHealth(t, "paused", consumer.Health(), true, true, "paused until "+begun.Add(time.Hour+3*time.Second).UTC().Format(time.RFC3339)+": bad deploy")
		s := consumer.Stats()
		if s.Handled != 1 || s.Working != 0 || !s.PausedUntil.Equal(begun.Add(time.Hour+3*time.Second)) || s.LagTime < 20*time.Minute {
			t.Errorf("%+v", s)
		}
		if mode.name == "log" && (s.Read != 3 || s.Settled == "0-0") {
			t.Errorf("%d were read, and the offset is %s", s.Read, s.Settled)
		}
		close(release)
		time.Sleep(39*time.Minute + 49*time.Second)
		if n := len(rec.Seen()); n != 1 {
			t.Errorf("a second before the end %d were begun", n)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if s := consumer.Stats(); s.Handled != 6 || s.Redelivered != 0 || !s.PausedUntil.IsZero() || s.LagTime != 0 || s.Lost != 0 {
			t.Errorf("after the pause: %+v", s)
		}
		wantHealth(t, "after the pause", consumer.Health(), true, true, "")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A pause that is set before Run holds when it starts, with health to be ready; another one
// replaces it, the end of the first one does not end it, and Resume does.
func TestPauseBeforeRunAndAgain(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		rec := newRecorder()
		consumer := mode.make(t, client, orders.Name, rec.Handle)
		addTo(t, client, orders.Name, 3)
		consumer.Resume() // without a pause
		pause(t, consumer, time.Minute)
		stop := start(t, consumer)
		time.Sleep(time.Second)
		wantHealth(t, "started in a pause", consumer.Health(), true, true, "paused until ")
		pause(t, consumer, time.Hour)
		time.Sleep(30 * time.Minute)
		if s := consumer.Stats(); len(rec.Seen()) != 0 || s.Read != 0 {
			t.Errorf("begun in a pause: %v, %+v", rec.Seen(), s)
		}
		consumer.Resume()
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(rec.Seen()); n != 3 {
			t.Errorf("%d of 3 were begun after the pause", n)
		}
		pause(t, consumer, time.Hour)
		begun := time.Now()
		if err := stop(); err != nil || time.Since(begun) > 2*time.Second {
			t.Errorf("in a pause Run returned %v after %v", err, time.Since(begun))
		}
		consumer.Resume()
	})
}

func TestPauseRefusesWhatHasNoEnd(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}) // not used
	t.Cleanup(func() { _ = client.Close() })
	consumer := newConsumer(t, client, &offset.Memory{}, newRecorder().Handle)
	for want, err := range map[string]error{
		"stream: invalid option: Pause: there is no end: give a time in the future, such as time.Now().Add(30 * time.Minute)": consumer.Pause("why", time.Time{}),
		"stream: invalid option: Pause: the end, 2001-01-01T00:00:00Z, is":                                                    consumer.Pause("why", time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)),
		"stream: invalid option: Pause: the reason is blank":                                                                  consumer.Pause(" \n", time.Now().Add(time.Hour)),
	} {
		if err == nil || !errors.Is(err, stream.ErrInvalidOption) || len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if s := consumer.Stats(); !s.PausedUntil.IsZero() {
		t.Error("a pause was set")
	}
}

// Pauses, their ends, and runs may come at any time, from anywhere. In the end everything is
// handled once.
func TestPauseConcurrently(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		rec := newRecorder()
		rec.handle = func(context.Context, *stream.Message[order]) error { time.Sleep(3 * time.Millisecond); return nil }
		consumer := mode.make(t, client, orders.Name, rec.Handle, stream.WithConcurrency(4), stream.WithReadCount(10))
		stop := start(t, consumer)
		var all sync.WaitGroup
		for g := range 4 {
			all.Go(func() {
				for i := range 50 {
					time.Sleep(time.Duration(g+i) * time.Millisecond)
					if err := consumer.Pause(fmt.Sprint(g, i), time.Now().Add(time.Duration(i)*time.Millisecond+1)); err != nil {
						t.Error(err)
					}
					consumer.Health()
					if i%3 == 0 {
						consumer.Resume()
					}
				}
			})
		}
		addTo(t, client, orders.Name, 300)
		all.Wait()
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := consumer.Stats(); s.Handled != 300 || s.Redelivered != 0 || s.Window != 0 {
			t.Errorf("%+v", s)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A held entry that becomes due in a pause is delivered behind it, and a dead letter is written
// during it.
func TestPauseHoldsWhatIsDue(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		rec := newRecorder()
		rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
			if msg.Deliveries == 1 {
				return errors.New("no")
			}
			return nil
		}
		consumer := mode.make(t, client, orders.Name, rec.Handle)
		addTo(t, client, orders.Name, 1)
		stop := start(t, consumer)
		synctest.Wait()
		time.Sleep(time.Millisecond)
		pause(t, consumer, time.Minute)
		time.Sleep(50 * time.Second)
		if n := len(rec.Seen()); n != 1 {
			t.Errorf("%d deliveries in the pause", n)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if s := consumer.Stats(); s.Handled != 1 || s.Failed != 1 {
			t.Errorf("%+v", s)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A batch that waits for more messages is not begun in a pause, and one that is at work ends.
func TestPauseOfBatches(t *testing.T) {
	t.Parallel()
	inBothBatchModes(t, func(t *testing.T, client *redis.Client, construct func(stream.BatchHandler[order], ...stream.Option) *stream.Consumer[order], settled func([]string) int) {
		ids := addNumbered(t, client, 0, 5)
		rec := &batches{}
		rec.handle = func(context.Context, []string) error { time.Sleep(10 * time.Second); return nil }
		consumer := construct(rec.Handle, stream.WithBatch(4, time.Second))
		start(t, consumer)
		time.Sleep(500 * time.Millisecond) // the fifth waits
		pause(t, consumer, time.Minute)
		time.Sleep(50 * time.Second)
		synctest.Wait()
		if n := len(rec.Seen()); n != 1 || settled(ids) != 4 {
			t.Errorf("%d batches were begun in the pause, and %d entries are settled, want 1 and 4", n, settled(ids))
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if n := settled(ids); n != 5 {
			t.Errorf("after the pause %d entries are settled, want 5", n)
		}
	})
}

// A consumer whose window is full when it is paused is not told as stuck.
func TestPauseWithAFullWindow(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		release := make(chan struct{})
		rec := newRecorder()
		rec.handle = func(context.Context, *stream.Message[order]) error { <-release; return nil }
		log := &logs{}
		consumer := mode.make(t, client, orders.Name, rec.Handle, stream.WithWindow(2), stream.WithLogger(log.Logger()))
		addTo(t, client, orders.Name, 6)
		stop := start(t, consumer)
		time.Sleep(5 * time.Second)
		pause(t, consumer, time.Hour)
		time.Sleep(30 * time.Minute)
		if h := consumer.Health(); !h.Ready || strings.Contains(h.Reason, "nothing is read") || len(log.lines("reading paused")) > 0 {
			t.Errorf("%+v, %v", h, log.lines("reading paused"))
		}
		close(release)
		time.Sleep(time.Hour)
		if s := consumer.Stats(); s.Handled != 6 {
			t.Errorf("%+v", s)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// On a server a pause is obeyed at once, even by a read that waits: what comes afterwards goes to
// another consumer of the group. That one claims nothing of what is kept, however long the pause.
func TestPauseInAGroup(t *testing.T) {
	t.Parallel()
	const idle = 600 * time.Millisecond // a busy machine halts this process for a part of it
	for _, together := range []bool{false, true} {
		t.Run(fmt.Sprint("together ", together), func(t *testing.T) {
			t.Parallel()
			client := streamtest.StartRedis(t).Client()
			hold := make(chan struct{})
			told := &lossObserver{}
			rec, rest := newRecorder(), newRecorder()
			rec.handle = func(context.Context, *stream.Message[order]) error { <-hold; return nil }
			opts := []stream.Option{stream.WithClaimIdle(idle), stream.WithObserver(told), stream.WithBlock(time.Minute)}
			paused := newGroup(t, client, rec.Handle, append(opts, stream.WithConsumerName("paused"))...)
			var member runner = paused
			if together {
				// Another topic waits in the same read.
				beside, err := stream.NewGroupConsumer(client, stream.Topic[order]{Name: "beside"}, "billing", newRecorder().Handle,
					quietly(append(opts, stream.WithConsumerName("paused")))...)
				if err != nil {
					t.Fatal(err)
				}
				both := &stream.Runner{}
				both.Add(paused, beside)
				member = both
			}
			stop := start(t, member)
			for i := range 3 {
				add(t, client, fmt.Sprint("kept ", i))
			}
			rec.await(t, 1)
			eventually(t, "all are read", func() bool { return paused.Stats().Window == 3 })
			awaitBlocked(t, client, 1)
			pause(t, paused, time.Hour)
			hold <- struct{}{}
			eventually(t, "the read that waits has ended", func() bool {
				return together || blocked(t, client) == 0
			})
			eventually(t, "the handler's entry is settled", func() bool { return paused.Stats().Window == 2 })
			other := newGroup(t, client, rest.Handle, append(opts, stream.WithConsumerName("other"))...)
			stopOther := start(t, other)
			awaitBlocked(t, client, map[bool]int{false: 1, true: 2}[together])
			for i := range 20 {
				add(t, client, fmt.Sprint(i))
			}
			rest.await(t, 20)
			begun := time.Now()
			eventually(t, "many claim idle times have passed", func() bool { return time.Since(begun) > 5*idle })
			if s, o := paused.Stats(), other.Stats(); s.Window != 2 || s.Read != 3 || o.Claimed != 0 || o.Handled != 20 {
				t.Errorf("the paused one: %+v\nthe other one: %+v", s, o)
			}
			close(hold)
			paused.Resume()
			rec.await(t, 3)
			settled(t, client)
			if err := errors.Join(stop(), stopOther()); err != nil || len(told.get()) > 0 {
				t.Errorf("%v, %+v", err, told.get())
			}
		})
	}
}

// A paused consumer claims nothing, neither of a dead consumer nor of one that has stopped, and
// does so when the pause is over.
func TestPauseAndClaims(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		rec := newRecorder()
		consumer := newGroup(t, client, rec.Handle)
		stop := start(t, consumer)
		time.Sleep(time.Second)
		pause(t, consumer, time.Hour)
		time.Sleep(3 * time.Second) // the read that waits has come back
		addTo(t, client, orders.Name, 3)
		for name, n := range map[string]int64{"dead": 2, "millrace/handed-back": 1} {
			if err := client.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "billing", Consumer: name, Streams: []string{orders.Name, ">"}, Count: n}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(30 * time.Minute)
		if s := consumer.Stats(); s.Claimed != 0 || s.Window != 0 {
			t.Errorf("in the pause: %+v", s)
		}
		time.Sleep(31 * time.Minute)
		synctest.Wait()
		if s := consumer.Stats(); s.Claimed != 3 || s.Handled != 3 {
			t.Errorf("after the pause: %+v", s)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// blocked returns how many clients of a server wait in a blocking command.
func blocked(t testing.TB, client *redis.Client) (n int) {
	t.Helper()
	info, err := client.InfoMap(t.Context(), "clients").Result()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Sscan(info["Clients"]["blocked_clients"], &n)
	return n
}

// In a Runner a paused member is not read for, and the others go on at once.
func TestPauseInARunner(t *testing.T) {
	t.Parallel()
	onRedisInBothModes(t, func(t *testing.T, server *streamtest.Redis, mode mode) {
		client := server.Client()
		quiet, busy := newRecorder(), newRecorder()
		paused := mode.make(t, client, "quiet", quiet.Handle)
		other := mode.make(t, client, "busy", busy.Handle)
		var r stream.Runner
		r.Add(paused, other)
		stop := start(t, &r)
		eventually(t, "the first reads have come back", func() bool { return r.Health().Ready })
		awaitBlocked(t, client, 1)
		pause(t, paused, time.Hour)
		handled := 0
		pass := func(n int) {
			for range n {
				addTo1(t, client, "busy", fmt.Sprint(handled))
				handled++
				busy.await(t, handled)
			}
		}
		var kept int64 // of a read that came back before it was ended
		eventually(t, "the paused member is not read for", func() bool {
			kept = paused.Stats().Read
			addTo1(t, client, "quiet", "x")
			pass(2) // two reads of both, or of the busy one alone
			return paused.Stats().Read == kept
		})
		addTo(t, client, "quiet", 10)
		begun := time.Now()
		pass(200)
		// A tenth of a second for each would be a wait; a busy machine has needed 8 s for all.
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("beside a paused member 200 entries took %v, one by one", took)
		}
		if s := paused.Stats(); s.Read != kept || s.Working != 0 || len(quiet.Seen()) != 0 {
			t.Errorf("%+v", s)
		}
		wantHealth(t, "with a paused member", r.Health(), true, true, "paused until ")
		paused.Resume()
		quiet.await(t, 10)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A loss in the stream during a pause is told behind it.
func TestPauseAndALoss(t *testing.T) {
	t.Parallel()
	onRedisInBothModes(t, func(t *testing.T, server *streamtest.Redis, mode mode) {
		client := server.Client()
		told := &lossObserver{}
		rec := newRecorder()
		consumer := mode.make(t, client, orders.Name, rec.Handle, stream.WithObserver(told))
		addTo(t, client, orders.Name, 3)
		stop := start(t, consumer)
		rec.await(t, 3)
		awaitBlocked(t, client, 1)
		pause(t, consumer, time.Hour)
		if mode.name == "group" {
			eventually(t, "the read that waits has ended", func() bool { return blocked(t, client) == 0 })
		}
		addTo(t, client, orders.Name, 5)
		client.XTrimMaxLen(t.Context(), orders.Name, 1)
		consumer.Resume()
		rec.await(t, 4)
		eventually(t, "the loss is told", func() bool { return len(told.get()) > 0 })
		if lost := told.get(); len(lost) != 1 || lost[0].Count != 4 || !lost[0].Exact || lost[0].Cause != stream.LossTrimmed {
			t.Errorf("%+v", lost)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
