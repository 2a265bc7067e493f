package codec_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"net/netip"
	"reflect"
	"runtime/metrics"
	"strconv"
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

// FuzzStructDecode puts a text into one field, of any name or of one that there
// is. It must not panic, and what is decoded must survive a round trip.
func FuzzStructDecode(f *testing.F) {
	for i, text := range []string{"", "1", "-7", "1e3", "true", "1m", "2024-02-03T04:05:06.7+01:00", `[{"mail":"a@b.ch","more":{"k":"v"}}]`, `{"a":[null,1]}`, "\xff\x00", " x "} {
		for at := range uint16(13) {
			f.Add("name", text, at+uint16(i)*13)
		}
	}
	c := codec.Struct[fuzzed]()
	f.Fuzz(func(t *testing.T, name, text string, at uint16) {
		names := [...]string{name, "s", "n", "u", "f", "b", "d", "t", "m", "raw", "j", "a", "-"}
		name = names[int(at)%len(names)]
		roundTrip(t, c, codec.FieldsOf("s", "x", name, text), func(v *fuzzed) { v.T = v.T.UTC() })
		wantNoCanary(t, c, name, text, int(at)/len(names))
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
	for i, text := range []string{"{}", "null", `{"s":"x","n":1,"f":1.5,"a":[{}],"p":{"p":{}},"m":{"1":null},"u":5}`, `{"l":[{"mail":"a@b.ch"}]}`, `{"n":300}`, `{"s":"\ud800"}`, `{"a":1,"a":2}`, `[9007199254740993]`, `{"a":{"a":[{},{"b":1e5,"B":[]}]}}`} {
		f.Add(text, uint16(i))
	}
	f.Fuzz(func(t *testing.T, text string, at uint16) {
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
		roundTrip(t, codec.JSON[fuzzedDocument]{}, codec.FieldsOf("payload", text), normal)
		roundTrip(t, codec.JSON[any]{}, codec.FieldsOf("payload", text), func(*any) {})
		_, err := codec.JSON[any]{}.Decode(codec.FieldsOf("payload", text))
		fits := json.Valid([]byte(text)) && utf8.ValidString(text) && strings.Trim(text, " \t\r\n") != "null" && losesNothing(text)
		if taken := err == nil; taken != fits && !strings.Contains(fmt.Sprint(err), "surrogate") {
			t.Fatalf("%q: %v, by tokens it is taken: %v", text, err, fits)
		}
		wantNoCanary(t, codec.JSON[fuzzedDocument]{}, "payload", text, int(at))
	})
}

// roundTrip decodes, encodes and decodes again. normal makes values comparable
// that are equal.
func roundTrip[T any](t *testing.T, c codec.Codec[T], fields codec.Fields, normal func(*T)) {
	t.Helper()
	var first T
	var err error
	wantBounded(t, fields, func() { first, err = c.Decode(fields) })
	if err != nil {
		return
	}
	pairs, err := c.Encode(first)
	if err != nil {
		t.Fatalf("%q was decoded, but not encoded: %v", fields, err)
	}
	second, err := c.Decode(codec.FieldsOf(pairs...))
	if err != nil {
		t.Fatalf("%q was encoded as %q, but not decoded: %v", fields, pairs, err)
	}
	normal(&first)
	normal(&second)
	if !reflect.DeepEqual(first, second) {
		t.Fatalf("%q: %+v came back as %+v", fields, first, second)
	}
}

// wantBounded fails the test if decoding fields of text takes too long, three times
// in a row because the machine may have other work, or too much memory.
func wantBounded(t *testing.T, fields codec.Fields, decode func()) {
	t.Helper()
	size := 0
	for name, text := range fields.All() {
		size += len(name) + len(text)
	}
	var took time.Duration
	for range 3 {
		begun, room := time.Now(), allocated()
		decode()
		took, room = time.Since(begun), allocated()-room
		if limit := uint64(1<<20 + 64*size); room > limit { //nolint:gosec // a length is not negative
			t.Fatalf("%.200q: %d bytes were allocated for %d, at most %d are right", fields, room, size, limit)
		}
		if took <= 100*time.Millisecond {
			return
		}
	}
	t.Fatalf("%.200q: it takes %v to decode %d bytes", fields, took, size)
}

// allocated is how many bytes the process has allocated so far. It does not stop the
// world, as runtime.ReadMemStats does: that would take longer than all the rest.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// wantNoCanary decodes text with a canary at some place in it, which must not come
// out in the error.
func wantNoCanary[T any](t *testing.T, c codec.Codec[T], name, text string, place int) {
	t.Helper()
	canary := []string{"S3CR3T", "98769876"}[place%2]
	if strings.Contains(name, canary) {
		return // names may be told
	}
	place = place / 2 % (len(text) + 1)
	_, err := c.Decode(codec.FieldsOf(name, text[:place]+canary+text[place:]))
	if err != nil && strings.Contains(fmt.Sprintf("%v %+v", err, err), canary) {
		t.Fatalf("the value of %q is in the error: %v", name, err)
	}
}

// FuzzJSONKeeps: a text that is taken says what the value says, for types in which
// encoding/json loses parts without a word.
func FuzzJSONKeeps(f *testing.F) {
	for i, text := range []string{
		`[1,2]`, `[1]`, `[1,2,3]`, `[1,null]`, `[[1],[2,3]]`, `{"a":[1,2]}`, `{"::1":1,"0::1":2}`, `{"1":1,"01":2}`, `{"a":null}`, `[9007199254740993]`,
		`{"a":{"b":[9007199254740993,1,null]}}`, `[1e400]`, `"x"`, `["1",1]`, `[{"a":1,"A":2}]`, ` [ 1 , 2 ] `,
	} {
		f.Add(text, uint8(i))
		f.Add(text, uint8(i+1))
		f.Add(text, uint8(i+2))
	}
	f.Fuzz(func(t *testing.T, text string, at uint8) {
		switch at % 7 {
		case 0:
			keeps[[2]int](t, text)
		case 1:
			keeps[[]int](t, text)
		case 2:
			keeps[map[string][2]uint8](t, text)
		case 3:
			keeps[map[netip.Addr]int](t, text)
		case 4:
			keeps[map[int16][]bool](t, text)
		case 5:
			keeps[any](t, text)
		case 6:
			keeps[[]map[string]*[1]any](t, text)
		}
	})
}

// keeps compares a text that a codec takes with the JSON of the value, number by
// number.
func keeps[T any](t *testing.T, text string) {
	t.Helper()
	for _, c := range []codec.JSON[T]{{}, {UseNumber: true}} {
		value, err := c.Decode(codec.FieldsOf("payload", text))
		if err != nil {
			continue
		}
		pairs, err := c.Encode(value)
		if err != nil {
			t.Fatalf("%q was decoded, but not encoded: %v", text, err)
		}
		if before, after := generic(t, text), generic(t, pairs[1]); !reflect.DeepEqual(before, after) {
			t.Fatalf("%q became %q in a %T", text, pairs[1], value)
		}
	}
}

// generic returns a JSON text as a value. Names of a map may be written in two
// ways, and so may numbers.
func generic(t *testing.T, text string) any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return normalJSON(value)
}

func normalJSON(value any) any {
	switch value := value.(type) {
	case json.Number:
		x, err := value.Float64()
		whole, ok := new(big.Int).SetString(value.String(), 10)
		if err != nil || ok && strconv.FormatFloat(x, 'f', -1, 64) != whole.String() && x != 0 {
			return value
		}
		return x + 0 // no negative zero
	case []any:
		for i := range value {
			value[i] = normalJSON(value[i])
		}
	case map[string]any:
		normal := map[string]any{}
		for key, elem := range value {
			if addr, err := netip.ParseAddr(key); err == nil {
				key = addr.String()
			} else if n, err := strconv.ParseInt(key, 10, 64); err == nil {
				key = strconv.FormatInt(n, 10)
			}
			normal[key] = normalJSON(elem)
		}
		if len(normal) != len(value) {
			return value // two names, as a map of strings may have them
		}
		return normal
	}
	return value
}
