package codec

import "iter"

// Fields are an entry's name-value pairs, in their order. [FieldsOf] makes them.
//
// The zero value has no pairs. Redis has no such entry: these are the fields of one that is
// larger than stream.WithMaxEntryBytes allows, which were not kept.
//
// Fields do not change. They may be copied and kept, and are safe for concurrent use. The
// names and values of an entry that was read share one piece of memory: one that is kept for
// long, out of a large entry, is to be cloned with [strings.Clone]. What a codec decodes from an
// entry of more than 4 KiB is cloned already.
type Fields struct {
	// pairs are name, value, name, value, and so on, unless wire has them.
	pairs []string
	// wire is names and values as the server has sent them: each is a dollar sign, the length, a
	// line break (CR, LF), the text, and a line break.
	wire string
}

// FieldsOfReply returns the fields that a reply of Redis has for an entry, for those who read
// replies themselves. wire is the part behind the head of the entry's array: names, each with its
// value behind it, as RESP bulk strings. It is kept as it is, and not looked through before its
// fields are asked for: names and values that are malformed come out cut or wrong.
func FieldsOfReply(wire string) Fields { return Fields{wire: wire} }

// textAt returns where the text of the bulk string is that begins at a place in wire. The next
// one begins behind that and a line break. A text that is cut ends where wire ends.
func textAt(wire string, at int) (from, to int) {
	n := 0
	for at++; at < len(wire) && wire[at] != '\r'; at++ {
		n = 10*n + int(wire[at]-'0')
	}
	from = min(at+len(lineBreak), len(wire))
	return from, from + max(0, min(n, len(wire)-from))
}

const lineBreak = "\r\n"

// cursor goes through the pairs of fields.
type cursor struct {
	fields      Fields
	at          int // of the next pair
	name, value string
}

func (f Fields) cursor() cursor { return cursor{fields: f} }

// next goes to the next pair, and reports whether there is one.
func (c *cursor) next() bool {
	wire := c.fields.wire
	if wire == "" {
		pairs := c.fields.pairs
		if c.at == len(pairs) {
			return false
		}
		c.name, c.value = pairs[c.at], pairs[c.at+1]
		c.at += 2
		return true
	}
	if c.at >= len(wire) {
		return false
	}
	from, to := textAt(wire, c.at)
	start, end := textAt(wire, to+len(lineBreak))
	c.name, c.value = wire[from:to], wire[start:end]
	c.at = end + len(lineBreak)
	return true
}

// rest returns the fields behind the cursor.
func (c *cursor) rest() Fields {
	if c.fields.wire == "" {
		return Fields{pairs: c.fields.pairs[c.at:]}
	}
	return Fields{wire: c.fields.wire[min(c.at, len(c.fields.wire)):]}
}

// FieldsOf returns the fields with the given names and values, such as those that a test
// decodes:
//
//	codec.FieldsOf("user_id", "u-1", "age", "36")
//
// If the count is odd, the last name has the value "". A slice that is given as pairs... is
// kept, and must not be changed afterwards.
func FieldsOf(pairs ...string) Fields {
	switch n := len(pairs); {
	case n == 0:
		return Fields{}
	case n%2 != 0:
		pairs = append(pairs[:n:n], "") // the caller's slice may have more behind it
	}
	return Fields{pairs: pairs}
}

// Get returns the value of the field with the given name, and whether there is such a
// field. Where an entry repeats the name, it is the last value.
func (f Fields) Get(name string) (value string, found bool) {
	for i := len(f.pairs) - 2; i >= 0; i -= 2 {
		if f.pairs[i] == name {
			return f.pairs[i+1], true
		}
	}
	if f.wire == "" {
		return "", false
	}
	for c := f.cursor(); c.next(); {
		if c.name == name {
			value, found = c.value, true
		}
	}
	return value, found
}

// All returns the names and values in the order of the entry, repeated names included.
func (f Fields) All() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for c := f.cursor(); c.next() && yield(c.name, c.value); {
			continue
		}
	}
}

// Len returns the number of pairs.
func (f Fields) Len() int {
	n := len(f.pairs) / 2
	for at := 0; at < len(f.wire); n++ {
		_, to := textAt(f.wire, at)
		_, to = textAt(f.wire, to+len(lineBreak))
		at = to + len(lineBreak)
	}
	return n
}

// Map returns a new map of the values by their names. Where an entry repeats a name, it
// has the last value.
func (f Fields) Map() map[string]string {
	values := make(map[string]string, f.Len())
	for name, value := range f.All() {
		values[name] = value
	}
	return values
}
