package otelstream

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"millrace/middleware/internal/telemetry"
	"millrace/stream"
)

// reader has what is the same for all entries of a consumer.
type reader struct {
	timing *telemetry.Timing
	name   string // of the spans
	attrs  []attribute.KeyValue
}

func (t *Telemetry) newReader(id stream.Identity) *reader {
	key := telemetry.KeyOf(id)
	attrs := keyAttributes(key, operationAttributes(operationProcess, operationProcess, "")...)
	if id.Consumer != "" {
		attrs = append(attrs, attrClientID.String(id.Consumer))
	}
	return &reader{timing: t.timings.Of(key), name: operationProcess + " " + id.Stream, attrs: attrs}
}

// Middleware returns the middleware that makes a span of each delivery of a sampled entry, and
// measures how long deliveries take if there is a [Telemetry.Producer]. It stands outermost: the
// span has the final outcome then, and what middleware.Logging writes has the trace.
//
// An entry is sampled if its traceparent says so. Any other one has no span, and costs nothing
// but the look at that header; see [Config].Root.
func (t *Telemetry) Middleware() stream.Middleware {
	if t == nil {
		return nil
	}
	return func(next stream.EntryHandler) stream.EntryHandler {
		readers := telemetry.PerReader[*reader]{New: t.newReader}
		return func(ctx context.Context, entry *stream.Entry) error {
			if creation, traced := t.creationContext(entry); traced {
				return t.trace(ctx, entry, creation, readers.Of(entry), next)
			}
			if !t.timed.Load() {
				return next(ctx, entry)
			}
			begun := telemetry.Begun(entry)
			err := next(ctx, entry)
			if err == nil && ctx.Err() == nil { // as nearly always
				readers.Of(entry).timing.Record(begun, entry, stream.OutcomeHandled, "", nil)
				return nil
			}
			outcome := entry.Outcome(ctx, err)
			readers.Of(entry).timing.Record(begun, entry, outcome, telemetry.ErrorType(outcome, err), nil)
			return err
		}
	}
}

// trace processes an entry with a span around it.
func (t *Telemetry) trace(ctx context.Context, entry *stream.Entry, creation trace.SpanContext, r *reader, next stream.EntryHandler) (err error) {
	begun := telemetry.Begun(entry)
	spanCtx, span := t.startProcess(ctx, entry, creation, r)
	returned := false
	defer func() {
		if !returned { // the handler has ended its goroutine, or panics outside of a consumer
			span.SetAttributes(attrOutcome.String(stream.OutcomeHeld.String()))
			fail(span, "panic")
		}
		span.End()
	}()
	err = next(spanCtx, entry)
	returned = true
	outcome := entry.Outcome(ctx, err)
	errorType := telemetry.ErrorType(outcome, err)
	if t.timed.Load() {
		r.timing.Record(begun, entry, outcome, errorType, exemplarOf(span))
	}
	if outcome != stream.OutcomeHandled && span.IsRecording() {
		span.SetAttributes(attrOutcome.String(outcome.String()))
		fail(span, errorType)
	}
	return err
}

var ofConsumer = trace.WithSpanKind(trace.SpanKindConsumer)

// outcomeHandled is the outcome of nearly all deliveries. It is there from the start of a span:
// another attribute at its end doubles what the attributes cost.
var outcomeHandled = attrOutcome.String(stream.OutcomeHandled.String())

// startProcess starts the span of a delivery.
func (t *Telemetry) startProcess(ctx context.Context, entry *stream.Entry, creation trace.SpanContext, r *reader) (context.Context, trace.Span) {
	list := append(make([]attribute.KeyValue, 0, len(r.attrs)+3), r.attrs...)
	list = append(list, attrMessageID.String(entry.ID), attrAttempt.Int64(entry.Deliveries), outcomeHandled)
	opts := append(make([]trace.SpanStartOption, 0, 4), ofConsumer, trace.WithAttributes(list...))
	if t.config.Baggage {
		ctx = withBaggage(ctx, entry)
	}
	switch {
	case !creation.IsValid():
		opts = append(opts, trace.WithNewRoot())
	case t.config.Link:
		opts = append(opts, trace.WithNewRoot(), trace.WithLinks(trace.Link{SpanContext: creation}))
	default:
		ctx = trace.ContextWithRemoteSpanContext(ctx, creation)
	}
	return t.tracer.Start(ctx, r.name, opts...)
}

// fail notes the error of a span. Its text may hold field values, so that the type alone is
// noted.
func fail(span trace.Span, errorType string) {
	if errorType != "" {
		span.SetAttributes(attrErrorType.String(errorType))
		span.SetStatus(codes.Error, "")
	}
}

// exemplarOf returns the exemplar that a measurement in the span is, nil if it is not sampled.
func exemplarOf(span trace.Span) *telemetry.Exemplar {
	sc := span.SpanContext()
	if !sc.IsSampled() {
		return nil
	}
	return &telemetry.Exemplar{TraceID: sc.TraceID(), SpanID: sc.SpanID()}
}

// Attempts returns the middleware that adds an event to the entry's span for each attempt that
// fails. It stands inside of middleware.Retry, with [Telemetry.Middleware] outermost; further
// out it only tells the outcome once more. An entry without a span costs a look-up in its
// context.
func (t *Telemetry) Attempts() stream.Middleware {
	if t == nil {
		return nil
	}
	return func(next stream.EntryHandler) stream.EntryHandler {
		return func(ctx context.Context, entry *stream.Entry) error {
			err := next(ctx, entry)
			if err == nil {
				return nil
			}
			span := trace.SpanFromContext(ctx)
			if !span.IsRecording() {
				return err
			}
			if errorType := telemetry.ErrorType(entry.Outcome(ctx, err), err); errorType != "" {
				span.AddEvent(eventAttempt, trace.WithAttributes(attrErrorType.String(errorType)))
			}
			return err
		}
	}
}
