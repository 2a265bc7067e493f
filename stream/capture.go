package stream

import (
	"bytes"
	"net"
	"sync/atomic"
	"time"
)

// capture stands between go-redis and a connection of a reader, and takes the
// replies of XREAD and XREADGROUP for itself: what go-redis makes of them is most
// of the cost of a read, and four times the allocations, see [reply]. Everything
// else, handshake, redirection, errors and notifications, passes, and is go-redis'
// to deal with; in the place of a reply that was taken it gets a null.
//
// It relies on this: go-redis writes such a command at the beginning of a Write,
// and then reads its reply before it writes another. A command that it writes
// otherwise (behind an ASKING, in the middle of a cluster's migration) is not
// noticed, and go-redis reads the reply as ever. An XREAD of the user's own, in an
// OnConnect, would be noticed, and find nothing.
type capture struct {
	net.Conn
	caught *atomic.Pointer[[]batch]
	reply  reply
	// armed is set while the reply to take has not come.
	armed bool
	// first is what go-redis gets before anything else.
	first bytes.Buffer
	// failed is why a reply was not read to its end. It stays: go-redis, which
	// looks for notifications first, reads once more after an error, and that
	// would begin in the middle of the reply.
	failed error
}

func newCapture(conn net.Conn, silence time.Duration, caught *atomic.Pointer[[]batch]) *capture {
	return &capture{Conn: conn, caught: caught, reply: reply{wire: wire{conn: watched{conn, silence}}}}
}

func (c *capture) Write(p []byte) (int, error) {
	if asksForEntries(p) {
		c.armed = true
	}
	return c.Conn.Write(p)
}

// asksForEntries reports whether p begins with an XREAD or XREADGROUP.
func asksForEntries(p []byte) bool {
	count, rest, found := bytes.Cut(p[:min(len(p), 40)], []byte("\r\n"))
	if !found || len(count) == 0 || count[0] != '*' {
		return false
	}
	rest = bytes.ToLower(rest)
	return bytes.HasPrefix(rest, []byte("$5\r\nxread\r\n")) || bytes.HasPrefix(rest, []byte("$10\r\nxreadgroup\r\n"))
}

func (c *capture) Read(p []byte) (int, error) {
	if c.armed && c.first.Len() == 0 && c.failed == nil {
		c.failed = c.take()
	}
	if c.failed != nil {
		return 0, c.failed
	}
	n := 0
	if c.first.Len() > 0 {
		n, _ = c.first.Read(p)
		if c.armed {
			return n, nil
		}
	}
	// What has arrived beyond the reply. go-redis drops a connection with bytes
	// that nobody asked for; but a notification that is not complete is kept
	// back, for it would end in the next reply.
	if rest := c.reply.unread(); len(rest) > 0 && (n == 0 || rest[0] != '>') {
		copied := copy(p[n:], rest)
		c.reply.at += copied
		n += copied
	}
	if n > 0 || len(p) == 0 {
		return n, nil
	}
	return c.Conn.Read(p)
}

// take reads what comes next. It takes entries, and lets everything else pass.
func (c *capture) take() error {
	if err := c.reply.need(1); err != nil {
		return err
	}
	switch c.reply.unread()[0] {
	case '>': // a notification, and not yet the reply
		return c.reply.skip(1, &c.first)
	case '*', '%':
	default:
		c.armed = false
		return nil
	}
	kind, streams, err := c.reply.head()
	if err != nil {
		return err
	}
	if streams >= 0 {
		batches, err := c.reply.batches(kind, streams)
		if err != nil {
			return err
		}
		c.caught.Store(&batches)
	}
	c.armed = false
	c.first.WriteString("*-1\r\n") // null, in RESP3 too
	return nil
}
