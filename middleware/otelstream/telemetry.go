package otelstream

import (
	"fmt"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"millrace/middleware/internal/telemetry"
	"millrace/stream"
)

// Config configures [New]. Its zero value is useful.
type Config struct {
	// TracerProvider makes the spans. Default: the global one, also if it is set later.
	TracerProvider trace.TracerProvider
	// MeterProvider has the counters and gauges. Default: the global one, also if it is set
	// later. The histograms are given to a reader by [Telemetry.Producer].
	MeterProvider metric.MeterProvider

	// Link has a span begin a trace of its own, with a link to the span that published the
	// entry, as the semantic conventions have it by default. Default: the span is a child of
	// that, so that a trace goes from the producer to the handler.
	Link bool
	// Root has an entry without a traceparent begin a trace, as the sampler decides: for
	// entries of producers that do not trace. An entry that is not sampled costs several
	// microseconds then. Default: such an entry has no span.
	Root bool
	// AlwaysInject has [Telemetry.Publish] give entries a traceparent also if the span is not
	// sampled, for readers that decide themselves, or have the trace in their logs. Default:
	// only if it is sampled, because a header takes memory in each entry.
	AlwaysInject bool
	// Baggage has Publish write the baggage of the context into the entries, and handlers get
	// it with theirs, if the entry is sampled. Default: it is not written and not read, because
	// it may hold personal data.
	Baggage bool

	// LagEvery is how often Redis is asked for the lag of each group and label. It is asked
	// when metrics are collected, so not more often than that. A lag that is older than twice
	// the time is not reported. Default: 15 seconds. A negative time is refused.
	LagEvery time.Duration
	// NoLag leaves out the metrics of lag and of pending entries, and Redis is not asked.
	NoLag bool
}

// Telemetry makes spans and metrics. One serves all topics, consumers and producers of a
// process. [New] makes it; it must not be copied, and is safe for concurrent use. Nil does
// nothing, and everything that it returns may be used.
//
// It is also an observer of consumers ([millrace/stream.WithObserver]): then it measures reads
// that did not wait, and acks.
type Telemetry struct {
	config     Config
	tracer     trace.Tracer
	gatherer   *telemetry.Gatherer
	timings    telemetry.Timings
	operations operations
	// timed says that a reader takes the histograms; without one nothing is measured.
	timed atomic.Bool
}

// New returns a Telemetry, with its instruments made. It starts nothing. All problems of the
// config come back in one error, each wrapping stream.ErrInvalidOption; any other error is the
// meter provider's.
func New(config Config) (*Telemetry, error) {
	lag := telemetry.LagConfig{Every: config.LagEvery, Never: config.NoLag}
	if err := lag.Check(); err != nil {
		return nil, fmt.Errorf("otelstream: %w", err)
	}
	if config.TracerProvider == nil {
		config.TracerProvider = otel.GetTracerProvider()
	}
	if config.MeterProvider == nil {
		config.MeterProvider = otel.GetMeterProvider()
	}
	t := &Telemetry{
		config:   config,
		tracer:   config.TracerProvider.Tracer(scopeName, trace.WithSchemaURL(schemaURL)),
		gatherer: telemetry.NewGatherer(lag),
	}
	if err := t.instrument(config.MeterProvider.Meter(scopeName, metric.WithSchemaURL(schemaURL))); err != nil {
		return nil, fmt.Errorf("otelstream: making the instruments: %w", err)
	}
	return t, nil
}

// Register adds consumers, and Runners with the consumers that they have at each collection, to
// those of which the metrics tell. Consumers of one group or label are added up. Nil, and
// anything that is neither a Runner nor a consumer, are refused with an error that wraps
// stream.ErrInvalidOption.
func (t *Telemetry) Register(runnables ...stream.Runnable) error {
	if t == nil {
		return nil
	}
	if err := t.gatherer.Add(runnables...); err != nil {
		return fmt.Errorf("otelstream: %w", err)
	}
	return nil
}
