package streamtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// KillPoint kills its own process, as kill -9 does, when a named point of the work has been
// passed a number of times. It is for a [Child], and is safe for concurrent use.
type KillPoint struct {
	point string
	left  atomic.Int64
}

// ParseKillPoint reads a point of the form "name@3": the process is killed when the name is
// passed for the third time. Any other text, except the empty one, is an error. The name is of
// your own choosing, see [KillPoint.Pass], or the name of a point that the clients of
// [KillPoint.Client] pass:
//
//	before TEXT  a request that contains TEXT is about to be sent
//	sent TEXT    the request was sent, and there is no reply yet
//	after TEXT   the reply to the request begins to arrive
//
// where TEXT is the name of a command in lower case, or any other text that a request contains,
// such as a key. The empty text gives a KillPoint that never kills.
func ParseKillPoint(text string) (*KillPoint, error) {
	name, times, ok := strings.Cut(text, "@")
	n, err := strconv.ParseInt(times, 10, 64)
	if text != "" && (!ok || err != nil || n < 1) {
		return nil, fmt.Errorf("streamtest: kill point %q: write name@times, with times from 1 up", text)
	}
	k := &KillPoint{point: name}
	k.left.Store(n)
	return k, nil
}

// Pass says that a point is passed. If the process has to die at this point, Pass does not
// return.
func (k *KillPoint) Pass(point string) {
	if point == "" || point != k.point || k.left.Add(-1) != 0 {
		return
	}
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {} // until the signal arrives
}

// Client returns a client with the options of another one. Its connections pass the points
// around requests, and so do the connections of the clients that a consumer derives from it.
// The caller closes the client, if the process lives.
func (k *KillPoint) Client(client *redis.Client) *redis.Client {
	opts := *client.Options()
	dial := opts.Dialer
	opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &killConn{Conn: conn, kill: k}, nil
	}
	opts.PushNotificationProcessor = nil // the present one belongs to the given client
	return redis.NewClient(&opts)
}

// killConn passes the points around the requests on a connection.
type killConn struct {
	net.Conn
	kill *KillPoint

	mu    sync.Mutex
	asked bool // the last request has the text, and no reply yet
}

func (c *killConn) Write(p []byte) (int, error) {
	when, text, _ := strings.Cut(c.kill.point, " ")
	matches := text != "" && bytes.Contains(p, []byte(text))
	c.mu.Lock()
	c.asked = matches && when == "after"
	c.mu.Unlock()
	if matches && when == "before" {
		c.kill.Pass(c.kill.point)
	}
	n, err := c.Conn.Write(p)
	if matches && when == "sent" {
		c.kill.Pass(c.kill.point)
	}
	return n, err
}

func (c *killConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	asked := c.asked && n > 0
	c.asked = c.asked && !asked
	c.mu.Unlock()
	if asked {
		c.kill.Pass(c.kill.point)
	}
	return n, err
}
