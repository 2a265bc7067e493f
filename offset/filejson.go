package offset

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// parseFile reads the content of a [File]. It is stricter than json.Unmarshal,
// which would take a null for an empty store, the last of two equal labels, and
// U+FFFD for bytes that are not UTF-8: each could lose or move an offset without
// a word.
func parseFile(data []byte) (map[string]ID, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8 text")
	}
	// Checks the syntax of the whole, trailing data included; the loop below
	// then looks at shape alone.
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	tokens := json.NewDecoder(bytes.NewReader(whole))
	if first, err := tokens.Token(); err != nil || first != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	offsets := make(map[string]ID)
	for tokens.More() {
		key, err := tokens.Token()
		if err != nil {
			return nil, err
		}
		value, err := tokens.Token()
		if err != nil {
			return nil, err
		}
		label, _ := key.(string)
		text, ok := value.(string)
		if !ok {
			return nil, fmt.Errorf("label %s holds no string", quoteStart(label))
		}
		id, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("label %s: %w", quoteStart(label), err)
		}
		if _, twice := offsets[label]; twice {
			return nil, fmt.Errorf("label %s is there twice", quoteStart(label))
		}
		offsets[label] = id
	}
	return offsets, nil
}

// formatFile writes for a human reader: sorted, one label per line, and without
// the escapes that JSON needs only inside HTML.
func formatFile(offsets map[string]ID) ([]byte, error) {
	texts := make(map[string]string, len(offsets))
	for label, id := range offsets {
		texts[label] = id.String()
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(texts)
	return out.Bytes(), err
}
