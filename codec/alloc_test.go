//go:build !race

package codec_test

import (
	"runtime"
	"testing"
	"time"

	"millrace/codec"
)

// Counting allocations does not go with parallel tests, so those of this file are
// not; nor with the race detector, under which a sync.Pool forgets at random.

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

func TestStructAllocations(t *testing.T) {
	type milli struct {
		ID       string          `mapstructure:"id,trim" validate:"required,max=64"`
		N        int64           `mapstructure:"n" validate:"gt=0"`
		Price    float32         `mapstructure:"price" validate:"gte=0"`
		At       time.Time       `mapstructure:"at,unixmilli" validate:"required"`
		Also     codec.UnixMilli `mapstructure:"also"`
		Duration time.Duration   `mapstructure:"duration" validate:"min=1s"`
	}
	millis := codec.FieldsOf("id", " x ", "n", "7", "price", "1.5", "at", "1700000000000", "also", "1", "duration", "1m", "unknown", "x")
	plain := mustDecode(t, codec.Struct[benchPlain](), benchFields)
	if plain != benchPlain(benchValue) {
		t.Errorf("got %+v", plain)
	}
	decodes(t, codec.Struct[benchPlain](), benchFields)
	decodes(t, codec.Struct[benchEvent](), benchFields)
	decodes(t, codec.Struct[benchEvent](codec.DisallowUnknownFields()), benchFields)
	decodes(t, codec.Struct[milli](), millis)
	encodes(t, codec.Struct[benchPlain](), plain)
	encodes(t, codec.Struct[benchEvent](), benchValue)
	encodes(t, codec.Struct[milli](), mustDecode(t, codec.Struct[milli](), millis))
}

// TestPackedAllocations: all values in one text.
func TestPackedAllocations(t *testing.T) {
	pairs, err := codec.Packed[benchEvent]().Encode(benchValue)
	if err != nil {
		t.Fatal(err)
	}
	decodes(t, codec.Packed[benchEvent](), codec.FieldsOf(pairs...))
	decodes(t, codec.Packed[benchEvent](codec.DisallowUnknownFields()), codec.FieldsOf(append(pairs, "traceparent", "00")...))
	encodes(t, codec.Packed[benchEvent](), benchValue)
}

// TestJSONAllocations: no allocation but those of the value, and of the text and its pair.
func TestJSONAllocations(t *testing.T) {
	type flat struct {
		ID    string          `json:"id" validate:"required"`
		N     int64           `json:"n" validate:"gt=0"`
		Price float64         `json:"price"`
		At    codec.UnixMilli `json:"at"`
		Inner struct {
			Name string `json:"name"`
			OK   bool   `json:"ok"`
		} `json:"inner"`
	}
	fields := codec.FieldsOf("payload", `{"id":"x","n":7,"new":{"a":["b"]},"price":1.5,"at":1700000000000,"inner":{"NAME":"n","ok":true}}`)
	decodes(t, codec.JSON[flat]{}, fields)
	encodes(t, codec.JSON[struct {
		ID string `json:"id"`
		N  []int  `json:"n"`
	}]{}, struct {
		ID string `json:"id"`
		N  []int  `json:"n"`
	}{"x", []int{1, 2}})
	order := newBenchOrder(50)
	pairs, err := codec.JSON[benchOrder]{}.Encode(order)
	if err != nil {
		t.Fatal(err)
	}
	fields = codec.FieldsOf(pairs...)
	if n := testing.AllocsPerRun(100, func() { mustDecode(t, codec.JSON[benchOrder]{}, fields) }); n > 20 {
		t.Errorf("an order of 50 items is decoded with %v allocations, want 20 at most", n) // its list grows 7 times
	}
}

// decodes fails when Decode allocates more than the value.
func decodes[T any](t *testing.T, c codec.Codec[T], fields codec.Fields) {
	t.Helper()
	if n := testing.AllocsPerRun(200, func() {
		if _, err := c.Decode(fields); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("%T.Decode makes %v allocations, want the value only", c, n)
	}
}

// encodes fails when Encode allocates more than the value, its pairs and their
// texts.
func encodes[T any](t *testing.T, c codec.Codec[T], value T) {
	t.Helper()
	if n := testing.AllocsPerRun(200, func() {
		if _, err := c.Encode(value); err != nil {
			t.Fatal(err)
		}
	}); n > 3 {
		t.Errorf("%T.Encode makes %v allocations, want 3", c, n)
	}
	// The memory that is used again must not carry texts from value to value.
	const values, most = 200, 1000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range values {
		if _, err := c.Encode(value); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / values; each > most {
		t.Errorf("%T.Encode takes %d bytes for a value, want %d at most", c, each, most)
	}
}
