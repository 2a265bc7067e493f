package stream_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// wantLag fails the test unless the lag in entries is n, or unknown for -1.
func wantLag(t testing.TB, when string, consumer *stream.Consumer[order], n int64) stream.Lag {
	t.Helper()
	lag, err := consumer.Lag(context.Background())
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	got, known := lag.Entries()
	if known != (n >= 0) || known && got != n || !known && got != 0 {
		t.Errorf("%s: %d entries, known %v, want %d", when, got, known, n)
	}
	return lag
}

// stubbornOn is a handler that fails for one order, until it is told not to.
func stubbornOn(id string, until <-chan struct{}) stream.Handler[order] {
	return func(_ context.Context, msg *stream.Message[order]) error {
		select {
		case <-until:
			return nil
		default:
		}
		if msg.Value.ID == id {
			return errors.New("not yet")
		}
		return nil
	}
}

func TestLagInLogMode(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	ctx := context.Background()
	store := &offset.Memory{}
	mend := make(chan struct{})
	consumer := newConsumer(t, client, store, stubbornOn("stuck", mend), stream.WithReadCount(2), stream.WithWindow(3),
		stream.WithBlock(20*time.Millisecond), stream.WithBackoff(stream.Backoff{Min: time.Millisecond, Max: 5 * time.Millisecond}))

	if lag := wantLag(t, "no stream", consumer, 0); lag.Time != 0 {
		t.Errorf("no stream: %v", lag.Time)
	}
	add(t, client, "a")
	add(t, client, "b")
	if lag := wantLag(t, "before Run", consumer, 2); lag.Time <= 0 || lag.Time > time.Minute {
		t.Errorf("before Run: %v", lag.Time)
	}
	stop := start(t, consumer)
	caughtUp := func() bool {
		lag, err := consumer.Lag(ctx)
		n, known := lag.Entries()
		return err == nil && known && n == 0 && lag.Time == 0
	}
	streamtest.Await(t, "caught up", caughtUp)

	// Three are read and seven are not, which nobody but we can tell: no entry of
	// those that are behind the position was removed.
	add(t, client, "stuck")
	for range 9 {
		add(t, client, "c")
	}
	streamtest.Await(t, "the window is full", func() bool { return consumer.Stats().Window >= 2 })
	client.XTrimMaxLen(ctx, orders.Name, 11) // "a", which was handled
	if lag := wantLag(t, "behind", consumer, 10); lag.Time <= 0 || lag.Time > time.Minute {
		t.Errorf("behind: %v", lag.Time)
	}
	// An entry that was not read is deleted: now counters say too much.
	last, err := client.XRevRangeN(ctx, orders.Name, "+", "-", 2).Result()
	if err != nil {
		t.Fatal(err)
	}
	client.XDel(ctx, orders.Name, last[1].ID)
	if lag := wantLag(t, "after a deletion", consumer, -1); lag.Time <= 0 {
		t.Errorf("after a deletion: %v", lag.Time)
	}
	// What the window holds is gone from the stream, and some that was not read:
	// all that is left is unread, and can be counted.
	position := consumer.Stats().Position
	client.XTrimMaxLen(ctx, orders.Name, 4)
	wantLag(t, "trimmed past the position "+position, consumer, 4+int64(consumer.Stats().Window))
	close(mend)
	streamtest.Await(t, "caught up again", caughtUp)

	if err := stop(); err != nil {
		t.Error(err)
	}
	wantLag(t, "stopped", consumer, 0)
	add(t, client, "d")
	add(t, client, "e")
	if lag := wantLag(t, "stopped, in the middle of the stream", consumer, -1); lag.Time <= 0 || lag.Time > time.Minute {
		t.Errorf("stopped: %v", lag.Time)
	}
	// Another stream, whose IDs are lower, is none that it will read.
	client.Del(ctx, orders.Name)
	fixed(t, client, "x")
	wantLag(t, "the offset is ahead of the stream", consumer, -1)
}

func TestLagInGroupMode(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	ctx := context.Background()
	consumer, err := stream.NewGroupConsumer(client, orders, "g", newRecorder().Handle,
		stream.WithLogger(slog.New(slog.DiscardHandler)), stream.WithBlock(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := consumer.Lag(ctx); err == nil {
		t.Error("the lag of a group that does not exist is no error")
	}
	read := func(n int64) []redis.XMessage {
		found, err := client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{orders.Name, ">"}, Count: n}).Result()
		if err != nil {
			t.Fatal(err)
		}
		return found[0].Messages
	}
	for range 10 {
		add(t, client, "a")
	}
	client.XGroupCreate(ctx, orders.Name, "g", "0")
	wantLag(t, "a new group", consumer, 10)
	got := read(4)
	lag := wantLag(t, "four are pending", consumer, 10)
	if lag.Pending != 4 || lag.Time <= 0 || lag.Time > time.Minute {
		t.Errorf("four are pending: %+v", lag)
	}
	for _, one := range got {
		client.XAck(ctx, orders.Name, "g", one.ID)
	}
	wantLag(t, "four are acked", consumer, 6)

	// Two unread ones are trimmed. Redis 7 goes on counting them in its own lag.
	client.XTrimMaxLen(ctx, orders.Name, 4)
	wantLag(t, "two were trimmed", consumer, 4)
	for _, one := range read(2) {
		client.XAck(ctx, orders.Name, "g", one.ID)
	}
	// Whether the server has corrected its counter cannot be told.
	if lag, err := consumer.Lag(ctx); err != nil || lag.Time <= 0 {
		t.Errorf("two more are acked: %v, %v", lag.Time, err)
	} else if n, known := lag.Entries(); known && n != 2 {
		t.Errorf("two more are acked: %d entries, want 2, or that it is not known", n)
	}

	stop := start(t, consumer)
	streamtest.Await(t, "caught up, and Redis' counter is right", func() bool {
		right := client.XInfoGroups(ctx, orders.Name).Val()[0].Lag == 0
		lag, err := consumer.Lag(ctx)
		n, known := lag.Entries()
		return err == nil && known && n == 0 && lag.Time == 0 && right
	})
	if err := stop(); err != nil {
		t.Error(err)
	}
	for range 3 {
		add(t, client, "b")
	}
	wantLag(t, "three more", consumer, 3)
	read(1)
	client.XTrimMaxLen(ctx, orders.Name, 2)
	wantLag(t, "trimmed up to the position", consumer, 3)
	client.XDel(ctx, orders.Name, read(1)[0].ID)
	wantLag(t, "the last one but one is pending, and deleted", consumer, 3)

	// One that nobody has read is trimmed, and the next one read, while nobody asks:
	// Redis counts one too many, which could be true.
	client.XAck(ctx, orders.Name, "g", read(1)[0].ID)
	wantLag(t, "nothing is unread", consumer, 2)
	for range 6 {
		add(t, client, "c")
	}
	client.XTrimMaxLen(ctx, orders.Name, 5)
	client.XAck(ctx, orders.Name, "g", read(1)[0].ID)
	wantLag(t, "a loss that nobody saw", consumer, -1)
}

// A group that has lost entries, and that was never looked at before, in the middle
// of what is left: nobody knows.
func TestLagIsUnknownWhereRedisLies(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	ctx := context.Background()
	for range 10 {
		add(t, client, "a")
	}
	client.XGroupCreate(ctx, orders.Name, "g", "0")
	client.XTrimMaxLen(ctx, orders.Name, 4)
	if err := client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{orders.Name, ">"}, Count: 2}).Err(); err != nil {
		t.Fatal(err)
	}
	consumer, err := stream.NewGroupConsumer(client, orders, "g", newRecorder().Handle)
	if err != nil {
		t.Fatal(err)
	}
	if lag := wantLag(t, "after a loss", consumer, -1); lag.Pending != 2 || lag.Time <= 0 {
		t.Errorf("after a loss: %+v", lag)
	}
}
