package streamtest

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Direction is one of the two directions in which bytes go through a [Proxy].
type Direction int

const (
	// ToServer is the direction of requests.
	ToServer Direction = iota
	// ToClient is the direction of replies.
	ToClient
)

// Proxy stands between clients and a server, and injects the faults of a network into their
// connections. Its methods take effect at once, also on open connections, and are safe for
// concurrent use. A method that can fail the test is for the test's own goroutine, and its
// comment says so.
//
// Faults are of two kinds. [Proxy.Delay], [Proxy.Swallow] and [Proxy.BlackHole] are states.
// Each state replaces the one before, and [Proxy.Pass] ends them, as it does [Proxy.Refuse].
// [Proxy.Cut], [Proxy.CutReply] and [Proxy.Reset] happen once, and leave the state as it is.
// But for CutReply, a fault hits all connections of the proxy, so give each party under test a
// proxy of its own.
type Proxy struct {
	// Addr is the address for clients, an IP literal and a port. It stays the same.
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
	// cutReply has the replies cut to the next request that matches; nil is none.
	cutReply *replyCut
	stats    ProxyStats
}

// proxyState is the way in which the proxy treats bytes that arrive.
type proxyState struct {
	delay   time.Duration
	swallow [2]bool
	hold    bool
}

// ProxyStats are the connections and bytes of a [Proxy] since its start.
type ProxyStats struct {
	Accepted int      // connections since the start
	Open     int      // connections now
	Bytes    [2]int64 // passed on, by [Direction]
}

// StartProxy starts a proxy for the test, in front of the server at the address target. All
// bytes pass at first. The proxy ends with the test.
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

// Pass ends all faults: from now on the proxy takes connections, and bytes pass. Bytes that a
// [Proxy.BlackHole] held back pass first. A [Proxy.Cut] or [Proxy.CutReply] that has not
// happened yet is called off. Pass is for the test's own goroutine: the test fails if another
// program has taken the port during a [Proxy.Refuse].
func (p *Proxy) Pass() {
	p.t.Helper()
	p.mu.Lock()
	refusing := p.listener == nil
	p.cut, p.cutReply = [2]int64{}, nil
	p.mu.Unlock()
	if refusing {
		awaitNil(p.t, "the proxy listens again", p.listen)
	}
	p.set(proxyState{})
}

// Delay passes bytes on after the time d, in both directions, so that a round trip takes 2d
// longer. Bytes that wait for the end of their delay pass at once when [Proxy.Pass] ends it.
func (p *Proxy) Delay(d time.Duration) { p.set(proxyState{delay: d}) }

// Swallow reads and drops the bytes of one direction, while the bytes of the other pass. The
// connections stay open, and no error tells that bytes are missing.
func (p *Proxy) Swallow(dir Direction) {
	var state proxyState
	state.swallow[dir] = true
	p.set(state)
}

// BlackHole lets the connections stand still, like a network that is interrupted without an
// error. The connections stay open, no byte passes in either direction, and the proxy reads
// little from them. The kernel takes new connections, and they get no answer either. After Pass
// all bytes that were on their way arrive, as they do with TCP.
func (p *Proxy) BlackHole() { p.set(proxyState{hold: true}) }

// Cut lets n more bytes pass in a direction, counted over all connections. The next byte after
// them does not pass, and its connection is closed. A Cut happens once: other connections, and
// later ones, are not touched. With n = 0 the next reply is lost as a whole, or the next
// request never arrives.
func (p *Proxy) Cut(dir Direction, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut[dir] = n + 1
}

// Reset closes all open connections, with a TCP reset in place of an orderly end. The proxy
// takes new connections.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
}

// Refuse resets all connections, and refuses new ones until Pass. It ends a Delay, Swallow or
// BlackHole.
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

// Client returns a client that connects through the proxy. The client is closed when the test
// is over.
func (p *Proxy) Client() *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: p.Addr})
	p.t.Cleanup(func() { _ = client.Close() })
	return client
}

// OnRequest sets the function do, which is called whenever a client sends text, before the
// proxy passes the request on. A fault that do injects hits this request, or the reply to it.
// The proxy looks for text in the bytes of one read from the connection; a short command of
// go-redis, in lower case, is not split. The proxy calls do on its own goroutines, possibly for
// several connections at the same time. The proxy has one such function at a time, and nil
// removes it.
func (p *Proxy) OnRequest(text string, do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.match, p.onMatch = []byte(text), do
}

// Stats returns the connections and bytes of the proxy so far.
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
			abort(client) // the server refuses, and the client has to see that
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

// CutReply closes the connection on which the next request with the text comes, after n more
// bytes of replies on it: with n = 0 the reply to the request is lost as a whole. It happens
// once, and other connections are not touched. The text is looked for as by [Proxy.OnRequest];
// in the function of OnRequest, CutReply is for the request of that call.
func (p *Proxy) CutReply(text string, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutReply = &replyCut{match: []byte(text), after: n}
}

// replyCut is a cut of the replies to a request that has not come yet.
type replyCut struct {
	match []byte
	after int64
}

func (p *Proxy) forget(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// now returns the state, and a channel that is closed when the state changes.
func (p *Proxy) now() (proxyState, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state, p.changed
}

// count counts n bytes that are about to pass in a direction. It returns how many of them are
// to pass, and whether the connection is then cut.
func (p *Proxy) count(l *link, dir Direction, n int) (pass int, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, rest := range []*int64{&p.cut[dir], &l.cut[dir]} {
		if left := *rest - 1; left >= 0 && int64(n) > left {
			n, cut, *rest = int(left), true, 0
		} else if left >= 0 {
			*rest -= int64(n)
		}
	}
	p.stats.Bytes[dir] += int64(n)
	return n, cut
}

// request looks for the texts of OnRequest and CutReply in the bytes that a client has sent.
func (p *Proxy) request(l *link, sent []byte) {
	p.mu.Lock()
	do := p.onMatch
	if do != nil && !bytes.Contains(sent, p.match) {
		do = nil
	}
	p.mu.Unlock()
	if do != nil {
		do()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.cutReply; c != nil && bytes.Contains(sent, c.match) {
		l.cut[ToClient], p.cutReply = c.after+1, nil
	}
}
