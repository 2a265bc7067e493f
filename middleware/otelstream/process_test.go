package otelstream_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"millrace/middleware"
	"millrace/middleware/otelstream"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// A trace goes from the producer to the handler, and both spans have what the conventions ask.
func TestOneTraceFromProducerToHandler(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
		w := watch(t, otelstream.Config{}, nil)
		id, err := w.newProducer(b.Client).Publish(t.Context(), order{ID: secret})
		if err != nil {
			t.Fatal(err)
		}
		var inHandler trace.SpanContext
		runFor(t, 5*time.Second, w.newGroup(b.Client, func(ctx context.Context, _ *stream.Message[order]) error {
			inHandler = trace.SpanContextFromContext(ctx)
			return nil
		}, stream.WithConsumerName("pod-1")))
		published, processed := w.only("publish orders"), w.only("process orders")
		if processed.Parent().SpanID() != published.SpanContext().SpanID() || processed.SpanContext().TraceID() != published.SpanContext().TraceID() {
			t.Error("the span of the handler is no child of that of the producer")
		}
		if inHandler.SpanID() != processed.SpanContext().SpanID() {
			t.Error("the handler's context does not have the span")
		}
		if published.SpanKind() != trace.SpanKindProducer || processed.SpanKind() != trace.SpanKindConsumer {
			t.Errorf("the kinds are %v and %v", published.SpanKind(), processed.SpanKind())
		}
		wantPublished := map[string]string{
			"messaging.system": "redis", "messaging.destination.name": "orders", "messaging.operation.name": "publish",
			"messaging.operation.type": "send", "messaging.message.id": id,
		}
		if got := attrs(published); !maps.Equal(got, wantPublished) {
			t.Errorf("publish has %v", got)
		}
		wantProcessed := map[string]string{
			"messaging.system": "redis", "messaging.destination.name": "orders", "messaging.operation.name": "process",
			"messaging.operation.type": "process", "messaging.message.id": id, "messaging.consumer.group.name": "billing",
			"messaging.client.id": "pod-1", "millrace.attempt": "1", "millrace.outcome": "handled",
		}
		if got := attrs(processed); !maps.Equal(got, wantProcessed) {
			t.Errorf("process has %v", got)
		}
		if got := processed.InstrumentationScope().SchemaURL; got != "https://opentelemetry.io/schemas/1.43.0" {
			t.Errorf("the schema is %q", got)
		}
		if len(processed.Links()) != 0 || processed.Status().Code != codes.Unset {
			t.Errorf("links %v, status %v", processed.Links(), processed.Status())
		}
	})
}

func TestLinkInsteadOfParent(t *testing.T) {
	t.Parallel()
	w := watch(t, otelstream.Config{Link: true}, nil)
	if err := process(t.Context(), w.Middleware(), entryOf("traceparent", sampled, "tracestate", "a=b"), nil); err != nil {
		t.Fatal(err)
	}
	span := w.only("process orders")
	if span.Parent().IsValid() || span.SpanContext().TraceID().String() == traceID {
		t.Error("the span is a child of the producer's")
	}
	if links := span.Links(); len(links) != 1 || links[0].SpanContext.SpanID().String() != spanID || links[0].SpanContext.TraceState().String() != "a=b" {
		t.Errorf("the links are %v", links)
	}
}

// The span tells the outcome, and the type of a failure without its text.
func TestOutcomesOfSpans(t *testing.T) {
	t.Parallel()
	claimed, claim := context.WithCancelCause(t.Context())
	claim(stream.ErrClaimed)
	stopped, stop := context.WithCancel(t.Context())
	stop()
	text := errors.New(secret)
	for name, tc := range map[string]struct {
		ctx                context.Context //nolint:containedctx // the input of a case
		err                error
		outcome, errorType string
	}{
		"handled":     {t.Context(), nil, "handled", ""},
		"skipped":     {t.Context(), stream.Skip(secret), "skipped", ""},
		"decode":      {t.Context(), &stream.DecodeError{Err: text}, "absorbed", "decode"},
		"failed":      {t.Context(), fmt.Errorf("%s: %w", secret, &net.OpError{Op: secret, Err: text}), "held", "*errors.errorString"},
		"joined":      {t.Context(), errors.Join(nil, &net.AddrError{Err: secret}, text), "held", "*net.AddrError"},
		"dead letter": {t.Context(), &stream.DeadLetterError{Err: &net.AddrError{Err: secret}}, "dead-lettered", "*net.AddrError"},
		"undecodable letter": {
			t.Context(), &stream.DeadLetterError{Err: &stream.DecodeError{Err: text}}, "dead-lettered", "decode",
		},
		"stopped": {stopped, context.Canceled, "interrupted", ""},
		"claimed": {claimed, context.Canceled, "claimed", "claimed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := watch(t, otelstream.Config{}, nil)
			if err := process(tc.ctx, w.Middleware(), entryOf("traceparent", sampled), tc.err); err != tc.err { //nolint:errorlint // the very same
				t.Errorf("the error is %v", err)
			}
			span := w.only("process orders")
			got := attrs(span)
			if got["millrace.outcome"] != tc.outcome || got["error.type"] != tc.errorType {
				t.Errorf("outcome %q and type %q, want %q and %q", got["millrace.outcome"], got["error.type"], tc.outcome, tc.errorType)
			}
			want := codes.Unset
			if tc.errorType != "" {
				want = codes.Error
			}
			if span.Status().Code != want || span.Status().Description != "" || len(span.Events()) != 0 {
				t.Errorf("the status is %v, the events are %v", span.Status(), span.Events())
			}
			if got := slices.Collect(maps.Keys(w.histogram("messaging.process.duration"))); !slices.Contains(got, strings.TrimSpace("orders process "+tc.errorType)) {
				t.Errorf("the durations are of %q", got)
			}
		})
	}
}

// Panics, ended goroutines and entries that cannot be decoded are spans of a consumer like others.
func TestHostileHandlers(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
		w := watch(t, otelstream.Config{}, nil)
		add(t, b.Client, "id", "panic", "traceparent", sampled)
		add(t, b.Client, "id", "exit", "traceparent", sampled)
		add(t, b.Client, "amount", secret, "traceparent", sampled)
		runFor(t, 5*time.Second, w.newGroup(b.Client, func(_ context.Context, msg *stream.Message[order]) error {
			switch {
			case msg.Deliveries > 1:
			case msg.Value.ID == "panic":
				panic(secret)
			default:
				runtime.Goexit()
			}
			return nil
		}))
		count := map[string]int{}
		for _, span := range w.ended() {
			got := attrs(span)
			count[got["millrace.outcome"]+" "+got["error.type"]]++
		}
		want := map[string]int{"held panic": 2, "absorbed decode": 1, "handled ": 2}
		if !maps.Equal(count, want) {
			t.Errorf("the spans are %v, want %v", count, want)
		}
	})
}

// Each delivery has a span under the producer's, each failed attempt in place an event, and the
// dead letter has the traceparent as it was.
func TestRedeliveryAndDeadLetter(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
		w := watch(t, otelstream.Config{}, nil)
		add(t, b.Client, "id", "A1", "traceparent", sampled, "tracestate", "a=b")
		consumer := w.newGroup(b.Client, func(_ context.Context, msg *stream.Message[order]) error {
			if msg.Deliveries == 1 {
				return errors.New(secret)
			}
			return stream.Permanent(errors.New(secret))
		}, stream.WithMiddleware(middleware.DeadLetter(middleware.DeadLetterConfig{If: func(err error) bool {
			var permanent *stream.PermanentError
			return errors.As(err, &permanent)
		}}), middleware.Retry(middleware.RetryConfig{}), w.Attempts()))
		runFor(t, time.Minute, consumer)
		spans := w.ended()
		if len(spans) != 2 {
			t.Fatalf("there are %d spans, want 2", len(spans))
		}
		for i, want := range []struct {
			outcome, attempt string
			events           int
		}{{"held", "1", 3}, {"dead-lettered", "2", 1}} {
			got := attrs(spans[i])
			if got["millrace.outcome"] != want.outcome || got["millrace.attempt"] != want.attempt || len(spans[i].Events()) != want.events {
				t.Errorf("delivery %d: %v with %d events, want %v", i+1, got, len(spans[i].Events()), want)
			}
			if spans[i].Parent().SpanID().String() != spanID {
				t.Errorf("delivery %d has the parent %v", i+1, spans[i].Parent().SpanID())
			}
			for _, event := range spans[i].Events() {
				if event.Name != "millrace.attempt.failed" || texts(event.Attributes)["error.type"] != "*errors.errorString" {
					t.Errorf("the event is %v", event)
				}
			}
		}
		letters, err := b.Client.XRange(t.Context(), stream.DeadLetterStream("orders"), "-", "+").Result()
		if err != nil || len(letters) != 1 || letters[0].Values["traceparent"] != sampled || letters[0].Values["tracestate"] != "a=b" {
			t.Errorf("the dead letters are %v, %v", letters, err)
		}
	})
}

// Without a sampled traceparent there is no span; a header that nobody can read is none.
func TestWhichEntriesAreTraced(t *testing.T) {
	t.Parallel()
	bad := map[string]string{
		"short": sampled[:54], "no hex": strings.Replace(sampled, "0af7", "xyz7", 1), "zero trace": "00-00000000000000000000000000000000-" + spanID + "-01",
		"zero span": "00-" + traceID + "-0000000000000000-01", "version ff": "ff" + sampled[2:], "upper case": strings.ToUpper(sampled), "not hex at all": strings.Repeat("1", 55),
	}
	for name, tc := range map[string]struct {
		header     string
		root       bool
		child, new bool
	}{
		"sampled": {sampled, false, true, false}, "sampled, and more flags": {sampled[:54] + "3", false, true, false}, "more flags in a later version": {"01" + sampled[2:54] + "f", false, true, false},
		"a later version": {"01" + sampled[2:] + "-more", false, true, false},
		"unsampled":       {unsampled, false, false, false}, "unsampled, and another flag": {sampled[:54] + "2", false, false, false}, "flag e": {sampled[:54] + "e", false, false, false},
		"none": {"", false, false, false}, "none, and Root": {"", true, false, true}, "unsampled, and Root": {unsampled, true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := watch(t, otelstream.Config{Root: tc.root}, sdktrace.AlwaysSample()) // also of what the producer has not sampled
			entry := entryOf("id", "1", "traceparent", tc.header)
			if tc.header == "" {
				entry = entryOf("id", "1")
			}
			_ = process(t.Context(), w.Middleware(), entry, nil)
			spans := w.ended()
			if (len(spans) > 0) != (tc.child || tc.new) {
				t.Fatalf("there are %d spans", len(spans))
			}
			if len(spans) > 0 && (spans[0].Parent().SpanID().String() == spanID) != tc.child {
				t.Errorf("the parent is %v", spans[0].Parent())
			}
		})
	}
	for name, header := range bad {
		for _, root := range []bool{false, true} {
			w := watch(t, otelstream.Config{Root: root}, nil)
			_ = process(t.Context(), w.Middleware(), entryOf("traceparent", header), nil)
			for _, span := range w.ended() {
				if !root || span.Parent().IsValid() {
					t.Errorf("%s: a span with the parent %v, Root is %v", name, span.Parent(), root)
				}
			}
		}
	}
}

// A span in the context of Run is not the parent: it would have all entries of a year.
func TestTheProducerIsTheParent(t *testing.T) {
	t.Parallel()
	w := watch(t, otelstream.Config{Root: true}, nil)
	ctx, span := w.tracer.Tracer("test").Start(t.Context(), "run")
	_ = process(ctx, w.Middleware(), entryOf(), nil)
	_ = process(ctx, w.Middleware(), entryOf("traceparent", sampled), nil)
	span.End()
	for _, processed := range w.ended() {
		if processed.Name() != "run" && processed.Parent().SpanID() == span.SpanContext().SpanID() {
			t.Error("the span of Run is the parent")
		}
	}
}

// A sampler that refuses what the producer has sampled is obeyed.
func TestSamplerDecides(t *testing.T) {
	t.Parallel()
	w := watch(t, otelstream.Config{}, sdktrace.NeverSample())
	_ = process(t.Context(), w.Middleware(), entryOf("traceparent", sampled), errors.New(secret))
	if spans := w.ended(); len(spans) != 0 {
		t.Errorf("there are %d spans", len(spans))
	}
	for _, point := range w.histogram("messaging.process.duration") {
		if len(point.Exemplars) != 0 {
			t.Error("an exemplar names a span that is not exported")
		}
	}
}

func TestBaggage(t *testing.T) {
	t.Parallel()
	for _, on := range []bool{false, true} {
		w := watch(t, otelstream.Config{Baggage: on}, nil)
		var got string
		handler := w.Middleware()(func(ctx context.Context, _ *stream.Entry) error {
			got = baggage.FromContext(ctx).Member("tenant").Value()
			return nil
		})
		if err := handler(t.Context(), entryOf("traceparent", sampled, "baggage", "tenant=acme")); err != nil {
			t.Fatal(err)
		}
		if (got == "acme") != on {
			t.Errorf("Baggage is %v, and the handler got %q", on, got)
		}
	}
}

// The way of an entry that is not sampled is that of nearly all entries.
func TestUnsampledAllocatesNothing(t *testing.T) {
	for name, header := range map[string]string{"unsampled": unsampled, "without a header": "", "unreadable": "00-"} {
		pairs := []string{"id", "A1", "amount", "990"}
		if header != "" {
			pairs = append(pairs, "traceparent", header)
		}
		entry := entryOf(pairs...)
		w := watch(t, otelstream.Config{}, nil) // with the histograms
		untimed, err := otelstream.New(otelstream.Config{})
		if err != nil {
			t.Fatal(err)
		}
		for timed, m := range map[bool]stream.Middleware{true: w.Middleware(), false: untimed.Middleware()} {
			handler := m(func(context.Context, *stream.Entry) error { return nil })
			ctx := t.Context()
			if allocs := testing.AllocsPerRun(1000, func() { _ = handler(ctx, entry) }); allocs != 0 {
				t.Errorf("%s, histograms %v: %v allocations", name, timed, allocs)
			}
		}
	}
}

func TestNilDoesNothing(t *testing.T) {
	t.Parallel()
	var tel *otelstream.Telemetry
	if tel.Middleware() != nil || tel.Attempts() != nil || tel.Publish() != nil || tel.Register(nil) != nil {
		t.Error("nil has middleware, or refuses something")
	}
	tel.OnRead(stream.EntriesRead{})
	tel.OnSettle(stream.EntriesSettled{})
	if metrics, err := tel.Producer().Produce(t.Context()); metrics != nil || err != nil {
		t.Errorf("it produces %v, %v", metrics, err)
	}
	called := false
	handle := otelstream.Batch(tel, func(context.Context, []*stream.Message[order]) error { called = true; return nil })
	if err := handle(t.Context(), nil); err != nil || !called {
		t.Errorf("the batch: %v", err)
	}
}
