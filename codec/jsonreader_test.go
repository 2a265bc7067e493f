package codec_test

import (
	"encoding/json"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
	"unsafe"

	"millrace/codec"
)

type readBase struct {
	Base string `json:"base"`
	Same int    `json:"in_base"`
}

type readPointed struct {
	Pointed *int8 `json:"pointed"`
}

// ReadPointed is exported, as encoding/json sets no embedded pointer otherwise.
type ReadPointed = readPointed

// readAll has every kind of part that is read in one pass.
type readAll struct {
	S    string               `json:"s"`
	B    bool                 `json:"b"`
	I    int                  `json:"i"`
	I8   int8                 `json:"i8"`
	I64  int64                `json:"i64"`
	U    uint                 `json:"u"`
	U16  uint16               `json:"u16"`
	F32  float32              `json:"f32"`
	F64  float64              `json:"f64"`
	A    any                  `json:"a"`
	Raw  []byte               `json:"raw"`
	T    time.Time            `json:"t"`
	UM   codec.UnixMilli      `json:"um"`
	US   *codec.Unix          `json:"us"`
	P    **int                `json:"p"`
	Self *readAll             `json:"self"`
	L    []readAll            `json:"l"`
	LS   []string             `json:"ls"`
	LP   []*bool              `json:"lp"`
	Arr  [2]int16             `json:"arr"`
	M    map[string]any       `json:"m"`
	MI   map[int8][]uint      `json:"mi"`
	MU   map[uint16]*readBase `json:"mu"`
	MS   map[string]string    `json:"ms"`
	J    json.RawMessage      `json:"j"`
	IP   netip.Addr           `json:"ip"`
	Gone int                  `json:"-"`
	Bare int
	readBase
}

type readNested struct {
	readPointed2
	X []map[string][1]readBase `json:"\u00fcx"`
}

type readPointed2 struct{ readBase }

// readNumber and caseTwins have parts that are left to encoding/json.
type readNumber struct {
	N json.Number `json:"n"`
	M []json.Number
}

var readTexts = []string{
	`{}`, `null`, ` { } `, `[]`, `[1,2]`, `[[],[ ]]`, `""`, `"x"`, `1`, `-0`, `0`, `01`, `1.`, `.5`, `1e5`, `1E+5`, `1e`, `-`, `+1`, `1.5e-3`, `123456789012345678901`, `9007199254740993`, `1e400`, `1e-400`,
	`true`, `false`, `tru`, `truex`, `nul`, `{"s":null,"b":null,"i":null,"f64":null,"a":null,"raw":null,"t":null,"p":null,"self":null,"l":null,"arr":null,"m":null,"mi":null}`,
	`{"s":"a","b":true,"i":-1,"i8":127,"i64":9223372036854775807,"u":1,"u16":65535,"f32":1.5,"f64":-0.0,"a":[1,{"b":null}],"raw":"AAEC","t":"2024-02-03T04:05:06.7Z","um":5,"us":7,"p":3,"self":{"l":[{},{}]},"ls":["x",""],"lp":[true,null],"arr":[1,2],"m":{"a":1},"mi":{"-7":[1]},"mu":{"7":null,"8":{}},"ms":{"a":"b"},"j":[1, 2],"ip":"::1","Bare":1,"base":"b","in_base":4}`,
	`{"i8":128}`, `{"i":1.0}`, `{"i":1e2}`, `{"u":-1}`, `{"f32":1e39}`, `{"arr":[1]}`, `{"arr":[1,2,3]}`, `{"arr":[]}`, `{"ls":[null]}`, `{"l":[null]}`, `{"ms":{"a":null}}`, `{"mi":{"7":[1],"07":[2]}}`, `{"mi":{"300":[]}}`, `{"mi":{"x":[]}}`, `{"m":{"a":1,"a":2}}`,
	`{"s":"a","s":"b"}`, `{"S":"a"}`, `{"S":"a","s":"b"}`, "{\"\u017f\":\"long s\"}", `{"bare":2,"BARE":3}`, `{"x":1,"x":2}`, `{"x":{"y":[{"z":1,"z":2}]}}`, `{"x":{"y":[{"z":1},{"z":2}]}}`, `{"\u0073":"x"}`, `{"j":{"a":1,"a":2}}`, `{"j": null }`, `{"ip":null}`, `{"ip":"x"}`, `{"ip":7}`,
	`"\ud83d\ude00"`, `"\ud83d"`, `"\ude00"`, `"\ud83d\ud83d\ude00"`, `"\u12"`, `"\x"`, `"\`, `"a\u0041\/\b\f\n\r\t\"\\"`, "\"\x01\"", "\"\u007f\"", `"\ufffd"`, `{"s":"\u00e9`, `{"raw":"AA=="}`, `{"raw":"A\nA=="}`, `{"raw":"A"}`, `{"raw":[1,2]}`, `{"raw":[256]}`, `{"raw":[]}`,
	`{"t":"2024\u002d02-03T04:05:06Z"}`, `{"t":""}`, `{"t":5}`, `{"um":"5"}`, `{"um":1.5}`, `{"um":null}`, `{"us":null}`, `{"a":1,}`, `{"a" 1}`, `{,}`, `[1,]`, `[,1]`, `{"a":}`, `{"a":1}}`, `[1]]`, `{"a":1`, `["`, `{"a`, `[1 2]`, `{"a":1 "b":2}`, `{1:2}`, "[1]\x00", "\x00", "[\v1]",
	`{"n":1,"M":["1",2,null]}`, `{"n":"1"}`, `{"n":1e5}`, `{"n":""}`, `{"ID":1,"id":2}`, `{"Id":1}`, `{"name":"a","NAME":"b"}`, `{"base":"x","üx":[{"a":[{"base":"y"}]}]}`, `{"üX":[]}`, `{"pointed":1}`, `{"POINTED":1}`,
	`{"self":` + strings.Repeat(`{"self":`, 97) + `{}` + strings.Repeat(`}`, 98), `{"self":` + strings.Repeat(`{"self":`, 98) + `{}` + strings.Repeat(`}`, 99), `{"self":` + strings.Repeat(`{"self":`, 99) + `{}` + strings.Repeat(`}`, 100),
	strings.Repeat(`[`, 100) + strings.Repeat(`]`, 100), strings.Repeat(`[`, 101) + strings.Repeat(`]`, 101), `{"x":` + strings.Repeat(`[`, 99) + strings.Repeat(`]`, 100), `{"x":` + strings.Repeat(`[`, 100) + strings.Repeat(`]`, 101),
	`{"ls":["` + strings.Repeat(`short","\u00e9","`, 700) + strings.Repeat("long", 600) + `"],"ms":{"` + strings.Repeat("k", 2000) + `":"v"}}`,
}

// readers compare the two ways to read a text, for one type each.
var readers = []func(t *testing.T, text string, options int) (taken int){
	readsSame[readAll], readsSame[*readAll], readsSame[readNested], readsSame[any], readsSame[map[string]any], readsSame[[]any], readsSame[tree],
	readsSame[map[int16][]bool], readsSame[string], readsSame[float32], readsSame[[]map[uint]*[1]any], readsSame[struct{ *ReadPointed }],
	readsSame[readNumber], readsSame[caseTwins], readsSame[map[netip.Addr]int],
}

// TestJSONReader holds the one pass against the two that it stands for, and FuzzJSONReader
// for more texts.
func TestJSONReader(t *testing.T) {
	t.Parallel()
	taken := 0
	for i, text := range readTexts {
		for _, read := range readers {
			taken += read(t, text, i)
		}
	}
	if taken < 300 {
		t.Errorf("%d texts are read in one pass, want most of those that are right", taken)
	}
}

func FuzzJSONReader(f *testing.F) {
	for i, text := range readTexts {
		f.Add(text, uint8(i))
	}
	f.Fuzz(func(t *testing.T, text string, at uint8) {
		if utf8.ValidString(text) { // other texts do not get that far
			readers[int(at)%len(readers)](t, text, int(at)/len(readers))
		}
	})
}

// readsSame compares the values of one type. It returns 1 if it is read in one pass.
func readsSame[T any](t *testing.T, text string, options int) (taken int) {
	t.Helper()
	var leftOut bool // parts of T are left to encoding/json
	switch any(*new(T)).(type) {
	case readNumber, caseTwins, map[netip.Addr]int:
		leftOut = true
	}
	useNumber, strict := options%4 == 1, options%4 == 2
	want, reason := codec.JSONInTwoPasses[T](text, useNumber, strict)
	got, ok := codec.JSONInOnePass[T](text, useNumber, strict)
	switch {
	case ok && reason != "":
		t.Fatalf("%q into a %T: taken, want %q", text, want, reason)
	case ok && !reflect.DeepEqual(got, want):
		t.Fatalf("%q into a %T: %+v, want %+v", text, want, got, want)
	case !ok && !leftOut && reason == "":
		t.Fatalf("%q into a %T: not taken in one pass", text, want)
	case !ok && !reflect.ValueOf(&got).Elem().IsZero():
		t.Fatalf("%q into a %T: something is left: %+v", text, want, got)
	case ok:
		writesTheSame(t, want)
		return 1
	}
	return 0
}

func writesTheSame[T any](t *testing.T, value T) {
	t.Helper()
	want, wantReason := codec.EncodedJSONSlowly(value)
	got, reason := codec.EncodedJSON(value)
	if got != want || reason != wantReason {
		t.Fatalf("%+v becomes %q, %q, want %q, %q", value, got, reason, want, wantReason)
	}
}

type nullText struct{ X int }

func (nullText) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// TestJSONProof holds the encoding without a second look against the one with it, for
// values that a second look refuses among others.
func TestJSONProof(t *testing.T) {
	t.Parallel()
	seconds := time.Date(1890, 1, 1, 0, 0, 0, 0, time.FixedZone("", 1786))
	nested := func(levels int) (value any) {
		for i := range levels {
			if value = []any{value}; i%2 == 0 {
				value = map[string]any{"a": value.([]any)[0]}
			}
		}
		return value
	}
	chain := func(levels int) *tree {
		value := &tree{}
		for range levels - 1 {
			value = &tree{Parent: value}
		}
		return value
	}
	type mixed struct {
		At  time.Time
		Any any
		*readBase
	}
	type numbers struct {
		N json.Number `json:",omitempty"`
		A any
	}
	for _, value := range []any{
		nil, 1, "a", "\xff", math.NaN(), seconds, []time.Time{seconds}, map[string]any{"a": seconds}, map[time.Time]int{seconds: 1}, json.Number(""), json.Number("x"),
		[]any{json.Number("")}, numbers{}, numbers{A: json.Number("")}, numbers{N: "1", A: numbers{}}, mixed{}, mixed{At: seconds}, mixed{Any: seconds}, mixed{Any: &mixed{Any: []any{&seconds}}},
		mixed{Any: mixed{readBase: &readBase{}}}, json.RawMessage(`{"a":1,"a":2}`), mixed{Any: json.RawMessage(`{"a":1,"a":2}`)}, []json.RawMessage{[]byte(`"\ud800"`)}, nullText{}, []nullText{{}}, []any{nullText{}},
		map[string]nullText{"": {}}, []*nullText{{}}, nested(99), nested(100), nested(101), mixed{Any: nested(99)}, mixed{Any: nested(100)}, chain(100), chain(101), *chain(100), *chain(101), map[string]any{"a": chain(99)}, map[string]any{"a": chain(100)},
		map[string]any{"a": nested(98), "b": nested(99)}, map[string]any{"b": nested(100)}, []mixed{{Any: [][][]int{{{1}}}}}, [1]any{nested(99)}, [1]any{nested(100)}, map[int]any{1: nested(99)}, map[int]any{1: nested(100)},
		map[netip.Addr]int{netip.MustParseAddr("::1"): 1}, map[netip.Addr]any{{}: nil}, caseTwins{}, readAll{}, struct{ C chan int }{}, new(int), (*int)(nil), []any{new(any)}, panicJSON{}, []any{panicJSON{}},
		mixed{Any: []struct{ A [][]any }{{A: [][]any{{nested(95)}}}}}, mixed{Any: []struct{ A [][]any }{{A: [][]any{{nested(96)}}}}}, []any{[]struct{ A [97]struct{ B []int } }{}},
	} {
		writesTheSameSafely(t, value)
		writesTheSameSafely(t, []any{value})
	}
	for levels := 94; levels < 100; levels++ {
		value := any(struct {
			A any
			B [][]int
		}{B: [][]int{{1}}})
		for range levels {
			value = []any{value}
		}
		writesTheSame(t, value)
	}
	writesTheSame(t, mixed{At: seconds})
	writesTheSame(t, []nullText{{}})
	writesTheSame(t, *chain(101))
	writesTheSame(t, map[string]tree{"": *chain(100)})
	writesTheSame(t, []nullText{{}})
	writesTheSame(t, struct{ A, B any }{nested(99), nested(98)})
	writesTheSame(t, struct{ A, B any }{nested(98), nested(100)})
}

// writesTheSameSafely is for values some of which make a method panic, which only one of the two
// contains.
func writesTheSameSafely(t *testing.T, value any) {
	t.Helper()
	if text, reason := codec.EncodedJSON(value); strings.Contains(reason, "panic") {
		if text != "" {
			t.Errorf("%T: %q", value, text)
		}
		return
	}
	writesTheSame(t, value)
}

// TestJSONSharesLittle: a string that is kept of a large text does not keep the text.
func TestJSONSharesLittle(t *testing.T) {
	t.Parallel()
	type event struct {
		ID    string            `json:"id"`
		Any   any               `json:"any"`
		ByKey map[string]string `json:"by_key"`
	}
	for size, shared := range map[int]bool{100: true, 10_000: false} {
		text := `{"id":"an id","any":"text","x":"` + strings.Repeat("x", size) + `","by_key":{"k":"` + strings.Repeat("y", size) + `"}}`
		got, ok := codec.JSONInOnePass[event](text, false, false)
		if !ok || got.ID != "an id" || got.Any != "text" || len(got.ByKey["k"]) != size {
			t.Fatalf("got %+v, %t", got, ok)
		}
		parts := []string{got.ID, got.Any.(string), got.ByKey["k"]}
		for key := range got.ByKey {
			parts = append(parts, key)
		}
		for _, part := range parts {
			if at := offsetIn(text, part); shared != (at >= 0) {
				t.Errorf("in a text of %d bytes %q is at %d", len(text), part[:1], at)
			}
		}
	}
}

// offsetIn returns where in the memory of text part is, or -1.
func offsetIn(text, part string) int {
	from, at := uintptr(unsafe.Pointer(unsafe.StringData(text))), uintptr(unsafe.Pointer(unsafe.StringData(part)))
	if at < from || at >= from+uintptr(len(text)) {
		return -1
	}
	return int(at - from) //nolint:gosec // less than the length
}
