package codec

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// A discriminator is the field of an entry that tells how the others are to be read: the kind
// of [OneOf], the version of [Versions].
type discriminator struct {
	field string
	typ   reflect.Type // of the values, for errors
}

// read returns the text of the discriminator, with found = false where the entry lacks it.
// An entry that has it twice is refused, since the last value would decide over fields that
// may belong to the first.
func (d *discriminator) read(fields Fields) (text string, found bool, err error) {
	for c := fields.cursor(); c.next(); {
		if c.name != d.field {
			continue
		}
		if found {
			return "", true, d.fail("is there twice")
		}
		text, found = c.value, true
	}
	// A text that begins with a printable byte of ASCII is not blank.
	if found && (text == "" || text[0] <= ' ' || text[0] > '~') && strings.TrimSpace(text) == "" {
		return "", true, d.fail("is blank")
	}
	return text, found, nil
}

func (d discriminator) fail(reason string) FieldErrors {
	return FieldErrors{{Field: d.field, Type: d.typ.String(), Reason: reason}}
}

// failAs is fail with an error that errors.Is finds, and whose text is not shown.
func (d discriminator) failAs(cause error, reason string) error {
	return &causedError{d.fail(reason), cause}
}

// problem returns why the field cannot be a discriminator, or nil.
func (d discriminator) problem(of string) error {
	switch {
	case strings.TrimSpace(d.field) == "":
		return fmt.Errorf("%s: the name of the field is blank; give the field of the entry that tells its events apart", of)
	case IsHeader(d.field):
		return fmt.Errorf("%s: the field %q is reserved for headers; choose another name", of, d.field)
	}
	return nil
}

// causedError are FieldErrors with a cause that errors.Is and errors.As find, and whose text
// may hold values.
type causedError struct {
	FieldErrors
	cause error
}

func (e *causedError) Unwrap() []error { return []error{e.FieldErrors, e.cause} }

// mark is a discriminator of a codec around a plan. The plan's struct need not declare it.
type mark struct {
	name  string
	value string // is written; "" for a version whose entries lack the field
	// declared is set when the struct declares the field.
	declared bool
}

type marks []mark

const markReason = "has another value than the codec around this one gives it; leave it empty, or out of the struct"

func (m marks) find(name string) (found mark, ok bool) {
	for _, mark := range m {
		if mark.name == name {
			return mark, true
		}
	}
	return found, false
}

// told tells whether a discriminator has said that an entry is one of the type.
func (m marks) told() bool {
	for _, mark := range m {
		if mark.value != "" {
			return true
		}
	}
	return false
}

// cut takes off the marks in front, where Encode puts them. It spares a look for each of them
// among the names of the struct. Marks elsewhere are headers to the plan.
func (m marks) cut(fields Fields) Fields {
	for i := range m {
		c := fields.cursor()
		if m[i].declared || !c.next() || c.name != m[i].name {
			break
		}
		fields = c.rest()
	}
	return fields
}

func (m marks) appendTo(pairs []string) []string {
	for _, mark := range m {
		if mark.value != "" {
			pairs = append(pairs, mark.name, mark.value)
		}
	}
	return pairs
}

// isHeader tells whether a field of that name is none of the struct's, unless the struct
// declares it.
func (p *plan) isHeader(name string) bool {
	if IsHeader(name) {
		return true
	}
	_, ok := p.marks.find(name)
	return ok
}

// markable is a codec of this package that takes a mark in: it costs next to nothing then.
type markable[T any] interface {
	marked(m mark) Codec[T]
}

// withMark returns c for entries that have the mark, too.
func withMark[T any](c Codec[T], m mark) Codec[T] {
	if own, ok := c.(markable[T]); ok {
		return own.marked(m)
	}
	return markedCodec[T]{c, m}
}

func (c structCodec[T]) marked(m mark) Codec[T] {
	p := *c.plan // what is shared with it does not change
	i, declared := p.byName[m.name]
	m.declared = declared
	p.marks = append(marks{m}, p.marks...)
	if declared {
		if f := p.fields[i]; f.typ.Kind() != reflect.String || speaksText(f.typ) || f.typ == jsonNumberType {
			p.problem(f.path, "the field %q tells events apart, as a text; make it a string, or remove it", m.name)
		}
	}
	return structCodec[T]{&p}
}

// markedCodec writes the mark for a codec that does not.
type markedCodec[T any] struct {
	Codec[T]
	mark mark
}

func (c markedCodec[T]) Check() error {
	err := checkOf(c.Codec)
	if j, ok := c.Codec.(JSON[T]); ok && j.field() == c.mark.name {
		err = errors.Join(err, fmt.Errorf("JSON[%s]: the field %q tells events apart; give JSON.Field another name", reflect.TypeFor[T](), c.mark.name))
	}
	return err
}

func (c markedCodec[T]) Encode(value T) ([]string, error) {
	pairs, err := c.Codec.Encode(value)
	if err != nil || c.mark.value == "" {
		return pairs, err
	}
	for at := 0; at < len(pairs); at += 2 {
		if pairs[at] == c.mark.name {
			return nil, FieldErrors{{Field: c.mark.name, Type: reflect.TypeFor[T]().String(), Reason: "is written by the inner codec too; give one of the two another name"}}
		}
	}
	all := make([]string, 0, len(pairs)+2)
	return append(append(all, c.mark.name, c.mark.value), pairs...), nil
}

// checkOf returns the problems of a codec that may be no [Checker].
func checkOf(c any) error {
	if checker, ok := c.(Checker); ok {
		return checker.Check()
	}
	return nil
}

// decodeWith decodes into value without an allocation, if the codec can.
func decodeWith[T any](c Codec[T], into IntoDecoder[T], fields Fields, value *T) (err error) {
	if into != nil {
		return into.DecodeInto(fields, value)
	}
	*value, err = c.Decode(fields)
	return err
}
