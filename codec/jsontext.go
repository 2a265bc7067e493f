package codec

import (
	"errors"
	"reflect"
)

// Text is a value whose JSON stands in a text: a document that was put into a string of another
// document, as outbox tables and envelopes have them.
//
//	type Row struct {
//		ID      string             `json:"id"`
//		Payload codec.Text[Order] `json:"payload"` // {"id":"1","payload":"{\"order\":\"o-1\"}"}
//	}
//
// What [JSON] refuses is refused in the text as well, JSON null included. Validate tags of T
// are checked with those around it, behind the name Value. In a field of a [Struct] a T alone is
// the same: its text is JSON.
type Text[T any] struct{ Value T }

// MarshalText returns the JSON of the value. Its error does not contain it.
func (t Text[T]) MarshalText() ([]byte, error) {
	text, reason := jsonOptions{}.marshal(&t.Value)
	if reason == "" && isNull(text) {
		reason = "would be JSON null, which decoding refuses"
	}
	if reason != "" {
		return nil, errors.New("codec.Text: the value " + reason)
	}
	return []byte(text), nil
}

// UnmarshalText sets the value from its JSON. Its error does not contain the text.
func (t *Text[T]) UnmarshalText(text []byte) error {
	if isNull(string(text)) {
		return errors.New("codec.Text: the text is JSON null")
	}
	var value T
	if reason := (jsonOptions{}).unmarshal(string(text), &value); reason != "" {
		return errors.New("codec.Text: the text " + reason)
	}
	t.Value = value
	return nil
}

// carried returns the type whose JSON is the text.
func (Text[T]) carried() reflect.Type { return reflect.TypeFor[T]() }

// carriedIn returns the type whose JSON a t has as its text, or nil.
func carriedIn(t reflect.Type) reflect.Type {
	if t.Kind() != reflect.Struct {
		return nil
	}
	if text, ok := reflect.Zero(t).Interface().(interface{ carried() reflect.Type }); ok {
		return text.carried()
	}
	return nil
}
