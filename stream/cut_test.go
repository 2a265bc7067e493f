package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

// cutting closes the connections of a client whose replies are too large. It returns the
// client, and how many replies were cut.
type cutting struct {
	name string
	over func(t *testing.T, server *streamtest.Redis, limit int) (*redis.Client, func() int64)
}

func cuttings() []cutting {
	return []cutting{
		{"the server", func(t *testing.T, server *streamtest.Redis, limit int) (*redis.Client, func() int64) {
			t.Helper()
			if err := server.Client().ConfigSet(t.Context(), "client-output-buffer-limit", fmt.Sprintf("normal %d 0 0", limit)).Err(); err != nil {
				t.Fatal(err)
			}
			var cut atomic.Int64
			return withConns(t, server.Client(), func(conn net.Conn) net.Conn { return &endCounter{conn, &cut} }), cut.Load
		}},
		{"a proxy", func(t *testing.T, server *streamtest.Redis, limit int) (*redis.Client, func() int64) {
			t.Helper()
			var cut atomic.Int64
			return withConns(t, server.Client(), func(conn net.Conn) net.Conn {
				return &shortConn{Conn: &endCounter{conn, &cut}, limit: limit, left: limit, cut: &cut}
			}), cut.Load
		}},
	}
}

// withConns returns a client whose connections, and those of clients derived from it, are
// wrapped.
func withConns(t *testing.T, client *redis.Client, wrap func(net.Conn) net.Conn) *redis.Client {
	t.Helper()
	opts := optionsOf(client)
	dial := opts.Dialer
	opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return wrap(conn), nil
	}
	wrapped := redis.NewClient(opts)
	t.Cleanup(func() { _ = wrapped.Close() })
	return wrapped
}

// endCounter counts connections that the other side has closed.
type endCounter struct {
	net.Conn
	ends *atomic.Int64
}

func (c *endCounter) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.ends.Add(1)
	}
	return n, err
}

// shortConn ends in the middle of a reply that is too large.
type shortConn struct {
	net.Conn
	limit, left int
	cut         *atomic.Int64
}

func (c *shortConn) Write(p []byte) (int, error) {
	c.left = c.limit
	return c.Conn.Write(p)
}

func (c *shortConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		c.cut.Add(1)
		_ = c.Close()
		return 0, io.EOF
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// addOfSize adds entries of the given size.
func addOfSize(t *testing.T, client *redis.Client, topic string, entries, size int) {
	t.Helper()
	text := strings.Repeat("x", size)
	pipe := client.TxPipeline()
	for i := range entries {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: topic, Values: []string{"id", fmt.Sprint(i), "amount", "1", "text", text}})
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// attempts is a handler that counts, by stream and ID, and notes the attempts.
type attempts struct {
	Counts
	mu   sync.Mutex
	most int64
}

func (a *attempts) Handle(ctx context.Context, msg *stream.Message[order]) error {
	a.mu.Lock()
	a.most = max(a.most, msg.Deliveries)
	a.mu.Unlock()
	return a.Counts.Handle(ctx, msg)
}

// A reply that is cut because it is too large is not asked for again as it was, for ever.
// Each entry comes once, at its first attempt: in group mode those of a reply that was cut
// are pending here.
func TestRepliesThatAreCut(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	for _, mode := range bothModes() {
		for _, cutting := range cuttings() {
			for _, shape := range []struct {
				name             string
				topics           int // in a Runner, if there is more than one
				entries, size    int
				most             int64 // of the replies that are cut
				burst, inARunner bool
			}{
				{name: "a backlog", topics: 1, entries: 400, size: 10_000, most: 4},
				{name: "a backlog in a Runner", topics: 3, entries: 400, size: 10_000, most: 12, inARunner: true},
				// Not even two of them fit, of which one is the entry that was read last.
				{name: "large entries", topics: 1, entries: 5, size: 600_000, most: 20},
				{name: "large entries in a Runner", topics: 2, entries: 5, size: 600_000, most: 40, inARunner: true},
				{name: "a burst of many topics", topics: 30, entries: 2, size: 50_000, most: 6, burst: true, inARunner: true},
			} {
				t.Run(mode.name+"/"+cutting.name+"/"+shape.name, func(t *testing.T) {
					t.Parallel()
					server := streamtest.StartRedis(t)
					admin := server.Client()
					client, cut := cutting.over(t, server, limit)
					var handled attempts
					var r stream.Runner
					var consumers []*stream.Consumer[order]
					names := topicNames(shape.topics)
					for i := range names {
						names[i] = "cut-" + names[i]
						consumers = append(consumers, mode.make(t, client, names[i], handled.Handle))
						r.Add(consumers[i])
					}
					fill := func() {
						for _, name := range names {
							addOfSize(t, admin, name, shape.entries, shape.size)
						}
					}
					if !shape.burst {
						fill()
					}
					var stop func() error
					if shape.inARunner {
						stop = start(t, &r)
					} else {
						stop = start(t, consumers[0])
					}
					if shape.burst {
						for _, one := range consumers {
							eventually(t, "they wait", func() bool { return one.Health().Ready })
						}
						// At once, for the shared read to bring all of it.
						pipe := admin.TxPipeline()
						for _, name := range names {
							for i := range shape.entries {
								pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: name, Values: []string{"id", fmt.Sprint(i), "text", strings.Repeat("x", shape.size)}})
							}
						}
						if _, err := pipe.Exec(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
					want := shape.topics * shape.entries
					begun := time.Now()
					eventually(t, "all are handled", func() bool { return handled.distinct() == want })
					t.Logf("%d entries after %v, with %d replies cut", want, time.Since(begun), cut())
					if n := cut(); n == 0 || n > shape.most {
						t.Errorf("%d replies were cut, want 1 to %d", n, shape.most)
					}
					if handled.most != 1 {
						t.Errorf("an entry came at attempt %d", handled.most)
					}
					for id, times := range handled.seen {
						if times != 1 {
							t.Errorf("%s was handled %d times", id, times)
						}
					}
					for _, one := range consumers {
						if s := one.Stats(); s.Claimed != 0 || s.Lost != 0 {
							t.Errorf("%v says that %d entries were claimed and %d lost", one, s.Claimed, s.Lost)
						}
					}
					if err := stop(); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// An entry that is too large for any reply is told, and the message says how to mend that.
func TestAnEntryOverTheLimitOfReplies(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	admin := server.Client()
	client, _ := cuttings()[0].over(t, server, 1<<20)
	addOfSize(t, admin, orders.Name, 1, 100)
	addOfSize(t, admin, orders.Name, 1, 2<<20)
	rec := newRecorder()
	consumer := bothModes()[0].make(t, client, orders.Name, rec.Handle)
	stop := start(t, consumer)
	eventually(t, "the entry before is handled", func() bool { return len(rec.Seen()) == 1 })
	eventually(t, "it is told", func() bool {
		h := consumer.Health()
		return h.Live && !h.Ready && strings.Contains(h.Reason, "client-output-buffer-limit")
	})
	if err := admin.ConfigSet(t.Context(), "client-output-buffer-limit", "normal 0 0 0").Err(); err != nil {
		t.Fatal(err)
	}
	rec.await(t, 2)
	if err := stop(); err != nil {
		t.Error(err)
	}
}
