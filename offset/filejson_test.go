package offset_test

import (
	"encoding/json"
	"maps"
	"testing"

	"millrace/offset"
)

// What the strict parser takes, encoding/json must read in the same way, and the
// writer must bring back.
func FuzzFile(f *testing.F) {
	f.Add([]byte(`{"label": "5-5", "other": "6-6"}`))
	f.Add([]byte(`{"label": "5-5", "l\u0061bel": "6-6"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		offsets, err := offset.ParseFile(data)
		if err != nil {
			return
		}
		var oracle map[string]string
		if err := json.Unmarshal(data, &oracle); err != nil || oracle == nil {
			t.Fatalf("taken, but encoding/json reads %v, %v", oracle, err)
		}
		texts := make(map[string]string)
		for label, id := range offsets {
			texts[label] = id.String()
		}
		if !maps.Equal(texts, oracle) {
			t.Fatalf("read %v, but encoding/json %v", texts, oracle)
		}
		written, err := offset.FormatFile(offsets)
		if err != nil {
			t.Fatal(err)
		}
		again, err := offset.ParseFile(written)
		if err != nil || !maps.Equal(again, offsets) {
			t.Fatalf("wrote %s, read %v, %v; want %v", written, again, err, offsets)
		}
	})
}
