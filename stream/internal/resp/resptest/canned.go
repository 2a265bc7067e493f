package resptest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Step is what a canned connection gives to read: a text, in pieces, or an error.
type Step struct {
	Text string
	Err  error
}

// Steps returns a step for each text.
func Steps(texts ...string) (all []Step) {
	for _, text := range texts {
		all = append(all, Step{Text: text})
	}
	return all
}

// Server is a server of one command, XREAD or XREADGROUP: each gets the next of
// its replies, and after the last of its steps the connection ends.
type Server struct {
	Protocol int
	Piece    int // no Read gives more bytes; 0 is no limit
	mu       sync.Mutex
	Replies  [][]Step
	Dialled  int
}

// Client returns a client of the canned server.
func (c *Server) Client(t testing.TB) *redis.Client {
	client := redis.NewClient(c.Options())
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// Options returns those of a client of the server.
func (c *Server) Options() *redis.Options {
	return &redis.Options{
		Addr: "127.0.0.1:1", Protocol: c.Protocol, DisableIdentity: true, MaxRetries: -1,
		Dialer: func(_ context.Context, _, addr string) (net.Conn, error) { return c.Dial(addr), nil },
	}
}

// Dial connects to the server.
func (c *Server) Dial(string) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Dialled++
	return &cannedConn{Server: c}
}

func (c *Server) next() []Step {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.Replies) == 0 {
		return Steps("-ERR asked too often\r\n")
	}
	reply := c.Replies[0]
	c.Replies = c.Replies[1:]
	return reply
}

// cannedConn gives what there is at once, so that no test waits.
type cannedConn struct {
	Server *Server
	mu     sync.Mutex
	in     []byte
	out    []Step
	closed bool
}

func (c *cannedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in = append(c.in, p...)
	for {
		name, rest, ok := nextCommand(c.in)
		if !ok {
			return len(p), nil
		}
		c.in = rest
		switch name {
		case "xread", "xreadgroup", "xinfo":
			c.out = append(c.out, c.Server.next()...)
		case "hello":
			if c.Server.Protocol == 3 {
				c.out = append(c.out, Step{Text: "%1\r\n$5\r\nproto\r\n:3\r\n"})
				continue
			}
			c.out = append(c.out, Step{Text: "-ERR unknown command\r\n"})
		case "command":
			c.out = append(c.out, Step{Text: "*0\r\n"})
		default:
			c.out = append(c.out, Step{Text: "+OK\r\n"})
		}
	}
}

// nextCommand returns the name of the first command, and what is behind it.
func nextCommand(b []byte) (name string, rest []byte, ok bool) {
	number := func() int {
		line, after, found := bytes.Cut(b, []byte("\r\n"))
		if !found || len(line) == 0 {
			return -1
		}
		b = after
		n, _ := strconv.Atoi(string(line[1:]))
		return n
	}
	words := number()
	if words < 0 {
		return "", nil, false
	}
	for i := range words {
		n := number()
		if n < 0 || len(b) < n+2 {
			return "", nil, false
		}
		if i == 0 {
			name = strings.ToLower(string(b[:n]))
		}
		b = b[n+2:]
	}
	return name, b, true
}

func (c *cannedConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	for len(c.out) > 0 {
		one := &c.out[0]
		if one.Err != nil {
			err := one.Err
			c.out = c.out[1:]
			return 0, err
		}
		if one.Text != "" {
			if c.Server.Piece > 0 {
				p = p[:min(len(p), c.Server.Piece)]
			}
			n := copy(p, one.Text)
			one.Text = one.Text[n:]
			return n, nil
		}
		c.out = c.out[1:]
	}
	return 0, io.EOF
}

func (c *cannedConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}

func (c *cannedConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *cannedConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *cannedConn) SetDeadline(time.Time) error      { return nil }
func (c *cannedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *cannedConn) SetWriteDeadline(time.Time) error { return nil }

// Reply is a reply to XREAD as a server of the given protocol writes it, with
// the given number of entries whose field b is the value.
func Reply(protocol, entries int, value string) string {
	var b strings.Builder
	bulk := func(texts ...string) {
		for _, text := range texts {
			b.WriteString("$" + strconv.Itoa(len(text)) + "\r\n" + text + "\r\n")
		}
	}
	if protocol == 3 {
		b.WriteString("%1\r\n")
	} else {
		b.WriteString("*1\r\n*2\r\n")
	}
	bulk("s")
	b.WriteString("*" + strconv.Itoa(entries) + "\r\n")
	for i := range entries {
		b.WriteString("*2\r\n")
		bulk(strconv.Itoa(i+1) + "-0")
		b.WriteString("*4\r\n")
		bulk("a", strconv.Itoa(i), "b", value)
	}
	return b.String()
}

// Numbered is a reply with the entries from first to last, whose values are as large
// as is said.
func Numbered(protocol, first, last, size int) string {
	reply := Reply(protocol, last-first+1, strings.Repeat("v", size))
	for i := last - first + 1; i > 0; i-- {
		reply = strings.Replace(reply, fmt.Sprintf("*2\r\n$3\r\n%d-0\r\n", i), fmt.Sprintf("*2\r\n$3\r\n%d-0\r\n", first+i-1), 1)
	}
	return reply
}

// Protocols runs a test for each version of RESP.
func Protocols(t *testing.T, test func(t *testing.T, protocol int)) {
	t.Helper()
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprint("RESP", protocol), func(t *testing.T) {
			t.Parallel()
			test(t, protocol)
		})
	}
}
