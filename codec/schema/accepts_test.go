package schema_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/codec"
	"millrace/codec/schema"
)

func of[T any](t *testing.T, c codec.Codec[T]) schema.Document {
	t.Helper()
	d, err := schema.Of(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func parse(t *testing.T, text string) schema.Document {
	t.Helper()
	d, err := schema.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// wantBreaks compares the breaks of a reader with the expected lines.
func wantBreaks(t *testing.T, reader, writer schema.Document, want ...string) {
	t.Helper()
	var got []string
	for _, b := range schema.Accepts(reader, writer) {
		got = append(got, b.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("breaks are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

type item struct {
	Name  string `json:"name" validate:"required"`
	Count int8   `json:"count"`
}

type orderV1 struct {
	ID     string    `mapstructure:"id" validate:"required,max=20"`
	Kind   string    `mapstructure:"kind" validate:"oneof=web shop"`
	Cents  int32     `mapstructure:"cents" validate:"gte=0"`
	Note   string    `mapstructure:"note"`
	At     time.Time `mapstructure:"at"`
	Items  []item    `mapstructure:"items" validate:"max=10,dive"`
	Secret string    `mapstructure:"-"`
}

type bigItem struct {
	Name  string `json:"name" validate:"required"`
	Count int16  `json:"count"`
	Color string `json:"color" validate:"required"`
}

type orderV2 struct {
	ID       string    `mapstructure:"id" validate:"required,max=10"`
	Kind     string    `mapstructure:"kind" validate:"oneof=web shop phone"`
	Cents    int64     `mapstructure:"cents" validate:"gt=0"`
	Note     string    `mapstructure:"note" validate:"excludes=!"`
	At       float64   `mapstructure:"at"`
	Items    []bigItem `mapstructure:"items" validate:"max=10,unique=Name,dive"`
	Currency string    `mapstructure:"currency" validate:"len=3"`
}

func TestAcceptsTellsEachBreak(t *testing.T) {
	t.Parallel()
	v1, v2 := of(t, codec.Struct[orderV1]()), of(t, codec.Struct[orderV2]())
	wantBreaks(t, v1, v1)
	wantBreaks(t, v2, v2)
	wantBreaks(t, v2, v1, // backward
		"at: it may be of type string, and the reader wants number",
		"cents: the reader requires it, and the writer may leave it out",
		"cents: it may be smaller than the reader takes: exclusiveMinimum 0",
		"currency: the reader requires it, and the writer may leave it out",
		"id: its length may be larger than the reader takes: maxLength 10",
		"items: the reader has the rule \"unique=Name\", and the writer has not",
		"items[].color: the reader requires it, and the writer may leave it out",
		"note: the reader refuses {\"pattern\":\"!\"}, and the writer does not",
	)
	wantBreaks(t, v1, v2, // forward
		"at: it may be of type number, and the reader wants string",
		"at: the reader has format \"date-time\", and the writer has not",
		"cents: it may be larger than the reader takes: maximum 2147483647",
		"items[].count: it may be smaller than the reader takes: minimum -128",
		"items[].count: it may be larger than the reader takes: maximum 127",
		"kind: it may be \"phone\", and the reader takes \"web\", \"shop\" only",
	)
}

func TestAcceptsKeywords(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ reader, writer, want string }{
		{`{}`, `{"type":"string"}`, ""},
		{`{"type":"number"}`, `{"type":"integer"}`, ""},
		{`{"type":"integer"}`, `{"type":"number"}`, "it may be of type number, and the reader wants integer"},
		{`{"type":"integer"}`, `{"enum":[1,2.0]}`, ""},
		{`{"type":"string"}`, `{"type":["string","null"]}`, "it may be of type null, and the reader wants string"},
		{`{"type":"string"}`, `{}`, "it may be of any type, and the reader wants string"},
		{`{"const":1}`, `{"enum":[1.0]}`, ""},
		{`{"const":1}`, `{"type":"integer"}`, "it may be any value, and the reader takes 1 only"},
		{`{"enum":["a"]}`, `{"const":"b"}`, `it may be "b", and the reader takes "a" only`},
		{`{"not":{"const":0}}`, `{"type":"integer"}`, "it may be 0, and the reader refuses that"},
		{`{"not":{"const":0}}`, `{"type":"integer","minimum":1}`, ""},
		{`{"not":{"const":0}}`, `{"type":"integer","exclusiveMaximum":0}`, ""},
		{`{"not":{"const":0}}`, `{"not":{"enum":[0,1]}}`, ""},
		{`{"not":{"const":0}}`, `{"enum":[1,2]}`, ""},
		{`{"not":{"pattern":"x"}}`, `{"not":{"pattern":"x"}}`, ""},
		{`{"minimum":1}`, `{"minimum":1}`, ""},
		{`{"minimum":1}`, `{"exclusiveMinimum":1}`, ""},
		{`{"exclusiveMinimum":1}`, `{"minimum":1}`, "it may be smaller than the reader takes: exclusiveMinimum 1"},
		{`{"maximum":5}`, `{"type":"integer"}`, "it may be of any size, and the reader has maximum 5"},
		{`{"maximum":5}`, `{"enum":[1,5]}`, ""},
		{`{"maximum":5}`, `{"enum":[1,6]}`, "it may be of any size, and the reader has maximum 5"},
		{`{"maximum":5}`, `{"allOf":[{"maximum":9},{"maximum":4}]}`, ""},
		{`{"maximum":5}`, `{"maximum":1e400}`, "it may be larger than the reader takes: maximum 5"},
		{`{"minLength":1}`, `{"type":"string"}`, "its length may be smaller than the reader takes: minLength 1"},
		{`{"minLength":1}`, `{"enum":["a"]}`, ""},
		{`{"minLength":2}`, `{"enum":["ab","a"]}`, "its length may be smaller than the reader takes: minLength 2"},
		{`{"maxItems":2}`, `{"type":"array"}`, "the number of its elements may be of any size, and the reader has maxItems 2"},
		{`{"pattern":"^a"}`, `{"pattern":"^a"}`, ""},
		{`{"pattern":"^a"}`, `{"pattern":"^b"}`, `the reader has pattern "^a", and the writer has not`},
		{`{"x-validate":["a"]}`, `{"x-validate":["b","a"]}`, ""},
		{`{"uniqueItems":true}`, `{"type":"array"}`, "the reader refuses equal elements, and the writer does not"},
		{`{"items":{"type":"string"}}`, `{"type":"array"}`, "the reader has a rule for items, and the writer has not"},
		{`{"items":{"type":"string"}}`, `{"type":"array","items":{"type":"integer"}}`, "[]: it may be of type integer, and the reader wants string"},
		{`{"additionalProperties":{"type":"string"}}`, `{"type":"object","additionalProperties":{"type":"integer"}}`, "*: it may be of type integer, and the reader wants string"},
		{`{"additionalProperties":false}`, `{"type":"object","properties":{"a":{}}}`, "a: the writer has it, and the reader allows no members that it does not know"},
		{`{"additionalProperties":{"type":"string"}}`, `{"type":"object","properties":{"a":{"type":"integer"}}}`, "a: it may be of type integer, and the reader wants string"},
		{`{"anyOf":[{"type":"null"},{"type":"string","maxLength":3}]}`, `{"type":["null"]}`, ""},
		{`{"anyOf":[{"type":"null"},{"type":"string","maxLength":3}]}`, `{"type":"string","maxLength":2}`, ""},
		{`{"anyOf":[{"type":"null"},{"type":"string","maxLength":3}]}`, `{"type":"string","maxLength":4}`, "its length may be larger than the reader takes: maxLength 3"},
		{`{"type":"string"}`, `{"type":"string","anyOf":[{"const":"a"},{"const":"b"}]}`, ""},
		{`{"enum":["a"]}`, `{"type":"string","anyOf":[{"const":"a"},{"const":"b"}]}`, `it may be "b", and the reader takes "a" only`},
		{`{"x-wire":"fields"}`, `{"x-wire":"json"}`, "the event stands in the entry in another way: x-wire is json, and fields for the reader"},
		{`{"contentSchema":{"type":"string"}}`, `{"contentSchema":{"type":"null"}}`, "(text): it may be of type null, and the reader wants string"},
	} {
		var got []string
		for _, b := range schema.Accepts(parse(t, row.reader), parse(t, row.writer)) {
			got = append(got, b.String())
		}
		if strings.Join(got, "\n") != row.want {
			t.Errorf("%s reads %s: %q, want %q", row.reader, row.writer, got, row.want)
		}
	}
}

type tree struct {
	Name string  `json:"name"`
	Sub  []*tree `json:"sub"`
}

type strictTree struct {
	Name string        `json:"name" validate:"required"`
	Sub  []*strictTree `json:"sub" validate:"dive"`
}

func TestAcceptsTypesThatReferToThemselves(t *testing.T) {
	t.Parallel()
	plain, strict := of(t, codec.Codec[tree](codec.JSON[tree]{})), of(t, codec.Codec[strictTree](codec.JSON[strictTree]{}))
	wantBreaks(t, plain, plain)
	wantBreaks(t, plain, strict)
	got := schema.Accepts(strict, plain)
	if len(got) == 0 || !strings.HasPrefix(got[0].String(), "name: ") {
		t.Errorf("the breaks are %v", got)
	}
	// References that make a document of a few lines endless.
	var wide strings.Builder
	wide.WriteString(`{"$ref":"#/$defs/a0","$defs":{`)
	for i := range 40 {
		next := string(rune('a')) + strings.Repeat("0", i+2)
		wide.WriteString(`"a` + strings.Repeat("0", i+1) + `":{"properties":{"x":{"$ref":"#/$defs/` + next + `"},"y":{"$ref":"#/$defs/` + next + `"}}},`)
	}
	wide.WriteString(`"z":{}}}`)
	d := parse(t, wide.String())
	if breaks := schema.Accepts(d, d); len(breaks) != 1 || !strings.Contains(breaks[0].Reason, "too many parts") {
		t.Errorf("the breaks are %v", breaks)
	}
}

func TestAcceptsVersionsAndKinds(t *testing.T) {
	t.Parallel()
	up := codec.Upcast("1", codec.Struct[orderV1](), func(orderV1) (orderV2, error) { return orderV2{}, nil })
	plain := of(t, codec.Struct[orderV1]())
	one := of(t, codec.Versions("v", "1", codec.Struct[orderV1]()))
	both := of(t, codec.Versions("v", "2", codec.Struct[orderV2](), up))
	older := of(t, codec.Versions("v", "2", codec.Struct[orderV2](),
		codec.Upcast("", codec.Struct[orderV1](), func(orderV1) (orderV2, error) { return orderV2{}, nil })))
	wantBreaks(t, both, one)
	wantBreaks(t, both, both)
	wantBreaks(t, older, plain)
	// Old versions are read, and not written.
	wantBreaks(t, of(t, codec.Versions("v", "2", codec.Struct[orderV2]())), both)
	wantBreaks(t, one, both, `events with "2" in the field "v" are written, and the reader does not know them`)
	wantBreaks(t, one, plain, `an event without the field "v" is written, and the reader needs it`)

	few := of(t, codec.OneOf("kind", codec.Kind("order", codec.Struct[orderV1](), func(o orderV1) any { return o })))
	many := of(t, codec.OneOf("kind", codec.Kind("order", codec.Struct[orderV1](), func(o orderV1) any { return o }),
		codec.Kind("tree", codec.JSON[tree]{}, func(t tree) any { return t })))
	wantBreaks(t, many, few)
	wantBreaks(t, few, many, `events with "tree" in the field "kind" are written, and the reader does not know them`)
	changed := of(t, codec.OneOf("kind", codec.Kind("order", codec.Struct[struct {
		ID string `mapstructure:"id" validate:"required,max=9"`
	}](), func(o struct {
		ID string `mapstructure:"id" validate:"required,max=9"`
	}) any {
		return o
	})))
	wantBreaks(t, changed, few, "id: its length may be larger than the reader takes: maxLength 9")
}
