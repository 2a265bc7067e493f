package schema_test

import (
	"bytes"
	"strings"
	"testing"

	"millrace/codec"
	"millrace/codec/schema"
)

func TestOfRefuses(t *testing.T) {
	t.Parallel()
	type bad struct {
		ID string `mapstructure:"id,omitemtpy"`
	}
	if _, err := schema.Of(codec.Struct[bad]()); err == nil || !strings.Contains(err.Error(), "schema: the codec has problems: ") {
		t.Errorf("a codec with problems: %v", err)
	}
	if _, err := schema.Of[[]byte](codec.Raw{}); err == nil || err.Error() != "schema: a codec.Raw does not describe itself; give it a method Describe, as codec.Describer has it" {
		t.Errorf("a codec that does not tell: %v", err)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"a":`, 101) + "1" + strings.Repeat("}", 101)
	for text, want := range map[string]string{
		"": "is no JSON object", "null": "is no JSON object", "[]": "is no JSON object", "true": "is no JSON object", "{": "is no JSON object",
		`{"S3CR3T":`: "is no JSON object", `{} {}`: "there is more behind the document", deep: "nests deeper than 100 levels",
		`{"a":"` + strings.Repeat("x", 8<<20) + `"}`: "at most 8388608 are read",
	} {
		_, err := schema.Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "S3CR3T") {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	text := []byte(`{"title":"order","x":"[[[{{{\"[["}`)
	d, err := schema.Parse(text)
	if err != nil || d.Title() != "order" || !bytes.Equal(d.JSON(), text) {
		t.Errorf("parsed as %s, %v", d.JSON(), err)
	}
	text[2] = 'X'
	if d.Title() != "order" || d.JSON()[2] == 'X' {
		t.Error("the document changes with the caller's bytes")
	}
	if len(schema.Accepts(schema.Document{}, d)) != 0 {
		t.Error("a document that says nothing refuses something")
	}
}

// FuzzAccepts: any two documents are compared in the end, and a document accepts itself as long
// as its references are its own.
func FuzzAccepts(f *testing.F) {
	for _, text := range []string{
		`{}`, `{"type":"string","maxLength":3}`, `{"anyOf":[{"const":1},{"minimum":2}]}`, `{"$ref":"#"}`, `{"$ref":"#/$defs/a","$defs":{"a":{"items":{"$ref":"#"}}}}`,
		`{"properties":{"a":{"$ref":"#"}},"required":["a"]}`, `{"allOf":[{"$ref":"#"}]}`, `{"maximum":1e999999999}`, `{"not":{}}`, `{"x-discriminator":{"field":"v","value":"1"}}`,
		`{"anyOf":[{"x-discriminator":{"field":"v","value":"1"},"x-old":true}]}`, `{"additionalProperties":false}`, `{"items":true,"type":[1,"a"],"enum":7,"required":[1]}`,
	} {
		f.Add(text, `{"type":"object"}`)
		f.Add(`{"type":["string","null"]}`, text)
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		a, errA := schema.Parse([]byte(one))
		b, errB := schema.Parse([]byte(two))
		if errA != nil || errB != nil {
			return
		}
		for _, br := range append(schema.Accepts(a, b), schema.Accepts(b, a)...) {
			if br.Reason == "" || br.String() == "" {
				t.Fatalf("%q against %q: an empty break", one, two)
			}
		}
	})
}
