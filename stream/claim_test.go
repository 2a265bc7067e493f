package stream_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

// An entry that a live consumer holds, and that is deleted meanwhile, is handled all the
// same: another one that claims from the dead neither takes it away nor tells of it.
// Deleted entries that were pending on the dead are told, once.
func TestClaimLeavesWhatALiveConsumerHolds(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	leave(t, client, "dead", "lost", "left")
	lost := streamtest.EntryIDs(t, client, "orders")[0]
	told, toldOther := &lossObserver{}, &lossObserver{}
	open := make(chan struct{})
	live, other := newRecorder(), newRecorder()
	live.handle = func(context.Context, *stream.Message[order]) error {
		<-open
		return nil
	}
	consumer := newGroup(t, client, live.Handle, stream.WithConsumerName("live"), stream.WithObserver(told),
		stream.WithConcurrency(2), stream.WithClaimIdle(48*time.Hour))
	stop := start(t, consumer)
	held := []string{add(t, client, "a"), add(t, client, "b"), add(t, client, "c")}
	live.await(t, 2)
	streamtest.Await(t, "all is in the window", func() bool { return consumer.Stats().Window == 3 })
	client.XDel(t.Context(), "orders", append(held, lost)...)

	stopOther := start(t, newGroup(t, client, other.Handle, stream.WithConsumerName("other"), stream.WithObserver(toldOther), stream.WithClaimIdle(time.Hour)))
	if seen := other.await(t, 1); !slices.Equal(seen, []string{"left"}) {
		t.Errorf("the other one has handled %v", seen)
	}
	if err := stopOther(); err != nil {
		t.Error(err)
	}
	streamtest.AssertPending(t, client, "orders", "billing", held...)
	close(open)
	live.await(t, 3)
	settled(t, client)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if list := told.get(); len(list) > 0 {
		t.Errorf("told of what was handled: %+v", list)
	}
	expectGone(t, toldOther, lost)
}

// expectGone checks which entries were told of as gone while they were pending, and that
// nothing else was.
func expectGone(t *testing.T, told *lossObserver, ids ...string) {
	t.Helper()
	var got []string
	for _, loss := range told.get() {
		if loss.Cause != stream.LossPending || loss.From != loss.To || loss.Count != 1 || !loss.Exact {
			t.Errorf("told %+v", loss)
		}
		got = append(got, loss.From)
	}
	slices.Sort(got)
	if !slices.Equal(got, ids) {
		t.Errorf("told of %v, want %v", got, ids)
	}
}

// A consumer that could not renew its entries for long claims them itself, and does not
// report those at work as lost.
func TestClaimOfWhatIsHeldAndGone(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	id := add(t, client, "a")
	told := &lossObserver{}
	rec := newRecorder()
	rec.handle = func(ctx context.Context, _ *stream.Message[order]) error {
		client.Do(ctx, "XCLAIM", "orders", "billing", "me", 0, id, "IDLE", time.Hour.Milliseconds(), "JUSTID")
		client.XDel(ctx, "orders", id)
		streamtest.Await(t, "it was claimed", func() bool { return len(pending(t, client)) == 0 })
		return ctx.Err()
	}
	consumer := newGroup(t, client, rec.Handle, stream.WithConsumerName("me"), stream.WithObserver(told))
	stop := start(t, consumer)
	streamtest.Await(t, "it is handled", func() bool { s := consumer.Stats(); return s.Handled == 1 && s.Window == 0 })
	if err := stop(); err != nil {
		t.Error(err)
	}
	expectGone(t, told)
}

// Entries that cannot be handed back at a stop, because they were deleted since they were
// read, are told, whether a renewal has found out before or not; the others are handed
// back.
func TestStopTellsWhatIsGone(t *testing.T) {
	t.Parallel()
	for name, idle := range map[string]time.Duration{"renewed": 200 * time.Millisecond, "not renewed": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := streamtest.StartRedis(t, "--appendonly", "no").Client()
			ids := []string{add(t, client, "a"), add(t, client, "b"), add(t, client, "c")}
			told := &lossObserver{}
			rec := newRecorder()
			rec.handle = func(ctx context.Context, _ *stream.Message[order]) error {
				<-ctx.Done()
				return ctx.Err()
			}
			consumer := newGroup(t, client, rec.Handle, stream.WithObserver(told), stream.WithClaimIdle(idle), stream.WithDrainTimeout(0))
			stop := start(t, consumer)
			rec.await(t, 1)
			streamtest.Await(t, "all is in the window", func() bool { return consumer.Stats().Window == 3 })
			client.XDel(t.Context(), "orders", ids[:2]...)
			if name == "renewed" {
				streamtest.Await(t, "a renewal has found out", func() bool { return len(pending(t, client)) == 1 })
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			expectGone(t, told, ids[:2]...)
			streamtest.AssertPending(t, client, "orders", "billing", ids[2])
			if n := consumer.Stats().HandedBack; n != 1 {
				t.Errorf("%d entries were handed back, want 1", n)
			}
		})
	}
}

// Entries that were handed back, and deleted afterwards, are told, also by a consumer that
// holds others at that time.
func TestTakeTellsWhatIsGone(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	leave(t, client, "millrace/handed-back", "gone", "there")
	gone := streamtest.EntryIDs(t, client, "orders")[0]
	add(t, client, "held")
	client.XDel(t.Context(), "orders", gone)
	told := &lossObserver{}
	open := make(chan struct{})
	rec := newRecorder()
	rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
		if msg.Value.ID == "held" {
			<-open
		}
		return nil
	}
	stop := start(t, newGroup(t, client, rec.Handle, stream.WithObserver(told), stream.WithConcurrency(2)))
	rec.await(t, 2)
	streamtest.Await(t, "it is told", func() bool { return len(told.get()) > 0 })
	close(open)
	settled(t, client)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if seen := rec.Seen(); len(seen) != 2 || !slices.Contains(seen, "there") {
		t.Errorf("handled %v", seen)
	}
	expectGone(t, told, gone)
}

// A Redis in memory keeps deleted entries pending: there, too, they are told once.
func TestGoneIsToldOnceInMemory(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		const idle = time.Minute
		id := add(t, client, "a")
		if err := client.XGroupCreate(t.Context(), "orders", "billing", "0").Err(); err != nil {
			t.Fatal(err)
		}
		if err := client.XReadGroup(t.Context(), &redis.XReadGroupArgs{Streams: []string{"orders", ">"}, Group: "billing", Consumer: "dead"}).Err(); err != nil {
			t.Fatal(err)
		}
		client.XDel(t.Context(), "orders", id)
		told := &lossObserver{}
		start(t, newGroup(t, client, newRecorder().Handle, stream.WithObserver(told), stream.WithClaimIdle(idle)))
		time.Sleep(10 * idle)
		expectGone(t, told, id)
	})
}
