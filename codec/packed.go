package codec

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Packed returns the codec that puts all fields of the struct T into one field of the
// entry. T and the options are those of [Struct], and so are the texts of the values, what
// is refused, and the errors; only a remain map has no place in it. To read an entry of
// one field costs the server and the client a fraction of what the same values in many
// fields cost; see the package documentation.
//
// # Layout
//
// The name of the field is "packed:" and the names of the fields, joined with commas. Its value
// is
//
//   - one byte, the version of the layout: 1
//   - for each name, in their order, a number and a value. The number is 0 if the field is
//     not there, and the length of the value in bytes, plus 1, if it is. It is written in
//     groups of 7 bits, the lowest first, in bytes whose highest bit is set in all
//     but the last, as the varint of Protocol Buffers. The value is the text that Struct would
//     write.
//
// Nothing follows. The names stand in the name of the field since Redis saves the names of an
// entry once for many entries that have the same: they cost no memory of the server, any
// program can decode the entry, and millrace peek and the lists of dead letters do.
// In Python, with value and name as bytes:
//
//	def unpack(name, value):
//	    assert name[:7] == b"packed:" and value[0] == 1
//	    at, fields = 1, {}
//	    for field in name[7:].split(b","):
//	        size = shift = 0
//	        while True:
//	            byte, at = value[at], at + 1
//	            size, shift = size | (byte & 127) << shift, shift + 7
//	            if byte < 128: break
//	        if size:
//	            fields[field], at = value[at:at+size-1], at + size - 1
//	    return fields
//
// # Change
//
// Fields are found by their names: T may get fields, lose them and change their order, and
// entries of all its ages decode as with Struct. Those whose names are not just those of T
// take the time of Struct. An entry without a packed field is decoded as Struct does: let
// the consumers have Packed first, and then the producers. A field that stands beside
// the packed one counts in place of the one of its name in there.
//
// Decoding refuses a packed field that is cut off, longer than its values, of another
// version, or has a name twice, and a second packed field.
func Packed[T any](opts ...StructOption) Codec[T] {
	c, _ := Struct[T](opts...).(structCodec[T])
	return packedCodec[T]{newPacking(c.plan)}
}

// packing is a plan whose fields are packed into one.
type packing struct {
	*plan
	name string // of the one field
	err  error  // all problems of the type
}

func newPacking(p *plan) *packing {
	names := make([]string, len(p.fields))
	for i := range p.fields {
		names[i] = p.fields[i].name
	}
	k := &packing{plan: p, name: packedPrefix + strings.Join(names, ","), err: p.err}
	if k.err == nil && p.remain != nil {
		k.err = fmt.Errorf("%s.%s: a remain map has no place in a packed field, whose names are those of the type; remove it, or use Struct", p.typ, p.remain.path)
	}
	return k
}

type packedCodec[T any] struct{ packing *packing }

func (c packedCodec[T]) Check() error { return c.packing.err }

func (c packedCodec[T]) Decode(fields Fields) (T, error) {
	var value T
	if err := c.packing.decode(fields, &value); err != nil {
		var zero T
		return zero, err
	}
	return value, nil
}

func (c packedCodec[T]) DecodeInto(fields Fields, value *T) error {
	return c.packing.decode(fields, value)
}

func (c packedCodec[T]) Encode(value T) ([]string, error) { return c.packing.encode(&value) }

// decode decodes into the struct that target points to, which is zero.
func (k *packing) decode(fields Fields, target any) error {
	if k.err != nil {
		return k.err
	}
	if text, ok := k.isOwn(fields); ok {
		if found, belongs, ok := k.fill(text, reflect.ValueOf(target).Elem()); ok {
			return k.judge(found, belongs, fields, target)
		}
	}
	unpacked, err := Unpack(fields)
	if err != nil {
		return k.typed(err)
	}
	return k.plan.decode(unpacked, target)
}

// isOwn returns the packed field if its names are those of the type, and no other field of
// the entry could matter.
func (k *packing) isOwn(fields Fields) (text string, ok bool) {
	if !k.direct {
		return "", false
	}
	for c := fields.cursor(); c.next(); {
		if c.name == k.name && !ok {
			text, ok = c.value, true
			continue
		}
		if _, declared := k.byName[c.name]; declared || k.strict && !IsHeader(c.name) || strings.HasPrefix(c.name, packedPrefix) {
			return "", false
		}
	}
	return text, ok
}

// fill is the fill of a plan for the packed text. It is not ok where the text is not whole:
// Unpack has an error for each of these.
func (k *packing) fill(text string, root reflect.Value) (found complaints, belongs, ok bool) {
	if text == "" || text[0] != packedVersion {
		return nil, false, false
	}
	text = text[1:]
	for i := range k.fields {
		size, rest, ok := packedSize(text)
		if !ok || size > uint64(len(rest))+1 {
			return nil, false, false
		}
		if text = rest; size == 0 {
			continue
		}
		belongs = true
		f := &k.fields[i]
		if reason := f.set(rest[:size-1], root.Field(f.index[0])); reason != "" {
			found.addField(k.plan, i, reason)
		}
		text = rest[size-1:]
	}
	return found, belongs, text == ""
}

// typed adds the types of the fields that the type declares to an error of Unpack.
func (k *packing) typed(err error) error {
	if errs, ok := err.(FieldErrors); ok { //nolint:errorlint // as Unpack returns it
		for _, e := range errs {
			if i, declared := k.byName[e.Field]; declared {
				e.Type = k.fields[i].typ.String()
			}
		}
	}
	return err
}

// encode returns the one pair of the struct that source points to, which it does not change.
func (k *packing) encode(source any) ([]string, error) {
	if k.err != nil {
		return nil, k.err
	}
	var found complaints
	if err := found.validate(k.plan, source); err != nil {
		return nil, err
	}
	if len(found) > 0 {
		return nil, found.err(len(k.fields))
	}
	root := reflect.ValueOf(source).Elem()
	made := newScratch()
	defer made.free()
	buf, filled := append(made.texts, packedVersion), false
	for i := range k.fields {
		f := &k.fields[i]
		from := root.FieldByIndex(f.index)
		from, there := follow(from)
		if !there || f.omitEmpty && isEmpty(root.FieldByIndex(f.index)) {
			buf = append(buf, 0)
			continue
		}
		var reason string
		if buf, reason = f.form.pack(buf, from); reason != "" {
			found.addField(k.plan, i, reason)
		}
		filled = true
	}
	made.texts = buf
	if err := found.err(len(k.fields)); err != nil {
		return nil, err
	}
	if !filled {
		return nil, emptyError(k.typ)
	}
	return []string{k.name, string(buf)}, nil
}

// pack adds the text of from, with its length in front, to buf.
func (f *form) pack(buf []byte, from reflect.Value) (longer []byte, reason string) {
	if f.append == nil {
		text, reason := f.text(from)
		return append(binary.AppendUvarint(buf, uint64(len(text))+1), text...), reason
	}
	at := len(buf)
	longer, reason = f.append(append(buf, 0), from)
	size := uint64(len(longer) - at) // one more than the text's
	if size < 0x80 {
		longer[at] = byte(size)
		return longer, reason
	}
	var number [binary.MaxVarintLen64]byte
	return slices.Replace(longer, at, at+1, number[:binary.PutUvarint(number[:], size)]...), reason
}
