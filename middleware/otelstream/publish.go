package otelstream

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel/trace"

	"millrace/middleware/internal/telemetry"
	"millrace/stream"
)

// Publish returns the publish middleware that makes a span of each call of a producer, gives the
// entries its traceparent, and counts and measures the calls. A call of PublishAll has one span,
// which all its entries have as their parent.
//
// A call in a trace that is not sampled has no span. An entry gets headers only if the span is
// sampled, unless [Config].AlwaysInject says otherwise. A traceparent that the caller has given
// (stream.WithHeader) stays, and no other is added. A type that declares a field traceparent
// cannot be published with it: the header is refused as an error of encoding.
func (t *Telemetry) Publish() stream.PublishMiddleware {
	if t == nil {
		return nil
	}
	return func(next stream.PublishHandler) stream.PublishHandler {
		return func(ctx context.Context, p *stream.Publishing) (err error) {
			begun := telemetry.Now()
			ctx, span := t.startPublish(ctx, p)
			returned := false
			defer func() {
				if !returned { // a panic of a middleware further in, or the end of the goroutine
					fail(span, "panic")
				}
				span.End()
			}()
			p.Headers = append(slices.Clip(p.Headers), t.headers(ctx, p.Headers)...)
			err = next(ctx, p)
			returned = true
			errorType := telemetry.TypeOf(err)
			t.operations.published(p, begun, errorType, exemplarOf(span))
			if span.IsRecording() {
				if p.Count == 1 && len(p.Results) == 1 && p.Results[0].ID != "" {
					span.SetAttributes(attrMessageID.String(p.Results[0].ID))
				}
				fail(span, errorType)
			}
			return err
		}
	}
}

// noSpan is the span of a call that has none.
var noSpan = trace.SpanFromContext(context.Background())

// startPublish starts the span of a call, unless it belongs to a trace that is not sampled.
func (t *Telemetry) startPublish(ctx context.Context, p *stream.Publishing) (context.Context, trace.Span) {
	if parent := trace.SpanContextFromContext(ctx); parent.IsValid() && !parent.IsSampled() {
		return ctx, noSpan
	}
	attrs := append(operationAttributes(operationPublish, "send", ""),
		attrSystem.String(messagingSystem), attrDestination.String(p.Stream))
	if p.Count != 1 {
		attrs = append(attrs, attrBatchCount.Int(p.Count))
	}
	return t.tracer.Start(ctx, operationPublish+" "+p.Stream, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(attrs...))
}
