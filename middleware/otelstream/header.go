package otelstream

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"millrace/codec"
	"millrace/stream"
)

// The headers of the W3C. They are written and read in this form whatever the global propagator
// is: it is the form that codec.IsHeader reserves, and that everybody reads.
const (
	headerTraceparent = "traceparent"
	headerBaggage     = "baggage"
)

var (
	traceContext = propagation.TraceContext{}
	baggages     = propagation.Baggage{}
)

// creationContext returns the span that published an entry, and whether the entry is to have a
// span of its own. It is called for each entry: without a sampled traceparent, it looks at one
// character, and parses nothing. A traceparent that nobody can read is none: the span that is
// returned is not valid then.
func (t *Telemetry) creationContext(entry *stream.Entry) (creation trace.SpanContext, traced bool) {
	traceparent := entry.Header(headerTraceparent)
	if !isSampled(traceparent) && !t.config.Root {
		return trace.SpanContext{}, false
	}
	if traceparent != "" {
		creation = extract(entry)
	}
	if creation.IsValid() {
		return creation, creation.IsSampled()
	}
	return creation, t.config.Root
}

// extract parses the headers of an entry.
func extract(entry *stream.Entry) trace.SpanContext {
	return trace.SpanContextFromContext(traceContext.Extract(context.Background(), entryCarrier{entry}))
}

// isSampled reports whether a traceparent has the sampled flag, the last bit of
// 00-<32 digits>-<16 digits>-<2 digits>. It may have a further part in later versions. Whether
// the rest is right is seen when the entry is traced.
func isSampled(traceparent string) bool {
	const flags, length = 53, 55
	if len(traceparent) < length {
		return false
	}
	switch c := traceparent[flags+1]; {
	case c >= '0' && c <= '9':
		return c&1 == 1
	case c >= 'a' && c <= 'f':
		return c&1 == 0 // b, d and f are odd
	}
	return false
}

// entryCarrier reads the headers of an entry.
type entryCarrier struct{ entry *stream.Entry }

func (c entryCarrier) Get(name string) string { return c.entry.Header(name) }

func (entryCarrier) Set(string, string) {}

func (entryCarrier) Keys() []string { return nil }

// pairCarrier collects headers as names and values.
type pairCarrier []string

func (pairCarrier) Get(string) string { return "" }

func (c *pairCarrier) Set(name, value string) {
	if codec.IsHeader(name) {
		*c = append(*c, name, value)
	}
}

func (pairCarrier) Keys() []string { return nil }

// withBaggage returns ctx with the baggage of the entry.
func withBaggage(ctx context.Context, entry *stream.Entry) context.Context {
	return baggages.Extract(ctx, entryCarrier{entry})
}

// headers returns the headers of entries that are published in ctx, without those that the
// caller has given.
func (t *Telemetry) headers(ctx context.Context, given []string) []string {
	var found pairCarrier
	if !has(given, headerTraceparent) && (t.config.AlwaysInject || trace.SpanContextFromContext(ctx).IsSampled()) {
		traceContext.Inject(ctx, &found)
	}
	if t.config.Baggage && !has(given, headerBaggage) {
		baggages.Inject(ctx, &found)
	}
	return found
}

// has reports whether the headers have one of this name.
func has(headers []string, name string) bool {
	for pair := range slices.Chunk(headers, 2) {
		if pair[0] == name {
			return true
		}
	}
	return false
}
