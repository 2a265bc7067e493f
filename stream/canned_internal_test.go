package stream

import (
	"bytes"
	"context"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// step is what a canned connection gives to read: a text, in pieces, or an error.
type step struct {
	text string
	err  error
}

func steps(texts ...string) (all []step) {
	for _, text := range texts {
		all = append(all, step{text: text})
	}
	return all
}

// canned is a server of one command, XREAD or XREADGROUP: each gets the next of
// its replies, and after the last of its steps the connection ends.
type canned struct {
	protocol int
	piece    int // no Read gives more bytes; 0 is no limit
	mu       sync.Mutex
	replies  [][]step
	dialled  int
}

// client returns a client of the canned server.
func (c *canned) client(t testing.TB) *redis.Client {
	client := redis.NewClient(c.options())
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func (c *canned) options() *redis.Options {
	return &redis.Options{
		Addr: "127.0.0.1:1", Protocol: c.protocol, DisableIdentity: true, MaxRetries: -1,
		Dialer: func(_ context.Context, _, addr string) (net.Conn, error) { return c.dial(addr), nil },
	}
}

func (c *canned) dial(string) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dialled++
	return &cannedConn{server: c}
}

func (c *canned) next() []step {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.replies) == 0 {
		return steps("-ERR asked too often\r\n")
	}
	reply := c.replies[0]
	c.replies = c.replies[1:]
	return reply
}

// cannedReader returns a reader of a canned server.
func cannedReader(t testing.TB, c *canned) *reader {
	t.Helper()
	r, err := newReader(context.Background(), c.client(t), time.Second, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// cannedConn gives what there is at once, so that no test waits.
type cannedConn struct {
	server *canned
	mu     sync.Mutex
	in     []byte
	out    []step
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
			c.out = append(c.out, c.server.next()...)
		case "hello":
			if c.server.protocol == 3 {
				c.out = append(c.out, step{text: "%1\r\n$5\r\nproto\r\n:3\r\n"})
				continue
			}
			c.out = append(c.out, step{text: "-ERR unknown command\r\n"})
		case "command":
			c.out = append(c.out, step{text: "*0\r\n"})
		default:
			c.out = append(c.out, step{text: "+OK\r\n"})
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
		if one.err != nil {
			err := one.err
			c.out = c.out[1:]
			return 0, err
		}
		if one.text != "" {
			if c.server.piece > 0 {
				p = p[:min(len(p), c.server.piece)]
			}
			n := copy(p, one.text)
			one.text = one.text[n:]
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

// aReply is a reply to XREAD as a server of the given protocol writes it, with
// the given number of entries whose field b is the value.
func aReply(protocol, entries int, value string) string {
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

// readOnce is a read of the stream s.
func readOnce(r *reader) ([]batch, error) {
	batches, err := r.read(context.Background(), &redis.XReadArgs{Streams: []string{"s", "0"}, Count: 10}, everything)
	return unmeasured(batches), err
}

// barely is what go-redis reads, in our form.
func barely(client *redis.Client) ([]batch, error) {
	reply, err := client.XRead(context.Background(), &redis.XReadArgs{Streams: []string{"s", "0"}, Count: 10}).Result()
	batches, err := (&reader{sockets: &sockets{}}).brought(reply, err, everything)
	return unmeasured(batches), err
}

// unmeasured returns batches without what is known of their size.
func unmeasured(batches []batch) []batch {
	if batches == nil {
		return nil
	}
	plain := make([]batch, len(batches))
	for i, b := range batches {
		b.bytes, b.entries = 0, slices.Clone(b.entries)
		for j := range b.entries {
			b.entries[j].size = 0
		}
		plain[i] = b
	}
	return plain
}
