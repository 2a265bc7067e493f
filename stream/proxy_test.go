package stream_test

import (
	"bytes"
	"net"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/stream/streamtest"
)

// fate is what a proxy does with the reply to a command that publishes.
type fate int

const (
	deliver fate = iota
	lose         // the server has answered; the connection is closed instead
	swallow      // the server has answered; nothing comes, and nothing is closed
	halve        // of what the server answers, the first half arrives
)

// proxy stands between a client and a Redis, and does to replies what networks
// do.
type proxy struct {
	addr     string
	server   string
	listener net.Listener

	mu     sync.Mutex
	fates  []fate // of the next replies to commands that publish
	conns  []net.Conn
	closed bool
	work   sync.WaitGroup
}

func startProxy(t testing.TB, server *streamtest.Redis) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: listener.Addr().String(), server: server.Addr, listener: listener}
	p.work.Go(p.accept)
	t.Cleanup(p.refuse)
	return p
}

// next sets what becomes of the next replies; after those, all are delivered.
func (p *proxy) next(fates ...fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fates = fates
}

// left is how many of the fates have not been met.
func (p *proxy) left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.fates)
}

// refuse closes all connections, and refuses new ones.
func (p *proxy) refuse() {
	p.mu.Lock()
	p.closed = true
	_ = p.listener.Close()
	for _, conn := range p.conns {
		_ = conn.Close()
	}
	p.mu.Unlock()
	p.work.Wait()
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		if p.closed {
			_ = client.Close()
			_ = server.Close()
		}
		p.mu.Unlock()
		fates := make(chan fate, 1000)
		p.work.Go(func() { p.requests(client, server, fates) })
		p.work.Go(func() { p.replies(client, server, fates) })
	}
}

// requests passes on what the client sends, and decides what becomes of the
// reply before the server can give it.
func (p *proxy) requests(client, server net.Conn, fates chan<- fate) {
	defer func() { _ = server.Close() }()
	buf := make([]byte, 1<<20)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		if sent := buf[:n]; bytes.Contains(sent, []byte("\r\nxadd\r\n")) || bytes.Contains(sent, []byte("\r\neval")) {
			p.mu.Lock()
			if len(p.fates) > 0 {
				fates <- p.fates[0]
				p.fates = p.fates[1:]
			}
			p.mu.Unlock()
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) replies(client, server net.Conn, fates <-chan fate) {
	defer func() { _ = client.Close() }()
	buf := make([]byte, 1<<20)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		next := deliver
		select {
		case next = <-fates:
		default:
		}
		switch next {
		case lose:
			return
		case swallow:
			continue
		case halve:
			_, _ = client.Write(buf[:n/2])
			return
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// client returns a client that goes through the proxy.
func (p *proxy) client(t testing.TB, opts redis.Options) *redis.Client {
	opts.Addr = p.addr
	client := redis.NewClient(&opts)
	t.Cleanup(func() { _ = client.Close() })
	return client
}
