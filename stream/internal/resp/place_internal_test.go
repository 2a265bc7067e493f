package resp

import (
	"testing"

	"millrace/codec"
)

func TestPlaceIs(t *testing.T) {
	t.Parallel()
	fields, others := codec.FieldsOf("a", "1", "b", "2"), codec.FieldsOf("a", "2", "b", "1")
	known := PlaceAfter([]Entry{{ID: "5-0", Fields: fields}})
	repeated := PlaceAfter([]Entry{{ID: "5-0", Fields: codec.FieldsOf("b", "1", "a", "1", "a", "2")}})
	for name, row := range map[string]struct {
		place Place
		entry Entry
		want  bool
	}{
		"the entry":              {known, Entry{ID: "5-0", Fields: fields}, true},
		"as go-redis has it":     {repeated, Entry{ID: "5-0", Fields: codec.FieldsOf("a", "2", "b", "1")}, true},
		"another ID":             {known, Entry{ID: "5-1", Fields: fields}, false},
		"none":                   {known, Entry{}, false},
		"others in its place":    {known, Entry{ID: "5-0", Fields: others}, false},
		"its fields are unknown": {Place{ID: "5-0"}, Entry{ID: "5-0", Fields: others}, true},
		// go-redis and we count the bytes of repeated names in two ways, so that one of
		// us may take it for too large, and the other not.
		"over the limit now":      {known, Entry{ID: "5-0"}, true},
		"over the limit then":     {PlaceAfter([]Entry{{ID: "5-0"}}), Entry{ID: "5-0", Fields: fields}, true},
		"over it, and another ID": {PlaceAfter([]Entry{{ID: "5-0"}}), Entry{ID: "5-1"}, false},
	} {
		if got := row.place.Is(row.entry); got != row.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
