package otelstream_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"millrace/codec"
	"millrace/middleware/otelstream"
	"millrace/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type order struct {
	ID     string `mapstructure:"id" validate:"required"`
	Amount int    `mapstructure:"amount"`
}

var orders = stream.Topic[order]{Name: "orders"}

// secret is in values and errors, and must be in no span and no metric.
const secret = "s3cr3t"

// A traceparent of a sampled span, and the same of one that is not sampled.
const (
	traceID   = "0af7651916cd43dd8448eb211c80319c"
	spanID    = "b7ad6b7169203331"
	sampled   = "00-" + traceID + "-" + spanID + "-01"
	unsampled = "00-" + traceID + "-" + spanID + "-00"
)

// watched is a Telemetry, and what it has told.
type watched struct {
	*otelstream.Telemetry
	t      *testing.T
	spans  *tracetest.SpanRecorder
	reader *sdkmetric.ManualReader
	tracer *sdktrace.TracerProvider
}

// watch makes a Telemetry that samples everything, but for what the config says.
func watch(t *testing.T, config otelstream.Config, sampler sdktrace.Sampler) *watched {
	t.Helper()
	w := &watched{t: t, spans: tracetest.NewSpanRecorder()}
	if sampler == nil {
		sampler = sdktrace.ParentBased(sdktrace.AlwaysSample())
	}
	w.tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(w.spans), sdktrace.WithSampler(sampler))
	config.TracerProvider = w.tracer
	var late lateProducer
	w.reader = sdkmetric.NewManualReader(sdkmetric.WithProducer(&late))
	config.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(w.reader))
	tel, err := otelstream.New(config)
	if err != nil {
		t.Fatal(err)
	}
	late.Producer = tel.Producer()
	w.Telemetry = tel
	return w
}

// lateProducer is made before what it produces.
type lateProducer struct{ sdkmetric.Producer }

// ended returns the spans that have ended.
func (w *watched) ended() []sdktrace.ReadOnlySpan {
	w.t.Helper()
	for _, span := range w.spans.Ended() {
		if text := fmt.Sprintf("%v", tracetest.SpanStubFromReadOnlySpan(span)); strings.Contains(text, secret) {
			w.t.Errorf("a span has the text of an error: %s", text)
		}
	}
	return w.spans.Ended()
}

// only returns the one span of this name.
func (w *watched) only(name string) sdktrace.ReadOnlySpan {
	w.t.Helper()
	var found []sdktrace.ReadOnlySpan
	for _, span := range w.ended() {
		if span.Name() == name {
			found = append(found, span)
		}
	}
	if len(found) != 1 {
		w.t.Fatalf("there are %d spans named %q, want 1", len(found), name)
	}
	return found[0]
}

// attrs returns the attributes of a span as text.
func attrs(span sdktrace.ReadOnlySpan) map[string]string { return texts(span.Attributes()) }

func texts(list []attribute.KeyValue) map[string]string {
	found := make(map[string]string)
	for _, kv := range list {
		found[string(kv.Key)] = kv.Value.String()
	}
	return found
}

// collect returns the metrics by their names.
func (w *watched) collect() map[string]metricdata.Metrics {
	w.t.Helper()
	var all metricdata.ResourceMetrics
	if err := w.reader.Collect(w.t.Context(), &all); err != nil {
		w.t.Fatal(err)
	}
	if strings.Contains(fmt.Sprint(all), secret) {
		w.t.Error("a metric has the text of an error")
	}
	found := make(map[string]metricdata.Metrics)
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if _, twice := found[m.Name]; twice {
				w.t.Errorf("there are two metrics %s", m.Name)
			}
			found[m.Name] = m
		}
	}
	return found
}

// numbers returns the series of a counter or gauge, by their attributes without those that all
// have.
func (w *watched) numbers(name string) map[string]float64 {
	w.t.Helper()
	var points []metricdata.DataPoint[float64]
	switch data := w.collect()[name].Data.(type) {
	case metricdata.Sum[float64]:
		if !data.IsMonotonic {
			w.t.Errorf("%s is not monotonic", name)
		}
		points = data.DataPoints
	case metricdata.Gauge[float64]:
		points = data.DataPoints
	}
	found := make(map[string]float64)
	for _, p := range points {
		found[seriesOf(p.Attributes)] = p.Value
	}
	return found
}

// histogram returns the series of a histogram.
func (w *watched) histogram(name string) map[string]metricdata.HistogramDataPoint[float64] {
	w.t.Helper()
	found := make(map[string]metricdata.HistogramDataPoint[float64])
	data, _ := w.collect()[name].Data.(metricdata.Histogram[float64])
	for _, p := range data.DataPoints {
		found[seriesOf(p.Attributes)] = p
	}
	return found
}

// seriesOf names a series by the attributes that differ.
func seriesOf(set attribute.Set) string {
	found := texts(set.ToSlice())
	var words []string
	for _, name := range []string{"messaging.destination.name", "messaging.consumer.group.name", "millrace.label", "messaging.operation.name", "millrace.outcome", "error.type"} {
		if value, is := found[name]; is {
			words = append(words, value)
		}
	}
	return strings.Join(words, " ")
}

// entryOf is an entry as a unit test has it.
func entryOf(pairs ...string) *stream.Entry {
	return &stream.Entry{Stream: "orders", ID: fmt.Sprintf("%d-0", time.Now().UnixMilli()), Fields: codec.FieldsOf(pairs...), Deliveries: 1}
}

// process runs a middleware around a handler that returns err.
func process(ctx context.Context, m stream.Middleware, entry *stream.Entry, err error) error {
	return m(func(context.Context, *stream.Entry) error { return err })(ctx, entry)
}

// add adds an entry to the stream.
func add(t *testing.T, client redis.UniversalClient, pairs ...string) string {
	t.Helper()
	id, err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "orders", Values: pairs}).Result()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// newGroup makes a consumer of the group billing, with the Telemetry outermost.
func (w *watched) newGroup(client redis.UniversalClient, handle stream.Handler[order], opts ...stream.Option) *stream.Consumer[order] {
	w.t.Helper()
	return w.newNamedGroup(client, "billing", handle, opts...)
}

func (w *watched) newNamedGroup(client redis.UniversalClient, group string, handle stream.Handler[order], opts ...stream.Option) *stream.Consumer[order] {
	w.t.Helper()
	opts = append([]stream.Option{
		stream.WithMiddleware(w.Middleware()), stream.WithObserver(w.Telemetry), stream.WithLogger(slog.New(slog.DiscardHandler)),
	}, opts...)
	consumer, err := stream.NewGroupConsumer(client, orders, group, handle, opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	return consumer
}

// newProducer makes a producer that is traced.
func (w *watched) newProducer(client redis.UniversalClient) *stream.Producer[order] {
	w.t.Helper()
	producer, err := stream.NewProducer(client, orders, stream.WithPublishMiddleware(w.Publish()))
	if err != nil {
		w.t.Fatal(err)
	}
	return producer
}

// runFor runs something for a time.
func runFor(t *testing.T, d time.Duration, one stream.Runnable) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := one.Run(ctx); err != nil {
		t.Error(err)
	}
}
