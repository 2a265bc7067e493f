package streamtest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace/stream/streamtest"
)

// echo starts a server that sends all bytes back, and returns its address.
func echo(t *testing.T) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return listener.Addr().String()
}

// caller is a connection to an echo, through a proxy.
type caller struct {
	net.Conn
	t *testing.T
}

func call(t *testing.T, proxy *streamtest.Proxy) caller {
	t.Helper()
	conn, err := net.Dial("tcp", proxy.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return caller{conn, t}
}

func (c caller) say(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// hears reads as many bytes as want has, and returns the error if fewer bytes come.
func (c caller) hears(want string) error {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	buf := make([]byte, len(want))
	n, err := io.ReadFull(c, buf)
	if got := string(buf[:n]); !strings.HasPrefix(want, got) {
		c.t.Errorf("heard %q, want %q", got, want)
	}
	return err
}

// hearsNothing fails the test if some bytes, or the end of the connection, come within 100
// milliseconds.
func (c caller) hearsNothing() {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	var timeout net.Error
	if n, err := c.Read(make([]byte, 100)); n > 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
		c.t.Errorf("read %d bytes, %v, want none and no end", n, err)
	}
}

func (c caller) echoes(text string) {
	c.t.Helper()
	c.say(text)
	if err := c.hears(text); err != nil {
		c.t.Errorf("%q did not come back: %v", text, err)
	}
}

func TestProxyPassesAndCounts(t *testing.T) {
	t.Parallel()
	proxy := streamtest.StartProxy(t, echo(t))
	a, b := call(t, proxy), call(t, proxy)
	a.echoes("some")
	b.echoes("thing")
	want := streamtest.ProxyStats{Accepted: 2, Open: 2, Bytes: [2]int64{9, 9}}
	if got := proxy.Stats(); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	_ = a.Close()
	streamtest.Await(t, "one connection is left", func() bool { return proxy.Stats().Open == 1 })
}

func TestProxyCutsOnce(t *testing.T) {
	t.Parallel()
	for _, dir := range []streamtest.Direction{streamtest.ToServer, streamtest.ToClient} {
		proxy := streamtest.StartProxy(t, echo(t))
		first, second := call(t, proxy), call(t, proxy)
		second.echoes("open")
		proxy.Cut(dir, 7)
		first.echoes("1234")
		first.say("5678")
		if err := first.hears("567"); dir == streamtest.ToClient && err != nil {
			t.Errorf("the bytes before the cut: %v", err)
		}
		if err := first.hears("8"); err == nil {
			t.Errorf("direction %d: a byte behind the cut arrived", dir)
		}
		passed := proxy.Stats().Bytes[dir]
		if passed != 11 { // with the four bytes of second
			t.Errorf("direction %d: %d bytes passed, want 11", dir, passed)
		}
		second.echoes("still open")
		call(t, proxy).echoes("new")
		proxy.Cut(dir, 0)
		proxy.Pass()
		second.echoes("the cut is called off")
	}
}

func TestProxyDelays(t *testing.T) {
	t.Parallel()
	proxy := streamtest.StartProxy(t, echo(t))
	conn := call(t, proxy)
	proxy.Delay(50 * time.Millisecond)
	begun := time.Now()
	conn.echoes("slow")
	if took := time.Since(begun); took < 100*time.Millisecond {
		t.Errorf("the round trip took %v, want twice 50ms", took)
	}
	proxy.Delay(time.Hour)
	conn.say("in hand")
	conn.hearsNothing()
	proxy.Pass()
	if err := conn.hears("in hand"); err != nil {
		t.Error(err)
	}
}

func TestProxySwallows(t *testing.T) {
	t.Parallel()
	proxy := streamtest.StartProxy(t, echo(t))
	conn := call(t, proxy)
	proxy.Swallow(streamtest.ToClient)
	conn.say("gone")
	conn.hearsNothing()
	stats := proxy.Stats()
	if stats.Bytes != [2]int64{4, 0} {
		t.Errorf("passed %v, want the request only", stats.Bytes)
	}
	proxy.Swallow(streamtest.ToServer)
	conn.say("gone as well")
	conn.hearsNothing()
	proxy.Pass()
	conn.echoes("here")
}

func TestProxyBlackHoleLosesNothing(t *testing.T) {
	t.Parallel()
	proxy := streamtest.StartProxy(t, echo(t))
	conn := call(t, proxy)
	conn.echoes("open")
	proxy.BlackHole()
	conn.say("held")
	conn.hearsNothing()
	late := call(t, proxy)
	late.say("late")
	late.hearsNothing()
	if accepted := proxy.Stats().Accepted; accepted != 1 {
		t.Errorf("%d connections were accepted", accepted)
	}
	proxy.Pass()
	for conn, text := range map[caller]string{conn: "held", late: "late"} {
		if err := conn.hears(text); err != nil {
			t.Errorf("after the black hole %q has not arrived: %v", text, err)
		}
	}
}

func TestProxyResets(t *testing.T) {
	t.Parallel()
	proxy := streamtest.StartProxy(t, echo(t))
	conn := call(t, proxy)
	conn.echoes("open")
	proxy.Reset()
	if err := conn.hears("x"); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after a reset: %v", err)
	}
	call(t, proxy).echoes("new")
}

func TestProxyRefuses(t *testing.T) {
	t.Parallel()
	proxy := streamtest.StartProxy(t, echo(t))
	conn := call(t, proxy)
	conn.echoes("open")
	proxy.BlackHole()
	late := call(t, proxy)
	proxy.Refuse()
	for _, conn := range []caller{conn, late} {
		if err := conn.hears("x"); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a connection outlives the refusal: %v", err)
		}
	}
	if conn, err := net.Dial("tcp", proxy.Addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialling gives %v, %v, want a refusal", conn, err)
	}
	proxy.Pass()
	call(t, proxy).echoes("new")
}

// The reply to a publisher is lost, although the request has arrived.
func TestProxyWatchesForRequests(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	proxy := streamtest.StartProxy(t, server.Addr)
	client := proxy.Client()
	if err := client.Set(t.Context(), "n", 0, 0).Err(); err != nil {
		t.Fatal(err)
	}
	lost := 0
	proxy.OnRequest("incr", func() {
		if lost < 2 {
			proxy.Cut(streamtest.ToClient, 0)
			lost++
		}
	})
	// The client repeats the command of its own accord.
	if n, err := client.Incr(t.Context(), "n").Result(); n != 3 || err != nil {
		t.Errorf("incremented to %d, %v, want 3, as two replies were lost", n, err)
	}
	proxy.OnRequest("", nil)
	if err := client.Incr(t.Context(), "n").Err(); err != nil || lost != 2 {
		t.Errorf("%v, with %d replies lost", err, lost)
	}
}

// A cut of a reply is for the connection on which the request comes, whatever passes on others.
func TestProxyCutsAReply(t *testing.T) {
	t.Parallel()
	proxy := streamtest.StartProxy(t, echo(t))
	first, second := call(t, proxy), call(t, proxy)
	proxy.CutReply("lose", 3)
	second.echoes("something else")
	first.say("lose me")
	if err := first.hears("los"); err != nil {
		t.Errorf("the bytes before the cut: %v", err)
	}
	if err := first.hears("e"); err == nil {
		t.Error("a byte behind the cut arrived")
	}
	second.echoes("lose nothing: it happens once")

	// In the function of OnRequest it is for the request of that call.
	proxy.OnRequest("two", func() { proxy.CutReply("two", 0) })
	second.echoes("one")
	third := call(t, proxy)
	third.say("two")
	if err := third.hears("t"); err == nil {
		t.Error("a byte of the reply that was to be lost arrived")
	}
	second.echoes("three")
	proxy.CutReply("four", 0)
	proxy.Pass()
	second.echoes("four")
}
