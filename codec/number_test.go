package codec_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"millrace/codec"
)

// numbered has an any in every place that JSON can have one.
type numbered struct {
	ID    int64            `json:"id"`
	Num   json.Number      `json:"num"`
	Rate  float64          `json:"rate"`
	Any   any              `json:"any"`
	List  []any            `json:"list"`
	Map   map[string]any   `json:"map"`
	Deep  map[string][]any `json:"deep"`
	Ptr   []*any           `json:"ptr"`
	Array [1]any           `json:"array"`
	Raw   json.RawMessage  `json:"raw"`
	*NumberedBase
}

type NumberedBase struct {
	Base any `json:"base"`
}

const (
	bigID        = json.Number("9007199254740993")
	numberedText = `{"id":9007199254740993,"num":9007199254740993,"rate":9007199254740993,"any":9007199254740993,
		"list":[1,9007199254740993,0.1],"map":{"a":{"b":[-9007199254740993,true,"x",null]},"c":1e400},"deep":{"x":[12345678901234567890]},
		"ptr":[9007199254740993,2,null],"array":[18446744073709551615],"raw":[9007199254740993],"base":[9007199254740993,1]}`
)

// TestNumbersInAnAny: a number is a float64, or a json.Number where a float64 would
// not be the number that was written.
func TestNumbersInAnAny(t *testing.T) {
	t.Parallel()
	got := mustDecode(t, codec.JSON[numbered]{}, codec.FieldsOf("payload", numberedText))
	var big, two any = bigID, 2.0
	want := numbered{
		ID: 9007199254740993, Num: bigID, Rate: 9007199254740992, Any: bigID, List: []any{1.0, bigID, 0.1},
		Map:  map[string]any{"a": map[string]any{"b": []any{"-" + bigID, true, "x", nil}}, "c": json.Number("1e400")},
		Deep: map[string][]any{"x": {json.Number("12345678901234567890")}}, Ptr: []*any{&big, &two, nil},
		Array: [1]any{json.Number("18446744073709551615")}, Raw: json.RawMessage("[9007199254740993]"),
		NumberedBase: &NumberedBase{Base: []any{bigID, 1.0}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}
	for _, text := range []string{"9007199254740992", "-9007199254740992", "0.1", "3.14159265358979323846", "1e300", "123456789012345680000", "-0"} {
		if got := mustDecode(t, codec.JSON[any]{}, codec.FieldsOf("payload", text)); reflect.TypeOf(got) != reflect.TypeFor[float64]() {
			t.Errorf("%s is a %T", text, got)
		}
	}
	for _, text := range []string{"9007199254740993", "-9007199254740993", "1152921504606846976", "1e400", "-2e308", strings.Repeat("9", 400)} {
		c := codec.JSON[any]{}
		got := mustDecode(t, c, codec.FieldsOf("payload", text))
		if got != json.Number(text) {
			t.Errorf("%s is the %T %v", text, got, got)
		}
		if pairs, err := c.Encode(got); err != nil || pairs[1] != text {
			t.Errorf("%s is encoded as %q, %v", text, pairs, err)
		}
	}
	pairs, err := codec.JSON[any]{}.Encode(map[string]any{"id": int64(math.MaxInt64)})
	if err != nil || pairs[1] != `{"id":9223372036854775807}` {
		t.Errorf("a whole number in an any is encoded as %q, %v", pairs, err)
	}
}

func TestUseNumber(t *testing.T) {
	t.Parallel()
	type event struct {
		ID   string         `mapstructure:"id"`
		Any  map[string]any `mapstructure:"any"`
		Text any            `mapstructure:"text"`
	}
	fields := codec.FieldsOf("id", "1", "any", `{"a":1,"b":[0.5,9007199254740993]}`, "text", "7")
	want := event{ID: "1", Any: map[string]any{"a": json.Number("1"), "b": []any{json.Number("0.5"), bigID}}, Text: "7"}
	if got := mustDecode(t, codec.Struct[event](codec.UseNumber()), fields); !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v", got)
	}
	want.Any = map[string]any{"a": 1.0, "b": []any{0.5, bigID}}
	if got := mustDecode(t, codec.Struct[event](), fields); !reflect.DeepEqual(got, want) {
		t.Errorf("without the option, got %#v", got)
	}
	for useNumber, want := range map[bool]any{true: json.Number("1"), false: 1.0} {
		if got := mustDecode(t, codec.JSON[any]{UseNumber: useNumber}, codec.FieldsOf("payload", " 1 ")); got != want {
			t.Errorf("UseNumber %v: got %#v", useNumber, got)
		}
	}
	for _, text := range []string{"1 2", "{} x", "[1]]", "1,", "truefalse"} {
		if _, err := (codec.JSON[any]{UseNumber: true}).Decode(codec.FieldsOf("payload", text)); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

func TestJSONNumberHoldsANumber(t *testing.T) {
	t.Parallel()
	type event struct {
		ID    string       `mapstructure:"id"`
		N     json.Number  `mapstructure:"n"`
		P     *json.Number `mapstructure:"p"`
		Parts struct {
			N json.Number   `json:"n,omitempty"`
			L []json.Number `json:"l"`
		} `mapstructure:"parts"`
	}
	c := codec.Struct[event]()
	for text, fits := range map[string]bool{
		"0": true, "-0": true, "1.50": true, "9007199254740993": true, "1e400": true,
		"": false, "abc": false, "01": false, " 1": false, "1 ": false, "1\n": false, "+1": false, ".5": false, "NaN": false, "0x1": false, "1,2": false, `"1"`: false, "null": false, "-": false,
	} {
		for _, name := range []string{"n", "p"} {
			value, err := c.Decode(codec.FieldsOf("id", "1", name, text))
			if (err == nil) != fits {
				t.Errorf("%s %q: %v", name, text, err)
			}
			if err == nil {
				roundTripped(t, c, value)
			}
		}
		number := json.Number(text)
		if _, err := c.Encode(event{ID: "1", P: &number}); (err == nil) != fits {
			t.Errorf("a pointer to the json.Number %q is encoded: %v", text, err)
		}
		if _, err := c.Encode(event{ID: "1", N: number}); (err == nil) != (fits || text == "") {
			t.Errorf("the json.Number %q is encoded: %v", text, err)
		}
	}
	// The zero value is no number: it is left out, as a nil pointer is.
	pairs, err := c.Encode(event{ID: "1"})
	if err != nil || len(pairs) != 4 {
		t.Errorf("got %q, %v", pairs, err)
	}
	roundTripped(t, c, event{ID: "1"})
	value := event{ID: "1"}
	value.Parts.L = []json.Number{"1", ""}
	_, err = c.Encode(value)
	wantLines(t, err, `field "parts" (`+reflect.TypeOf(value.Parts).String()+`) holds a json.Number that is empty, which JSON would turn into 0; give it a number, or tag it omitempty`)
}

// roundTripped fails the test when decoding does not give back an encoded value.
func roundTripped[T any](t *testing.T, c codec.Codec[T], value T) {
	t.Helper()
	pairs, err := c.Encode(value)
	if err != nil {
		t.Errorf("%+v: %v", value, err)
		return
	}
	back, err := c.Decode(codec.FieldsOf(pairs...))
	if err != nil || !reflect.DeepEqual(back, value) {
		t.Errorf("%+v was encoded as %q, and came back as %+v, %v", value, pairs, back, err)
	}
}
