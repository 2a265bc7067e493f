//go:build unix

package stream_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// BenchmarkConsumer compares a consumer as a user would write it (eight fields,
// validated, the usual middleware, offsets in Redis) with a bare go-redis loop
// that decodes and keeps nothing. Both read the same entries from the same
// server, in turns; the figures are medians over the rounds:
//
//	x-raw      our throughput / the loop's
//	cpu-x-raw  CPU time of this process per entry, ours / the loop's
func BenchmarkConsumer(b *testing.B) {
	const entries = 100_000
	server := streamtest.StartRedis(b, "--appendonly", "no")
	client := server.Client()
	fillTrades(b, client, entries)

	compare(b, entries,
		func(int) { bareLoop(b, client, entries) },
		func(round int) { consume(b, client, entries, fmt.Sprint("round-", round)) })
}

// compare runs the bare loop and ours in turns, and reports the medians.
func compare(b *testing.B, entries float64, bare, ours func(round int)) {
	b.Helper()
	var speed, cpu, rate []float64
	for b.Loop() {
		round := len(rate)
		theirs := measure(func() { bare(round) })
		own := measure(func() { ours(round) })
		speed = append(speed, theirs.wall.Seconds()/own.wall.Seconds())
		cpu = append(cpu, own.cpu.Seconds()/theirs.cpu.Seconds())
		rate = append(rate, entries/own.wall.Seconds())
	}
	b.ReportMetric(median(speed), "x-raw")
	b.ReportMetric(median(cpu), "cpu-x-raw")
	b.ReportMetric(median(rate), "entries/s")
}

func fillTrades(b *testing.B, client *redis.Client, entries int) {
	b.Helper()
	ctx := context.Background()
	for i := 0; i < entries; {
		pipe := client.Pipeline()
		for range 1000 {
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: trades.Name, Values: []string{
				"trade_id", fmt.Sprintf("t-%08d", i), "account", fmt.Sprintf("account-%04d", i%1000), "symbol", "MILL", "side", "buy",
				"quantity", fmt.Sprint(1 + i%500), "price", "101.25", "margin", "true", "at_ms", fmt.Sprint(1_700_000_000_000 + i),
			}})
			i++
		}
		if _, err := pipe.Exec(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

func bareLoop(b *testing.B, client *redis.Client, entries int) {
	b.Helper()
	last := "0-0"
	for read := 0; read < entries; {
		reply, err := client.XRead(context.Background(), &redis.XReadArgs{
			Streams: []string{trades.Name, last}, Count: 500, Block: time.Second,
		}).Result()
		if err != nil {
			b.Fatal(err)
		}
		messages := reply[0].Messages
		read += len(messages)
		last = messages[len(messages)-1].ID
	}
}

func consume(b *testing.B, client *redis.Client, entries int, label string) {
	b.Helper()
	store, err := offset.NewRedis(client, "")
	if err != nil {
		b.Fatal(err)
	}
	handleAll(b, entries, func(handle stream.Handler[trade]) (*stream.Consumer[trade], error) {
		return stream.NewConsumer(client, trades, store, handle,
			stream.WithLabel(label), stream.WithReadCount(500), stream.WithLogger(slog.New(slog.DiscardHandler)), usualMiddleware())
	})
}

// handleAll runs a consumer until it has handled all entries.
func handleAll(b *testing.B, entries int, construct func(stream.Handler[trade]) (*stream.Consumer[trade], error)) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	handled, quantity := 0, int64(0)
	consumer, err := construct(func(_ context.Context, msg *stream.Message[trade]) error {
		quantity += msg.Value.Quantity
		if handled++; handled == entries {
			cancel()
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := consumer.Run(ctx); err != nil {
		b.Fatal(err)
	}
	if handled != entries || quantity == 0 {
		b.Fatalf("%d entries were handled, want %d", handled, entries)
	}
}

type cost struct{ wall, cpu time.Duration }

func measure(work func()) cost {
	cpu, begun := cpuTime(), time.Now()
	work()
	return cost{wall: time.Since(begun), cpu: cpuTime() - cpu}
}

// cpuTime is what this process has used so far, the server not included.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
