//go:build unix

package stream_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

// BenchmarkPublishAll compares PublishAll of 1,000 values of eight fields, which
// it validates and encodes, with a bare go-redis pipeline of 1,000 XADDs of texts
// that are ready. Both write to the same server, in turns; the figures are
// medians over the rounds:
//
//	x-raw      our throughput / the pipeline's
//	cpu-x-raw  CPU time of this process per entry, ours / the pipeline's
//	once-x-raw throughput of PublishAllOnce / the pipeline's
func BenchmarkPublishAll(b *testing.B) {
	const entries, turns = 1000, 10
	client := streamtest.StartRedis(b, "--appendonly", "no").Client()
	producer, err := stream.NewProducer(client, trades, stream.WithMaxLen(100_000))
	if err != nil {
		b.Fatal(err)
	}
	values := make([]trade, entries)
	texts := make([][]string, entries)
	for i := range values {
		at := time.UnixMilli(1_700_000_000_000 + int64(i)).UTC()
		values[i] = trade{
			TradeID: fmt.Sprintf("t-%08d", i), Account: fmt.Sprintf("account-%04d", i), Symbol: "MILL", Side: "buy",
			Quantity: int64(1 + i%500), Price: 101.25, Margin: true, At: at,
		}
		texts[i] = []string{
			"trade_id", values[i].TradeID, "account", values[i].Account, "symbol", "MILL", "side", "buy",
			"quantity", fmt.Sprint(values[i].Quantity), "price", "101.25", "margin", "true", "at_ms", fmt.Sprint(at.UnixMilli()),
		}
	}
	bare := func() {
		pipe := client.Pipeline()
		for _, pairs := range texts {
			pipe.XAdd(context.Background(), &redis.XAddArgs{Stream: "bare", MaxLen: 100_000, Approx: true, Values: pairs})
		}
		if _, err := pipe.Exec(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	ours := func() {
		if _, err := producer.PublishAll(context.Background(), values); err != nil {
			b.Fatal(err)
		}
	}
	round := 0
	once := func() {
		round++
		prefix := fmt.Sprint(round, "-")
		if _, err := producer.PublishAllOnce(context.Background(), func(t trade) string { return prefix + t.TradeID }, values); err != nil {
			b.Fatal(err)
		}
	}
	times := func(work func()) cost {
		return measure(func() {
			for range turns {
				work()
			}
		})
	}

	var speed, cpu, keyed, rate []float64
	b.ReportAllocs()
	for b.Loop() {
		raw, all, allOnce := times(bare), times(ours), times(once)
		speed = append(speed, raw.wall.Seconds()/all.wall.Seconds())
		cpu = append(cpu, all.cpu.Seconds()/raw.cpu.Seconds())
		keyed = append(keyed, raw.wall.Seconds()/allOnce.wall.Seconds())
		rate = append(rate, entries*turns/all.wall.Seconds())
	}
	b.ReportMetric(median(speed), "x-raw")
	b.ReportMetric(median(cpu), "cpu-x-raw")
	b.ReportMetric(median(keyed), "once-x-raw")
	b.ReportMetric(median(rate), "entries/s")
}
