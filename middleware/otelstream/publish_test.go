package otelstream_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"millrace/middleware/otelstream"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// entries returns the fields of all entries.
func entries(t *testing.T, client redis.UniversalClient) (list []map[string]any) {
	t.Helper()
	found, err := client.XRange(t.Context(), "orders", "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range found {
		list = append(list, one.Values)
	}
	return list
}

// withSpan returns a context with the span of a traceparent.
func withSpan(t *testing.T, flags trace.TraceFlags) context.Context {
	t.Helper()
	ofTrace, traceErr := trace.TraceIDFromHex(traceID)
	ofSpan, spanErr := trace.SpanIDFromHex(spanID)
	if err := errors.Join(traceErr, spanErr); err != nil {
		t.Fatal(err)
	}
	return trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: ofTrace, SpanID: ofSpan, TraceFlags: flags}))
}

// Headers take memory in Redis: only an entry of a sampled trace has them, unless asked for.
func TestInjection(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		config  otelstream.Config
		flags   trace.TraceFlags
		sampler sdktrace.Sampler
		header  string // its beginning and end, "" is none
		spans   int
	}{
		"sampled":                {header: "00-" + traceID + "-* -01", flags: trace.FlagsSampled, spans: 1},
		"unsampled":              {header: "", spans: 0},
		"unsampled, always":      {config: otelstream.Config{AlwaysInject: true}, header: unsampled, spans: 0},
		"refused by the sampler": {sampler: sdktrace.NeverSample(), flags: trace.FlagsSampled, header: "", spans: 0},
		"refused by the sampler, always": {
			config: otelstream.Config{AlwaysInject: true}, sampler: sdktrace.NeverSample(), flags: trace.FlagsSampled, header: "00-" + traceID + "-* -00", spans: 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
				w := watch(t, tc.config, tc.sampler)
				if _, err := w.newProducer(b.Client).Publish(withSpan(t, tc.flags), order{ID: "A1"}); err != nil {
					t.Fatal(err)
				}
				got, _ := entries(t, b.Client)[0]["traceparent"].(string)
				begin, end, _ := strings.Cut(tc.header, "* ")
				if (got == "") != (tc.header == "") || !strings.HasPrefix(got, begin) || !strings.HasSuffix(got, end) {
					t.Errorf("the traceparent is %q, want %q", got, tc.header)
				}
				spans := w.ended()
				if len(spans) != tc.spans {
					t.Fatalf("there are %d spans, want %d", len(spans), tc.spans)
				}
				if len(spans) == 1 && !strings.Contains(got, spans[0].SpanContext().SpanID().String()) {
					t.Errorf("%q is not that of the span", got)
				}
			})
		})
	}
}

// What the caller gives as a header stays.
func TestHeadersOfTheCaller(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
		w := watch(t, otelstream.Config{Baggage: true}, nil)
		if _, err := w.newProducer(b.Client).Publish(t.Context(), order{ID: "A1"}, stream.WithHeader("traceparent", unsampled), stream.WithHeader("baggage", "a=b")); err != nil {
			t.Fatal(err)
		}
		got, err := b.Client.Do(t.Context(), "XRANGE", "orders", "-", "+").Slice()
		if err != nil {
			t.Fatal(err)
		}
		fields := got[0].([]any)[1].([]any)
		if want := []any{"id", "A1", "amount", "0", "traceparent", unsampled, "baggage", "a=b"}; fmt.Sprint(fields) != fmt.Sprint(want) {
			t.Errorf("the fields are %v, want %v", fields, want)
		}
	})
}

// A type that has the header as its field is refused, and not written with two of them.
func TestTypeThatDeclaresTheHeader(t *testing.T) {
	t.Parallel()
	type traced struct {
		Trace string `mapstructure:"traceparent"`
	}
	streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
		w := watch(t, otelstream.Config{}, nil)
		producer, err := stream.NewProducer(b.Client, stream.Topic[traced]{Name: "orders"}, stream.WithPublishMiddleware(w.Publish()))
		if err != nil {
			t.Fatal(err)
		}
		_, err = producer.Publish(t.Context(), traced{Trace: unsampled})
		var wrong *stream.EncodeError
		if !errors.As(err, &wrong) || len(entries(t, b.Client)) != 0 {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestPublishedBaggage(t *testing.T) {
	t.Parallel()
	member, err := baggage.NewMember("tenant", "acme")
	if err != nil {
		t.Fatal(err)
	}
	bag, err := baggage.New(member)
	if err != nil {
		t.Fatal(err)
	}
	for _, on := range []bool{false, true} {
		streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
			w := watch(t, otelstream.Config{Baggage: on}, nil)
			if _, err := w.newProducer(b.Client).Publish(baggage.ContextWithBaggage(t.Context(), bag), order{ID: "A1"}); err != nil {
				t.Fatal(err)
			}
			if got := entries(t, b.Client)[0]["baggage"]; (got == "tenant=acme") != on {
				t.Errorf("Baggage is %v, and the entry has %v", on, got)
			}
		})
	}
}

// A call of PublishAll has one span, and its values are counted one by one.
func TestPublishAll(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
		w := watch(t, otelstream.Config{}, nil)
		_, err := w.newProducer(b.Client).PublishAll(t.Context(), []order{{ID: "A1"}, {}, {ID: "A3"}})
		if err == nil {
			t.Fatal("a value without an ID was published")
		}
		span := w.only("publish orders")
		got := attrs(span)
		if got["messaging.batch.message_count"] != "3" || got["messaging.message.id"] != "" || got["error.type"] == "" || span.Status().Code != codes.Error || span.Status().Description != "" {
			t.Errorf("the span has %v and the status %v", got, span.Status())
		}
		headers := map[any]int{}
		for _, entry := range entries(t, b.Client) {
			headers[entry["traceparent"]]++
		}
		if len(headers) != 1 || headers[nil] != 0 {
			t.Errorf("the headers are %v", headers)
		}
		sent := w.numbers("messaging.client.sent.messages")
		if want := map[string]float64{"orders publish": 2, "orders publish " + got["error.type"]: 1}; !maps.Equal(sent, want) {
			t.Errorf("sent are %v, want %v", sent, want)
		}
		if got := w.histogram("messaging.client.operation.duration"); len(got) == 0 {
			t.Error("the call was not measured")
		}
	})
}

// A failure of the server, and of middleware further in, is the type of its error alone.
func TestFailuresToPublish(t *testing.T) {
	t.Parallel()
	for name, inner := range map[string]stream.PublishMiddleware{
		"refused": func(stream.PublishHandler) stream.PublishHandler {
			return func(context.Context, *stream.Publishing) error { return errors.New(secret) }
		},
		"panic": func(stream.PublishHandler) stream.PublishHandler {
			return func(context.Context, *stream.Publishing) error { panic(secret) }
		},
	} {
		streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
			w := watch(t, otelstream.Config{}, nil)
			producer, err := stream.NewProducer(b.Client, orders, stream.WithPublishMiddleware(w.Publish(), inner))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := producer.Publish(t.Context(), order{ID: "A1"}); err == nil {
				t.Error("no error came back")
			}
			want := map[string]string{"refused": "*errors.errorString", "panic": "panic"}[name]
			if got := attrs(w.only("publish orders"))["error.type"]; got != want {
				t.Errorf("%s: the type is %q, want %q", name, got, want)
			}
			if got := w.numbers("messaging.client.sent.messages"); got["orders publish "+want] != 1 || got["orders publish"] != 0 {
				t.Errorf("%s: sent are %v", name, got)
			}
		})
	}
}

// A batch has one span, with a link to each sampled message.
func TestBatch(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		sampled, unsampled, links int
		err                       error
		errorType                 string
	}{
		"some sampled":  {sampled: 2, unsampled: 3, links: 2},
		"none sampled":  {unsampled: 3},
		"too many":      {sampled: 130, links: 128},
		"failed":        {sampled: 1, links: 1, err: errors.New(secret), errorType: "*errors.errorString"},
		"partly failed": {sampled: 2, links: 2, err: stream.Partial([]error{nil, stream.Permanent(errors.New(secret))}), errorType: "*errors.errorString"},
		"of no concern": {sampled: 1, links: 1, err: stream.Skip(secret)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
				w := watch(t, otelstream.Config{}, nil)
				ids := map[string]bool{}
				for range tc.sampled {
					ids[add(t, b.Client, "id", "A1", "traceparent", sampled)] = true
				}
				for range tc.unsampled {
					add(t, b.Client, "id", "A1", "traceparent", unsampled)
				}
				failures := 0
				handle := otelstream.Batch(w.Telemetry, func(ctx context.Context, batch []*stream.Message[order]) error {
					if got := trace.SpanContextFromContext(ctx).TraceID().String() == traceID; got != (tc.sampled == 0) {
						t.Errorf("the context has the span of Run: %v", got)
					}
					if failures++; failures > 1 {
						return nil
					}
					return tc.err
				})
				consumer, err := stream.NewGroupBatchConsumer(b.Client, orders, "billing", handle, stream.WithBatch(500, time.Second), stream.WithConsumerName("pod-1"))
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(withSpan(t, trace.FlagsSampled), 3*time.Second) // which is no parent
				defer cancel()
				if err := consumer.Run(ctx); err != nil {
					t.Error(err)
				}
				spans := w.ended()
				if tc.sampled == 0 {
					if len(spans) != 0 {
						t.Errorf("there are %d spans", len(spans))
					}
					return
				}
				span := spans[0]
				got := attrs(span)
				if span.Name() != "process orders" || span.Parent().IsValid() || span.SpanKind() != trace.SpanKindConsumer || got["messaging.consumer.group.name"] != "billing" {
					t.Errorf("the span is %s of %v, %v", span.Name(), span.Parent(), got)
				}
				if got["error.type"] != tc.errorType || (span.Status().Code == codes.Error) != (tc.errorType != "") {
					t.Errorf("the type is %q, the status %v", got["error.type"], span.Status())
				}
				if len(span.Links()) != tc.links || span.DroppedLinks() != 0 {
					t.Errorf("there are %d links, and %d dropped", len(span.Links()), span.DroppedLinks())
				}
				for _, link := range span.Links() {
					if id := texts(link.Attributes)["messaging.message.id"]; !ids[id] || link.SpanContext.SpanID().String() != spanID {
						t.Errorf("the link is %v with %q", link.SpanContext, id)
					}
				}
			})
		})
	}
}

// A batch handler that panics has a span that ends.
func TestBatchPanics(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
		w := watch(t, otelstream.Config{}, nil)
		add(t, b.Client, "id", "A1", "traceparent", sampled)
		consumer, err := stream.NewGroupBatchConsumer(b.Client, orders, "billing", otelstream.Batch(w.Telemetry, func(context.Context, []*stream.Message[order]) error { panic(secret) }),
			stream.WithBatch(1, time.Second), stream.WithBackoff(stream.Backoff{Min: time.Hour, Max: time.Hour}))
		if err != nil {
			t.Fatal(err)
		}
		runFor(t, 3*time.Second, consumer)
		if got := attrs(w.only("process orders"))["error.type"]; got != "panic" {
			t.Errorf("the type is %q", got)
		}
	})
}
