package verdicts_test

import (
	"strings"
	"testing"

	"millrace/codec"
	"millrace/codec/schema"
)

// Parts of tags that have no keyword are kept as they are.
func TestNoRuleIsDropped(t *testing.T) {
	t.Parallel()
	for _, document := range []string{text(t, codec.Struct[everything]()), text(t, codec.Codec[everything](codec.JSON[everything]{}))} {
		for _, rule := range []string{`"required"`, `"min=1s"`, `"max=3"`, `"eqfield=Mail"`, `"email"`, `"dive,keys,max=3,endkeys"`} {
			if !strings.Contains(document, rule) {
				t.Errorf("%s is not in\n%s", rule, document)
			}
		}
	}
}

func text[T any](t *testing.T, c codec.Codec[T]) string {
	t.Helper()
	document, err := schema.Of(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(document.JSON())
}
