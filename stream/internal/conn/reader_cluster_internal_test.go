package conn

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/resp"
	"millrace/stream/streamtest"
)

// A read of a group whose reply is lost fails, in a cluster too: the client would send it
// again by itself, and nobody would look for what the first one has brought.
func TestAGroupReadInAClusterIsSentOnce(t *testing.T) {
	t.Parallel()
	opts := *streamtest.StartCluster(t).Options()
	var lose atomic.Bool
	opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &losingConn{Conn: conn, lose: &lose}, err
	}
	client := redis.NewClusterClient(&opts)
	t.Cleanup(func() { _ = client.Close() })
	ctx := t.Context()
	if err := client.XGroupCreateMkStream(ctx, "s", "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	for _, block := range []time.Duration{-1, time.Second} {
		for range 2 {
			if err := client.XAdd(ctx, &redis.XAddArgs{Stream: "s", Values: []any{"a", "1"}}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		r, err := NewReader(ctx, client, time.Second, true)
		if err != nil {
			t.Fatal(err)
		}
		read := func() (resp.Batch, error) {
			return Only(r.ReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{"s", ">"}, Count: 1, Block: block}, resp.NoLimit))
		}
		lose.Store(true)
		if b, err := read(); err == nil || lose.Load() {
			t.Errorf("block %v: a lost reply is an outcome of %d entries and the error %v", block, b.Len(), err)
		}
		if b, err := read(); err != nil || b.Len() != 1 {
			t.Errorf("block %v: the next read brings %d entries, %v", block, b.Len(), err)
		}
		_ = r.Close() // one of its connections is closed already
	}
}

// losingConn loses, once it is told to, the reply to a read of a group.
type losingConn struct {
	net.Conn
	lose  *atomic.Bool
	asked bool
}

func (c *losingConn) Write(p []byte) (int, error) {
	c.asked = bytes.Contains(p, []byte("xreadgroup"))
	return c.Conn.Write(p)
}

func (c *losingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.asked && c.lose.CompareAndSwap(true, false) {
		_ = c.Close()
		return 0, io.EOF
	}
	return n, err
}
