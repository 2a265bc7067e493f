package display

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"millrace/codec"
)

// pair is a field.
type pair struct{ name, value string }

// Pairs are fields in their order, for JSON. [Split] makes them.
type Pairs []pair

// Unpacked returns the fields with those of a packed field in its place, see [codec.Packed]. A
// field that only looks like one stays as it is.
func Unpacked(f codec.Fields) codec.Fields {
	unpacked, err := codec.Unpack(f)
	if err != nil {
		return f
	}
	return unpacked
}

// Split parts the fields of an event, unpacked, from its headers, see [codec.IsHeader].
func Split(f codec.Fields) (fields, headers Pairs) {
	fields = Pairs{}
	for name, value := range Unpacked(f).All() {
		if codec.IsHeader(name) {
			headers = append(headers, pair{name, value})
		} else {
			fields = append(fields, pair{name, value})
		}
	}
	return fields, headers
}

// MarshalJSON writes an object with the fields in their order. The values of a name that repeats
// are an array, and a value that is not UTF-8 is {"base64": ".."}.
func (p Pairs) MarshalJSON() ([]byte, error) {
	values := map[string][]any{}
	for _, field := range p {
		values[field.name] = append(values[field.name], jsonValue(field.value))
	}
	var b bytes.Buffer
	for _, field := range p {
		all := values[field.name]
		if all == nil {
			continue // it is written
		}
		delete(values, field.name)
		var value any = all
		if len(all) == 1 {
			value = all[0]
		}
		if err := writeMember(&b, field.name, value); err != nil {
			return nil, err
		}
	}
	return append(append([]byte{'{'}, b.Bytes()...), '}'), nil
}

func writeMember(b *bytes.Buffer, name string, value any) error {
	if b.Len() > 0 {
		b.WriteByte(',')
	}
	for i, part := range []any{name, value} {
		if i > 0 {
			b.WriteByte(':')
		}
		text, err := json.Marshal(part)
		if err != nil {
			return err
		}
		b.Write(text)
	}
	return nil
}

func jsonValue(text string) any {
	if utf8.ValidString(text) {
		return text
	}
	return map[string]string{"base64": base64.StdEncoding.EncodeToString([]byte(text))}
}

// FieldLines are the fields for people, unpacked, a line for each.
func FieldLines(f codec.Fields) string {
	f = Unpacked(f)
	width := 0
	for name := range f.All() {
		width = max(width, utf8.RuneCountInString(Clean(name)))
	}
	var b strings.Builder
	for name, value := range f.All() {
		name = Clean(name)
		fmt.Fprintf(&b, "  %s%s  %s\n", name, strings.Repeat(" ", width-utf8.RuneCountInString(name)), Clean(value))
	}
	return b.String()
}
