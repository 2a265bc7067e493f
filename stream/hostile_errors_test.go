package stream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"millrace/codec"
	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"

	"github.com/redis/go-redis/v9"
)

// flawed is an error of which one method panics, or wraps the error itself.
type flawed struct{ method string }

func (f *flawed) Error() string {
	f.do("Error")
	return "a flawed error"
}

func (f *flawed) Is(error) bool {
	f.do("Is")
	return false
}

func (f *flawed) As(any) bool {
	f.do("As")
	return false
}

func (f *flawed) Unwrap() error {
	f.do("Unwrap")
	if f.method == "wraps itself" {
		return f
	}
	return nil
}

func (f *flawed) do(method string) {
	if f.method == method {
		panic(method + " panics")
	}
}

// moody is an error whose methods are called a few times, once at least, before they
// panic.
type moody struct {
	patience int64
	asked    atomic.Int64
}

func (m *moody) Error() string {
	if m.asked.Add(1) > max(1, m.patience) {
		panic("asked again")
	}
	return "moody"
}

func (m *moody) As(any) bool { return len(m.Error()) == 0 }

// many wraps several errors.
type many []error

func (m many) Error() string { return "many" }

func (m many) Unwrap() []error { return m }

// hostileErrors returns new errors that no one should return, by their names.
func hostileErrors() map[string]error {
	return map[string]error{
		"nil OpError":             (*net.OpError)(nil),
		"wrapped nil OpError":     fmt.Errorf("dialing: %w", (*net.OpError)(nil)),
		"joined nil OpError":      many{errors.New("good"), nil, (*net.OpError)(nil)},
		"Error":                   &flawed{"Error"},
		"Is":                      &flawed{"Is"},
		"As":                      &flawed{"As"},
		"Unwrap":                  &flawed{"Unwrap"},
		"wraps itself":            &flawed{"wraps itself"},
		"moody":                   &moody{},
		"nil SkipError":           (*stream.SkipError)(nil),
		"nil DecodeError":         (*stream.DecodeError)(nil),
		"nil DeadLetterError":     (*stream.DeadLetterError)(nil),
		"nil PermanentError":      (*stream.PermanentError)(nil),
		"PermanentError of nil":   &stream.PermanentError{},
		"nil MaxDeliveriesError":  (*stream.MaxDeliveriesError)(nil),
		"nil PanicError":          (*stream.PanicError)(nil),
		"nil BatchError":          (*stream.BatchError)(nil),
		"nil LossError":           (*stream.LossError)(nil),
		"nil RetryError":          (*middleware.RetryError)(nil),
		"wrapped nil RetryError":  fmt.Errorf("again: %w", (*middleware.RetryError)(nil)),
		"uncomparable and joined": many{many{}},
	}
}

// hostile gives each order, by its ID, its own trouble.
type hostile struct {
	mu sync.Mutex
	// once has each order fail at its first delivery only.
	once   bool
	failed map[string]bool
}

// trouble returns the error of an order, nil if it is to be handled.
func (h *hostile) trouble(id string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.once && h.failed[id] {
		return nil
	}
	h.failed[id] = true
	if id == "exits" {
		goexit()
	}
	return hostileErrors()[id]
}

func panics(h *hostile, id string) error {
	if err := h.trouble(id); err != nil {
		panic(err)
	}
	return nil
}

// hostileCodec is a codec with trouble.
type hostileCodec struct {
	codec.Codec[order]
	trouble func(id string) error
}

func (c hostileCodec) Decode(fields codec.Fields) (order, error) {
	id, _ := fields.Get("id")
	if err := c.trouble(id); err != nil {
		return order{}, err
	}
	return c.Codec.Decode(fields)
}

// Misbehaviour of a handler, a codec or a middleware is an error of its entry: without
// middleware the entry is held and delivered again, with the usual one it is a dead
// letter, and the consumer goes on.
func TestHostileErrors(t *testing.T) {
	t.Parallel()
	for name, point := range entryPoints {
		for _, usual := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/usual middleware %v", name, usual), func(t *testing.T) {
				t.Parallel()
				inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
					h := &hostile{once: !usual, failed: make(map[string]bool)}
					ids := []string{"exits"}
					for id := range hostileErrors() {
						ids = append(ids, id)
					}
					for _, id := range append(ids, "good") {
						add(t, client, id)
					}
					topic := orders
					if point.codec != nil {
						topic.Codec = hostileCodec{codec.Struct[order](), func(id string) error { return point.codec(h, id) }}
					}
					var mu sync.Mutex
					handled := make(map[string]bool)
					handle := func(_ context.Context, msg *stream.Message[order]) error {
						if point.handler != nil {
							if err := point.handler(h, msg.Value.ID); err != nil {
								return err
							}
						}
						mu.Lock()
						defer mu.Unlock()
						handled[msg.Value.ID] = true
						return nil
					}
					stack := []stream.Middleware{}
					if usual {
						stack = append(stack, middleware.Logging(slog.New(slog.DiscardHandler)),
							middleware.DeadLetter(middleware.DeadLetterConfig{}), middleware.Retry(middleware.RetryConfig{}))
					}
					if point.middleware != nil {
						stack = append(stack, func(next stream.EntryHandler) stream.EntryHandler {
							return func(ctx context.Context, entry *stream.Entry) error {
								id, _ := entry.Fields.Get("id")
								if err := point.middleware(h, id); err != nil {
									return err
								}
								return next(ctx, entry)
							}
						})
					}
					var out logs
					opts := []stream.Option{stream.WithMiddleware(stack...), stream.WithLogger(out.Logger())}
					consumer, err := stream.NewConsumer(client, topic, &offset.Memory{}, handle, opts...)
					if mode.name == "group" {
						consumer, err = stream.NewGroupConsumer(client, topic, "billing", handle, opts...)
					}
					if err != nil {
						t.Fatal(err)
					}
					stop := start(t, consumer)
					time.Sleep(2 * time.Minute) // virtual
					synctest.Wait()
					if err := stop(); err != nil {
						t.Error(err)
					}
					want := len(ids) + 1
					if usual {
						want = 1
					} else if point.codec != nil {
						want = 2 // an entry that cannot be decoded is passed; to end the goroutine is no error yet
					}
					if len(handled) != want || !handled["good"] {
						t.Errorf("handled %d orders, want %d: %v", len(handled), want, handled)
					}
					letters, err := client.XLen(context.Background(), "{orders}:dead").Result()
					if err != nil || usual && letters != int64(len(ids)) {
						t.Errorf("%d dead letters, %v, want %d", letters, err, len(ids))
					}
				})
			})
		}
	}
}

// A batch handler's errors come to each of its messages.
func TestHostileErrorsOfABatch(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(err error, messages int) error{
		"all":    func(err error, _ int) error { return err },
		"panic":  func(err error, _ int) error { panic(err) },
		"Goexit": func(error, int) error { goexit(); return nil },
		"each": func(err error, messages int) error {
			errs := make([]error, messages)
			for i := range errs {
				errs[i] = err
			}
			return stream.Partial(errs)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, client *redis.Client) {
				want := len(hostileErrors()) + 1
				for id := range hostileErrors() {
					add(t, client, id)
				}
				add(t, client, "good")
				failed, handled := make(map[string]bool), make(map[string]bool)
				handle := func(_ context.Context, batch []*stream.Message[order]) error {
					for _, msg := range batch {
						if err := hostileErrors()[msg.Value.ID]; err != nil && !failed[msg.Value.ID] {
							failed[msg.Value.ID] = true
							return fail(err, len(batch))
						}
					}
					for _, msg := range batch {
						handled[msg.Value.ID] = true
					}
					return nil
				}
				consumer, err := stream.NewGroupBatchConsumer(client, orders, "billing", handle, quietly(nil)...)
				if err != nil {
					t.Fatal(err)
				}
				start(t, consumer)
				time.Sleep(30 * time.Minute) // virtual: the batch fails as one, once for each error
				synctest.Wait()
				if len(handled) != want {
					t.Errorf("handled %d orders, want %d", len(handled), want)
				}
			})
		})
	}
}
