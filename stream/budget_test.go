//go:build !race

// Not under the race detector, where a sync.Pool drops a quarter of its values: up to 2.4
// allocations for each entry were counted there, and 1.15 without it.

package stream_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/offset"
	"millrace/stream"
)

// What an entry may cost between the reader and the end of its handler: the decoded
// value, and the message that it is handed over in. One allocation more for each
// entry is more than a tenth of the whole.
//
// Not parallel: it counts the allocations of the whole process. What else runs in the
// process can only add to them, so that the least of a few rounds is the figure. A
// collection empties the pools of messages, and how many there are depends on how busy the
// machine is (up to 1.7 allocations were counted on one): there is none while it counts.
func TestAllocationBudget(t *testing.T) {
	const entries, perBatch, rounds, budget = 20_000, 500, 4, 1.5
	t.Cleanup(func(percent int) func() {
		return func() { debug.SetGCPercent(percent) }
	}(debug.SetGCPercent(-1)))
	var all [][]stream.Entry
	for i := 0; i < entries; i += perBatch {
		batch := make([]stream.Entry, perBatch)
		for j := range batch {
			batch[j] = stream.Entry{Stream: trades.Name, ID: fmt.Sprintf("%d-0", 1+i+j), Fields: codec.FieldsOf(
				"trade_id", "t-1", "account", "account-1", "symbol", "MILL", "side", "buy",
				"quantity", "7", "price", "101.25", "margin", "true", "at_ms", "1700000000000",
			)}
		}
		all = append(all, batch)
	}
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}) // not used
	t.Cleanup(func() { _ = client.Close() })
	for name, opts := range map[string][]stream.Option{
		"one at a time":    nil,
		"observed":         {stream.WithObserver(&recorded{silent: true})},
		"concurrent":       {stream.WithConcurrency(4)},
		"in order of keys": {stream.WithConcurrency(4), stream.WithOrderKey(stream.Field("trade_id"))},
	} {
		least := math.Inf(1)
		for range rounds {
			least = min(least, allocationsOf(t, client, all, opts)/entries)
		}
		t.Logf("%s: %.3f allocations for each entry", name, least)
		if least > budget {
			t.Errorf("%s: %.3f allocations for each entry, want 1", name, least)
		}
	}
}

// allocationsOf runs a consumer over the batches, and returns how many allocations there
// were until the last entry was handled.
func allocationsOf(t *testing.T, client *redis.Client, batches [][]stream.Entry, opts []stream.Option) float64 {
	t.Helper()
	entries := 0
	for _, batch := range batches {
		entries += len(batch)
	}
	store := &offset.Memory{}
	handled := make(chan struct{}, entries)
	consumer, err := stream.NewConsumer(client, trades, store, func(_ context.Context, msg *stream.Message[trade]) error {
		if msg.Value.Quantity != 7 {
			t.Error("an entry was decoded wrongly")
		}
		handled <- struct{}{}
		return nil
	}, append(opts, stream.WithLogger(slog.New(slog.DiscardHandler)), usualMiddleware())...)
	if err != nil {
		t.Fatal(err)
	}
	left := batches
	stream.FeedWith(consumer, store, func() []stream.Entry {
		if len(left) == 0 {
			return nil
		}
		batch := left[0]
		left = left[1:]
		return batch
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	stop := start(t, consumer)
	for range entries {
		<-handled
	}
	runtime.ReadMemStats(&after)
	if err := stop(); err != nil {
		t.Error(err)
	}
	return float64(after.Mallocs - before.Mallocs)
}
