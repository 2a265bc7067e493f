package conn

import (
	"bytes"
	"strconv"
	"time"

	"millrace/stream/internal/resp"
)

// While a backlog is read, the next read can be sent as soon as it is known what the
// one before has brought, before that is made into entries: the server then looks for
// the next batch while this one is taken in, where each used to wait for the other
// (a twentieth more throughput with two processors). Only XREAD can be sent ahead: it changes nothing, so
// that a reply which is not wanted is dropped.

// fieldsPerByte is how much more a reply can take in memory than on its way.
const fieldsPerByte = 6 // of the shortest field there are twelve bytes

// askAhead sends the read that follows on the one whose reply has begun to arrive, if
// that brings as much as it may, all of it is kept, and the one that follows will ask
// for as many.
func (c *capture) askAhead() error {
	look := &resp.Outline{Wire: &c.reply.Reader}
	entries, last, ok := look.Entries()
	if !ok {
		return nil
	}
	// There is one stream, whatever its name.
	if in := c.reply.Budgets(""); !in.Steady || int64(look.At) > in.Room/fieldsPerByte {
		return nil
	}
	next := following(c.asked, entries, last)
	if next == nil {
		return nil
	}
	// The deadline that go-redis has set was for its own write.
	if err := c.SetWriteDeadline(time.Now().Add(AnswerTimeout)); err != nil {
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
		if err := c.reply.Need(1); err != nil {
			return false, err
		}
		notification := c.reply.Unread()[0] == '>'
		if err := c.reply.Skip(1, nil); err != nil || !notification {
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
	from := resp.Before(last)
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
