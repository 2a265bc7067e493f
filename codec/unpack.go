package codec

import "strings"

const (
	packedPrefix  = "packed:"
	packedVersion = 1
)

// Unpack returns the fields with those of a packed field, see [Packed], in its place. They
// come first, so that a field with the name of a packed one, which stands beside it, counts
// in place of that one. Fields without a packed one are returned as they are.
//
// Unpack knows no type: it serves tools that show entries, and middleware that needs a
// field. Its error is a [FieldErrors], which names the packed field, or the field in
// it, that is not as [Packed] says.
func Unpack(fields Fields) (Fields, error) {
	name, text, err := findPacked(fields)
	if name == "" || err != nil {
		return fields, err
	}
	r, err := newPackedReader(name, text)
	if err != nil {
		return fields, err
	}
	pairs := make([]string, 0, 2*(strings.Count(r.names, ",")+fields.Len()))
	for r.next() {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == r.name {
				return fields, packedError(r.name, "is packed twice")
			}
		}
		pairs = append(pairs, r.name, r.value)
	}
	if r.err != nil {
		return fields, r.err
	}
	for c := fields.cursor(); c.next(); {
		if c.name != name {
			pairs = append(pairs, c.name, c.value)
		}
	}
	return Fields{pairs: pairs}, nil
}

// Lookup is the Get of [Fields] that finds a field in a packed one too. It returns found =
// false where the packed field is not as [Packed] says.
func Lookup(fields Fields, name string) (value string, found bool) {
	if value, found = fields.Get(name); found {
		return value, true
	}
	packed, text, err := findPacked(fields)
	if packed == "" || err != nil {
		return "", false
	}
	r, err := newPackedReader(packed, text)
	if err != nil {
		return "", false
	}
	for r.next() {
		if r.name == name {
			return r.value, true
		}
	}
	return "", false
}

// findPacked returns the packed field, or an empty name.
func findPacked(fields Fields) (name, text string, err error) {
	for c := fields.cursor(); c.next(); {
		if !strings.HasPrefix(c.name, packedPrefix) {
			continue
		}
		if name != "" {
			return "", "", packedError(c.name, "is the second packed field of the entry, which can have one")
		}
		name, text = c.name, c.value
	}
	return name, text, nil
}

func packedError(name, reason string) error {
	return FieldErrors{{Field: cutName(name), Reason: reason}}
}

// packedReader reads a packed field by the names in its own name.
type packedReader struct {
	field string
	names string // that are left
	more  bool
	text  string // that is left

	name, value string
	err         error
}

func newPackedReader(field, text string) (packedReader, error) {
	switch {
	case text == "":
		return packedReader{}, packedError(field, "is blank")
	case text[0] != packedVersion:
		return packedReader{}, packedError(field, "has a version of the packed layout that this program does not know; update it, or correct the producer")
	}
	return packedReader{field: field, names: field[len(packedPrefix):], more: true, text: text[1:]}, nil
}

// next goes to the next field that is there. When it returns false, err is set, or the field
// was read to its end.
func (r *packedReader) next() bool {
	for r.more {
		r.name, r.names, r.more = strings.Cut(r.names, ",")
		size, rest, ok := packedSize(r.text)
		if !ok || size > uint64(len(rest))+1 {
			r.err = packedError(r.name, "is cut off in the packed field "+cutName(r.field))
			return false
		}
		if r.text = rest; size > 0 {
			r.value, r.text = rest[:size-1], rest[size-1:]
			return true
		}
	}
	if r.text != "" {
		r.err = packedError(r.field, "has bytes behind its last value")
	}
	return false
}

// packedSize reads the number in front of a value, which is one more than its length. It is
// not ok where the text ends before the number does, or the number is none of 63 bits.
func packedSize(text string) (size uint64, rest string, ok bool) {
	const most = 9
	for i := 0; i < len(text) && i < most; i++ {
		c := text[i]
		size |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return size, text[i+1:], true
		}
	}
	return 0, text, false
}
