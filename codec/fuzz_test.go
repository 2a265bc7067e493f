package codec_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"millrace/codec"
)

type fuzzed struct {
	S     string            `mapstructure:"s,trim" validate:"max=1000"`
	N     int16             `mapstructure:"n" validate:"ne=7"`
	U     *uint8            `mapstructure:"u"`
	F     float32           `mapstructure:"f"`
	B     bool              `mapstructure:"b"`
	D     time.Duration     `mapstructure:"d"`
	T     time.Time         `mapstructure:"t"`
	M     time.Time         `mapstructure:"m,unixmilli"`
	Raw   []byte            `mapstructure:"raw"`
	J     []contact         `mapstructure:"j" validate:"dive"`
	A     map[string]any    `mapstructure:"a"`
	Extra map[string]string `mapstructure:",remain"`
}

// FuzzStructDecode puts one text into one field after the other, and into a field
// of any name. It must not panic, and what is decoded must survive a round trip.
func FuzzStructDecode(f *testing.F) {
	for _, text := range []string{"", "1", "-7", "1e3", "true", "1m", "2024-02-03T04:05:06.7+01:00", `[{"mail":"a@b.ch","more":{"k":"v"}}]`, `{"a":[null,1]}`, "\xff\x00", " x "} {
		f.Add("name", text)
	}
	c := codec.Struct[fuzzed]()
	f.Fuzz(func(t *testing.T, name, text string) {
		for _, name := range []string{name, "s", "n", "u", "f", "b", "d", "t", "m", "raw", "j", "a", "-"} {
			roundTrip(t, c, codec.Fields{name: text, "s": "x"}, func(v *fuzzed) { v.T = v.T.UTC() })
		}
	})
}

type fuzzedDocument struct {
	S string             `json:"s" validate:"max=1000"`
	N int8               `json:"n"`
	F float32            `json:"f"`
	A any                `json:"a"`
	P *fuzzedDocument    `json:"p"`
	L []contact          `json:"l" validate:"dive"`
	M map[int]*time.Time `json:"m"`
	U codec.UnixMilli    `json:"u"`
}

// FuzzJSONDecode is FuzzStructDecode for whole documents.
func FuzzJSONDecode(f *testing.F) {
	for _, text := range []string{"{}", "null", `{"s":"x","n":1,"f":1.5,"a":[{}],"p":{"p":{}},"m":{"1":null},"u":5}`, `{"l":[{"mail":"a@b.ch"}]}`, `{"n":300}`, `{"s":"\ud800"}`, `{"a":1,"a":2}`, `[9007199254740993]`, `{"a":{"a":[{},{"b":1e5,"B":[]}]}}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		normal := func(v *fuzzedDocument) {
			for ; v != nil; v = v.P {
				for key, at := range v.M {
					if at != nil {
						utc := at.UTC()
						v.M[key] = &utc
					}
				}
			}
		}
		roundTrip(t, codec.JSON[fuzzedDocument]{}, codec.Fields{"payload": text}, normal)
		roundTrip(t, codec.JSON[any]{}, codec.Fields{"payload": text}, func(*any) {})
		_, err := codec.JSON[any]{}.Decode(codec.Fields{"payload": text})
		fits := json.Valid([]byte(text)) && utf8.ValidString(text) && strings.Trim(text, " \t\r\n") != "null" && losesNothing(text)
		if taken := err == nil; taken != fits && !strings.Contains(fmt.Sprint(err), "surrogate") {
			t.Fatalf("%q: %v, by tokens it is taken: %v", text, err, fits)
		}
	})
}

// roundTrip decodes, encodes and decodes again. normal makes values comparable
// that are equal.
func roundTrip[T any](t *testing.T, c codec.Codec[T], fields codec.Fields, normal func(*T)) {
	t.Helper()
	first, err := c.Decode(fields)
	if err != nil {
		return
	}
	pairs, err := c.Encode(first)
	if err != nil {
		t.Fatalf("%q was decoded, but not encoded: %v", fields, err)
	}
	second, err := c.Decode(fieldsOf(pairs))
	if err != nil {
		t.Fatalf("%q was encoded as %q, but not decoded: %v", fields, pairs, err)
	}
	normal(&first)
	normal(&second)
	if !reflect.DeepEqual(first, second) {
		t.Fatalf("%q: %+v came back as %+v", fields, first, second)
	}
}
