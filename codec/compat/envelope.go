package compat

import (
	"reflect"

	"millrace/codec"
)

// payload is the bytes of one field, which an inner codec reads as the only field of an entry.
const payload = "payload"

// innerOf returns the codec of a payload: inner, or JSON.
func innerOf[T any](inner codec.Codec[T]) codec.Codec[T] {
	if inner == nil {
		return codec.JSON[T]{}
	}
	return inner
}

// check is the Check of an inner codec.
func check[T any](inner codec.Codec[T]) error {
	if checker, ok := innerOf(inner).(codec.Checker); ok {
		return checker.Check()
	}
	return nil
}

// fail is an error of one field.
func fail[T any](field, reason string) error {
	return codec.FieldErrors{{Field: field, Type: reflect.TypeFor[T]().String(), Reason: reason}}
}

// required returns the text of a field that has to be there once.
func required[T any](fields codec.Fields, name string) (string, error) {
	text, found, err := optional[T](fields, name)
	if err == nil && !found {
		err = fail[T](name, "is missing")
	}
	return text, err
}

// optional returns the text of a field that may be missing, and is there once.
func optional[T any](fields codec.Fields, name string) (text string, found bool, err error) {
	for other, value := range fields.All() {
		if other != name {
			continue
		}
		if found {
			return "", true, fail[T](name, "is there twice")
		}
		text, found = value, true
	}
	return text, found, nil
}

// payloadOf returns the payload that an inner codec has written.
func payloadOf[T any](pairs []string) (string, error) {
	if len(pairs) != 2 || pairs[0] != payload {
		return "", fail[T](payload, "is not the only field that the inner codec writes; give it a codec of one field with that name, such as codec.JSON")
	}
	return pairs[1], nil
}
