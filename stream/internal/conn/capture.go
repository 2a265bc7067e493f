package conn

import (
	"bytes"
	"net"
	"sync/atomic"
	"time"

	"millrace/stream/internal/resp"
)

// capture stands between go-redis and a connection of a reader, and takes the
// replies of XREAD and XREADGROUP for itself: what go-redis makes of them is most
// of the cost of a read, and a dozen times the allocations, see [reply]. Everything
// else, handshake, redirection, errors and notifications, passes, and is go-redis'
// to deal with; in the place of a reply that was taken it gets a null.
//
// It relies on this: go-redis writes such a command at the beginning of a Write,
// and then reads its reply before it writes another. A command that it writes
// otherwise (behind an ASKING, in the middle of a cluster's migration) is not
// noticed, and go-redis reads the reply as ever, which loses the order of an entry's
// fields ([resp.Entry.Take]). An XREAD of the user's own, in an
// OnConnect, would be noticed, and find nothing.
type capture struct {
	net.Conn
	*exchange
	reply resp.Parser
	// armed is set while the reply to take has not come, which was asked for at a time.
	armed   atomic.Bool
	askedAt atomic.Int64 // as of time.UnixNano
	// begun is set once some of the reply has come.
	begun bool
	// first is for go-redis, before anything else.
	first bytes.Buffer
	// failed is why a reply was not read to its end. It stays: go-redis, which
	// looks for notifications first, reads once more after an error, and that
	// would begin in the middle of the reply.
	failed error

	// Where eager says so, a read is sent ahead: see ahead.go. asked is the command that
	// asks for entries, ahead whether go-redis has not written it yet.
	eager func() bool
	asked []byte
	ahead bool

	// guarding are those that were sent in front of the read, until they are answered.
	guarding Guards
}

// exchange is what a reader and the captures of its connections tell each other
// past go-redis. One is enough: the reads of a reader follow each other.
type exchange struct {
	// wanted is how much may be taken out of the reply to the current read.
	wanted atomic.Pointer[resp.Budgets]
	caught atomic.Pointer[[]resp.Batch] // the entries
	// guards are to be sent in front of the next read.
	guards atomic.Pointer[Guards]
	cut    atomic.Pointer[CutError] // a reply broke off
}

func newCapture(conn net.Conn, s *sockets) *capture {
	return &capture{Conn: conn, exchange: &s.exchange, eager: s.Eager, reply: resp.Parser{Reader: resp.Reader{Conn: watched{conn, s.silence}}}}
}

func (c *capture) Write(p []byte) (int, error) {
	sent, err := c.isAhead(p)
	if err != nil {
		return 0, err
	}
	switch {
	case sent:
		c.arm()
		return len(p), nil
	case asksForEntries(p):
		c.arm()
		c.asked = c.asked[:0]
		c.guarding = nil
		if sent := c.guards.Swap(nil); sent != nil {
			c.guarding = *sent
			return c.writeGuarded(p)
		}
	}
	if c.armed.Load() && c.eager != nil {
		c.asked = append(c.asked, p...) // it may be written in parts
	}
	return c.Conn.Write(p)
}

// writeGuarded writes a read, or the first part of it, behind its guards.
func (c *capture) writeGuarded(p []byte) (int, error) {
	var all []byte
	for _, one := range c.guarding {
		all = append(all, one.Command...)
	}
	before := len(all)
	n, err := c.Conn.Write(append(all, p...))
	return max(0, n-before), err
}

func (c *capture) arm() {
	c.askedAt.Store(time.Now().UnixNano())
	c.armed.Store(true)
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
	if c.armed.Load() && c.first.Len() == 0 && c.failed == nil {
		if c.failed = c.take(); c.failed != nil && IsCut(c.failed, c.begun, time.Since(time.Unix(0, c.askedAt.Load()))) {
			c.cut.Store(&CutError{Begun: c.begun})
		}
	}
	if c.failed != nil {
		return 0, c.failed
	}
	n := 0
	if c.first.Len() > 0 {
		n, _ = c.first.Read(p)
		if c.armed.Load() {
			return n, nil
		}
	}
	// The bytes beyond the reply. go-redis drops a connection with bytes
	// that were not asked for; but a notification that is not complete is kept
	// back, for it would end in the next reply.
	if rest := c.reply.Unread(); len(rest) > 0 && (n == 0 || rest[0] != '>') {
		copied := copy(p[n:], rest)
		c.reply.At += copied
		n += copied
	}
	if n > 0 || len(p) == 0 {
		return n, nil
	}
	return c.Conn.Read(p)
}

// take reads the next values. It takes entries, and lets everything else pass.
func (c *capture) take() error {
	c.begun = false
	if err := c.reply.Need(1); err != nil {
		return err
	}
	if c.reply.Unread()[0] == '>' { // a notification, and not yet the reply
		return c.reply.Skip(1, &c.first)
	}
	if len(c.guarding) > 0 {
		guard := c.guarding[0]
		c.guarding = c.guarding[1:]
		list, answer, err := c.reply.Answer()
		if err != nil {
			return err
		}
		guard.Answer(list, answer)
		return c.take()
	}
	switch c.reply.Unread()[0] {
	case '*', '%':
	default:
		c.armed.Store(false)
		return nil
	}
	c.begun = true
	c.reply.Budgets = resp.NoLimit // for a read of the user's own
	if wanted := c.wanted.Load(); wanted != nil {
		c.reply.Budgets = *wanted
	}
	if c.eager != nil && c.eager() {
		if err := c.askAhead(); err != nil {
			return err
		}
	}
	kind, streams, err := c.reply.Head()
	if err != nil {
		return err
	}
	if streams >= 0 {
		batches, err := c.reply.Batches(kind, streams)
		if err != nil {
			return err
		}
		c.caught.Store(&batches)
	}
	if !c.ahead {
		c.reply.Shrink()
	}
	c.armed.Store(false)
	c.first.WriteString("*-1\r\n") // null, in RESP3 too
	return nil
}
