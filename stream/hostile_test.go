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
