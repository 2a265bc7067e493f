package codec_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"millrace/codec"
)

type order struct {
	ID    string    `json:"id" validate:"required"`
	Total int8      `json:"total" validate:"max=100"`
	Ship  *address  `json:"ship"`
	Items []address `json:"items" validate:"dive"`
}

func TestJSON(t *testing.T) {
	t.Parallel()
	want := order{ID: "1", Ship: &address{City: "Bern"}}
	for _, c := range []codec.JSON[order]{{}, {Field: "doc"}} {
		pairs, err := c.Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		name := c.Field
		if name == "" {
			name = "payload"
		}
		if pairs[0] != name || len(pairs) != 2 {
			t.Errorf("pairs are %q", pairs)
		}
		got := mustDecode(t, c, codec.FieldsOf(name, pairs[1], "other", "x"))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestJSONRefuses(t *testing.T) {
	t.Parallel()
	c := codec.JSON[order]{}
	const name = `field "payload" (codec_test.order) `
	for _, r := range []struct {
		text string
		want string
	}{
		{"", "is blank"},
		{" null\n", "is JSON null, which would leave it empty without a word; leave the field out instead"},
		{"{\"id\":\"\xff\"}", "is JSON with bytes that are not UTF-8"},
		{`{"id":"1"} {}`, "is not valid JSON (at byte 12)"},
		{`{"id":"1"}SECRET`, "is not valid JSON (at byte 11)"},
		{`{"id":"1"`, "is not valid JSON (at byte 9)"},
		{strings.Repeat("[", 90), "is not valid JSON (at byte 90)"},
		{`{"total":300}`, `holds a JSON number at "total" that does not fit its Go type int8 (at byte 12)`},
		{`{"ship":{"zip":"SECRET"}}`, `holds a JSON string at "ship.zip" that does not fit its Go type int (at byte 23)`},
		{`"SECRET"`, "holds a JSON string that does not fit its Go type codec_test.order (at byte 8)"},
	} {
		_, err := c.Decode(codec.FieldsOf("payload", r.text))
		wantLines(t, err, name+r.want)
	}
	_, err := c.Decode(codec.FieldsOf("Payload", "{}"))
	wantLines(t, err, name+"is missing")
}

func TestJSONValidates(t *testing.T) {
	t.Parallel()
	want := []string{
		`field "payload.id" (string) fails "required"`,
		`field "payload.total" (int8) fails "max=100"`,
		`field "payload.ship.city" (string) fails "required"`,
		`field "payload.items[1].city" (string) fails "required"`,
	}
	const text = `{"total":101,"ship":{},"items":[{"city":"x"},{}]}`
	value := order{Total: 101, Ship: &address{}, Items: []address{{City: "x"}, {}}}
	_, err := codec.JSON[order]{}.Decode(codec.FieldsOf("payload", text))
	wantLines(t, err, want...)
	_, err = codec.JSON[*order]{}.Decode(codec.FieldsOf("payload", text))
	wantLines(t, err, want...)
	_, err = codec.JSON[order]{}.Encode(value)
	wantLines(t, err, want...)
	_, err = codec.JSON[*order]{}.Encode(&value)
	wantLines(t, err, want...)
	_, err = codec.JSON[*order]{}.Encode(nil)
	wantLines(t, err, `field "payload" (*codec_test.order) would be JSON null, which decoding refuses; give it a value`)
}

func TestJSONOfOtherTypes(t *testing.T) {
	t.Parallel()
	if got := mustDecode(t, codec.JSON[[]order]{}, codec.FieldsOf("payload", `[{}]`)); len(got) != 1 {
		t.Errorf("got %v", got)
	}
	if got := mustDecode(t, codec.JSON[any]{}, codec.FieldsOf("payload", "1")); got != 1.0 {
		t.Errorf("got %v", got)
	}
	if got := mustDecode(t, codec.JSON[json.RawMessage]{}, codec.FieldsOf("payload", ` [1] `)); string(got) != "[1]" {
		t.Errorf("got %s", got)
	}
	at := time.Date(2024, 2, 3, 4, 5, 6, 789e6, time.UTC)
	pairs, err := codec.JSON[[]codec.UnixMilli]{}.Encode([]codec.UnixMilli{{Time: at}})
	if err != nil || pairs[1] != "[1706933106789]" {
		t.Errorf("Encode: %q, %v", pairs, err)
	}
	if got := mustDecode(t, codec.JSON[[]codec.UnixMilli]{}, codec.FieldsOf("payload", pairs[1])); got[0].Time != at {
		t.Errorf("got %v", got)
	}
	_, err = codec.JSON[codec.UnixMilli]{}.Decode(codec.FieldsOf("payload", `"SECRET"`))
	wantLines(t, err, `field "payload" (codec.UnixMilli) holds JSON with a part that its Go type refuses`)
	_, err = codec.JSON[panicJSON]{}.Decode(codec.FieldsOf("payload", `"SECRET"`))
	wantLines(t, err, `field "payload" (codec_test.panicJSON) holds JSON that makes a method of its Go type panic`)
}
