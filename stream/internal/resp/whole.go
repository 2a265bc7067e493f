package resp

import "millrace/codec"

// What whole says of the next entry.
const (
	isTaken   = iota
	isPart    // of it has arrived
	isUnusual // or malformed
)

// maxWhole is the size of the largest entry that is taken as one piece of the reply: with what was
// read before, the buffer must hold it.
const maxWhole = WireSize / 2

// whole is the way of most entries: one that has arrived is taken as the server has sent it, in
// one allocation. If it is not, nothing is read.
func (r *Parser) whole(most, fits int64) (one Entry, bytes int64, next int) {
	b := r.Unread()
	b = b[:min(len(b), maxWhole)]
	const head = "*2\r\n"
	if len(b) < len(head) {
		return Entry{}, 0, isPart
	}
	if string(b[:len(head)]) != head {
		return Entry{}, 0, isUnusual
	}
	first, last, next := bulkAt(b, len(head))
	if next != isTaken {
		return Entry{}, 0, next
	}
	if last-first > maxShared {
		return Entry{}, 0, isUnusual
	}
	n, at, next := arrayAt(b, last+2)
	if next != isTaken {
		return Entry{}, 0, next
	}
	pairs := at
	var size int64
	for range n {
		from, to, next := bulkAt(b, at)
		if next != isTaken {
			return Entry{}, 0, next
		}
		size += int64(to - from)
		at = to + 2
	}
	n /= 2
	bytes = fieldBytes * int64(n)
	r.At += at
	one.Size = uint32(size)
	if size > min(most, fits-bytes) {
		one.ID = string(b[first:last])
		return one, bytes + size, isTaken
	}
	text := string(b[first:at])
	one.ID = text[:last-first]
	one.Fields = codec.FieldsOfReply(text[pairs-first:])
	return one, bytes + size, isTaken
}

// bulkAt finds the text whose head begins at a place in b. It is followed by a line break.
func bulkAt(b []byte, at int) (from, to, next int) {
	n, from, next := lengthAt(b, at, '$')
	if next != isTaken {
		return 0, 0, next
	}
	to = from + n
	if len(b) < to+2 {
		return 0, 0, isPart
	}
	if b[to] != '\r' || b[to+1] != '\n' {
		return 0, 0, isUnusual
	}
	return from, to, isTaken
}

// arrayAt finds the head of an array of pairs, and what is behind it.
func arrayAt(b []byte, at int) (n, behind, next int) {
	if n, behind, next = lengthAt(b, at, '*'); next == isTaken && n%2 != 0 {
		next = isUnusual
	}
	return n, behind, next
}

// lengthAt reads the head of a value of a kind, whose length has from one to five digits.
func lengthAt(b []byte, at int, kind byte) (n, behind, next int) {
	if len(b) < at+len("$0\r\n") {
		return 0, 0, isPart
	}
	if b[at] != kind {
		return 0, 0, isUnusual
	}
	for end := at + 1; ; end++ {
		switch {
		case end+1 >= len(b):
			return 0, 0, isPart
		case b[end] == '\r' && b[end+1] == '\n' && end > at+1:
			return n, end + 2, isTaken
		case b[end] < '0' || b[end] > '9' || end > at+5:
			return 0, 0, isUnusual
		}
		n = 10*n + int(b[end]-'0')
	}
}
