package stream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
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

func (m many) Error() string   { return "many" }
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

// entryPoints are the ways in which the trouble of an order comes to the engine.
var entryPoints = map[string]struct {
	handler    func(h *hostile, id string) error
	middleware func(h *hostile, id string) error
	codec      func(h *hostile, id string) error
}{
	"handler returns":    {handler: (*hostile).trouble},
	"handler panics":     {handler: panics},
	"codec returns":      {codec: (*hostile).trouble},
	"codec panics":       {codec: panics},
	"middleware returns": {middleware: (*hostile).trouble},
	"middleware panics":  {middleware: panics},
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
	if err := c.trouble(fields["id"].(string)); err != nil { //nolint:forcetypeassert // a test's
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
								if err := point.middleware(h, entry.Fields["id"].(string)); err != nil { //nolint:forcetypeassert // a test's
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

// failures are the ways in which a function of the user's fails.
func failures() map[string]func() error {
	ways := map[string]func() error{"Goexit": func() error { goexit(); return nil }}
	for name, err := range hostileErrors() {
		ways["returns "+name] = func() error { return err }
		ways["panics with "+name] = func() error { panic(err) }
	}
	return ways
}

// hostileStore fails at the first call of each method.
type hostileStore struct {
	offset.Memory
	fail                func() error
	loaded, saved, back atomic.Int64
}

func (s *hostileStore) Load(ctx context.Context, label string) (string, bool, error) {
	if s.loaded.Add(1) == 1 {
		if err := s.fail(); err != nil {
			return "", false, err
		}
	}
	return s.Memory.Load(ctx, label)
}

func (s *hostileStore) Save(ctx context.Context, label, id string) error {
	if s.saved.Add(1) == 1 {
		if err := s.fail(); err != nil {
			return err
		}
	}
	return s.Memory.Save(ctx, label, id)
}

func (s *hostileStore) Reset(ctx context.Context, label, id string) error {
	if s.back.Add(1) == 1 {
		if err := s.fail(); err != nil {
			return err
		}
	}
	return s.Memory.Reset(ctx, label, id)
}

// A store that fails in any way is asked again, also by a consumer of a Runner.
func TestHostileStore(t *testing.T) {
	t.Parallel()
	for name, fail := range failures() {
		for _, shared := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/of a Runner %v", name, shared), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T, client *redis.Client) {
					addWithID(t, client, "5-0", "a")
					store := &hostileStore{fail: fail}
					var out logs
					rec := newRecorder()
					consumer := newConsumer(t, client, store, rec.Handle, stream.WithLogger(out.Logger()))
					var stop func() error
					if shared {
						var r stream.Runner
						r.Add(consumer)
						stop = start(t, &r)
					} else {
						stop = start(t, consumer)
					}
					time.Sleep(time.Minute)
					client.Del(t.Context(), orders.Name)
					addWithID(t, client, "1-0", "b")
					time.Sleep(2 * time.Minute)
					synctest.Wait()
					id, _, err := store.Memory.Load(t.Context(), "orders")
					if n := len(rec.Seen()); n != 2 || id != "1-0" || err != nil {
						t.Errorf("delivered %v, the offset is %q, %v\n%s", rec.Seen(), id, err, out.String())
					}
					if store.loaded.Load() < 2 || store.saved.Load() < 2 || store.back.Load() < 2 {
						t.Errorf("not asked again: %d loads, %d saves, %d resets", store.loaded.Load(), store.saved.Load(), store.back.Load())
					}
					if err := stop(); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// A store that panics when the last offset is saved makes an error of Run.
func TestHostileStoreAtTheStop(t *testing.T) {
	t.Parallel()
	for name, fail := range failures() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, client *redis.Client) {
				store := &hostileStore{fail: fail}
				consumer := newConsumer(t, client, store, newRecorder().Handle, stream.WithCheckpoint(100, time.Hour))
				stop := start(t, consumer)
				time.Sleep(time.Second)
				add(t, client, "a")
				time.Sleep(time.Second)
				store.saved.Store(0)
				add(t, client, "b")
				if err := stop(); err != nil && !strings.Contains(err.Error(), "could not be saved") {
					t.Error(err)
				}
				if _, err := consumer.Lag(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A loss policy that fails in any way has failed, which ends Run.
func TestHostileLossPolicy(t *testing.T) {
	t.Parallel()
	for name, fail := range failures() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, client *redis.Client) {
				addWithID(t, client, "5-0", "a")
				consumer := newConsumer(t, client, &offset.Memory{}, newRecorder().Handle,
					stream.WithLossPolicy(func(context.Context, *stream.LossError) (stream.Start, error) { return stream.Start{}, fail() }))
				stop := start(t, consumer)
				time.Sleep(time.Minute)
				client.Del(t.Context(), orders.Name)
				addWithID(t, client, "1-0", "b")
				time.Sleep(time.Minute)
				synctest.Wait()
				var loss *stream.LossError
				if err := stop(); !errors.As(err, &loss) {
					t.Errorf("Run returned %v, want the loss", err)
				}
			})
		})
	}
}

// hostileObserver fails in each of its methods.
type hostileObserver struct{ fail func() }

func (o hostileObserver) OnDelivery(stream.DeliveryBegun) { o.fail() }
func (o hostileObserver) OnEnd(stream.DeliveryEnded)      { o.fail() }
func (o hostileObserver) OnRead(stream.EntriesRead)       { o.fail() }
func (o hostileObserver) OnSettle(stream.EntriesSettled)  { o.fail() }
func (o hostileObserver) OnClaim(stream.EntriesClaimed)   { o.fail() }
func (o hostileObserver) OnLoss(stream.Identity, error)   { o.fail() }
func (o hostileObserver) OnTrouble(stream.Outage)         { o.fail() }
func (o hostileObserver) OnRecovery(stream.Outage)        { o.fail() }
func (o hostileObserver) OnFull(stream.WindowFull)        { o.fail() }
func (o hostileObserver) Enabled(context.Context, slog.Level) bool {
	return true
}

func (o hostileObserver) Handle(context.Context, slog.Record) error {
	o.fail()
	return nil
}
func (o hostileObserver) WithAttrs([]slog.Attr) slog.Handler { return o }
func (o hostileObserver) WithGroup(string) slog.Handler      { return o }

// Observers, log handlers and order keys that panic, or end the goroutine, cost no
// entry, and hold up none.
func TestHostileObserversAndLogs(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(){"panic": func() { panic((*net.OpError)(nil)) }, "Goexit": goexit} {
		hostile := hostileObserver{fail}
		for part, opts := range map[string][]stream.Option{
			"observer": {stream.WithObserver(hostile)},
			"logger":   {stream.WithLogger(slog.New(hostile))},
			"key":      {stream.WithOrderKey(func(*stream.Entry) string { fail(); return "" }), stream.WithConcurrency(2)},
			"all": {stream.WithObserver(hostile), stream.WithLogger(slog.New(hostile)), stream.WithConcurrency(3),
				stream.WithMiddleware(middleware.Logging(slog.New(hostile)))},
		} {
			t.Run(part+"/"+name, func(t *testing.T) {
				t.Parallel()
				inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
					addTo(t, client, "orders", 20)
					done := make(map[string]bool)
					var mu sync.Mutex
					consumer := mode.make(t, client, "orders", func(_ context.Context, msg *stream.Message[order]) error {
						if strings.HasSuffix(msg.Value.ID, "5") && msg.Deliveries < 2 {
							return errors.New("not yet")
						}
						mu.Lock()
						defer mu.Unlock()
						done[msg.Value.ID] = true
						return nil
					}, opts...)
					stop := start(t, consumer)
					time.Sleep(time.Minute) // virtual
					addTo(t, client, "orders", 20)
					time.Sleep(2 * time.Minute)
					synctest.Wait()
					if len(done) != 20 {
						t.Errorf("handled %v", done)
					}
					stats := consumer.Stats()
					if stats.Working != 0 || stats.Window != 0 {
						t.Errorf("still in hand: %+v", stats)
					}
					if err := stop(); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// hostileHook fails the first times that a command is sent.
type hostileHook struct {
	inert
	left *atomic.Int64
	fail func() error
}

func (h hostileHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if h.left.Add(-1) >= 0 {
			if err := h.fail(); err != nil {
				cmd.SetErr(err)
				return err
			}
		}
		return next(ctx, cmd)
	}
}

// The callbacks and hooks of a client that fail in any way only delay the command that they
// are a part of.
func TestHostileClient(t *testing.T) {
	t.Parallel()
	// Not Goexit: of a hook, on Run's own goroutine, it ends Run.
	for _, name := range []string{"returns nil OpError", "panics with nil OpError", "returns moody", "panics with Error"} {
		fail := failures()[name]
		for part, change := range map[string]func(opts *redis.Options, left *atomic.Int64){
			"hook": nil,
			"OnConnect": func(opts *redis.Options, left *atomic.Int64) {
				opts.OnConnect = func(context.Context, *redis.Conn) error { return failTimes(left, fail) }
			},
			"credentials": func(opts *redis.Options, left *atomic.Int64) {
				opts.CredentialsProvider = func() (string, string) {
					if err := failTimes(left, fail); err != nil {
						panic(err)
					}
					return "", ""
				}
			},
			"dialer": func(opts *redis.Options, left *atomic.Int64) {
				dial := opts.Dialer
				opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
					if err := failTimes(left, fail); err != nil {
						return nil, err
					}
					return dial(ctx, network, addr)
				}
			},
		} {
			t.Run(part+"/"+name, func(t *testing.T) {
				t.Parallel()
				inBothModes(t, func(t *testing.T, plain *redis.Client, mode mode) {
					addTo(t, plain, "orders", 10)
					var left atomic.Int64
					opts := optionsOf(plain)
					if change != nil {
						change(opts, &left)
					}
					client := redis.NewClient(opts)
					defer func() { _ = client.Close() }()
					if change == nil {
						client.AddHook(hostileHook{left: &left, fail: fail})
					}
					for _, shared := range []bool{false, true} {
						rec := newRecorder()
						left.Store(2)
						consumer := mode.make(t, client, "orders", rec.Handle)
						var run runner = consumer
						if shared {
							r := new(stream.Runner)
							r.Add(consumer)
							run = r
						}
						stop := start(t, run)
						time.Sleep(10 * time.Second)
						left.Store(3)
						addTo(t, plain, "orders", 10)
						time.Sleep(time.Minute)
						synctest.Wait()
						if n := len(rec.Seen()); n < 10 {
							t.Errorf("of a Runner %v: delivered %v", shared, rec.Seen())
						}
						left.Store(0)
						if err := stop(); err != nil {
							t.Error(err)
						}
					}
				})
			})
		}
	}
}

func failTimes(left *atomic.Int64, fail func() error) error {
	if left.Add(-1) >= 0 {
		return fail()
	}
	return nil
}

// hostileMember is something in a Runner that fails in each of its methods.
type hostileMember struct{ fail func() error }

func (m *hostileMember) Run(context.Context) error { return m.fail() }
func (m *hostileMember) String() string            { return fmt.Sprint(m.fail()) }
func (m *hostileMember) Health() stream.Health {
	_ = m.fail()
	return stream.Health{Live: true}
}

// A Runner's member that fails in any way is a failure of Run.
func TestHostileMember(t *testing.T) {
	t.Parallel()
	for name, fail := range failures() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := stream.Runner{OnFailure: stream.StopAll} // Run returns at the first failure
			r.Add(&hostileMember{fail: fail})
			if err := r.Run(t.Context()); err == nil {
				t.Error("Run returned nil")
			}
			if h := r.Health(); h.Ready {
				t.Errorf("the health is %+v", h)
			}
		})
	}
}

// A value that its codec cannot survive is not sent, and the others are.
func TestHostileCodecOfAProducer(t *testing.T) {
	t.Parallel()
	for name, fail := range failures() {
		if name == "Goexit" {
			continue // on the goroutine of the caller, whose own it is
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, client *redis.Client) {
				topic := orders
				topic.Codec = hostileEncoder{codec.Struct[order](), fail}
				producer, err := stream.NewProducer(client, topic)
				if err != nil {
					t.Fatal(err)
				}
				results, err := producer.PublishAll(t.Context(), []order{{ID: "bad"}, {ID: "good"}})
				var wrong *stream.EncodeError
				if !errors.As(err, &wrong) || results[0].Err == nil || results[1].Err != nil {
					t.Errorf("got %v, %v", results, err)
				}
			})
		})
	}
}

type hostileEncoder struct {
	codec.Codec[order]
	fail func() error
}

func (c hostileEncoder) Encode(value order) ([]string, error) {
	if value.ID == "bad" {
		return nil, c.fail()
	}
	return c.Codec.Encode(value)
}
