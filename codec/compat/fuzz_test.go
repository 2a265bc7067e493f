package compat_test

import (
	"reflect"
	"slices"
	"testing"

	"millrace/codec"
	"millrace/codec/compat"
)

// FuzzWatermill: metadata that are read are written and read again as they were.
func FuzzWatermill(f *testing.F) {
	for _, text := range []string{"", "\xc0", "\x80", "\x81\xa1a\xa1b", "\x82\xa1a\xa1b\xa1a\xa1c", "\xde\x00\x01\xd9\x01a\xda\x00\x01b", "\xdf\xff\xff\xff\xff", "\x81\xa1\xff\xa1b", "\x91\x01"} {
		f.Add(text)
	}
	c := compat.Watermill[[]byte]{Payload: codec.Raw{}}
	f.Fuzz(func(t *testing.T, metadata string) {
		first, err := c.Decode(codec.FieldsOf("_watermill_message_uuid", "u", "metadata", metadata, "payload", "x"))
		if err != nil {
			return
		}
		again(t, codec.Codec[compat.WatermillMessage[[]byte]](c), first)
	})
}

// FuzzFastStream: a message that is read is written and read again as it was.
func FuzzFastStream(f *testing.F) {
	f.Add("\x89BIN\x0d\x0a\x1a\x0a\x00\x01\x00\x00\x00\x12\x00\x00\x00\x14\x00\x00hello")
	f.Add("\x89BIN\x0d\x0a\x1a\x0a\x00\x01\x00\x00\x00\x12\x00\x00\x00\x1a\x00\x01\x00\x01a\x00\x01b")
	f.Add("\x89BIN\x0d\x0a\x1a\x0a\x00\x01\x00\x00\x00\x16\x00\x00\x00\x18gap.\x00\x00x")
	f.Add("{}")
	c := compat.FastStream[[]byte]{Data: codec.Raw{}}
	f.Fuzz(func(t *testing.T, text string) {
		first, err := c.Decode(codec.FieldsOf("__data__", text))
		if err != nil {
			return
		}
		again(t, codec.Codec[compat.FastStreamMessage[[]byte]](c), first)
	})
}

// FuzzChange: a change of either form is written and read again as it was.
func FuzzChange(f *testing.F) {
	for _, text := range []string{`{}`, `{"op":"d","before":{"id":"1"}}`, `{"schema":{},"payload":{"op":"c","after":{"id":"1"},"source":{"a":[1]}}}`, `{"op":"t"}`, `{"op":"c","after":{"id":1}}`, `[]`, `{"Op":"d","OP":"c"}`} {
		f.Add(text)
	}
	c := codec.Codec[compat.Change[order]](codec.JSON[compat.Change[order]]{Field: "value"})
	f.Fuzz(func(t *testing.T, text string) {
		first, err := c.Decode(codec.FieldsOf("value", text))
		if err != nil {
			return
		}
		first.Source = nil // its white space may change
		again(t, c, first)
	})
}

func again[T any](t *testing.T, c codec.Codec[T], first T) {
	t.Helper()
	pairs, err := c.Encode(first)
	if err != nil {
		t.Fatalf("%+v was decoded, but not encoded: %v", first, err)
	}
	second, err := c.Decode(codec.FieldsOf(pairs...))
	if err != nil || !reflect.DeepEqual(first, second) {
		t.Fatalf("%+v came back as %+v, %v", first, second, err)
	}
	if more, err := c.Encode(second); err != nil || !slices.Equal(pairs, more) {
		t.Fatalf("%q is written the second time as %q, %v", pairs, more, err)
	}
}
