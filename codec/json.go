package codec

import (
	"errors"
	"fmt"
	"reflect"
)

// JSON is the codec of entries that hold the whole value as JSON in one field.
// The zero value is ready to use; it is safe for concurrent use.
//
// Decoding refuses a missing field, JSON null, anything behind the value, and JSON that
// encoding/json would lose without a word, as the package documentation lists it;
// other fields of the entry are ignored, headers included. When T is a struct or a
// pointer to one, its validate tags are checked after decoding and before encoding.
// Errors name parts by their json tags, behind the field's name.
type JSON[T any] struct {
	// Field is the name of the entry's field; empty means "payload".
	Field string
	// UseNumber has the meaning of the option [UseNumber] of [Struct].
	UseNumber bool
}

// Check reports the parts of T that JSON cannot carry and the validate tags that
// are not sound, all at once.
func (c JSON[T]) Check() error {
	t := reflect.TypeFor[T]()
	var problems []error
	jsonProblems(t, t.String(), func(path, problem string) {
		problems = append(problems, fmt.Errorf("%s: %s", path, problem))
	})
	problems = append(problems, CheckTags[T]())
	return errors.Join(problems...)
}

// Decode returns the value in the field. Its error is a [FieldErrors], or tells
// of a validate tag that Check would report.
func (c JSON[T]) Decode(fields Fields) (T, error) {
	var value T
	if err := c.DecodeInto(fields, &value); err != nil {
		var zero T
		return zero, err
	}
	return value, nil
}

// DecodeInto is Decode into value, which is the zero T. See [IntoDecoder].
func (c JSON[T]) DecodeInto(fields Fields, value *T) error {
	text, ok := fields.Get(c.field())
	switch {
	case !ok:
		return c.fail("is missing")
	case text == "":
		return c.fail("is blank")
	case isNull(text):
		return c.fail(nullReason)
	}
	if reason := c.options().unmarshal(text, value); reason != "" {
		return c.fail(reason)
	}
	return c.validate(value)
}

// Encode returns the field and the JSON of value. Its error is a [FieldErrors],
// or tells of a validate tag that Check would report.
func (c JSON[T]) Encode(value T) ([]string, error) {
	if err := c.validate(&value); err != nil {
		return nil, err
	}
	text, reason := c.options().marshal(&value)
	if reason == "" && isNull(text) {
		reason = "would be JSON null, which decoding refuses; give it a value"
	}
	if reason != "" {
		return nil, c.fail(reason)
	}
	return []string{c.field(), text}, nil
}

func (c JSON[T]) options() jsonOptions { return jsonOptions{useNumber: c.UseNumber} }

func (c JSON[T]) field() string { return fieldOr(c.Field) }

func (c JSON[T]) fail(reason string) error {
	return FieldErrors{{Field: c.field(), Type: reflect.TypeFor[T]().String(), Reason: reason}}
}

func (c JSON[T]) validate(value *T) error {
	return validateIn(value, c.field(), partPath)
}
