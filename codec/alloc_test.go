package codec_test

import (
	"testing"

	"millrace/codec"
)

// Counting allocations does not go with parallel tests, so these are not.

func TestStructOfOneTypeIsBuiltOnce(t *testing.T) {
	first := codec.Struct[benchEvent]()
	if n := testing.AllocsPerRun(100, func() { codec.Struct[benchEvent]() }); n > 2 {
		t.Errorf("another codec of the type is made with %v allocations, want 2 at most", n)
	}
	if codec.Struct[benchEvent]() != first {
		t.Error("two codecs of one type are not the same")
	}
	if codec.Struct[benchEvent](codec.DisallowUnknownFields()) == first {
		t.Error("a strict codec is the same as one that is not")
	}
}
