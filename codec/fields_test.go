package codec_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"millrace/codec"
)

// pairsIn returns the names and values of fields in their order.
func pairsIn(fields codec.Fields) (pairs []string) {
	for name, value := range fields.All() {
		pairs = append(pairs, name, value)
	}
	return pairs
}

func TestFieldsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	fields := codec.FieldsOf("z", "1", "a", "2", "", "3", "z", "4", "b", "")
	if got := pairsIn(fields); !slices.Equal(got, []string{"z", "1", "a", "2", "", "3", "z", "4", "b", ""}) {
		t.Errorf("the pairs are %q", got)
	}
	if fields.Len() != 5 {
		t.Errorf("there are %d pairs, want 5", fields.Len())
	}
	for name, want := range map[string]string{"z": "4", "a": "2", "": "3", "b": ""} {
		if got, found := fields.Get(name); got != want || !found {
			t.Errorf("%q is %q, %v, want %q", name, got, found, want)
		}
	}
	// A value is no name.
	for _, name := range []string{"1", "4", "Z", "c"} {
		if got, found := fields.Get(name); got != "" || found {
			t.Errorf("%q is %q, %v, want none", name, got, found)
		}
	}
}

func TestFieldsOfNothing(t *testing.T) {
	t.Parallel()
	for _, fields := range []codec.Fields{{}, codec.FieldsOf(), codec.FieldsOf([]string{}...)} {
		if _, found := fields.Get(""); found || fields.Len() != 0 || pairsIn(fields) != nil || len(fields.Map()) != 0 {
			t.Errorf("%d pairs: %q", fields.Len(), pairsIn(fields))
		}
	}
}

func TestFieldsOfAnOddCount(t *testing.T) {
	t.Parallel()
	if got := pairsIn(codec.FieldsOf("a")); !slices.Equal(got, []string{"a", ""}) {
		t.Errorf("the pairs are %q", got)
	}
	all := []string{"a", "1", "b", "2"}
	if got := pairsIn(codec.FieldsOf(all[:3]...)); !slices.Equal(got, []string{"a", "1", "b", ""}) {
		t.Errorf("the pairs are %q", got)
	}
	if all[3] != "2" {
		t.Errorf("what is behind the slice has become %q", all[3])
	}
}

func TestAllFieldsStopEarly(t *testing.T) {
	t.Parallel()
	fields := codec.FieldsOf("a", "1", "b", "2", "c", "3")
	var seen []string
	for name := range fields.All() {
		if seen = append(seen, name); name == "b" {
			break
		}
	}
	if !slices.Equal(seen, []string{"a", "b"}) {
		t.Errorf("the loop has seen %q", seen)
	}
	if got := pairsIn(fields); len(got) != 6 { // and begins anew
		t.Errorf("the pairs are %q", got)
	}
}

func TestMapOfFieldsIsACopy(t *testing.T) {
	t.Parallel()
	fields := codec.FieldsOf("a", "1", "b", "2", "a", "3")
	values := fields.Map()
	if want := map[string]string{"a": "3", "b": "2"}; !maps.Equal(values, want) {
		t.Errorf("the map is %q, want %q", values, want)
	}
	values["a"] = "changed"
	delete(values, "b")
	if got := pairsIn(fields); !slices.Equal(got, []string{"a", "1", "b", "2", "a", "3"}) {
		t.Errorf("the pairs have become %q", got)
	}
}

// Of a name that repeats the last value counts, and no other one is even converted.
func TestDecodeTakesTheLastOfARepeatedName(t *testing.T) {
	t.Parallel()
	type direct struct {
		N int    `mapstructure:"n" validate:"gt=0"`
		S string `mapstructure:"s"`
	}
	type slow struct {
		N    int            `mapstructure:"n" validate:"gt=0"`
		List [1]int         `mapstructure:"list"` // mapstructure cannot place it
		Skip string         `mapstructure:"-"`
		Rest map[string]any `mapstructure:",remain"`
	}
	fields := codec.FieldsOf("n", "x", "rest", "1", "list", "no JSON", "-", "1", "n", "7", "list", "[2]", "rest", "2", "-", "2")
	if got := mustDecode(t, codec.Struct[direct](), fields); got.N != 7 {
		t.Errorf("n is %d", got.N)
	}
	got := mustDecode(t, codec.Struct[slow](), fields)
	if got.N != 7 || got.List[0] != 2 || !maps.Equal(got.Rest, map[string]any{"rest": "2", "-": "2"}) {
		t.Errorf("decoded %+v", got)
	}
	bad := codec.FieldsOf("n", "7", "unknown", "1", "n", "x", "unknown", "2", "n", "y")
	_, err := codec.Struct[direct](codec.DisallowUnknownFields()).Decode(bad)
	wantLines(t, err,
		`field "n" (int) is not a decimal integer`,
		`field "unknown" is not declared by codec_test.direct`)
	if got := mustDecode(t, codec.JSON[int]{}, codec.FieldsOf("payload", "x", "payload", "2")); got != 2 {
		t.Errorf("the document is %d", got)
	}
}

// wireOf returns the fields with these pairs as a server sends them.
func wireOf(pairs ...string) codec.Fields {
	var wire strings.Builder
	for _, text := range pairs {
		fmt.Fprintf(&wire, "$%d\r\n%s\r\n", len(text), text)
	}
	return codec.FieldsOfReply(wire.String())
}

// Fields as the server has sent them are those with the same pairs.
func TestFieldsOfReply(t *testing.T) {
	t.Parallel()
	for _, pairs := range [][]string{
		nil, {"", ""}, {"a", "1"}, {"a", "1", "b", "", "a", "2"}, {"$3\r\n", "\r\n$1\r\n"}, {strings.Repeat("n", 100), strings.Repeat("v", 70_000)},
	} {
		got, want := wireOf(pairs...), codec.FieldsOf(pairs...)
		if got.Len() != want.Len() || !maps.Equal(got.Map(), want.Map()) {
			t.Errorf("%.100q: %d pairs, %d wanted", pairs, got.Len(), want.Len())
		}
		if all := pairsIn(got); !slices.Equal(all, pairs) {
			t.Errorf("%.100q, want %.100q", all, pairs)
		}
		for name := range want.All() {
			value, found := got.Get(name)
			if other, _ := want.Get(name); !found || value != other {
				t.Errorf("%.100q: %.100q, %t, want %.100q", name, value, found, other)
			}
		}
		if _, found := got.Get("none"); found {
			t.Error("a name is found that is not there")
		}
	}
}

// What is no reply has an end, and no panic.
func FuzzFieldsOfReply(f *testing.F) {
	for _, wire := range []string{"", "$", "$1\r\na\r\n", "$1\r\na\r\n$9\r\nb", "$99999999999999999999\r\na", "a\r\n\r\n", "$-1\r\n"} {
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire string) {
		fields := codec.FieldsOfReply(wire)
		size := 0
		for name, value := range fields.All() {
			size += len(name) + len(value)
		}
		if size > len(wire) {
			t.Errorf("%q: %d bytes come out", wire, size)
		}
		fields.Len()
		_, _ = codec.Struct[struct {
			A string `mapstructure:"a"`
		}]().Decode(fields)
	})
}
