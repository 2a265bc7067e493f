package resp

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// WireSize is as much as is read at once, and the longest line.
const WireSize = 64 << 10

// Reader reads the values of RESP, the protocol of Redis, out of the bytes of a
// connection. It trusts no length: nothing is allocated for bytes that have not arrived.
type Reader struct {
	Conn io.Reader
	// Buf is made when it is first needed, if it is not there; buf[at:end] has arrived
	// and is unread.
	Buf     []byte
	At, end int
	// failed is the error of the last read, if it was not returned yet.
	failed error
}

// Malformed is the error of a reply that is not as it has to be. It shows
// nothing of the reply: values are personal data.
func Malformed(what string) error {
	return fmt.Errorf("stream: the server's reply to XREAD is malformed: %s", what)
}

// Or returns err, or else that the reply is malformed.
func Or(err error, what string) error {
	if err != nil {
		return err
	}
	return Malformed(what)
}

// Unread returns the bytes that have arrived and are unread.
func (w *Reader) Unread() []byte { return w.Buf[w.At:w.end] }

// fill reads once from the connection, at least one byte.
func (w *Reader) fill() error {
	if w.Buf == nil {
		w.Buf = make([]byte, WireSize)
	}
	if w.At == w.end || w.end > len(w.Buf)/2 {
		w.At, w.end = 0, copy(w.Buf, w.Unread())
	}
	if w.end == len(w.Buf) {
		return Malformed("a line is too long")
	}
	if err := w.failed; err != nil {
		w.failed = nil
		return err
	}
	for range 100 {
		n, err := w.Conn.Read(w.Buf[w.end:])
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

// extend reads more behind the bytes that are unread, for which it makes room. It reports false
// if there is too much already, or if nothing comes: the next read returns the error.
func (w *Reader) extend() bool {
	if w.end == len(w.Buf) {
		unread := w.Unread()
		if len(unread) == len(w.Buf) {
			if len(w.Buf) >= aheadSize {
				return false
			}
			w.Buf = append(w.Buf, make([]byte, len(w.Buf))...)
		} else {
			w.At, w.end = 0, copy(w.Buf, unread)
		}
	}
	n, err := w.Conn.Read(w.Buf[w.end:])
	w.end, w.failed = w.end+n, err
	return n > 0
}

// Shrink gives up the memory that extend has made room with, when it is empty.
func (w *Reader) Shrink() {
	if len(w.Buf) > WireSize && w.At == w.end {
		w.Buf, w.At, w.end = nil, 0, 0
	}
}

// Need waits until n bytes are unread, no more than the buffer holds.
func (w *Reader) Need(n int) error {
	for w.end-w.At < n {
		if err := w.fill(); err != nil {
			return err
		}
	}
	return nil
}

// line returns the next line, without its end. Like everything that is not a
// copy, it is valid until the next value is read.
func (w *Reader) line() ([]byte, error) {
	for searched := 0; ; {
		if i := bytes.IndexByte(w.Unread()[searched:], '\n'); i >= 0 {
			line := w.Unread()[:searched+i]
			if len(line) < 2 || line[len(line)-1] != '\r' {
				return nil, Malformed("a line has no type or no end")
			}
			w.At += len(line) + 1
			return line[:len(line)-1], nil
		}
		searched = w.end - w.At
		if err := w.fill(); err != nil {
			return nil, err
		}
	}
}

// Head reads the first line of a value, and passes over the attributes before it.
func (w *Reader) Head() (kind byte, length int, err error) {
	for {
		line, err := w.line()
		if err != nil {
			return 0, 0, err
		}
		kind, length, err := typeOf(line)
		if err != nil || kind != '|' {
			return kind, length, err
		}
		if err := w.Skip(2*int64(length), nil); err != nil {
			return 0, 0, err
		}
	}
}

// typeOf returns the meaning of the first line of a value: its type, and its length if
// the type has one. Null, of any type, has the length -1.
func typeOf(line []byte) (kind byte, length int, err error) {
	switch kind = line[0]; kind {
	case '_':
		return kind, -1, nil
	case '+', '-', ':', ',', '#', '(':
		return kind, 0, nil
	case '$', '*', '%', '~', '>', '!', '=', '|':
	default:
		return kind, 0, Malformed("a value is of no type")
	}
	digits := line[1:]
	if string(digits) == "-1" {
		return kind, -1, nil
	}
	if len(digits) == 0 || len(digits) > 9 {
		return kind, 0, Malformed("a length is missing or absurd")
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return kind, 0, Malformed("a length is no number")
		}
		length = 10*length + int(c-'0')
	}
	return kind, length, nil
}

// short reads the text of n bytes that follows its head, if it fits in the buffer
// together with its end.
func (w *Reader) short(n int) ([]byte, error) {
	if err := w.Need(n + 2); err != nil {
		return nil, err
	}
	text := w.Unread()[: n+2 : n+2]
	if text[n] != '\r' || text[n+1] != '\n' {
		return nil, Malformed("a text is longer than its length")
	}
	w.At += n + 2
	return text[:n], nil
}

// brief reads the next value, a text, if it is no longer than most, for which the
// buffer has room; of a longer one it reads the head, and returns the size.
func (w *Reader) brief(most int, missing string) (text []byte, size int, err error) {
	if text, ok := w.small(); ok {
		return text, len(text), nil
	}
	kind, size, err := w.Head()
	if err != nil || kind != '$' || size < 0 {
		return nil, 0, Or(err, missing)
	}
	if size > most {
		return nil, size, nil
	}
	text, err = w.short(size)
	return text, size, err
}

// small is the way of most texts: it reads the next value if that is one of less
// than 100 bytes which has arrived. If it is not, nothing is read.
func (w *Reader) small() (text []byte, ok bool) {
	b := w.Unread()
	from, end := smallText(b)
	if end == 0 {
		return nil, false
	}
	w.At += end + 2
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
func (w *Reader) text(n int) (string, error) {
	if n <= len(w.Buf)-len("\r\n") {
		text, err := w.short(n)
		return string(text), err
	}
	// The builder makes the string where the bytes are. It is given room for
	// eight times of the bytes that have arrived, so that a length that lies costs little,
	// and the last of a few that grow is of the very size.
	text := &strings.Builder{}
	for text.Len() < n {
		if text.Len() == text.Cap() {
			grown := &strings.Builder{}
			grown.Grow(min(n, max(WireSize, 8*text.Len())))
			grown.WriteString(text.String())
			text = grown
		}
		if err := w.Need(1); err != nil {
			return "", err
		}
		part := w.Unread()
		part = part[:min(len(part), n-text.Len(), text.Cap()-text.Len())]
		text.Write(part)
		w.At += len(part)
	}
	_, err := w.short(0)
	return text.String(), err
}

// Skip reads over the next values. What it reads goes to another place, if there
// is one.
func (w *Reader) Skip(values int64, to *bytes.Buffer) error {
	for ; values > 0; values-- {
		line, err := w.line()
		if err != nil {
			return err
		}
		if to != nil {
			to.Write(w.Buf[w.At-len(line)-2 : w.At])
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

func (w *Reader) skipBytes(n int, to *bytes.Buffer) error {
	for n > 0 {
		if err := w.Need(1); err != nil {
			return err
		}
		part := w.Unread()
		part = part[:min(len(part), n)]
		if to != nil {
			to.Write(part)
		}
		w.At += len(part)
		n -= len(part)
	}
	return nil
}
