package otelstream

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"millrace/middleware/internal/telemetry"
	"millrace/stream"
)

// maxLinks is how many messages of a batch its span has a link to: more are dropped by the SDK.
const maxLinks = 128

// Batch returns a batch handler that makes one span of each batch, with a link to the span that
// published each sampled message, at most 128. A batch without a sampled message has no span.
// The span begins a trace of its own, as the sampler decides, which is shown the links: a sampler
// that keeps one trace in a hundred keeps one batch in a hundred.
//
// [Telemetry.Middleware] makes spans of the messages of a batch, and measures them, as of all
// others; both can be used together.
func Batch[T any](t *Telemetry, handle stream.BatchHandler[T]) stream.BatchHandler[T] {
	if t == nil || handle == nil { // the constructor of the consumer refuses nil
		return handle
	}
	return func(ctx context.Context, batch []*stream.Message[T]) error {
		var links []trace.Link
		for _, msg := range batch {
			if link, sampled := linkTo(&msg.Entry); sampled {
				links = append(links, link)
			}
			if len(links) == maxLinks {
				break
			}
		}
		if len(links) == 0 {
			return handle(ctx, batch)
		}
		return t.traceBatch(ctx, &batch[0].Entry, len(batch), links, func(ctx context.Context) error { return handle(ctx, batch) })
	}
}

// linkTo returns a link to the span that published the entry, and whether that is sampled.
func linkTo(entry *stream.Entry) (trace.Link, bool) {
	if !isSampled(entry.Header(headerTraceparent)) {
		return trace.Link{}, false
	}
	creation := extract(entry)
	return trace.Link{SpanContext: creation, Attributes: []attribute.KeyValue{attrMessageID.String(entry.ID)}}, creation.IsSampled()
}

// traceBatch handles a batch with a span around it.
func (t *Telemetry) traceBatch(ctx context.Context, first *stream.Entry, count int, links []trace.Link, handle func(context.Context) error) (err error) {
	r := t.newReader(first.Reader())
	ctx, span := t.tracer.Start(ctx, operationProcess+" "+first.Stream,
		trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(links...),
		trace.WithAttributes(r.attrs...), trace.WithAttributes(attrBatchCount.Int(count)))
	returned := false
	defer func() {
		if !returned {
			fail(span, "panic")
		}
		span.End()
	}()
	err = handle(ctx)
	returned = true
	if err != nil && ctx.Err() == nil && !isSkip(err) { // after a stop it is no failure
		fail(span, telemetry.TypeOf(err))
	}
	return err
}

// isSkip reports whether the whole batch is of no concern.
func isSkip(err error) bool {
	var skip *stream.SkipError
	return errors.As(err, &skip)
}
