package streamtest

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Direction is one of the two ways through a [Proxy].
type Direction int

const (
	// ToServer is the way of requests.
	ToServer Direction = iota
	// ToClient is the way of replies.
	ToClient
)

// Proxy stands between clients and a server, and does to their connections what
// networks do. Its methods take effect at once, also on connections that are
// open, and are safe for concurrent use; those that fail the test are for the
// test's own goroutine, and say so.
//
// Faults are of two kinds. [Proxy.Delay], [Proxy.Swallow] and [Proxy.BlackHole]
// are states: each replaces the one before, and [Proxy.Pass] ends them, as it
// does [Proxy.Refuse]. [Proxy.Cut] and [Proxy.Reset] happen once, and leave the
// state as it is.
// A fault hits all connections of the proxy, so give each party under test a
// proxy of its own.
type Proxy struct {
	// Addr is where clients connect to, an IP literal and a port.
	Addr string

	t      testing.TB
	target string
	work   sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener // nil while connections are refused
	links    map[*link]struct{}
	state    proxyState
	changed  chan struct{} // closed when state changes
	cut      [2]int64      // bytes until the cut, plus one; 0 is no cut
	match    []byte
	onMatch  func()
	stats    ProxyStats
}

// proxyState is what becomes of bytes that arrive.
type proxyState struct {
	delay   time.Duration
	swallow [2]bool
	hold    bool
}

// ProxyStats is what has gone through a [Proxy] since its start.
type ProxyStats struct {
	Accepted int      // connections ever
	Open     int      // connections now
	Bytes    [2]int64 // passed on, by [Direction]
}

// StartProxy starts a proxy in front of the server at the address target, for
// the test, with everything passing.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	p := &Proxy{t: t, target: target, Addr: "127.0.0.1:0", links: make(map[*link]struct{}), changed: make(chan struct{})}
	if err := p.listen(); err != nil {
		t.Fatal(err)
	}
	p.Addr = p.listener.Addr().String()
	t.Cleanup(func() {
		p.Refuse()
		p.work.Wait()
	})
	return p
}

// Pass ends what faults there are: from now on, connections are taken, and bytes
// pass. What a [Proxy.BlackHole] held back passes first; a [Proxy.Cut] that has
// not happened does not. It fails the test if another program has taken the port
// during a [Proxy.Refuse].
func (p *Proxy) Pass() {
	p.t.Helper()
	p.mu.Lock()
	refusing := p.listener == nil
	p.cut = [2]int64{}
	p.mu.Unlock()
	if refusing {
		awaitNil(p.t, "the proxy listens again", p.listen)
	}
	p.set(proxyState{})
}

// Delay passes bytes on after a time, in both directions: a round trip takes
// twice as long. What is in hand when a delay ends passes at once.
func (p *Proxy) Delay(d time.Duration) { p.set(proxyState{delay: d}) }

// Swallow reads and drops what comes in a direction, while the other passes.
// The connections stay open, and nothing tells that bytes are missing.
func (p *Proxy) Swallow(dir Direction) {
	var state proxyState
	state.swallow[dir] = true
	p.set(state)
}

// BlackHole lets the connections stand still, as a network that is cut without
// a word: they stay open, no byte passes in either direction, and little is read
// from them. New ones are taken by the kernel, and get no answer either. After
// Pass everything that was on its way arrives, as with TCP it does.
func (p *Proxy) BlackHole() { p.set(proxyState{hold: true}) }

// Cut lets n more bytes pass in a direction, counted over all connections, and
// closes the connection on which the next one comes before that one has passed.
// It happens once: other connections, and later ones, are not touched. With
// n = 0 the next reply is lost as a whole, or the next request never arrives.
func (p *Proxy) Cut(dir Direction, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut[dir] = n + 1
}

// Reset closes all connections that are open, with a TCP reset to the client in
// place of an orderly end. New ones are taken.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
}

// Refuse resets all connections, and has new ones refused, until Pass.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
	p.mu.Unlock()
	p.set(proxyState{})
	p.Reset()
}

// Client returns a client that goes through the proxy, and is closed when the
// test is over.
func (p *Proxy) Client() *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: p.Addr})
	p.t.Cleanup(func() { _ = client.Close() })
	return client
}

// OnRequest has do called whenever a client sends text, before the proxy passes
// that on: with another fault in do, it hits the request, or the reply to it. Text
// is looked for in what one read from the connection brings; a short command of
// go-redis, in lower case, is not torn apart. Do is called on a goroutine of the
// proxy. There is one do at a time; nil removes it.
func (p *Proxy) OnRequest(text string, do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.match, p.onMatch = []byte(text), do
}

// Stats returns what has gone through the proxy so far.
func (p *Proxy) Stats() ProxyStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	stats := p.stats
	stats.Open = len(p.links)
	return stats
}

func (p *Proxy) set(state proxyState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = state
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) listen() error {
	listener, err := net.Listen("tcp", p.Addr)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listener = listener
	p.work.Go(func() { p.accept(listener) })
	return nil
}

func (p *Proxy) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		for state, changed := p.now(); state.hold; state, changed = p.now() {
			<-changed
		}
		server, err := net.DialTimeout("tcp", p.target, 5*time.Second)
		if err != nil {
			abort(client) // the server refuses, so the client is not to think otherwise
			continue
		}
		l := &link{proxy: p, ends: [2]net.Conn{client, server}, gone: make(chan struct{})}
		p.mu.Lock()
		if p.listener != listener { // refused in the meantime
			p.mu.Unlock()
			l.reset()
			continue
		}
		p.stats.Accepted++
		p.links[l] = struct{}{}
		p.mu.Unlock()
		p.work.Go(func() { l.carry(ToServer) })
		p.work.Go(func() { l.carry(ToClient) })
	}
}

func (p *Proxy) forget(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// now returns the state, and what is closed when it changes.
func (p *Proxy) now() (proxyState, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state, p.changed
}

// count counts n bytes that are about to pass in a direction. If a cut falls on
// one of them, only those before it are to pass, and then the end is due.
func (p *Proxy) count(dir Direction, n int) (pass int, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut[dir] > 0 {
		if left := p.cut[dir] - 1; int64(n) > left {
			n, cut, p.cut[dir] = int(left), true, 0
		} else {
			p.cut[dir] -= int64(n)
		}
	}
	p.stats.Bytes[dir] += int64(n)
	return n, cut
}

// request looks for the text of OnRequest in what a client sends.
func (p *Proxy) request(sent []byte) {
	p.mu.Lock()
	do := p.onMatch
	if do != nil && !bytes.Contains(sent, p.match) {
		do = nil
	}
	p.mu.Unlock()
	if do != nil {
		do()
	}
}
