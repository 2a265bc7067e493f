package stream_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

// fleet is the consumers of one group, which handle no more than they are let.
type fleet struct {
	client redis.UniversalClient
	told   lossObserver
	rec    *recorder
	all    []*stream.Consumer[order]
	leave  chan struct{}
	added  int
}

// startFleet starts consumers of one group, each alone or in a Runner of its own.
func startFleet(t *testing.T, client redis.UniversalClient, consumers int, shared bool, opts ...stream.Option) *fleet {
	t.Helper()
	if err := client.XGroupCreateMkStream(t.Context(), orders.Name, "billing", "0").Err(); err != nil {
		t.Fatal(err)
	}
	f := &fleet{client: client, rec: newRecorder(), leave: make(chan struct{}, 1_000_000)}
	f.rec.handle = func(ctx context.Context, _ *stream.Message[order]) error {
		select {
		case <-f.leave:
		case <-ctx.Done():
		}
		return ctx.Err()
	}
	for i := range consumers {
		consumer := newGroup(t, client, f.rec.Handle, append([]stream.Option{
			stream.WithObserver(&f.told), stream.WithConsumerName(fmt.Sprint("c", i)), stream.WithReadCount(20), stream.WithWindow(40),
			stream.WithBlock(20 * time.Millisecond), stream.WithClaimIdle(time.Minute), // nothing is looked at between reads
		}, opts...)...)
		f.all = append(f.all, consumer)
		if shared {
			var r stream.Runner
			r.Add(consumer)
			start(t, &r)
		} else {
			start(t, consumer)
		}
	}
	return f
}

// add adds n entries in one step, together with the commands of also.
func (f *fleet) add(t *testing.T, n int, also func(tx redis.Pipeliner)) {
	t.Helper()
	tx := f.client.TxPipeline()
	for range n {
		tx.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, Values: []string{"id", strconv.Itoa(f.added), "amount", "1"}})
		f.added++
	}
	if also != nil {
		also(tx)
	}
	if _, err := tx.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (f *fleet) let(n int) {
	for range n {
		f.leave <- struct{}{}
	}
}

// handled returns how many of the entries were handled.
func (f *fleet) handled() int {
	seen := f.rec.Seen()
	slices.Sort(seen)
	return len(slices.Compact(seen))
}

// missing waits until nothing is left, and returns the number of entries that no consumer
// was given.
func (f *fleet) missing(t *testing.T) int {
	t.Helper()
	f.let(f.added)
	streamtest.Await(t, "everything is read", func() bool {
		groups := f.client.XInfoGroups(t.Context(), orders.Name).Val()
		info := f.client.XInfoStream(t.Context(), orders.Name).Val()
		return groups[0].LastDeliveredID == info.LastGeneratedID
	})
	settled(t, f.client)
	return f.added - f.handled()
}

// count returns how many entries were told as lost for a cause, and whether exactly.
func (f *fleet) count(cause stream.LossCause) (n int, exact bool) {
	exact = true
	for _, loss := range f.told.of(cause) {
		n, exact = n+int(loss.Count), exact && loss.Exact
	}
	return n, exact
}

// fleets has a test run with each kind.
func fleets(t *testing.T, test func(t *testing.T, client *redis.Client, consumers int, shared bool)) {
	t.Helper()
	t.Parallel()
	for _, consumers := range []int{1, 3} {
		for _, shared := range []bool{false, true} {
			t.Run(fmt.Sprintf("consumers=%d/shared=%v", consumers, shared), func(t *testing.T) {
				t.Parallel()
				test(t, streamtest.StartRedis(t, "--appendonly", "no").Client(), consumers, shared)
			})
		}
	}
}

// A group that lags behind while its stream is trimmed all the time is told of all that
// it has lost, however soon it reads on, whichever consumer reads, and on every server.
func TestGroupThatLagsBehindATrimmedStream(t *testing.T) {
	fleets(t, func(t *testing.T, client *redis.Client, consumers int, shared bool) {
		f := startFleet(t, client, consumers, shared)
		for range 100 {
			f.add(t, 60, func(tx redis.Pipeliner) { tx.XTrimMaxLen(t.Context(), orders.Name, 100) })
			f.let(20)
			streamtest.Await(t, "it goes on", func() bool { return len(f.leave) < 20 })
		}
		lost := f.missing(t)
		told, exact := f.count(stream.LossTrimmed)
		if lost < 1000 || told < lost || exact && told != lost {
			t.Errorf("%d of %d entries are lost; told are %d, exactly: %v", lost, f.added, told, exact)
		}
		for _, loss := range f.told.get() {
			if loss.Cause != stream.LossTrimmed {
				t.Errorf("told %+v", loss)
			}
		}
	})
}

// Trimming of entries that were read is not told, however soon it comes.
func TestGroupWhoseStreamIsTrimmedBehindIt(t *testing.T) {
	fleets(t, func(t *testing.T, client *redis.Client, consumers int, shared bool) {
		f := startFleet(t, client, consumers, shared)
		for round := range 100 {
			f.add(t, 60, nil)
			f.let(60)
			streamtest.Await(t, "it is read", func() bool {
				// Up to the place of the group, in one step, and the entry there as well every
				// second time.
				keep := round % 2
				_, err := trimToPlace.Run(t.Context(), client, []string{orders.Name}, keep).Result()
				if err != nil {
					t.Fatal(err)
				}
				return f.handled() == f.added
			})
		}
		if lost := f.missing(t); lost != 0 {
			t.Errorf("%d entries are lost", lost)
		}
		if list := f.told.get(); len(list) > 0 {
			t.Errorf("told %+v", list)
		}
	})
}

var trimToPlace = redis.NewScript(`
local group, place = redis.call('XINFO', 'GROUPS', KEYS[1])[1], nil
for i = 1, #group, 2 do
  if group[i] == 'last-delivered-id' then place = group[i + 1] end
  if group[i] == 'pending' and group[i + 1] > 0 then return 0 end
end
redis.call('XTRIM', KEYS[1], 'MINID', place)
if ARGV[1] == '0' then
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
  if first[1] and first[1][1] == place then
    redis.call('XTRIM', KEYS[1], 'MAXLEN', redis.call('XLEN', KEYS[1]) - 1)
  end
end
return 1`)

// A group that is set further on while entries come is told, though it is at the end,
// where Redis counts anew, at once.
func TestGroupIsSetFurtherOnWhileEntriesCome(t *testing.T) {
	fleets(t, func(t *testing.T, client *redis.Client, consumers int, shared bool) {
		f := startFleet(t, client, consumers, shared)
		f.add(t, 10, nil)
		f.let(10)
		streamtest.Await(t, "some are handled", func() bool { return f.handled() == 10 })
		f.add(t, 2000, nil)
		streamtest.Await(t, "it is full", func() bool {
			return f.all[0].Stats().Window >= 20 && int(client.XPending(t.Context(), orders.Name, "billing").Val().Count) >= 20*consumers
		})
		f.let(100)
		f.add(t, 500, func(tx redis.Pipeliner) {
			tx.XGroupSetID(t.Context(), orders.Name, "billing", "$")
		})
		f.let(1000)
		for range 20 {
			f.add(t, 20, nil)
		}
		lost := f.missing(t)
		streamtest.Await(t, "it is told", func() bool { return len(f.told.of(stream.LossMoved)) > 0 })
		if told, _ := f.count(stream.LossMoved); lost < 1000 || told < lost {
			t.Errorf("%d of %d entries are left out; told are %d", lost, f.added, told)
		}
	})
}
