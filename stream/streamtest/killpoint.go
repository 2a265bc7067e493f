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

// KillPoint kills the process that it is in, as kill -9 does, when a named point
// of its work has been passed a number of times. It is for a [Child]. It is safe
// for concurrent use.
type KillPoint struct {
	point string
	left  atomic.Int64
}

// ParseKillPoint reads a point of the form "name@3": the third time that name is
// passed, the process is killed. A name is of your own choosing, see
// [KillPoint.Pass], or one of those that the clients of [KillPoint.Client] pass:
//
//	before TEXT  a request that contains TEXT is about to be sent
//	sent TEXT    it was sent, and there is no reply yet
//	after TEXT   the reply to it begins to arrive
//
// where TEXT is the name of a command in lower case, or anything else that a
// request contains, such as a key. The empty point is never passed.
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

// Pass says that a point is passed, and does not return if it is the one at which
// the process is to die.
func (k *KillPoint) Pass(point string) {
	if point == "" || point != k.point || k.left.Add(-1) != 0 {
		return
	}
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {} // until it arrives
}

// Client returns a client with the options of another one, whose connections
// pass the points around requests; so do those that a consumer derives from it.
// The caller closes it, if the process lives.
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
	opts.PushNotificationProcessor = nil // the one that is there has been set up for that client
	return redis.NewClient(&opts)
}

// killConn passes the points around the requests on a connection.
type killConn struct {
	net.Conn
	kill *KillPoint

	mu    sync.Mutex
	asked bool // a request with the text was sent last
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
