package codec_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-playground/validator/v10"

	"millrace/codec"
)

func described[T any](t *testing.T, c codec.Codec[T]) (text string, document map[string]any) {
	t.Helper()
	d, ok := c.(codec.Describer)
	if !ok {
		t.Fatalf("%T is no codec.Describer", c)
	}
	b := d.Describe()
	if !bytes.Equal(b, d.Describe()) {
		t.Errorf("%T has two descriptions", c)
	}
	if b != nil {
		if err := json.Unmarshal(b, &document); err != nil {
			t.Fatal(err)
		}
	}
	return string(b), document
}

type described1 struct {
	ID     string            `mapstructure:"id,trim" validate:"required,max=64"`
	At     time.Time         `mapstructure:"at,unixmilli" validate:"required"`
	For    time.Duration     `mapstructure:"for" validate:"min=1s"`
	Small  int8              `mapstructure:"small" validate:"gt=3"`
	Own    string            `mapstructure:"own" validate:"swiss,max=21"`
	Rest   map[string]string `mapstructure:",remain" validate:"max=3"`
	Hidden string            `mapstructure:"-"`
}

func TestDescribeStruct(t *testing.T) {
	t.Parallel()
	swiss := codec.WithValidation("swiss", func(validator.FieldLevel) bool { panic("it is not to be called") })
	text, document := described(t, codec.Struct[described1](swiss))
	for _, want := range []string{
		`"$schema": "https://json-schema.org/draft/2020-12/schema"`, `"title": "described1"`, `"x-wire": "fields"`, `"x-trim": true`,
		`"exclusiveMinimum": 3`, `"min=1s"`, `"swiss"`, `"maxLength": 21`, `"max=3"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "Hidden") {
		t.Errorf("a field that is not in the entry is in\n%s", text)
	}
	if got, _ := json.Marshal(document["required"]); string(got) != `["id","at","for","small"]` {
		t.Errorf("required are %s", got)
	}
	if at := document["properties"].(map[string]any)["at"].(map[string]any); at["type"] != "integer" {
		t.Errorf("a time in milliseconds is %v", at)
	}
	strict, _ := described(t, codec.Struct[placed](codec.DisallowUnknownFields()))
	if plain, _ := described(t, codec.Struct[placed]()); !strings.Contains(strict, `"additionalProperties": false`) || strings.Contains(plain, "additionalProperties") {
		t.Errorf("a strict codec has\n%s", strict)
	}
	type badTag struct {
		ID string `mapstructure:"id,omitemtpy"`
	}
	if text, _ := described(t, codec.Struct[badTag]()); text != "" {
		t.Errorf("a codec with problems has\n%s", text)
	}
}

func TestDescribeATypeWithItselfAsAPart(t *testing.T) {
	t.Parallel()
	_, document := described(t, codec.Codec[tree](codec.JSON[tree]{Field: "tree"}))
	defs, _ := document["$defs"].(map[string]any)
	if document["$ref"] != "#/$defs/tree" || len(defs) != 1 || document["x-field"] != "tree" || document["x-wire"] != "json" {
		t.Errorf("the document is %v", document)
	}
	_, document = described(t, codec.Codec[[]int](codec.JSON[[]int]{}))
	if document["type"] != "array" || document["$defs"] != nil {
		t.Errorf("the document is %v", document)
	}
}

// selfDescribed is a codec of somebody else's that describes itself.
type selfDescribed struct {
	bareCodec[int]
	text string
}

func (s selfDescribed) Describe() []byte { return []byte(s.text) }

func TestDescribeKinds(t *testing.T) {
	t.Parallel()
	c := codec.OneOf("kind",
		codec.Kind("order", orders(), func(o order3) any { return o }),
		codec.Kind("closed", codec.JSON[closed]{}, func(c closed) any { return c }),
		codec.Kind("own", codec.Codec[int](selfDescribed{text: `{"type":"integer","$ref":"#/$defs/n","$defs":{"n":{}}}`}), func(n int) any { return n }),
		codec.Kind("mute", codec.Codec[string](bareCodec[string]{}), func(s string) any { return s }))
	_, document := described(t, c)
	branches, _ := document["anyOf"].([]any)
	if len(branches) != 4 {
		t.Fatalf("the document is %v", document)
	}
	for i, kind := range []string{"order", "closed", "own", "mute"} {
		branch := branches[i].(map[string]any)
		if got := branch["x-discriminator"].(map[string]any); got["field"] != "kind" || got["value"] != kind {
			t.Errorf("the kind %s is %v", kind, got)
		}
	}
	inner := branches[0].(map[string]any)["allOf"].([]any)[0].(map[string]any)["anyOf"].([]any)
	if len(inner) != 3 || inner[0].(map[string]any)["x-old"] != nil || inner[1].(map[string]any)["x-old"] != true {
		t.Errorf("the versions are %v", inner)
	}
	if own := branches[2].(map[string]any)["allOf"].([]any)[0].(map[string]any); own["$id"] != "inner-2.json" {
		t.Errorf("the references of %v lead out of it", own)
	}
	if branches[3].(map[string]any)["x-wire"] != "unknown" {
		t.Errorf("a codec that does not tell is %v", branches[3])
	}
}
