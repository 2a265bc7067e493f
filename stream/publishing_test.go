package stream_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

// publishCalls are the four methods of a producer, for some orders. Those for one value
// return its ID as the only one.
var publishCalls = map[string]func(ctx context.Context, p *stream.Producer[order], values []order, opts ...stream.PublishOption) ([]string, error){
	"Publish": func(ctx context.Context, p *stream.Producer[order], values []order, opts ...stream.PublishOption) ([]string, error) {
		id, err := p.Publish(ctx, values[0], opts...)
		return []string{id}, err
	},
	"PublishOnce": func(ctx context.Context, p *stream.Producer[order], values []order, opts ...stream.PublishOption) ([]string, error) {
		id, err := p.PublishOnce(ctx, "key", values[0], opts...)
		return []string{id}, err
	},
	"PublishAll": func(ctx context.Context, p *stream.Producer[order], values []order, opts ...stream.PublishOption) ([]string, error) {
		results, err := p.PublishAll(ctx, values, opts...)
		return idsOf(results), err
	},
	"PublishAllOnce": func(ctx context.Context, p *stream.Producer[order], values []order, opts ...stream.PublishOption) ([]string, error) {
		results, err := p.PublishAllOnce(ctx, func(o order) string { return o.ID }, values, opts...)
		return idsOf(results), err
	},
}

func idsOf(results []stream.Published) (ids []string) {
	for _, result := range results {
		ids = append(ids, result.ID)
	}
	return ids
}

func TestPublishMiddlewareAddsHeaders(t *testing.T) {
	t.Parallel()
	for name, call := range publishCalls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := streamtest.StartRedis(t).Client()
			var seen []string
			note := func(name string) stream.PublishMiddleware {
				return func(next stream.PublishHandler) stream.PublishHandler {
					return func(ctx context.Context, p *stream.Publishing) error {
						seen = append(seen, fmt.Sprint(name, " of ", p.Count, " to ", p.Stream))
						p.Headers = append(p.Headers, name, fmt.Sprint(len(p.Headers)))
						err := next(ctx, p)
						seen = append(seen, fmt.Sprint("end of ", name, " ", err, " ", p.Results[0].ID != ""))
						return err
					}
				}
			}
			producer := newProducer(t, client,
				stream.WithPublishMiddleware(nil, note("first"), nil, note("second")), stream.WithPublishMiddleware(note("third")))
			ids, err := call(t.Context(), producer, ordersOf(3))
			if err != nil {
				t.Fatal(err)
			}
			reply, err := client.Do(t.Context(), "XRANGE", orders.Name, "-", "+").Slice()
			if err != nil || len(reply) != len(ids) {
				t.Fatal(reply, err)
			}
			for i, entry := range reply {
				want := fmt.Sprintf("[%s [id %d amount %d first 0 second 2 third 4]]", ids[i], i, i)
				if got := fmt.Sprint(entry); got != want {
					t.Errorf("the entry is %s, want %s", got, want)
				}
			}
			of := fmt.Sprint(" of ", len(ids), " to orders")
			want := []string{"first" + of, "second" + of, "third" + of, "end of third <nil> true", "end of second <nil> true", "end of first <nil> true"}
			if !slices.Equal(seen, want) {
				t.Errorf("the middleware saw %q, want %q", seen, want)
			}
		})
	}
}

// Headers of the caller stand behind the fields of the value and before those of middleware,
// which sees them.
func TestWithHeader(t *testing.T) {
	t.Parallel()
	for name, call := range publishCalls {
		for how, opts := range map[string][]stream.ProducerOption{
			"": nil,
			" last 7": {stream.WithPublishMiddleware(func(next stream.PublishHandler) stream.PublishHandler {
				return func(ctx context.Context, p *stream.Publishing) error {
					if want := []string{"traceparent", "t", "tenant", "", "traceparent", "u"}; !slices.Equal(p.Headers, want) {
						t.Errorf("%s: the middleware has the headers %q, want %q", name, p.Headers, want)
					}
					p.Headers = append(p.Headers, "last", "7")
					return next(ctx, p)
				}
			})},
		} {
			t.Run(name+how, func(t *testing.T) {
				t.Parallel()
				client := streamtest.StartRedis(t).Client()
				producer := newProducer(t, client, opts...)
				ids, err := call(t.Context(), producer, ordersOf(3),
					stream.WithHeader("traceparent", "t"), nil, stream.WithHeader("tenant", ""), stream.WithHeader("traceparent", "u"))
				if err != nil {
					t.Fatal(err)
				}
				reply, err := client.Do(t.Context(), "XRANGE", orders.Name, "-", "+").Slice()
				if err != nil || len(reply) != len(ids) {
					t.Fatal(reply, err)
				}
				for i, entry := range reply {
					want := fmt.Sprintf("[%s [id %d amount %d traceparent t tenant  traceparent u%s]]", ids[i], i, i, how)
					if got := fmt.Sprint(entry); got != want {
						t.Errorf("the entry is %s, want %s", got, want)
					}
				}
			})
		}
	}
}

func TestWithHeaderRefuses(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	passing := stream.WithPublishMiddleware(func(next stream.PublishHandler) stream.PublishHandler { return next })
	for call, publish := range publishCalls {
		for _, opts := range [][]stream.ProducerOption{nil, {passing}} {
			for name, want := range map[string]string{
				"amount": `the header "amount" has the name of a field of the value; give it another name`,
				"":       "the name of a header is blank; give it one",
				" \t":    "the name of a header is blank; give it one",
			} {
				ids, err := publish(t.Context(), newProducer(t, client, opts...), ordersOf(2), stream.WithHeader("tenant", "1"), stream.WithHeader(name, "7"))
				encode, ok := errors.AsType[*stream.EncodeError](err)
				if !ok || encode.Stream != orders.Name || encode.Err.Error() != want || strings.Join(ids, "") != "" {
					t.Errorf("%s: %q, %v, want %s", call, ids, err, want)
				}
			}
		}
	}
	if n := client.XLen(t.Context(), orders.Name).Val(); n != 0 {
		t.Errorf("%d entries are in the stream", n)
	}
}

// Whatever middleware does, the caller knows whether the values are in the stream.
func TestPublishMiddlewareThatMisbehaves(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	errOwn := errors.New("no")
	for name, test := range map[string]struct {
		handler func(ctx context.Context, p *stream.Publishing, next stream.PublishHandler) error
		written bool
		text    string // of the error
	}{
		"refuses": {func(context.Context, *stream.Publishing, stream.PublishHandler) error { return errOwn },
			false, "stream: not written to orders: no"},
		"panics": {func(context.Context, *stream.Publishing, stream.PublishHandler) error { panic("no") },
			false, "stream: not written to orders: panic: no"},
		"does not call next": {func(context.Context, *stream.Publishing, stream.PublishHandler) error { return nil },
			false, "did not call the next handler; it has to do one of the two"},
		"hands on a Publishing of its own": {func(ctx context.Context, p *stream.Publishing, next stream.PublishHandler) error {
			return next(ctx, &stream.Publishing{Stream: p.Stream, Count: p.Count})
		}, false, "hand on the one that it was given"},
		"hands on none": {func(ctx context.Context, _ *stream.Publishing, next stream.PublishHandler) error {
			return next(ctx, nil)
		},
			false, "hand on the one that it was given"},
		"hands on no context": {func(_ context.Context, p *stream.Publishing, next stream.PublishHandler) error {
			return next(nil, p)
		}, false, "there is no context"},
		"hands on a context that is done": {func(ctx context.Context, p *stream.Publishing, next stream.PublishHandler) error {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return next(ctx, p)
		}, false, context.Canceled.Error()},
		"half a header": {func(ctx context.Context, p *stream.Publishing, next stream.PublishHandler) error {
			p.Headers = append(p.Headers, "tenant")
			return next(ctx, p)
		}, false, "1 texts as headers"},
		"a header that is a field": {func(ctx context.Context, p *stream.Publishing, next stream.PublishHandler) error {
			p.Headers = append(p.Headers, "tenant", "7", "amount", "8")
			return next(ctx, p)
		}, false, `the header "amount" has the name of a field of the value`},
		"a header without a name": {func(ctx context.Context, p *stream.Publishing, next stream.PublishHandler) error {
			p.Headers = append(p.Headers, " ", "7")
			return next(ctx, p)
		}, false, "the name of a header is blank"},
		"calls next twice": {func(ctx context.Context, p *stream.Publishing, next stream.PublishHandler) error {
			return errors.Join(next(ctx, p), next(ctx, p))
		}, true, "stream: written to orders, but publish middleware failed: publish middleware called the next handler a second time"},
		"fails afterwards": {func(ctx context.Context, p *stream.Publishing, next stream.PublishHandler) error {
			return errors.Join(next(ctx, p), errOwn)
		}, true, "stream: written to orders, but publish middleware failed: no"},
		"panics afterwards": {func(ctx context.Context, p *stream.Publishing, next stream.PublishHandler) error {
			_ = next(ctx, p)
			panic(errOwn)
		}, true, "stream: written to orders, but publish middleware failed: panic: no"},
		"a nil error of a type": {func(ctx context.Context, p *stream.Publishing, next stream.PublishHandler) error {
			_ = next(ctx, p)
			return (*stream.EncodeError)(nil)
		}, true, "written to orders, but publish middleware failed: a nil *stream.EncodeError"},
		"does not wait for next": {func(ctx context.Context, p *stream.Publishing, next stream.PublishHandler) error {
			begun := make(chan struct{})
			go func() { _ = next(begins{ctx, sync.OnceFunc(func() { close(begun) })}, p) }()
			<-begun
			return errOwn
		}, true, "stream: written to orders, but publish middleware failed: no"},
	} {
		producer := newProducer(t, client, stream.WithPublishMiddleware(func(next stream.PublishHandler) stream.PublishHandler {
			return func(ctx context.Context, p *stream.Publishing) error { return test.handler(ctx, p, next) }
		}))
		for method, call := range publishCalls {
			client.FlushDB(t.Context())
			ids, err := call(t.Context(), producer, ordersOf(2))
			if err == nil || !strings.Contains(err.Error(), test.text) || isUnknown(err) {
				t.Errorf("%s, %s: got %v, want %q", name, method, err, test.text)
			}
			if _, panicked := errors.AsType[*stream.PanicError](err); panicked != strings.HasPrefix(name, "panics") {
				t.Errorf("%s, %s: a PanicError is in the error: %t", name, method, panicked)
			}
			if got := len(stored(t, client)); test.written && got != len(ids) || !test.written && got != 0 {
				t.Errorf("%s, %s: %d entries", name, method, got)
			}
			for _, id := range ids {
				if (id != "") != test.written {
					t.Errorf("%s, %s: the IDs are %q", name, method, ids)
				}
			}
		}
	}
}

// begins is a context that tells when a command looks at it.
type begins struct {
	context.Context //nolint:containedctx // it is one
	tell            func()
}

func (b begins) Done() <-chan struct{} {
	b.tell()
	return b.Context.Done()
}

func TestPublishMiddlewareCallsNextTooLate(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	var late func() error
	producer := newProducer(t, client, stream.WithPublishMiddleware(func(next stream.PublishHandler) stream.PublishHandler {
		return func(ctx context.Context, p *stream.Publishing) error {
			late = func() error { return next(ctx, p) }
			return errors.New("no")
		}
	}))
	if _, err := producer.Publish(t.Context(), order{ID: "a"}); !isNotWritten(err) {
		t.Errorf("got %v", err)
	}
	if err := late(); err == nil || len(stored(t, client)) != 0 {
		t.Errorf("after the call had returned: %v, %d entries", err, len(stored(t, client)))
	}
}

// An error of a write is never hidden, and middleware sees all of them.
func TestPublishMiddlewareSeesFailures(t *testing.T) {
	t.Parallel()
	errOwn := errors.New("own")
	for name, handle := range map[string]func(err error) error{
		"passes on":   func(err error) error { return err },
		"wraps":       func(err error) error { return fmt.Errorf("tenant 7: %w", err) },
		"swallows":    func(error) error { return nil },
		"has its own": func(error) error { return errOwn },
		"panics":      func(error) error { panic(errOwn) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := streamtest.StartRedis(t)
			proxy := startFates(t, server)
			var seen error
			producer := newProducer(t, proxy.client(t, redis.Options{}), stream.WithPublishMiddleware(func(next stream.PublishHandler) stream.PublishHandler {
				return func(ctx context.Context, p *stream.Publishing) error {
					seen = next(ctx, p)
					return handle(seen)
				}
			}))
			check := func(what string, err error, is func(error) bool) {
				t.Helper()
				if !is(seen) || !is(err) {
					t.Errorf("%s: middleware saw %v, the caller %v", what, seen, err)
				}
				if own := name == "has its own" || name == "panics"; errors.Is(err, errOwn) != own {
					t.Errorf("%s: the middleware's own error is in it: %t: %v", what, !own, err)
				}
				if strings.Count(fmt.Sprint(err), fmt.Sprint(seen)) != 1 {
					t.Errorf("%s: the error is not in it once: %v", what, err)
				}
			}
			_, err := producer.Publish(t.Context(), order{})
			check("bad value", err, isEncodeError)
			proxy.next(xadd, lose)
			_, err = producer.Publish(t.Context(), order{ID: "a"})
			check("no reply", err, isUnknown)
			values := ordersOf(2500)
			values[3].ID = ""
			proxy.next(xadd, deliver, deliver, lose)
			results, err := producer.PublishAll(t.Context(), values)
			check("no reply to a chunk", err, isUnknown)
			checkAgainst(t, server.Client(), values, results)
			if proxy.left() != 0 {
				t.Error("no reply was lost: the test shows nothing")
			}
		})
	}
}

// A panic, or the end of the goroutine, in the middle of a write.
func TestAWriteThatIsInterruptedIsUnknown(t *testing.T) {
	t.Parallel()
	for name, interrupt := range map[string]func(){"panic": func() { panic("no") }, "Goexit": runtime.Goexit} {
		client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
		defer func() { _ = client.Close() }()
		client.AddHook(interrupting{interrupt})
		producer := newProducer(t, client, stream.WithPublishMiddleware(func(next stream.PublishHandler) stream.PublishHandler {
			return func(ctx context.Context, p *stream.Publishing) error {
				done := make(chan struct{})
				go func() {
					defer close(done)
					_ = next(ctx, p)
				}()
				<-done
				return nil
			}
		}))
		if _, err := producer.Publish(t.Context(), order{ID: "a"}); !isUnknown(err) {
			t.Errorf("%s: got %v", name, err)
		}
		values := ordersOf(1001)
		values[1].ID = ""
		results, err := producer.PublishAll(t.Context(), values)
		if !isUnknown(err) || !isUnknown(results[0].Err) || !isEncodeError(results[1].Err) || !isUnknown(results[1000].Err) {
			t.Errorf("%s: got %v: %v, %v, %v", name, err, results[0], results[1], results[1000])
		}
	}
}

type interrupting struct{ interrupt func() }

func (interrupting) DialHook(next redis.DialHook) redis.DialHook { return next }

func (i interrupting) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(context.Context, redis.Cmder) error { i.interrupt(); return nil }
}

func (i interrupting) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(context.Context, []redis.Cmder) error { i.interrupt(); return nil }
}

func TestPublishMiddlewareIsNotCalledWithoutAContext(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = client.Close() })
	producer := newProducer(t, client, stream.WithPublishMiddleware(func(stream.PublishHandler) stream.PublishHandler {
		return func(context.Context, *stream.Publishing) error { panic("it was called") }
	}))
	for name, call := range publishCalls {
		if _, err := call(nil, producer, ordersOf(2)); !isNotWritten(err) || !strings.Contains(err.Error(), "there is no context") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestPublishMiddlewareIsMadeOnce(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	made := 0
	producer := newProducer(t, client, stream.WithPublishMiddleware(func(next stream.PublishHandler) stream.PublishHandler {
		made++
		return func(ctx context.Context, p *stream.Publishing) error {
			p.Headers = append(p.Headers, "by", "middleware")
			return next(ctx, p)
		}
	}))
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for name, call := range publishCalls {
				if _, err := call(t.Context(), producer, []order{{ID: fmt.Sprint(worker, name)}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	// One key is the same for all workers.
	if n := len(stored(t, client)); made != 1 || n != 3*8+1 {
		t.Errorf("made %d times, %d entries", made, n)
	}
	if results, err := producer.PublishAll(t.Context(), nil); len(results) != 0 || err != nil {
		t.Errorf("of no values: %v, %v", results, err)
	}
	_, err := stream.NewProducer(client, orders, stream.WithMaxLen(0), stream.WithPublishMiddleware(nil, func(stream.PublishHandler) stream.PublishHandler { return nil }))
	wantProblem(t, err, "WithMaxLen(0)")
	wantProblem(t, err, "WithPublishMiddleware: number 2 returned no handler")
}

func TestAKeyFunctionThatPanics(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	key := func(o order) string {
		if o.ID == "1" {
			panic("no")
		}
		return o.ID
	}
	results, err := newProducer(t, client).PublishAllOnce(t.Context(), key, ordersOf(3))
	if !isEncodeError(err) || !isEncodeError(results[1].Err) {
		t.Errorf("got %v, %v", results, err)
	}
	if got := stored(t, client); !slices.Equal(got, []string{"0", "2"}) {
		t.Errorf("entries %v", got)
	}
}
