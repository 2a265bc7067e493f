package codec

import (
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// jsonReader reads one JSON text in one pass, with all the refusals of document. Its
// methods return ok = false where the text is not plainly right, without a reason: the
// text then goes through document and encoding/json, which know the reason, and are the
// ones that accept what a jsonReader does not know.
//
// The text must be UTF-8. A jsonReader serves one goroutine at a time.
type jsonReader struct {
	jsonOptions
	text  string
	at    int
	depth int
	bytes []byte          // where a string with escapes is made
	block strings.Builder // the memory of strings that are kept
}

// maxShared bounds the memory that a string of a value holds in use, in bytes: the
// strings of a larger text are copied.
const maxShared = 4 << 10

var jsonReaders = sync.Pool{New: func() any { return new(jsonReader) }}

func newJSONReader(o jsonOptions, text string) *jsonReader {
	r, _ := jsonReaders.Get().(*jsonReader)
	r.jsonOptions, r.text, r.at, r.depth = o, text, 0, 0
	return r
}

func (r *jsonReader) free() {
	r.text = ""
	r.block.Reset() // its strings belong to the value
	if cap(r.bytes) <= maxScratchBytes {
		jsonReaders.Put(r)
	}
}

// next skips white space and returns the byte behind it, or 0.
func (r *jsonReader) next() byte {
	for r.at < len(r.text) {
		switch c := r.text[r.at]; c {
		case ' ', '\t', '\r', '\n':
			r.at++
		default:
			return c
		}
	}
	return 0
}

// open goes into an array or an object. It is not ok where the nesting gets too deep.
func (r *jsonReader) open() (ok bool) {
	r.at++
	r.depth++
	return r.depth <= maxDepth
}

// more goes past the comma or the bracket that follows an element or a member. It tells
// whether another one follows.
func (r *jsonReader) more(end byte) (more, ok bool) {
	switch r.next() {
	case ',':
		r.at++
		return true, true
	case end:
		r.close()
		return false, true
	}
	return false, false
}

func (r *jsonReader) close() {
	r.at++
	r.depth--
}

func (r *jsonReader) is(c byte) (ok bool) {
	if r.next() != c {
		return false
	}
	r.at++
	return true
}

func (r *jsonReader) literal(word string) (ok bool) {
	if !strings.HasPrefix(r.text[r.at:], word) {
		return false
	}
	r.at += len(word)
	return true
}

func (r *jsonReader) null() (ok bool) { return r.literal("null") }

func (r *jsonReader) bool() (value, ok bool) {
	if r.literal("true") {
		return true, true
	}
	return false, r.literal("false")
}

// str reads a string, at whose first quote the reader is. The result may be a part of the
// text: one that the value holds goes through keep.
func (r *jsonReader) str() (s string, ok bool) {
	start := r.at + 1
	for i := start; i < len(r.text); i++ {
		switch c := r.text[i]; {
		case c == '"':
			r.at = i + 1
			return r.text[start:i], true
		case c == '\\':
			r.at = i
			return r.escaped(start)
		case c < ' ':
			return "", false
		}
	}
	return "", false
}

// escaped is the rest of str from the first backslash on. The string begins at start.
func (r *jsonReader) escaped(start int) (s string, ok bool) {
	b := append(r.bytes[:0], r.text[start:r.at]...)
	for r.at < len(r.text) {
		switch c := r.text[r.at]; {
		case c == '"':
			r.at++
			r.bytes = b
			return string(b), true
		case c == '\\':
			if b, ok = r.escape(b); !ok {
				return "", false
			}
		case c < ' ':
			return "", false
		default:
			b = append(b, c)
			r.at++
		}
	}
	return "", false
}

// escape adds to b the character of the escape at which the reader is. Half a surrogate
// pair is not ok.
func (r *jsonReader) escape(b []byte) (longer []byte, ok bool) {
	if r.at+1 >= len(r.text) {
		return b, false
	}
	c := r.text[r.at+1]
	if c == 'u' {
		high, ok := r.unit(r.at)
		r.at += 6
		if !ok || high >= 0xDC00 && high <= 0xDFFF {
			return b, false
		}
		if high >= 0xD800 && high < 0xDC00 {
			low, ok := r.unit(r.at)
			r.at += 6
			if !ok || low < 0xDC00 || low > 0xDFFF {
				return b, false
			}
			high = 0x10000 + (high-0xD800)<<10 + (low - 0xDC00)
		}
		return utf8.AppendRune(b, high), true
	}
	r.at += 2
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	default:
		return b, false
	}
	return append(b, c), true
}

// unit returns the code unit of the \u escape at a position.
func (r *jsonReader) unit(at int) (unit rune, ok bool) {
	d := document{text: r.text}
	n := d.unit(at)
	return rune(n), n >= 0 //nolint:gosec // 16 bits, or -1
}

// keep returns a string for the value to hold.
func (r *jsonReader) keep(s string) string {
	switch {
	case len(r.text) <= maxShared || s == "":
		return s
	case len(s) > maxShared/4:
		return strings.Clone(s)
	case r.block.Cap()-r.block.Len() < len(s):
		r.block.Reset()
		r.block.Grow(min(maxShared, len(s)+len(r.text)-r.at))
	}
	r.block.WriteString(s)
	all := r.block.String()
	return all[len(all)-len(s):]
}

// number reads a number and returns its text.
func (r *jsonReader) number() (text string, ok bool) {
	start := r.at
	if r.at < len(r.text) && r.text[r.at] == '-' {
		r.at++
	}
	first := r.at
	if !r.digits() || r.text[first] == '0' && r.at > first+1 {
		return "", false
	}
	if r.at < len(r.text) && r.text[r.at] == '.' {
		r.at++
		if !r.digits() {
			return "", false
		}
	}
	if r.at < len(r.text) && (r.text[r.at] == 'e' || r.text[r.at] == 'E') {
		r.at++
		if r.at < len(r.text) && (r.text[r.at] == '+' || r.text[r.at] == '-') {
			r.at++
		}
		if !r.digits() {
			return "", false
		}
	}
	return r.text[start:r.at], true
}

// digits goes over one digit or more.
func (r *jsonReader) digits() (ok bool) {
	start := r.at
	for r.at < len(r.text) && r.text[r.at] >= '0' && r.text[r.at] <= '9' {
		r.at++
	}
	return r.at > start
}

// skip goes over a value that no Go value takes, or that a method reads by itself.
func (r *jsonReader) skip() (ok bool) {
	switch c := r.next(); c {
	case '{':
		return r.skipObject()
	case '[':
		if !r.open() {
			return false
		}
		if r.next() == ']' {
			r.close()
			return true
		}
		for {
			if !r.skip() {
				return false
			}
			if more, ok := r.more(']'); !ok || !more {
				return ok
			}
		}
	case '"':
		_, ok = r.str()
	case 'n':
		ok = r.null()
	case 't', 'f':
		_, ok = r.bool()
	default:
		_, ok = r.number()
	}
	return ok
}

func (r *jsonReader) skipObject() (ok bool) {
	if !r.open() {
		return false
	}
	if r.next() == '}' {
		r.close()
		return true
	}
	var seen nameSet
	for {
		name, ok := r.name()
		if !ok || !seen.add(name) || !r.skip() {
			return false
		}
		if more, ok := r.more('}'); !ok || !more {
			return ok
		}
	}
}

// name reads the name of a member and goes past the colon behind it.
func (r *jsonReader) name() (name string, ok bool) {
	if r.next() != '"' {
		return "", false
	}
	if name, ok = r.str(); !ok {
		return "", false
	}
	return name, r.is(':')
}

// any reads a value as encoding/json does into an any, but for numbers that a float64
// does not keep.
func (r *jsonReader) any() (value any, ok bool) {
	switch c := r.next(); c {
	case '{':
		return r.anyMap()
	case '[':
		return r.anySlice()
	case '"':
		s, ok := r.str()
		return r.keep(s), ok
	case 'n':
		return nil, r.null()
	case 't', 'f':
		return r.bool()
	}
	text, ok := r.number()
	switch {
	case !ok:
		return nil, false
	case r.useNumber || !isKept(text):
		return json.Number(r.keep(text)), true
	}
	x, err := strconv.ParseFloat(text, 64)
	return x, err == nil
}

func (r *jsonReader) anyMap() (value map[string]any, ok bool) {
	if !r.open() {
		return nil, false
	}
	m := map[string]any{}
	if r.next() == '}' {
		r.close()
		return m, true
	}
	for n := 1; ; n++ {
		name, ok := r.name()
		if !ok {
			return nil, false
		}
		elem, ok := r.any()
		if !ok {
			return nil, false
		}
		if m[r.keep(name)] = elem; len(m) != n {
			return nil, false // a name twice
		}
		if more, ok := r.more('}'); !ok || !more {
			return m, ok
		}
	}
}

func (r *jsonReader) anySlice() (value []any, ok bool) {
	if !r.open() {
		return nil, false
	}
	list := []any{}
	if r.next() == ']' {
		r.close()
		return list, true
	}
	for {
		elem, ok := r.any()
		if !ok {
			return nil, false
		}
		list = append(list, elem)
		if more, ok := r.more(']'); !ok || !more {
			return list, ok
		}
	}
}
