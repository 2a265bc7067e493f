//go:build unix

package otelstream_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"millrace/middleware/otelstream"
	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// BenchmarkMiddleware is the middleware alone, around a handler that does nothing.
func BenchmarkMiddleware(b *testing.B) {
	for _, tc := range []struct {
		name, header string
		timed        bool
	}{
		{"unsampled", unsampled, false},
		{"no-header", "", false},
		{"unsampled+histogram", unsampled, true},
		{"sampled", sampled, false},
		{"sampled+histogram", sampled, true},
	} {
		b.Run(tc.name, func(b *testing.B) {
			tel := exporting(b, tc.timed)
			handler := tel.Middleware()(func(context.Context, *stream.Entry) error { return nil })
			entry, ctx := entryOf(fields(tc.header)...), b.Context()
			b.ReportAllocs()
			for b.Loop() {
				_ = handler(ctx, entry)
			}
		})
	}
}

// discarding is an exporter that drops spans.
type discarding struct{}

func (discarding) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }

func (discarding) Shutdown(context.Context) error { return nil }

// exporting returns a Telemetry as a program has it, with spans exported in batches.
func exporting(b *testing.B, timed bool) *otelstream.Telemetry {
	b.Helper()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithBatcher(discarding{}))
	b.Cleanup(func() { _ = tracer.Shutdown(context.Background()) })
	tel, err := otelstream.New(otelstream.Config{TracerProvider: tracer, MeterProvider: sdkmetric.NewMeterProvider()})
	if err != nil {
		b.Fatal(err)
	}
	if timed {
		tel.Producer()
	}
	return tel
}

// event has eight fields.
type event struct {
	ID       string    `mapstructure:"id" validate:"required"`
	Customer string    `mapstructure:"customer" validate:"required"`
	Amount   int64     `mapstructure:"amount" validate:"gt=0"`
	Currency string    `mapstructure:"currency" validate:"len=3"`
	Country  string    `mapstructure:"country"`
	Items    int       `mapstructure:"items"`
	Rate     float64   `mapstructure:"rate"`
	At       time.Time `mapstructure:"at"`
}

// fields are those of an event, and a header.
func fields(header string) []string {
	pairs := []string{
		"id", "A1", "customer", "c-17", "amount", "990", "currency", "EUR", "country", "DE", "items", "3", "rate", "0.19",
		"at", "2026-01-02T03:04:05Z",
	}
	if header != "" {
		pairs = append(pairs, "traceparent", header)
	}
	return pairs
}

// variant is what BenchmarkConsumer adds to the same consumer without.
type variant struct {
	name, topic string
	stack       []stream.Middleware
}

// variants makes each Telemetry once, as a program does. The second variant is the first once more:
// its ratio tells how far two equal ones are apart on this machine.
func variants(b *testing.B) []variant {
	b.Helper()
	stack := func(timed bool) []stream.Middleware {
		return []stream.Middleware{exporting(b, timed).Middleware()}
	}
	return []variant{
		{"none", "unsampled", nil},
		{"none-again", "unsampled", nil},
		{"unsampled", "unsampled", stack(false)},
		{"unsampled+histogram", "unsampled", stack(true)},
		{"1%-sampled", "sampled", stack(false)},
		{"1%-sampled+histogram", "sampled", stack(true)},
	}
}

// BenchmarkConsumer measures the CPU time of a consumer in log mode, of this process alone, with
// each of the variants in turn, on one redis-server. It reports the medians for an entry, and
// their ratio to the consumer without middleware. The gates are 1.02 without the histogram, 1.05
// with it, and 1.08 with 1 % sampled. MILLRACE_BENCH_ROUNDS sets the rounds, of 20,000 entries:
//
//	MILLRACE_BENCH_ROUNDS=201 go test -run '^$' -bench Consumer -benchtime 1x ./
func BenchmarkConsumer(b *testing.B) {
	rounds, entries := 1, 2000
	if n, err := strconv.Atoi(os.Getenv("MILLRACE_BENCH_ROUNDS")); err == nil {
		rounds, entries = n, 20_000
	}
	client := streamtest.StartRedis(b, "--appendonly", "no").Client()
	for _, topic := range []string{"unsampled", "sampled"} {
		fill(b, client, topic, entries)
	}
	all := variants(b)
	b.ResetTimer()
	for range b.N {
		spent := make([][]float64, len(all))
		for range rounds {
			for _, i := range rand.Perm(len(all)) { // so that none is always behind the same one
				spent[i] = append(spent[i], consume(b, client, all[i].topic, entries, all[i].stack))
			}
		}
		for i, v := range all {
			b.ReportMetric(median(spent[i]), v.name+"-cpu-ns/entry")
			b.ReportMetric(median(spent[i])/median(spent[0]), v.name+"-ratio")
		}
	}
}

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

// fill adds entries with a traceparent, of which 1 % is sampled on the topic of that name.
func fill(b *testing.B, client *redis.Client, topic string, entries int) {
	b.Helper()
	pipe := client.Pipeline()
	for i := range entries {
		header := unsampled
		if topic == "sampled" && i%100 == 0 {
			header = sampled
		}
		pipe.XAdd(b.Context(), &redis.XAddArgs{Stream: topic, Values: fields(header)})
	}
	if _, err := pipe.Exec(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// consume runs a consumer over a topic, and returns the CPU time for each entry in nanoseconds.
func consume(b *testing.B, client *redis.Client, topic string, entries int, stack []stream.Middleware) float64 {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	left := entries
	handle := func(context.Context, *stream.Message[event]) error {
		if left--; left == 0 {
			cancel()
		}
		return nil
	}
	consumer, err := stream.NewConsumer(client, stream.Topic[event]{Name: topic}, new(offset.Memory), handle,
		stream.WithMiddleware(stack...), stream.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		b.Fatal(err)
	}
	before := processorTime(b)
	if err := consumer.Run(ctx); err != nil {
		b.Fatal(err)
	}
	if left > 0 {
		b.Fatalf("%d entries were not handled", left)
	}
	return float64(processorTime(b)-before) / float64(entries)
}

// processorTime returns the CPU time of the process.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
