package stream

import (
	"bytes"
	"strconv"
	"time"
)

// While a backlog is read, the next read can be sent as soon as it is known what the
// one before has brought, before that is made into entries: the server then looks for
// the next batch while this one is taken in, where each used to wait for the other
// (a twentieth more throughput with two processors). Only XREAD can be sent ahead: it changes nothing, so
// that a reply nobody wants is dropped.

// aheadSize is the size of the largest reply that is looked through before it is read.
const aheadSize = 1 << 20

// fieldsPerByte is how much more a reply can take in memory than on its way.
const fieldsPerByte = 6 // of the shortest field there are twelve bytes

// askAhead sends the read that follows on the one whose reply has begun to arrive, if
// that brings as much as it may, all of it is kept, and the one that follows will ask
// for as many.
func (c *capture) askAhead() error {
	look := &outline{wire: &c.reply.wire}
	entries, last, ok := look.entries()
	if !ok {
		return nil
	}
	// There is one stream, whatever its name.
	if in := c.reply.intakes(""); !in.steady || int64(look.at) > in.room/fieldsPerByte {
		return nil
	}
	next := following(c.asked, entries, last)
	if next == nil {
		return nil
	}
	// The deadline that go-redis has set was for its own write.
	if err := c.SetWriteDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	c.asked, c.ahead = next, true
	if _, err := c.Conn.Write(next); err != nil {
		return err
	}
	return c.SetWriteDeadline(time.Time{})
}

// isAhead reports whether a command has been sent already. If another one was, it
// drops the reply to that.
func (c *capture) isAhead(command []byte) (bool, error) {
	if !c.ahead {
		return false, nil
	}
	c.ahead = false
	if bytes.Equal(command, c.asked) {
		return true, nil
	}
	for {
		if err := c.reply.need(1); err != nil {
			return false, err
		}
		notification := c.reply.unread()[0] == '>'
		if err := c.reply.skip(1, nil); err != nil || !notification {
			return false, err
		}
	}
}

// following returns the command that follows on an XREAD which has brought so many
// entries, as [asker.readNow] would ask; nil if it would not.
func following(command []byte, entries int, last string) []byte {
	head, found := withoutPosition(command)
	if !found || bytes.Contains(head, []byte("\r\nblock\r\n")) || !bytes.Contains(head, asksFor(entries)) {
		return nil
	}
	from := before(last)
	next := append(bytes.Clone(head), '$')
	next = strconv.AppendInt(next, int64(len(from)), 10)
	return append(append(append(next, "\r\n"...), from...), "\r\n"...)
}

// asksFor returns how a command asks for so many entries.
func asksFor(entries int) []byte {
	digits := strconv.Itoa(entries)
	return []byte("\r\n$5\r\ncount\r\n$" + strconv.Itoa(len(digits)) + "\r\n" + digits + "\r\n")
}

// withoutPosition cuts the last argument off an XREAD of one stream.
func withoutPosition(command []byte) (head []byte, found bool) {
	text, ended := bytes.CutSuffix(command, []byte("\r\n"))
	start := bytes.LastIndex(text, []byte("\r\n"))
	if !ended || start < 0 {
		return nil, false
	}
	return bytes.CutSuffix(text[:start], []byte("$"+strconv.Itoa(len(text)-start-2)))
}

// outline looks through a reply that is unread, and leaves it so.
type outline struct {
	wire *wire
	at   int // behind the wire's
}

// entries returns how many entries a reply of one stream has, and the ID of the last,
// once the reply has arrived. It reports false if it is another reply, or too large.
func (o *outline) entries() (n int, last string, ok bool) {
	streams, ok := o.open('*', '%')
	if !ok || streams != 1 {
		return 0, "", false
	}
	if o.wire.unread()[0] == '*' && !o.pair() {
		return 0, "", false
	}
	if !o.pass() {
		return 0, "", false
	}
	if n, ok = o.open('*'); !ok || n == 0 {
		return 0, "", false
	}
	var from, to int
	for range n {
		if !o.pair() {
			return 0, "", false
		}
		from = o.at
		if !o.pass() {
			return 0, "", false
		}
		to = o.at
		texts, ok := o.open('*')
		for range texts {
			ok = ok && o.pass()
		}
		if !ok {
			return 0, "", false
		}
	}
	id := o.wire.unread()[from:to]
	_, id, _ = bytes.Cut(id, []byte("\r\n"))
	return n, string(bytes.TrimSuffix(id, []byte("\r\n"))), true
}

// pair passes the head of an array of two.
func (o *outline) pair() bool {
	n, ok := o.open('*')
	return ok && n == 2
}

// open passes the head of a value of one of the given types.
func (o *outline) open(types ...byte) (length int, ok bool) {
	for {
		rest := o.rest()
		if end := bytes.IndexByte(rest[:min(len(rest), 16)], '\n'); end > 1 {
			kind, length, err := typeOf(rest[:end-1])
			o.at += end + 1
			return length, err == nil && length >= 0 && bytes.IndexByte(types, kind) >= 0
		} else if len(rest) >= 16 || !o.wire.extend() {
			return 0, false
		}
	}
}

// pass passes a text.
func (o *outline) pass() bool {
	if _, end := smallText(o.rest()); end > 0 {
		o.at += end + len("\r\n")
		return true
	}
	n, ok := o.open('$')
	if !ok {
		return false
	}
	o.at += n + len("\r\n")
	for o.at > len(o.wire.unread()) {
		if !o.wire.extend() {
			return false
		}
	}
	return true
}

func (o *outline) rest() []byte { return o.wire.unread()[o.at:] }
