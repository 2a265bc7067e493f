package stream_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

// lossObserver keeps the losses that it is told of.
type lossObserver struct {
	mu   sync.Mutex
	list []stream.LossError
}

func (o *lossObserver) OnLoss(_ stream.Identity, err error) {
	var loss *stream.LossError
	o.mu.Lock()
	defer o.mu.Unlock()
	if errors.As(err, &loss) {
		o.list = append(o.list, *loss)
	}
}

func (o *lossObserver) get() []stream.LossError {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]stream.LossError(nil), o.list...)
}

// What was trimmed before the group has read it, what was pending and is gone, and
// a group that is gone: each is told, by one of the consumers.
func TestGroupLosses(t *testing.T) {
	t.Parallel()
	fill := func(t *testing.T, client *redis.Client, n int) {
		t.Helper()
		for i := range n {
			add(t, client, fmt.Sprint(i))
		}
	}
	for name, row := range map[string]struct {
		harm  func(t *testing.T, client *redis.Client) // with 10 entries handled, 1 at work, and no more room
		cause stream.LossCause
		count int64
		exact bool
		again int // entries that are to be handled in the end
	}{
		"trimmed unread": {func(t *testing.T, client *redis.Client) {
			fill(t, client, 30)
			if err := client.XTrimMaxLen(t.Context(), orders.Name, 5).Err(); err != nil {
				t.Fatal(err)
			}
		}, stream.LossTrimmed, 25, true, 5},
		"trimmed to nothing": {func(t *testing.T, client *redis.Client) {
			fill(t, client, 30)
			if err := client.XTrimMaxLen(t.Context(), orders.Name, 0).Err(); err != nil {
				t.Fatal(err)
			}
		}, stream.LossTrimmed, 30, true, 0},
		"the group is destroyed": {func(t *testing.T, client *redis.Client) {
			if err := client.XGroupDestroy(t.Context(), orders.Name, "billing").Err(); err != nil {
				t.Fatal(err)
			}
			fill(t, client, 3)
		}, stream.LossGroup, -1, false, 3},
		"the stream is deleted": {func(t *testing.T, client *redis.Client) {
			if err := client.Del(t.Context(), orders.Name).Err(); err != nil {
				t.Fatal(err)
			}
			fill(t, client, 3)
		}, stream.LossRecreated, -1, false, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := streamtest.StartRedis(t, "--appendonly", "no").Client()
			fill(t, client, 10)
			told := &lossObserver{}
			hold := make(chan struct{})
			rec := newRecorder()
			rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
				if msg.Value.ID == "hold" {
					<-hold
				}
				return nil
			}
			consumer := newGroup(t, client, rec.Handle, stream.WithObserver(told), stream.WithBatchSize(1), stream.WithWindow(1),
				stream.WithBlock(20*time.Millisecond), stream.WithClaimIdle(200*time.Millisecond))
			start(t, consumer)
			add(t, client, "hold")
			rec.await(t, 11)
			row.harm(t, client)
			close(hold)
			rec.await(t, 11+row.again)
			eventually(t, "the loss is told", func() bool { return len(told.get()) > 0 })
			loss := told.get()[0]
			if loss.Cause != row.cause || loss.Group != "billing" || loss.Count != row.count || loss.Exact != row.exact {
				t.Errorf("told %+v, want %q, %d, exact %t", loss, row.cause, row.count, row.exact)
			}
			if n := consumer.Stats().Lost; n < 1 || row.count > 0 && n != row.count {
				t.Errorf("%d entries are counted as lost, want %d", n, row.count)
			}
			t.Log(loss.Error())
		})
	}
}

// Two consumers of one group tell a loss once, and the group's lag is right again.
func TestGroupLossIsToldOnce(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	told := &lossObserver{}
	rec := newRecorder()
	run := func() []func() error {
		var stops []func() error
		for range 2 {
			stops = append(stops, start(t, newGroup(t, client, rec.Handle, stream.WithObserver(told), stream.WithBlock(20*time.Millisecond), stream.WithClaimIdle(40*time.Millisecond))))
		}
		return stops
	}
	stops := run()
	for i := range 10 {
		add(t, client, fmt.Sprint(i))
	}
	rec.await(t, 10)
	settled(t, client)
	for _, stop := range stops {
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		add(t, client, fmt.Sprint(i))
	}
	if err := client.XTrimMaxLen(t.Context(), orders.Name, 4).Err(); err != nil {
		t.Fatal(err)
	}
	run()
	rec.await(t, 14)
	settled(t, client)
	eventually(t, "the loss is told and the lag is right", func() bool {
		return len(told.get()) > 0 && client.XInfoGroups(t.Context(), orders.Name).Val()[0].Lag == 0
	})
	for i := range 5 {
		add(t, client, fmt.Sprint(i))
	}
	rec.await(t, 19)
	settled(t, client)
	if list := told.get(); len(list) != 1 || list[0].Count != 16 || !list[0].Exact {
		t.Errorf("told %+v, want one loss of 16", list)
	}
}

// Nothing is told that is none: trims of what was handled, deletes, restarts.
func TestGroupNoLossInCleanSteps(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	told := &lossObserver{}
	rec := newRecorder()
	run := func() func() error {
		return start(t, newGroup(t, client, rec.Handle, stream.WithObserver(told), stream.WithBatchSize(10), stream.WithBlock(5*time.Millisecond), stream.WithClaimIdle(10*time.Millisecond)))
	}
	stop := run()
	steps := 10_000
	if testing.Short() {
		steps = 1000
	}
	for step := range steps {
		id := add(t, client, fmt.Sprint(step))
		switch step % 100 {
		case 20:
			rec.await(t, step+1)
			settled(t, client)
			if err := client.XTrimMaxLen(t.Context(), orders.Name, int64(step%3)).Err(); err != nil {
				t.Fatal(err)
			}
		case 60:
			rec.await(t, step+1)
			settled(t, client)
			if err := client.XDel(t.Context(), orders.Name, id).Err(); err != nil {
				t.Fatal(err)
			}
		case 90:
			if step%1000 == 90 {
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				stop = run()
			}
		}
	}
	rec.await(t, steps)
	if list := told.get(); len(list) > 0 {
		t.Errorf("%d losses were told in %d clean steps, the first: %v", len(list), steps, list[0].Error())
	}
}
