package stream_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/stream/streamtest"
)

// fate is what a proxy does with the reply to a command.
type fate int

const (
	deliver fate = iota
	lose         // the server has answered; the connection is closed instead
	swallow      // the server has answered; nothing comes, and nothing is closed
	halve        // the reply is cut in the middle
)

// The commands that publish, as go-redis sends them.
const (
	xadd    = "\r\nxadd\r\n"
	scripts = "\r\neval"
)

// fatedProxy is a proxy that gives a fate to each of the next replies.
type fatedProxy struct {
	*streamtest.Proxy

	mu   sync.Mutex
	list []fate
}

func startFates(t testing.TB, server *streamtest.Redis) *fatedProxy {
	t.Helper()
	return &fatedProxy{Proxy: streamtest.StartProxy(t, server.Addr)}
}

// next gives fates to the next replies to a command; after those, all are delivered.
func (f *fatedProxy) next(command string, list ...fate) {
	f.mu.Lock()
	f.list = list
	f.mu.Unlock()
	f.OnRequest(command, func() {
		f.mu.Lock()
		next := deliver
		if len(f.list) > 0 {
			next, f.list = f.list[0], f.list[1:]
		}
		f.mu.Unlock()
		switch next {
		case lose:
			f.CutReply(command, 0)
		case halve:
			f.CutReply(command, 10)
		case swallow:
			f.Swallow(streamtest.ToClient)
		}
	})
}

// left is how many of the fates have not been met.
func (f *fatedProxy) left() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.list)
}

// client returns a client that goes through the proxy.
func (f *fatedProxy) client(t testing.TB, opts redis.Options) *redis.Client {
	opts.Addr = f.Addr
	client := redis.NewClient(&opts)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// startCutting starts a proxy that cuts replies again and again: after so many bytes since the
// last connection was made.
func startCutting(t testing.TB, server *streamtest.Redis, after func() int64) *streamtest.Proxy {
	t.Helper()
	p := streamtest.StartProxy(t, server.Addr)
	var connections atomic.Int64
	p.OnRequest("\r\n", func() {
		if made := int64(p.Stats().Accepted); connections.Swap(made) != made {
			p.Cut(streamtest.ToClient, after())
		}
	})
	return p
}
