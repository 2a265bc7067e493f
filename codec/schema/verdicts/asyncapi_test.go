package verdicts_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"millrace/codec"
	"millrace/codec/schema"
)

// TestAsyncAPIIsValid asks the specification's own schema, which .ci/run fetches.
func TestAsyncAPIIsValid(t *testing.T) {
	t.Parallel()
	path := os.Getenv("ASYNCAPI_SCHEMA")
	if path == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("ASYNCAPI_SCHEMA is not set")
		}
		t.Skip("ASYNCAPI_SCHEMA is not set: give the path of schemas/3.0.0.json of the npm package @asyncapi/specs")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	specification, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("mem:///asyncapi.json", specification); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("mem:///asyncapi.json")
	if err != nil {
		t.Fatal(err)
	}
	document := func(version string) any {
		api := &schema.AsyncAPI{Title: "Shop", Version: version}
		events, err := schema.Of(codec.Struct[everything]())
		if err != nil {
			t.Fatal(err)
		}
		api.Add(schema.Topic{Name: "shop:orders", Events: events, Producers: []string{"checkout"}, Groups: []string{"billing"}, Labels: []string{"search"}, DeadLetters: "{shop:orders}:dead", Retention: "7 days"})
		text, err := api.JSON()
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	if err := compiled.Validate(document("1.0.0")); err != nil {
		t.Errorf("the document is not valid: %v", err)
	}
	broken, ok := document("1.0.0").(map[string]any)
	if !ok {
		t.Fatal("the document is no object")
	}
	delete(broken, "info")
	if compiled.Validate(broken) == nil {
		t.Error("the schema takes anything")
	}
}
