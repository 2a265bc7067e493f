package codec_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"millrace/codec"
)

// FuzzDiscriminators puts any fields before one codec with kinds and versions. It must not
// panic, errors name no value, and an event that is taken survives a round trip.
func FuzzDiscriminators(f *testing.F) {
	for _, kind := range []string{"", " ", "placed", "order", "closed", "PLACED", "x"} {
		for _, version := range []string{"", "2", "3", "4", " 3"} {
			f.Add("kind", kind, "v", version, "id", "o-1")
			f.Add("v", version, "kind", kind, "kind", "placed")
			f.Add("number", "ancient", "kind", kind, "payload", `{"day":"d"}`)
		}
	}
	c := codec.OneOf("kind",
		codec.Kind("order", orders(), func(o order3) any { return o }),
		codec.Kind("placed", codec.Struct[placed](codec.DisallowUnknownFields()), func(p placed) any { return p }),
		codec.Kind("refunded", codec.Struct[refunded](), func(r refunded) any { return r }),
		codec.Kind("closed", codec.JSON[closed]{}, func(c closed) any { return c }))
	f.Fuzz(func(t *testing.T, name1, text1, name2, text2, name3, text3 string) {
		fields := codec.FieldsOf(name1, text1, name2, text2, name3, text3, "currency", "CHF")
		first, err := c.Decode(fields)
		count := 0
		for name := range fields.All() {
			if name == "kind" {
				count++
			}
		}
		kind, _ := fields.Get("kind")
		known := strings.Contains(" order placed refunded closed ", " "+kind+" ") && kind != "" && !strings.Contains(kind, " ")
		switch {
		case err == nil && (count != 1 || !known):
			t.Fatalf("%v is taken", fields)
		case errors.Is(err, codec.ErrUnknownKind) != (count == 1 && !known && strings.TrimSpace(kind) != ""):
			t.Fatalf("%v: %v", fields, err)
		case err != nil:
			if first != nil {
				t.Fatalf("%v: %v beside %v", fields, first, err)
			}
			for _, canary := range []string{"CHF"} { // stands in a tag, and so may be told with it alone
				if text := strings.ReplaceAll(err.Error(), "oneof=EUR CHF", ""); strings.Contains(text, canary) && !strings.Contains(name1+name2+name3, canary) {
					t.Fatalf("a value is in the error: %v", err)
				}
			}
			return
		}
		pairs, err := c.Encode(first)
		if err != nil {
			t.Fatalf("%v was decoded, but not encoded: %v", fields, err)
		}
		second, err := c.Decode(codec.FieldsOf(pairs...))
		if err != nil || !reflect.DeepEqual(first, second) {
			t.Fatalf("%v: %+v came back as %+v, %v", fields, first, second, err)
		}
	})
}
