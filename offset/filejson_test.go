package offset_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"testing"
	"unicode/utf8"

	"millrace/offset"
)

// oracleFile says what the strict parser says, by other means: encoding/json makes
// a map, and there must be no more tokens than the map accounts for.
func oracleFile(data []byte) (map[string]string, bool) {
	var texts map[string]string
	if err := json.Unmarshal(data, &texts); err != nil || texts == nil || !utf8.Valid(data) {
		return nil, false
	}
	for label, id := range texts {
		if _, _, ok := oracleParse(id); !ok {
			return nil, false
		}
		texts[label] = oracleText(id)
	}
	tokens := 0
	for decoder := json.NewDecoder(bytes.NewReader(data)); ; tokens++ {
		if _, err := decoder.Token(); err != nil {
			return texts, tokens == 2+2*len(texts)
		}
	}
}

// FuzzFile holds the strict parser to the oracle, and has the writer bring back what
// was read, with one more label.
func FuzzFile(f *testing.F) {
	f.Add([]byte(`{"label": "5-5", "other": "6-6"}`), "label", uint64(7), uint64(0))
	f.Add([]byte(`{"label": "5-5", "l\u0061bel": "6-6"}`), "l", uint64(0), uint64(0))
	f.Add([]byte(`{"l": "5-5"}`), "<\u2028\\\"\x00>", uint64(1<<64-1), uint64(1<<64-1))
	f.Fuzz(func(t *testing.T, data []byte, label string, ms, seq uint64) {
		offsets, err := offset.ParseFile(data)
		want, taken := oracleFile(data)
		if (err == nil) != taken {
			t.Fatalf("%q: %v, want it taken = %t", data, err, taken)
		}
		if err != nil {
			if len(err.Error()) > 1200 {
				t.Fatalf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		texts := make(map[string]string)
		for label, id := range offsets {
			texts[label] = id.String()
		}
		if !maps.Equal(texts, want) {
			t.Fatalf("read %v, but encoding/json %v", texts, want)
		}
		if utf8.ValidString(label) { // File refuses others
			offsets[label] = offset.ID{Ms: ms, Seq: seq}
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
