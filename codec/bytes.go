package codec

import (
	"errors"
	"fmt"
	"reflect"
)

// Field is the codec of entries that hold the whole value in one field, in any format that has
// functions for it:
//
//	orders := codec.Field[Order]{
//		Marshal:   func(o Order) ([]byte, error) { return cbor.Marshal(o) },
//		Unmarshal: func(data []byte, o *Order) error { return cbor.Unmarshal(data, o) },
//	}
//
// For JSON there is [JSON], which refuses what would be lost, and for bytes that are the event
// themselves [Raw]. Other fields of the entry are ignored, headers included.
//
// When T is a struct or a pointer to one, its validate tags are checked after decoding and
// before encoding; errors name parts behind the field's name, as Go does. An error of a function
// and a panic in it refuse the value. The text of that error is not shown, as it may be made
// of values; errors.Is and errors.As find it.
//
// Both functions are required, and are called from many goroutines at once. The bytes that
// Unmarshal gets are its own: it may keep them.
type Field[T any] struct {
	// Name is the name of the entry's field; empty means "payload".
	Name string
	// Marshal returns the bytes of a value. The pairs keep no reference to them.
	Marshal func(value T) ([]byte, error)
	// Unmarshal sets the value, which is the zero T, from its bytes. They may be none.
	Unmarshal func(data []byte, value *T) error
}

// Check reports functions that are missing and validate tags that are not sound, all at once.
func (c Field[T]) Check() error {
	var problems []error
	if c.Marshal == nil || c.Unmarshal == nil {
		problems = append(problems, fmt.Errorf("codec.Field[%s]: Marshal or Unmarshal is nil; give both", reflect.TypeFor[T]()))
	}
	return errors.Join(append(problems, CheckTags[T]())...)
}

// Decode returns the value in the field. Its error is a [FieldErrors], or tells of a fault that
// Check would report.
func (c Field[T]) Decode(fields Fields) (T, error) {
	var value, zero T
	if c.Marshal == nil || c.Unmarshal == nil {
		return zero, c.Check()
	}
	text, ok := fields.Get(c.name())
	if !ok {
		return zero, c.fail("is missing")
	}
	err := c.call("Unmarshal", func() error { return c.Unmarshal([]byte(text), &value) })
	if err == nil {
		err = c.validate(&value)
	}
	if err != nil {
		return zero, err
	}
	return value, nil
}

// Encode returns the field and the bytes of value. Its error is a [FieldErrors], or tells of a
// fault that Check would report.
func (c Field[T]) Encode(value T) ([]string, error) {
	if c.Marshal == nil || c.Unmarshal == nil {
		return nil, c.Check()
	}
	if err := c.validate(&value); err != nil {
		return nil, err
	}
	var data []byte
	err := c.call("Marshal", func() (err error) {
		data, err = c.Marshal(value)
		return err
	})
	if err != nil {
		return nil, err
	}
	return []string{c.name(), string(data)}, nil
}

// call calls a function of the user's.
func (c Field[T]) call(name string, function func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = c.fail("makes its " + name + " panic")
		}
	}()
	if err := function(); err != nil {
		return &causedError{c.fail("is refused by its " + name), err}
	}
	return nil
}

func (c Field[T]) name() string { return fieldOr(c.Name) }

func (c Field[T]) fail(reason string) FieldErrors {
	return FieldErrors{{Field: c.name(), Type: reflect.TypeFor[T]().String(), Reason: reason}}
}

func (c Field[T]) validate(value *T) error {
	return validateIn(value, c.name(), func(t reflect.Type, path string) string {
		if path = goPath(t, path); path != "" {
			path = "." + path
		}
		return path
	})
}

func (c Field[T]) checkValue(value *T) error { return c.validate(value) }

// validateIn checks the validate tags of the value that a field holds. partOf makes a name of a path
// such as .Items[3].City.
func validateIn[T any](value *T, field string, partOf func(t reflect.Type, path string) string) error {
	t, hasTags := taggedType[T]()
	target := reflect.ValueOf(value).Elem()
	if target.Kind() == reflect.Pointer {
		target = target.Elem()
	}
	if !hasTags || !target.IsValid() {
		return nil
	}
	return rulesOf(t).check(target, func(path string) string { return field + partOf(t, path) })
}

// fieldOr returns the name of the field that holds a whole value.
func fieldOr(name string) string {
	if name == "" {
		return "payload"
	}
	return name
}

// Raw is the codec of entries whose event is the bytes of one field, as they are. The zero value
// is ready to use; it is safe for concurrent use. Other fields of the entry are ignored,
// headers included. A field that is there and empty is an event of no bytes.
type Raw struct {
	// Field is the name of the entry's field; empty means "payload".
	Field string
}

// Decode returns a copy of the field's bytes. Its error, for an entry that lacks the field, is a
// [FieldErrors].
func (c Raw) Decode(fields Fields) ([]byte, error) {
	text, ok := fields.Get(fieldOr(c.Field))
	if !ok {
		return nil, FieldErrors{{Field: fieldOr(c.Field), Type: "[]uint8", Reason: "is missing"}}
	}
	return []byte(text), nil
}

// Encode returns the field and the bytes. It does not fail.
func (c Raw) Encode(value []byte) ([]string, error) {
	return []string{fieldOr(c.Field), string(value)}, nil
}
