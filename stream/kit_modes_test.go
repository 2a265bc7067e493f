package stream_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"

	"github.com/redis/go-redis/v9"
)

// mode is one of the two modes, for tests that hold for both.
type mode struct {
	name string
	make func(t testing.TB, client redis.UniversalClient, topic string, handle stream.Handler[order], opts ...stream.Option) *stream.Consumer[order]
}

// inLogMode is log mode with offsets in some store.
func inLogMode(name string, open func(testing.TB, redis.UniversalClient) offset.Store) mode {
	return mode{name, func(t testing.TB, client redis.UniversalClient, topic string, handle stream.Handler[order], opts ...stream.Option) *stream.Consumer[order] {
		t.Helper()
		consumer, err := stream.NewConsumer(client, stream.Topic[order]{Name: topic}, open(t, client), handle, quietly(opts)...)
		if err != nil {
			t.Fatal(err)
		}
		return consumer
	}}
}

func bothModes() []mode {
	return []mode{
		inLogMode("log", func(t testing.TB, client redis.UniversalClient) offset.Store {
			t.Helper()
			store, err := offset.NewRedis(client, "")
			if err != nil {
				t.Fatal(err)
			}
			return store
		}),
		{"group", func(t testing.TB, client redis.UniversalClient, topic string, handle stream.Handler[order], opts ...stream.Option) *stream.Consumer[order] {
			t.Helper()
			consumer, err := stream.NewGroupConsumer(client, stream.Topic[order]{Name: topic}, "billing", handle, quietly(opts)...)
			if err != nil {
				t.Fatal(err)
			}
			return consumer
		}},
	}
}

// onRedisInBothModes runs a test in each mode, with a server of its own.
func onRedisInBothModes(t *testing.T, test func(t *testing.T, server *streamtest.Redis, mode mode)) {
	t.Helper()
	onRedisIn(t, bothModes(), test)
}

func onRedisIn(t *testing.T, modes []mode, test func(t *testing.T, server *streamtest.Redis, mode mode)) {
	t.Helper()
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			test(t, streamtest.StartRedis(t), mode)
		})
	}
}

func quietly(opts []stream.Option) []stream.Option {
	return append([]stream.Option{stream.WithLogger(slog.New(slog.DiscardHandler))}, opts...)
}

// addTo adds n orders to a stream.
func addTo(t testing.TB, client redis.UniversalClient, topic string, n int) {
	t.Helper()
	for i := range n {
		addTo1(t, client, topic, fmt.Sprint(i))
	}
}

// Counts counts what was handled, by stream and ID.
type Counts struct {
	mu   sync.Mutex
	seen map[string]int
}

func (c *Counts) Handle(_ context.Context, msg *stream.Message[order]) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = make(map[string]int)
	}
	c.seen[msg.Stream+" "+msg.ID]++
	return nil
}

func (c *Counts) distinct() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.seen)
}

// times returns how often an entry was handled.
func (c *Counts) times(topic, id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[topic+" "+id]
}

// topicNames returns n names of topics.
func topicNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("topic-%03d", i)
	}
	return names
}
