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

// soonLost is how often consumers of these tests look for losses.
var soonLost = []stream.Option{stream.WithInspection(50 * time.Millisecond), stream.WithBlock(50 * time.Millisecond)}

// seeker makes a consumer that tells of losses soon, in any mode.
func seeker(t testing.TB, client redis.UniversalClient, mode mode, told *lossObserver, rec *recorder, opts ...stream.Option) *stream.Consumer[order] {
	t.Helper()
	opts = append(append(slices.Clone(soonLost), stream.WithObserver(told)), opts...)
	if mode.name == "group" {
		opts = append(opts, stream.WithClaimIdle(200*time.Millisecond))
	}
	return mode.make(t, client, orders.Name, rec.Handle, opts...)
}

// numbered adds entries with the IDs from-0 to to-0, each of which is called by its number.
func numbered(t testing.TB, client *redis.Client, from, to int) {
	t.Helper()
	pipe := client.Pipeline()
	for n := from; n <= to; n++ {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, ID: fmt.Sprint(n, "-0"), Values: []string{"id", fmt.Sprint(n)}})
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// numbers are the names of entries.
func numbers(from, to int) (list []string) {
	for n := from; n <= to; n++ {
		list = append(list, fmt.Sprint(n))
	}
	return list
}

// quietFor waits until a consumer has looked for losses several times.
func quietFor(t testing.TB, told *lossObserver) {
	t.Helper()
	begun := time.Now()
	eventually(t, "losses were looked for", func() bool { return time.Since(begun) > 400*time.Millisecond })
	if lost := told.get(); len(lost) > 0 {
		t.Errorf("losses are told: %+v", lost)
	}
}

// A seek to any place, of an idle or a busy consumer, on a stream that was trimmed or of which
// entries were deleted: exactly the entries behind the place are delivered, and no loss is told,
// in this run or the next.
func TestSeek(t *testing.T) {
	t.Parallel()
	onRedisInBothModes(t, func(t *testing.T, server *streamtest.Redis, mode mode) {
		client := server.Client()
		ctx := t.Context()
		told, log, rec := &lossObserver{}, &logs{}, newRecorder()
		consumer := seeker(t, client, mode, told, rec, stream.WithLogger(log.Logger()), stream.WithReadCount(7))
		numbered(t, client, 1, 100)
		stop := start(t, consumer)
		rec.await(t, 100)
		client.XTrimMaxLen(ctx, orders.Name, 70)                      // 31 is the first
		client.XDel(ctx, orders.Name, "50-0", "60-0", "61-0", "99-0") // 66 are left
		last, seeks := 100, int64(0)
		left := slices.DeleteFunc(numbers(31, 1000), func(n string) bool { return slices.Contains([]string{"50", "60", "61", "99"}, n) })
		behind := func(n int) []string { // n is in the stream, or before the first
			from := max(0, slices.Index(left, fmt.Sprint(n))+1)
			return left[from : slices.Index(left, fmt.Sprint(last))+1]
		}
		for _, step := range []struct {
			name string
			to   stream.Start
			want func() []string
		}{
			{"an entry", stream.FromID("40-0"), func() []string { return behind(40) }},
			{"an entry near the end", stream.FromID("98-0"), func() []string { return behind(98) }},
			{"the beginning", stream.FromBeginning(), func() []string { return behind(0) }},
			{"an ID that was trimmed", stream.FromID("10-0"), func() []string { return behind(0) }},
			{"an ID that was deleted", stream.FromID("60-0"), func() []string { return behind(59) }},
			{"an ID that never was", stream.FromID("70-5"), func() []string { return behind(70) }},
			{"a time", stream.FromTime(time.UnixMilli(80)), func() []string { return behind(79) }},
			{"the end", stream.FromEnd(), func() []string { return nil }},
			{"behind the end", stream.FromID("5000-0"), func() []string { return nil }},
			{"a time to come", stream.FromTime(time.Now().Add(time.Hour)), func() []string { return nil }},
		} {
			for _, busy := range []bool{false, true} {
				before := len(rec.Seen())
				want := step.want()
				if busy {
					// The rest of the stream is read, and new entries come.
					pause(t, consumer, time.Hour)
					eventually(t, "nothing is read", func() bool { return blocked(t, client) == 0 })
					numbered(t, client, last+1, last+20)
					last += 20
					if len(step.want()) > 0 {
						want = step.want()
					}
				}
				if err := consumer.Seek(ctx, step.to); err != nil {
					t.Fatalf("%s: %v", step.name, err)
				}
				seeks++
				consumer.Resume()
				numbered(t, client, last+1, last+1)
				last++
				want = append(slices.Clone(want), fmt.Sprint(last))
				if len(step.want()) > 1 {
					want = step.want()
				}
				eventually(t, step.name, func() bool { return len(rec.Seen()) >= before+len(want) })
				quietFor(t, told)
				got := slices.Clone(rec.Seen()[before:])
				if !slices.Equal(got, want) {
					t.Errorf("%s, busy %t: delivered %v\nwant %v", step.name, busy, got, want)
				}
			}
		}
		if s := consumer.Stats(); s.Seeks != seeks || s.Lost != 0 || s.Failed != 0 {
			t.Errorf("%d seeks: %+v", seeks, s)
		}
		if lines := log.lines("level=INFO", "set to another place", "to=40-0"); len(lines) == 0 {
			t.Errorf("the log does not tell of the seek:\n%v", log.lines("another place"))
		}
		wantHealth(t, "after seeks", consumer.Health(), true, true, "")
		if err := stop(); err != nil {
			t.Error(err)
		}
		if lines := log.lines("consumer stopped"); len(lines) != 1 {
			t.Errorf("that the consumer stopped is told %d times", len(lines))
		}
		before := len(rec.Seen())
		stop = start(t, consumer)
		quietFor(t, told)
		if seen := rec.Seen()[before:]; len(seen) > 0 {
			t.Errorf("in the next run %v were delivered", seen)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A seek waits for handlers at work, which are not interrupted, and settles what they have done.
// Of the entries that were read and not begun, none is begun before; in group mode they stay
// pending, and are delivered.
func TestSeekWaitsForHandlers(t *testing.T) {
	t.Parallel()
	onRedisInBothModes(t, func(t *testing.T, server *streamtest.Redis, mode mode) {
		client := server.Client()
		told, rec := &lossObserver{}, newRecorder()
		hold := make(chan struct{})
		rec.handle = func(ctx context.Context, msg *stream.Message[order]) error {
			if msg.Value.ID == "1" {
				select {
				case <-hold:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		}
		consumer := seeker(t, client, mode, told, rec)
		numbered(t, client, 1, 10)
		stop := start(t, consumer)
		rec.await(t, 1)
		sought := make(chan error, 1)
		go func() { sought <- consumer.Seek(t.Context(), stream.FromEnd()) }()
		eventually(t, "Health tells of the seek", func() bool {
			h := consumer.Health()
			return h.Live && !h.Ready && strings.Contains(h.Reason, "being set to another place")
		})
		select {
		case err := <-sought:
			t.Errorf("Seek has not waited: %v", err)
		default:
		}
		close(hold)
		if err := <-sought; err != nil {
			t.Fatal(err)
		}
		numbered(t, client, 11, 11)
		want := []string{"1", "11"}
		if mode.name == "group" {
			want = numbers(1, 11)
		}
		eventually(t, "the entries behind the place are delivered", func() bool { return len(rec.Seen()) >= len(want) })
		quietFor(t, told)
		seen := rec.Seen()
		if mode.name == "group" {
			slices.Sort(seen)
			slices.Sort(want)
		}
		if s := consumer.Stats(); !slices.Equal(seen, want) || s.Failed != 0 || s.Redelivered != 0 {
			t.Errorf("delivered %v, want %v; %+v", seen, want, s)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A seek whose context ends before the handlers have returned leaves the consumer where it was.
func TestSeekThatIsGivenUp(t *testing.T) {
	t.Parallel()
	onRedisInBothModes(t, func(t *testing.T, server *streamtest.Redis, mode mode) {
		client := server.Client()
		told, rec := &lossObserver{}, newRecorder()
		hold := make(chan struct{})
		rec.handle = func(context.Context, *stream.Message[order]) error { <-hold; return nil }
		consumer := seeker(t, client, mode, told, rec)
		numbered(t, client, 1, 5)
		stop := start(t, consumer)
		rec.await(t, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := consumer.Seek(ctx, stream.FromEnd()); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "is where it was") {
			t.Errorf("Seek returned %v", err)
		}
		close(hold)
		eventually(t, "all are handled", func() bool { return consumer.Stats().Handled == 5 })
		quietFor(t, told)
		if s := consumer.Stats(); s.Seeks != 0 || len(rec.Seen()) != 5 {
			t.Errorf("%v, %+v", rec.Seen(), s)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A stop while a seek waits for a handler is obeyed, and the place is set all the same. So is one
// that is set while no Run is at work, and in group mode before there is a group.
func TestSeekWithoutARun(t *testing.T) {
	t.Parallel()
	onRedisInBothModes(t, func(t *testing.T, server *streamtest.Redis, mode mode) {
		client := server.Client()
		told, rec := &lossObserver{}, newRecorder()
		consumer := seeker(t, client, mode, told, rec)
		numbered(t, client, 1, 10)
		client.XDel(t.Context(), orders.Name, "7-0")
		if err := consumer.Seek(t.Context(), stream.FromID("4-0")); err != nil {
			t.Fatal(err)
		}
		hold := make(chan struct{})
		rec.handle = func(context.Context, *stream.Message[order]) error { <-hold; return nil }
		stop := start(t, consumer)
		rec.await(t, 1)
		sought := make(chan error, 1)
		go func() { sought <- consumer.Seek(t.Context(), stream.FromID("8-0")) }()
		eventually(t, "the seek waits", func() bool { return strings.Contains(consumer.Health().Reason, "another place") })
		stopped := make(chan error, 1)
		go func() { stopped <- stop() }()
		eventually(t, "the stop waits", func() bool { return consumer.Stats().Working == 1 })
		close(hold)
		if err := errors.Join(<-stopped, <-sought); err != nil {
			t.Fatal(err)
		}
		stop = start(t, consumer)
		want := []string{"5", "9", "10"}
		if mode.name == "group" {
			want = append(want, "6", "8") // were handed back
		}
		eventually(t, "the entries behind the place are delivered", func() bool { return len(rec.Seen()) >= len(want) })
		quietFor(t, told)
		seen := rec.Seen()
		slices.Sort(seen)
		slices.Sort(want)
		if s := consumer.Stats(); !slices.Equal(seen, want) || s.Seeks != 2 {
			t.Errorf("delivered %v, want %v; %+v", seen, want, s)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A place that another process has set is no loss either, though entries behind it were deleted.
func TestSeekByAnotherProcess(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	told, rec, group := &lossObserver{}, newRecorder(), bothModes()[1]
	numbered(t, client, 1, 10)
	client.XDel(t.Context(), orders.Name, "7-0")
	if err := seeker(t, client, group, told, rec).Seek(t.Context(), stream.FromID("4-0")); err != nil {
		t.Fatal(err)
	}
	stop := start(t, seeker(t, client, group, told, rec))
	rec.await(t, 5)
	quietFor(t, told)
	if seen := rec.Seen(); !slices.Equal(seen, []string{"5", "6", "8", "9", "10"}) {
		t.Errorf("delivered %v", seen)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// A store that cannot set an offset back is told before anything is ended.
func TestSeekNeedsAStoreThatCanReset(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		rec := newRecorder()
		store := struct{ offset.Store }{&offset.Memory{}}
		consumer := newConsumer(t, client, store, rec.Handle)
		if err := consumer.Seek(t.Context(), stream.FromEnd()); !errors.Is(err, stream.ErrNoReset) {
			t.Errorf("before Run Seek returned %v", err)
		}
		stop := start(t, consumer)
		addTo(t, client, orders.Name, 3)
		time.Sleep(time.Second)
		if err := consumer.Seek(t.Context(), stream.FromBeginning()); !errors.Is(err, stream.ErrNoReset) {
			t.Errorf("Seek returned %v", err)
		}
		time.Sleep(time.Second)
		if s := consumer.Stats(); s.Handled != 3 || s.Seeks != 0 {
			t.Errorf("%+v", s)
		}
		if err := consumer.Seek(t.Context(), stream.FromID("none")); !errors.Is(err, stream.ErrInvalidOption) || !strings.Contains(err.Error(), `Seek(FromID("none")): give an entry ID`) {
			t.Errorf("Seek to no ID returned %v", err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A server that is away is waited for, and one that refuses the seek is not; the consumer goes on.
func TestSeekInTrouble(t *testing.T) {
	t.Parallel()
	onRedisInBothModes(t, func(t *testing.T, server *streamtest.Redis, mode mode) {
		client := server.Client()
		told, rec := &lossObserver{}, newRecorder()
		consumer := seeker(t, client, mode, told, rec)
		numbered(t, client, 1, 5)
		stop := start(t, consumer)
		rec.await(t, 5)
		eventually(t, "all are settled", func() bool { return consumer.Stats().Window == 0 })
		server.Kill()
		sought := make(chan error, 1)
		go func() { sought <- consumer.Seek(t.Context(), stream.FromID("2-0")) }()
		eventually(t, "the seek is in trouble", func() bool {
			return strings.Contains(consumer.Health().Reason, "setting the consumer to another place has been failing")
		})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := consumer.Seek(ctx, stream.FromEnd()); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "another seek was waited for") {
			t.Errorf("beside another one Seek returned %v", err)
		}
		server.Start()
		if err := <-sought; err != nil {
			t.Fatal(err)
		}
		rec.await(t, 8)
		eventually(t, "all are settled", func() bool { return consumer.Stats().Window == 0 })
		server.Kill()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second+500*time.Millisecond) // a stop tries for one
		defer cancel()
		if err := consumer.Seek(ctx, stream.FromEnd()); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "to another place, or not") {
			t.Errorf("without a server Seek returned %v", err)
		}
		server.Start()
		quietFor(t, told)
		if got := rec.Seen()[5:]; !slices.Equal(got, numbers(3, 5)) {
			t.Errorf("delivered %v", got)
		}
		if err := client.Do(t.Context(), "acl", "setuser", "default", map[string]string{"log": "-xrevrange", "group": "-xgroup|setid"}[mode.name]).Err(); err != nil {
			t.Fatal(err)
		}
		if err := consumer.Seek(t.Context(), stream.FromID("2-0")); err == nil || !strings.Contains(err.Error(), "lacks a right; grant it") {
			t.Errorf("without the right Seek returned %v", err)
		}
		numbered(t, client, 6, 6)
		rec.await(t, 9)
		if err := client.Do(t.Context(), "acl", "setuser", "default", "+@all").Err(); err != nil {
			t.Fatal(err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// Consumers of one group: all are paused, one seeks over unread entries, the others reposition,
// and none tells a loss.
func TestSeekInAGroup(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	ctx := t.Context()
	told, rec := &lossObserver{}, newRecorder()
	group := bothModes()[1]
	one, other := seeker(t, client, group, told, rec), seeker(t, client, group, told, rec)
	numbered(t, client, 1, 50)
	stop, stopOther := start(t, one), start(t, other)
	rec.await(t, 50)
	eventually(t, "all are settled", func() bool { return one.Stats().Window+other.Stats().Window == 0 })
	pause(t, one, time.Hour)
	pause(t, other, time.Hour)
	eventually(t, "nothing is read", func() bool { return blocked(t, client) == 0 })
	numbered(t, client, 51, 100)
	client.XTrimMaxLen(ctx, orders.Name, 20)
	quietFor(t, told) // nothing is told in a pause
	if err := errors.Join(one.Seek(ctx, stream.FromID("90-0")), other.Reposition(ctx)); err != nil {
		t.Fatal(err)
	}
	one.Resume()
	other.Resume()
	rec.await(t, 60)
	quietFor(t, told)
	if got := rec.Seen()[50:]; len(got) != 10 {
		t.Errorf("delivered %v, want 91 to 100", got)
	}
	if s := other.Stats(); s.Seeks != 0 {
		t.Errorf("%+v", s)
	}
	if err := errors.Join(stop(), stopOther()); err != nil {
		t.Error(err)
	}
}

// A group that others have set to another place is told as a loss, unless the consumer repositions.
func TestReposition(t *testing.T) {
	t.Parallel()
	for _, repositions := range []bool{true, false} {
		t.Run(fmt.Sprint(repositions), func(t *testing.T) {
			t.Parallel()
			client := streamtest.StartRedis(t).Client()
			ctx := t.Context()
			told, rec := &lossObserver{}, newRecorder()
			consumer := seeker(t, client, bothModes()[1], told, rec)
			numbered(t, client, 1, 50)
			stop := start(t, consumer)
			rec.await(t, 50)
			quietFor(t, told)
			pause(t, consumer, time.Hour)
			eventually(t, "nothing is read", func() bool { return blocked(t, client) == 0 })
			numbered(t, client, 51, 100)
			if err := client.Do(ctx, "xgroup", "setid", orders.Name, "billing", "90-0").Err(); err != nil {
				t.Fatal(err)
			}
			if repositions {
				if err := consumer.Reposition(ctx); err != nil {
					t.Fatal(err)
				}
			}
			consumer.Resume()
			rec.await(t, 60)
			if repositions {
				quietFor(t, told)
			} else {
				eventually(t, "a loss is told", func() bool { return len(told.of(stream.LossMoved)) == 1 })
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A group that was set to a place knows how many entries are behind that, where they can be counted
// from an end of the stream.
func TestSeekKeepsTheLag(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	ctx := t.Context()
	consumer := newGroup(t, client, newRecorder().Handle)
	numbered(t, client, 1, 21_000)
	client.XTrimMaxLen(ctx, orders.Name, 20_500) // 501 is the first
	for place, want := range map[string]int64{
		"0-0": 20_500, "100-0": 20_500, "600-0": 20_400, "10499-0": 10_501, "11001-0": 9_999, "20999-0": 1, "21000-0": 0, "90000-0": 0,
		"10750-0": -1, // not known: more than 10,000 entries from both ends
	} {
		if err := consumer.Seek(ctx, stream.FromID(place)); err != nil {
			t.Fatal(err)
		}
		if group := client.XInfoGroups(ctx, orders.Name).Val()[0]; group.Lag != want || (group.EntriesRead == 0) != (place == "10750-0") {
			t.Errorf("at %s: %+v, want a lag of %d", place, group, want)
		}
	}
}

// Seeks may come at any time, from anywhere, also in a Runner, while others pause: each is carried
// out, and what is added afterwards is handled.
func TestSeekConcurrently(t *testing.T) {
	t.Parallel()
	onRedisInBothModes(t, func(t *testing.T, server *streamtest.Redis, mode mode) {
		client := server.Client()
		told, rec, busy := &lossObserver{}, newRecorder(), newRecorder()
		consumer := seeker(t, client, mode, told, rec, stream.WithConcurrency(3))
		beside := mode.make(t, client, "beside", busy.Handle, soonLost...)
		numbered(t, client, 1, 50)
		var r stream.Runner
		r.Add(consumer, beside)
		stop := start(t, &r)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				for i := range 5 {
					pause(t, consumer, time.Hour)
					if err := consumer.Seek(t.Context(), stream.FromID(fmt.Sprint(10*i, "-0"))); err != nil {
						t.Error(err)
					}
					consumer.Resume()
				}
			})
		}
		all.Wait()
		numbered(t, client, 51, 60)
		addTo(t, client, "beside", 10)
		busy.await(t, 10)
		eventually(t, "the last entries are handled", func() bool { return slices.Contains(rec.Seen(), "60") })
		quietFor(t, told)
		if s := consumer.Stats(); s.Seeks != 15 || s.Lost != 0 {
			t.Errorf("%+v", s)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A process that dies in the middle of a seek loses nothing: the next one goes on at the place
// before, or at the new one.
func TestSeekAndACrash(t *testing.T) {
	t.Parallel()
	onRedisInBothModes(t, func(t *testing.T, server *streamtest.Redis, mode mode) {
		client := server.Client()
		for round := range 6 {
			told, rec, next := &lossObserver{}, newRecorder(), newRecorder()
			client.FlushAll(t.Context())
			numbered(t, client, 1, 40)
			if mode.name == "group" {
				client.XDel(t.Context(), orders.Name, "30-0", "31-0")
				numbered(t, client, 41, 42)
			}
			instance := streamtest.NewInstance(t, client)
			consumer := seeker(t, instance.Client, mode, told, rec)
			instance.Start(consumer)
			rec.await(t, 40)
			eventually(t, "all are settled", func() bool { return consumer.Stats().Window == 0 })
			ctx, cancel := context.WithCancel(t.Context())
			sought := make(chan error, 1)
			go func() { sought <- consumer.Seek(ctx, stream.FromID("20-0")) }()
			begun := time.Now()
			eventually(t, "some time passes", func() bool { return time.Since(begun) > time.Duration(round)*2*time.Millisecond })
			instance.Crash()
			cancel()
			if err := <-sought; err != nil {
				t.Log(err) // it may have been set or not
			}
			after := seeker(t, client, mode, told, next)
			stop := start(t, after)
			numbered(t, client, 43, 45)
			eventually(t, "the last entry is handled", func() bool { return slices.Contains(next.Seen(), "45") })
			quietFor(t, told)
			seen := next.Seen()
			if !slices.Contains(seen, "43") || slices.Contains(seen, "20") {
				t.Errorf("the next process was given %v", seen)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
	})
}
