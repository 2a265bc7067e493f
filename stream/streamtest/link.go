package streamtest

import (
	"io"
	"net"
	"sync"
	"time"
)

// link is one connection through a proxy.
type link struct {
	proxy *Proxy
	ends  [2]net.Conn // the connections to the client and to the server
	gone  chan struct{}
	once  sync.Once
	cut   [2]int64 // bytes until the cut, plus one; 0 is no cut; the proxy's lock guards it
}

// carry passes on the bytes of one direction until the link ends.
func (l *link) carry(dir Direction) {
	defer func() {
		l.close()
		l.proxy.forget(l)
	}()
	from, to := l.ends[0], l.ends[1]
	if dir == ToClient {
		from, to = to, from
	}
	buf := make([]byte, 64<<10)
	for {
		if !l.await() {
			return
		}
		n, err := from.Read(buf)
		if n > 0 && dir == ToServer {
			l.proxy.request(l, buf[:n])
		}
		if n > 0 && !l.pass(dir, to, buf[:n]) {
			return
		}
		if err != nil {
			return
		}
	}
}

// await waits while the proxy lets no bytes pass, and then reports whether the link still
// exists.
func (l *link) await() bool {
	for {
		state, changed := l.proxy.now()
		if !state.hold {
			return true
		}
		select {
		case <-changed:
		case <-l.gone:
			return false
		}
	}
}

// pass passes some bytes on, or does with them as the state of the proxy demands. It then
// reports whether the link still exists.
func (l *link) pass(dir Direction, to io.Writer, data []byte) bool {
	for waited := false; ; {
		state, changed := l.proxy.now()
		var over <-chan time.Time // nil without a delay
		switch {
		case state.hold:
		case state.delay > 0 && !waited:
			over = time.After(state.delay)
		case state.swallow[dir]:
			return true
		default:
			n, cut := l.proxy.count(l, dir, len(data))
			_, err := to.Write(data[:n])
			return err == nil && !cut
		}
		select {
		case <-changed:
		case <-over:
			waited = true
		case <-l.gone:
			return false
		}
	}
}

// close ends both connections in an orderly way.
func (l *link) close() { l.end(func(conn net.Conn) { _ = conn.Close() }) }

// reset ends both connections with a TCP reset.
func (l *link) reset() { l.end(abort) }

func (l *link) end(end func(net.Conn)) {
	l.once.Do(func() {
		close(l.gone)
		for _, conn := range l.ends {
			end(conn)
		}
	})
}

// abort closes a connection with a TCP reset.
func abort(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
