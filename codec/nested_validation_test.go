package codec_test

import (
	"errors"
	"testing"

	"millrace/codec"
)

type leaf struct {
	N int `json:"n" validate:"gt=0"`
}

type (
	behindOne   struct{ Leaf *leaf }
	behindTwo   struct{ Leaf **leaf }
	behindThree struct{ One *behindOne }
	Embedded    struct {
		M int `json:"m" validate:"gt=0"`
	}
	embeddingExported struct{ *Embedded }
)

// Tags are looked at wherever validator looks, however many pointers and structs are in
// between.
func TestTagsBehindPointersInNestedStructs(t *testing.T) {
	t.Parallel()
	t.Run("one pointer", wantChecked[behindOne](`{"Leaf":{"n":1}}`, `{"Leaf":{"n":-1}}`))
	t.Run("two pointers", wantChecked[behindTwo](`{"Leaf":{"n":1}}`, `{"Leaf":{"n":-1}}`))
	t.Run("a pointer in a struct behind a pointer", wantChecked[behindThree](`{"One":{"Leaf":{"n":1}}}`, `{"One":{"Leaf":{"n":-1}}}`))
	t.Run("embedded", wantChecked[embeddingExported](`{"m":1}`, `{"m":-1}`))
	t.Run("itself behind a pointer", wantChecked[*behindOne](`{"Leaf":{"n":1}}`, `{"Leaf":{"n":-1}}`))
}

// wantChecked is a test of an event in which a T is nested, as JSON.
func wantChecked[T any](good, bad string) func(*testing.T) {
	return func(t *testing.T) {
		t.Parallel()
		type event struct {
			ID   string `mapstructure:"id" validate:"required"`
			Part T      `mapstructure:"part"`
		}
		c := codec.Struct[event]()
		value, err := c.Decode(codec.FieldsOf("id", "x", "part", good))
		if err != nil {
			t.Errorf("%s: %v", good, err)
		}
		if _, err := c.Encode(value); err != nil {
			t.Errorf("%s, encoded: %v", good, err)
		}
		var wrong *codec.FieldError
		if _, err := c.Decode(codec.FieldsOf("id", "x", "part", bad)); !errors.As(err, &wrong) {
			t.Errorf("%s: %v, want a FieldError", bad, err)
		}
		if _, err := c.Decode(codec.FieldsOf("id", "x")); err != nil {
			t.Errorf("without it: %v", err)
		}
	}
}
