package resp

import "bytes"

// Outline looks through a reply that is unread, and leaves it so.
type Outline struct {
	Wire *Reader
	At   int // how many bytes were looked through
}

// Entries returns how many entries a reply of one stream has, and the ID of the last,
// once the reply has arrived. It reports false if it is another reply, or too large.
func (o *Outline) Entries() (n int, last string, ok bool) {
	streams, ok := o.open('*', '%')
	if !ok || streams != 1 {
		return 0, "", false
	}
	if o.Wire.Unread()[0] == '*' && !o.pair() {
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
		from = o.At
		if !o.pass() {
			return 0, "", false
		}
		to = o.At
		texts, ok := o.open('*')
		for range texts {
			ok = ok && o.pass()
		}
		if !ok {
			return 0, "", false
		}
	}
	id := o.Wire.Unread()[from:to]
	_, id, _ = bytes.Cut(id, []byte("\r\n"))
	return n, string(bytes.TrimSuffix(id, []byte("\r\n"))), true
}

// pair passes the head of an array of two.
func (o *Outline) pair() bool {
	n, ok := o.open('*')
	return ok && n == 2
}

// open passes the head of a value of one of the given types.
func (o *Outline) open(types ...byte) (length int, ok bool) {
	for {
		rest := o.rest()
		if end := bytes.IndexByte(rest[:min(len(rest), 16)], '\n'); end > 1 {
			kind, length, err := typeOf(rest[:end-1])
			o.At += end + 1
			return length, err == nil && length >= 0 && bytes.IndexByte(types, kind) >= 0
		} else if len(rest) >= 16 || !o.Wire.extend() {
			return 0, false
		}
	}
}

// pass passes a text.
func (o *Outline) pass() bool {
	if _, end := smallText(o.rest()); end > 0 {
		o.At += end + len("\r\n")
		return true
	}
	n, ok := o.open('$')
	if !ok {
		return false
	}
	o.At += n + len("\r\n")
	for o.At > len(o.Wire.Unread()) {
		if !o.Wire.extend() {
			return false
		}
	}
	return true
}

func (o *Outline) rest() []byte { return o.Wire.Unread()[o.At:] }

// aheadSize is the size of the largest reply that is looked through before it is read.
const aheadSize = 1 << 20
