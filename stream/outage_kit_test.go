package stream_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// outage stands between the clients of a bubble and its Redis, which it can freeze and
// kill.
type outage struct {
	mu      sync.Mutex
	state   outageState
	changed chan struct{} // closed when the state changes
	conns   map[net.Conn]struct{}
	work    sync.WaitGroup
}

type outageState int

const (
	up outageState = iota
	// frozen is a server that stands still: connections are made, by its kernel, and
	// nothing is answered.
	frozen
	// killed is a server that is no more: connections are closed, and refused.
	killed
)

// withOutage returns a client whose connections, and those of clients derived from it,
// go through an outage, which is none yet.
func withOutage(t *testing.T, client *redis.Client) (*redis.Client, *outage) {
	t.Helper()
	o := &outage{changed: make(chan struct{}), conns: make(map[net.Conn]struct{})}
	opts := optionsOf(client)
	dial := opts.Dialer
	opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if state, _ := o.now(); state == killed {
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
		}
		server, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		own, client := net.Pipe()
		o.keep(own, server)
		o.work.Go(func() { o.carry(own, server) })
		o.work.Go(func() { o.carry(server, own) })
		return endingConn{client}, nil
	}
	through := redis.NewClient(opts)
	t.Cleanup(func() {
		_ = through.Close()
		o.set(killed)
		o.work.Wait()
		time.Sleep(2 * time.Second) // until go-redis does not dial any more
	})
	return through, o
}

// endingConn fails as TCP does once the other side has closed the connection. After the
// error of a pipe the client would not try again.
type endingConn struct{ net.Conn }

func (c endingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	return n, ended(err)
}

func (c endingConn) SetReadDeadline(at time.Time) error  { return ended(c.Conn.SetReadDeadline(at)) }
func (c endingConn) SetWriteDeadline(at time.Time) error { return ended(c.Conn.SetWriteDeadline(at)) }
func (c endingConn) SetDeadline(at time.Time) error      { return ended(c.Conn.SetDeadline(at)) }

func ended(err error) error {
	if errors.Is(err, io.ErrClosedPipe) {
		return io.EOF
	}
	return err
}

func (o *outage) set(state outageState) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.state = state
	close(o.changed)
	o.changed = make(chan struct{})
	if state == killed {
		for conn := range o.conns {
			_ = conn.Close()
		}
		clear(o.conns)
	}
}

func (o *outage) now() (outageState, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state, o.changed
}

func (o *outage) keep(conns ...net.Conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, conn := range conns {
		o.conns[conn] = struct{}{}
		if o.state == killed {
			_ = conn.Close()
		}
	}
}

// carry copies from one connection to another until one is closed, and buffers, as a kernel
// does, the bytes that cannot be passed on yet.
func (o *outage) carry(from, to net.Conn) {
	arrived := make(chan []byte, 1<<10)
	o.work.Go(func() {
		defer func() { _ = to.Close() }()
		for data := range arrived {
			for state, changed := o.now(); state == frozen; state, changed = o.now() {
				<-changed
			}
			if _, err := to.Write(data); err != nil {
				_ = from.Close()
			}
		}
	})
	defer close(arrived)
	for {
		buf := make([]byte, 64<<10)
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		arrived <- buf[:n]
	}
}
