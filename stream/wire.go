package stream

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// wireSize is as much as is read at once, and the longest line.
const wireSize = 64 << 10

// wire reads the values of RESP, the protocol of Redis, out of what a connection
// brings. It trusts no length: nothing is allocated for what has not arrived.
type wire struct {
	conn io.Reader
	// buf is made when it is first needed, if it is not there; buf[at:end] has arrived
	// and is unread.
	buf     []byte
	at, end int
	// failed is what the last read has failed with, if nobody was told.
	failed error
}

// malformed is the error of a reply that is not what it has to be. It says
// nothing of what is in the reply: values are personal data.
func malformed(what string) error {
	return fmt.Errorf("stream: the server's reply to XREAD is malformed: %s", what)
}

// or returns err, or else that the reply is malformed.
func or(err error, what string) error {
	if err != nil {
		return err
	}
	return malformed(what)
}

func (w *wire) unread() []byte { return w.buf[w.at:w.end] }

// fill reads once from the connection, at least one byte.
func (w *wire) fill() error {
	if w.buf == nil {
		w.buf = make([]byte, wireSize)
	}
	if w.at == w.end || w.end > len(w.buf)/2 {
		w.at, w.end = 0, copy(w.buf, w.unread())
	}
	if w.end == len(w.buf) {
		return malformed("a line is too long")
	}
	if err := w.failed; err != nil {
		w.failed = nil
		return err
	}
	for range 100 {
		n, err := w.conn.Read(w.buf[w.end:])
		w.end += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// extend reads more behind what is unread, for which it makes room. It reports false
// if there is too much already, or if nothing comes: whoever reads next is told why.
func (w *wire) extend() bool {
	if w.end == len(w.buf) {
		unread := w.unread()
		if len(unread) == len(w.buf) {
			if len(w.buf) >= aheadSize {
				return false
			}
			w.buf = append(w.buf, make([]byte, len(w.buf))...)
		} else {
			w.at, w.end = 0, copy(w.buf, unread)
		}
	}
	n, err := w.conn.Read(w.buf[w.end:])
	w.end, w.failed = w.end+n, err
	return n > 0
}

// shrink gives up the memory that extend has made room with, when it is empty.
func (w *wire) shrink() {
	if len(w.buf) > wireSize && w.at == w.end {
		w.buf, w.at, w.end = nil, 0, 0
	}
}

// need waits until n bytes are unread, no more than the buffer holds.
func (w *wire) need(n int) error {
	for w.end-w.at < n {
		if err := w.fill(); err != nil {
			return err
		}
	}
	return nil
}

// line returns the next line, without its end. Like everything that is not a
// copy, it is valid until the next value is read.
func (w *wire) line() ([]byte, error) {
	for searched := 0; ; {
		if i := bytes.IndexByte(w.unread()[searched:], '\n'); i >= 0 {
			line := w.unread()[:searched+i]
			if len(line) < 2 || line[len(line)-1] != '\r' {
				return nil, malformed("a line has no type or no end")
			}
			w.at += len(line) + 1
			return line[:len(line)-1], nil
		}
		searched = w.end - w.at
		if err := w.fill(); err != nil {
			return nil, err
		}
	}
}

// head reads the first line of a value, and passes over the attributes before it.
func (w *wire) head() (kind byte, length int, err error) {
	for {
		line, err := w.line()
		if err != nil {
			return 0, 0, err
		}
		kind, length, err := typeOf(line)
		if err != nil || kind != '|' {
			return kind, length, err
		}
		if err := w.skip(2*int64(length), nil); err != nil {
			return 0, 0, err
		}
	}
}

// typeOf returns what the first line of a value says: its type, and its length if
// the type has one. Null, of whatever type, has the length -1.
func typeOf(line []byte) (kind byte, length int, err error) {
	switch kind = line[0]; kind {
	case '_':
		return kind, -1, nil
	case '+', '-', ':', ',', '#', '(':
		return kind, 0, nil
	case '$', '*', '%', '~', '>', '!', '=', '|':
	default:
		return kind, 0, malformed("a value is of no type")
	}
	digits := line[1:]
	if string(digits) == "-1" {
		return kind, -1, nil
	}
	if len(digits) == 0 || len(digits) > 9 {
		return kind, 0, malformed("a length is missing or absurd")
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return kind, 0, malformed("a length is no number")
		}
		length = 10*length + int(c-'0')
	}
	return kind, length, nil
}

// short reads the text of n bytes that follows its head, if it fits in the buffer
// together with its end.
func (w *wire) short(n int) ([]byte, error) {
	if err := w.need(n + 2); err != nil {
		return nil, err
	}
	text := w.unread()[: n+2 : n+2]
	if text[n] != '\r' || text[n+1] != '\n' {
		return nil, malformed("a text is longer than its length")
	}
	w.at += n + 2
	return text[:n], nil
}

// brief reads the next value, a text, if it is no longer than most, for which the
// buffer has room; of a longer one it reads the head, and returns the size.
func (w *wire) brief(most int, missing string) (text []byte, size int, err error) {
	if text, ok := w.small(); ok {
		return text, len(text), nil
	}
	kind, size, err := w.head()
	if err != nil || kind != '$' || size < 0 {
		return nil, 0, or(err, missing)
	}
	if size > most {
		return nil, size, nil
	}
	text, err = w.short(size)
	return text, size, err
}

// small is the way of most texts: it reads the next value if that is one of less
// than 100 bytes which has arrived. If it is not, nothing is read.
func (w *wire) small() (text []byte, ok bool) {
	b := w.unread()
	from, end := smallText(b)
	if end == 0 {
		return nil, false
	}
	w.at += end + 2
	return b[from:end], true
}

// smallText returns where the text is that b begins with, if it is complete and less
// than 100 bytes long; its end is followed by that of the line.
func smallText(b []byte) (from, end int) {
	if len(b) < 6 || b[0] != '$' {
		return 0, 0
	}
	n, at := int(b[1])-'0', 2
	if digit := int(b[at]) - '0'; digit >= 0 && digit <= 9 {
		n, at = 10*n+digit, at+1
	}
	end = at + 2 + n
	if n < 0 || n > 99 || b[1] > '9' || len(b) < end+2 || b[at] != '\r' || b[at+1] != '\n' || b[end] != '\r' || b[end+1] != '\n' {
		return 0, 0
	}
	return at + 2, end
}

// text reads the text of n bytes that follows its head into a string of its own.
func (w *wire) text(n int) (string, error) {
	if n <= len(w.buf)-len("\r\n") {
		text, err := w.short(n)
		return string(text), err
	}
	// The builder makes the string where the bytes are. It is given room for
	// eight times of what has arrived, so that a length that lies costs little,
	// and the last of a few that grow is of the very size.
	text := &strings.Builder{}
	for text.Len() < n {
		if text.Len() == text.Cap() {
			grown := &strings.Builder{}
			grown.Grow(min(n, max(wireSize, 8*text.Len())))
			grown.WriteString(text.String())
			text = grown
		}
		if err := w.need(1); err != nil {
			return "", err
		}
		part := w.unread()
		part = part[:min(len(part), n-text.Len(), text.Cap()-text.Len())]
		text.Write(part)
		w.at += len(part)
	}
	_, err := w.short(0)
	return text.String(), err
}

// skip reads over the next values. What it reads goes to another place, if there
// is one.
func (w *wire) skip(values int64, to *bytes.Buffer) error {
	for ; values > 0; values-- {
		line, err := w.line()
		if err != nil {
			return err
		}
		if to != nil {
			to.Write(w.buf[w.at-len(line)-2 : w.at])
		}
		kind, length, err := typeOf(line)
		if err != nil {
			return err
		}
		switch {
		case length < 0:
		case kind == '*', kind == '~', kind == '>':
			values += int64(length)
		case kind == '%':
			values += 2 * int64(length)
		case kind == '|': // belongs to the value after it
			values += 2*int64(length) + 1
		case kind == '$', kind == '!', kind == '=':
			if err := w.skipBytes(length+len("\r\n"), to); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *wire) skipBytes(n int, to *bytes.Buffer) error {
	for n > 0 {
		if err := w.need(1); err != nil {
			return err
		}
		part := w.unread()
		part = part[:min(len(part), n)]
		if to != nil {
			to.Write(part)
		}
		w.at += len(part)
		n -= len(part)
	}
	return nil
}
