package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"millrace/codec"
)

// Document is a JSON Schema document that describes the events of a codec. The zero Document
// says nothing: it accepts everything. A Document does not change.
type Document struct {
	text []byte
	root map[string]any
}

// Of returns the description of the codec's events. It returns an error for a codec that does
// not describe itself, see [codec.Describer], and for one whose Check reports problems.
func Of[T any](c codec.Codec[T]) (Document, error) {
	if checker, ok := c.(codec.Checker); ok {
		if err := checker.Check(); err != nil {
			return Document{}, fmt.Errorf("schema: the codec has problems: %w", err)
		}
	}
	d, ok := c.(codec.Describer)
	if !ok {
		return Document{}, fmt.Errorf("schema: a %s does not describe itself; give it a method Describe, as codec.Describer has it", reflect.TypeOf(c))
	}
	return Parse(d.Describe())
}

// maxBytes bounds a document, and maxDepth how deep it nests.
const (
	maxBytes = 8 << 20
	maxDepth = 100
)

// Parse reads a document. It takes each JSON object that is not larger than 8 MiB and nests
// not deeper than 100 levels, and keeps keywords that it does not know.
func Parse(text []byte) (Document, error) {
	if len(text) > maxBytes {
		return Document{}, fmt.Errorf("schema: the document has %d bytes; at most %d are read", len(text), maxBytes)
	}
	if depth(text) > maxDepth {
		return Document{}, fmt.Errorf("schema: the document nests deeper than %d levels", maxDepth)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var root map[string]any
	if err := decoder.Decode(&root); err != nil || root == nil {
		return Document{}, errors.New("schema: the document is no JSON object; give a JSON Schema, as millrace schema prints it")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Document{}, errors.New("schema: there is more behind the document; give one JSON object")
	}
	return Document{text: bytes.Clone(text), root: root}, nil
}

// depth returns how deep the brackets of a JSON text nest, at most a little more than maxDepth.
func depth(text []byte) (deepest int) {
	open, inText := 0, false
	for i := 0; i < len(text) && deepest <= maxDepth; i++ {
		switch c := text[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{' || c == '[':
			open++
			deepest = max(deepest, open)
		case c == '}' || c == ']':
			open--
		}
	}
	return deepest
}

// JSON returns the text of the document, as it was read or made. It must not be changed.
func (d Document) JSON() []byte { return d.text }

// Title returns the title of the document, which is the name of the event's type in Go, or "".
func (d Document) Title() string {
	title, _ := d.root["title"].(string)
	return title
}

// resolve follows the references of a part of the document, within the document.
func (d Document) resolve(s map[string]any) map[string]any {
	for range 16 {
		ref, ok := s["$ref"].(string)
		if !ok {
			return s
		}
		next, found := d.at(ref)
		if !found {
			return map[string]any{"$ref": ref}
		}
		if len(s) > 1 {
			joined := map[string]any{"allOf": []any{next}}
			for keyword, value := range s {
				if keyword != "$ref" {
					joined[keyword] = value
				}
			}
			return joined
		}
		s = next
	}
	return s
}

// at returns the part that a reference such as #/$defs/Order names.
func (d Document) at(ref string) (map[string]any, bool) {
	rest, ok := strings.CutPrefix(ref, "#")
	if !ok {
		return nil, false
	}
	at := any(d.root)
	for part := range strings.SplitSeq(strings.TrimPrefix(rest, "/"), "/") {
		if part == "" {
			continue
		}
		object, _ := at.(map[string]any)
		if at, ok = object[part]; !ok {
			return nil, false
		}
	}
	object, ok := at.(map[string]any)
	return object, ok
}
