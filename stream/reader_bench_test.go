//go:build unix

package stream_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

// BenchmarkReader compares what the consumer reads with to go-redis: the same
// entries of eight fields, 500 at a time. Beside the ratios of [BenchmarkConsumer]
// it reports
//
//	allocs/entry  allocations, ours
//	x-allocs      allocations, ours / go-redis'
func BenchmarkReader(b *testing.B) {
	const entries = 100_000
	server := streamtest.StartRedis(b, "--appendonly", "no")
	client := server.Client()
	fillTrades(b, client, entries)
	reader := stream.NewReader(b, client)
	read := func() {
		for last, n := "0-0", 0; n < entries; {
			brought, err := reader.Read(context.Background(), &redis.XReadArgs{
				Streams: []string{trades.Name, last}, Count: 500, Block: time.Second,
			})
			if err != nil || len(brought) == 0 {
				b.Fatalf("%d entries after %s: %v", len(brought), last, err)
			}
			n += len(brought)
			last = brought[len(brought)-1].ID
		}
	}
	var theirs, own uint64
	compare(b, entries,
		func(int) { theirs = allocations(func() { bareLoop(b, client, entries) }) },
		func(int) { own = allocations(read) })
	b.ReportMetric(float64(own)/entries, "allocs/entry")
	b.ReportMetric(float64(own)/float64(theirs), "x-allocs")
}

func allocations(work func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	work()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}
