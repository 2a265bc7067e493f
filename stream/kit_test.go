package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/stream"
	"millrace/stream/streamtest"
)

type order struct {
	ID     string `mapstructure:"id" validate:"required"`
	Amount int    `mapstructure:"amount"`
}

var orders = stream.Topic[order]{Name: "orders"}

// add publishes an order with the given ID.
func add(t testing.TB, client redis.UniversalClient, id string) string {
	t.Helper()
	return addFields(t, client, "id", id, "amount", "1")
}

func addFields(t testing.TB, client redis.UniversalClient, pairs ...string) string {
	t.Helper()
	entryID, err := client.XAdd(context.Background(), &redis.XAddArgs{Stream: orders.Name, Values: pairs}).Result()
	if err != nil {
		t.Fatal(err)
	}
	return entryID
}

// recorder is a handler that keeps what it was given.
type recorder struct {
	mu      sync.Mutex
	changed chan struct{}
	seen    []string
	// handle decides about a message; nil handles it.
	handle func(ctx context.Context, msg *stream.Message[order]) error
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{}, 1)} }

func (r *recorder) Handle(ctx context.Context, msg *stream.Message[order]) error {
	r.mu.Lock()
	r.seen = append(r.seen, msg.Value.ID)
	r.mu.Unlock()
	select {
	case r.changed <- struct{}{}:
	default:
	}
	if r.handle != nil {
		return r.handle(ctx, msg)
	}
	return nil
}

// Seen returns the IDs of the orders that were delivered so far.
func (r *recorder) Seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.seen...)
}

// await returns what was seen, once that is at least n.
func (r *recorder) await(t testing.TB, n int) []string {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		if seen := r.Seen(); len(seen) >= n {
			return seen
		}
		select {
		case <-r.changed:
		case <-deadline:
			t.Fatalf("%d deliveries after 20s, want %d: %v", len(r.Seen()), n, r.Seen())
		}
	}
}

type runner interface {
	Run(ctx context.Context) error
}

// start runs a consumer; the function that it returns stops it, and returns
// what Run did.
func start(t testing.TB, consumer runner) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- consumer.Run(ctx) }()
	// The counts of the window are counted again, at work and at the end.
	recount := func() error { return nil }
	if c, ok := consumer.(*stream.Consumer[order]); ok {
		recount = stream.Recounter(c)
	}
	stop = sync.OnceValue(func() error {
		if err := recount(); err != nil {
			t.Errorf("at work: %v", err)
		}
		cancel()
		select {
		case err := <-done:
			if problem := recount(); problem != nil {
				t.Errorf("at the end: %v", problem)
			}
			return err
		case <-time.After(20 * time.Second):
			return fmt.Errorf("Run did not return within 20s of the cancel")
		}
	})
	t.Cleanup(func() { _ = stop() })
	return stop
}

// newConsumer makes a consumer of orders that fails the test if it cannot.
func newConsumer(t testing.TB, client redis.UniversalClient, store interface {
	Load(context.Context, string) (string, bool, error)
	Save(context.Context, string, string) error
}, handle stream.Handler[order], opts ...stream.Option,
) *stream.Consumer[order] {
	t.Helper()
	consumer, err := stream.NewConsumer(client, orders, store, handle, append([]stream.Option{stream.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return consumer
}

// logs is a logger whose output can be looked at.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// lines returns the lines that contain all of the words.
func (l *logs) lines(words ...string) (found []string) {
lines:
	for line := range strings.Lines(l.String()) {
		for _, word := range words {
			if !strings.Contains(line, word) {
				continue lines
			}
		}
		found = append(found, line)
	}
	return found
}

// eventually is [streamtest.Await].
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	streamtest.Await(t, what, holds)
}

// bubble is [streamtest.Run] for a test that needs nothing of it but the client.
func bubble(t *testing.T, test func(t *testing.T, client *redis.Client)) {
	t.Helper()
	streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) { test(t, b.Client) })
}

// awaitBlocked waits until n clients of a server wait in a blocking command.
func awaitBlocked(t testing.TB, client *redis.Client, n int) {
	t.Helper()
	eventually(t, fmt.Sprint(n, " clients are blocked"), func() bool {
		info, err := client.Info(t.Context(), "clients").Result()
		return err == nil && strings.Contains(info, fmt.Sprintf("blocked_clients:%d\r\n", n))
	})
}

// inert is for hooks of a client that have to do with single commands only.
type inert struct{}

func (inert) DialHook(next redis.DialHook) redis.DialHook { return next }

func (inert) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func parse(t testing.TB, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// readCounter counts the XREADs that a client sends.
type readCounter struct{ reads atomic.Int64 }

// withReadsCounted returns a client whose connections, and those derived from
// it, count what they send.
func withReadsCounted(client *redis.Client, counter *readCounter) *redis.Client {
	opts := optionsOf(client)
	dial := opts.Dialer
	opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return &countingConn{Conn: conn, counter: counter}, err
	}
	return redis.NewClient(opts)
}

// optionsOf returns a copy of a client's options, for another client.
func optionsOf(client *redis.Client) *redis.Options {
	opts := *client.Options()
	opts.PushNotificationProcessor = nil // the one that is there has been set up for that client
	return &opts
}

type countingConn struct {
	net.Conn
	counter *readCounter
}

func (c *countingConn) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("xread")) {
		c.counter.reads.Add(1)
	}
	return c.Conn.Write(p)
}

// trade is an event of eight fields, of the kinds that events have.
type trade struct {
	TradeID  string    `mapstructure:"trade_id" validate:"required"`
	Account  string    `mapstructure:"account" validate:"required,max=64"`
	Symbol   string    `mapstructure:"symbol" validate:"required"`
	Side     string    `mapstructure:"side" validate:"oneof=buy sell"`
	Quantity int64     `mapstructure:"quantity" validate:"gt=0"`
	Price    float64   `mapstructure:"price" validate:"gt=0"`
	Margin   bool      `mapstructure:"margin"`
	At       time.Time `mapstructure:"at_ms,unixmilli" validate:"required"`
}

var trades = stream.Topic[trade]{Name: "trades"}

// addTo1 adds one order to a stream, and returns the entry's ID.
func addTo1(t testing.TB, client redis.UniversalClient, topic, id string) string {
	t.Helper()
	entryID, err := client.XAdd(context.Background(), &redis.XAddArgs{Stream: topic, Values: []string{"id", id, "amount", "1"}}).Result()
	if err != nil {
		t.Fatal(err)
	}
	return entryID
}

// goexit is what a test's FailNow does.
func goexit() { runtime.Goexit() }

// wantProblem fails the test if err is not about a wrong option, with the text.
func wantProblem(t testing.TB, err error, text string) {
	t.Helper()
	if !errors.Is(err, stream.ErrInvalidOption) || !strings.Contains(err.Error(), text) {
		t.Errorf("error is %v, want one with %q", err, text)
	}
}

// usualMiddleware is what most consumers have.
func usualMiddleware() stream.Option {
	return stream.WithMiddleware(
		middleware.Logging(nil),
		middleware.DeadLetter(middleware.DeadLetterConfig{}),
		middleware.Retry(middleware.RetryConfig{}),
	)
}
