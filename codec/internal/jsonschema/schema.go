package jsonschema

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// Schema is a JSON Schema, or a part of one.
type Schema map[string]any

// Keywords of ours.
const (
	// Rules are the parts of a validate tag that have no keyword.
	Rules = "x-validate"
	// GoType is the type that makes a text of its own.
	GoType = "x-go-type"
)

// add adds the keywords of other. One that is there already, with another value, is put below
// allOf, so that both hold.
func (s Schema) add(other Schema) {
	for keyword, value := range other {
		switch before, taken := s[keyword]; {
		case !taken:
			s[keyword] = value
		case keyword == Rules:
			s.addRules(value.([]string)...)
		case isBound(keyword):
			s[keyword] = tighter(keyword, before, value)
		default:
			all, _ := s["allOf"].([]Schema)
			s["allOf"] = append(all, Schema{keyword: value})
		}
	}
}

// notNull undoes Nullable.
func (s Schema) notNull() Schema {
	if kinds, ok := s["type"].([]string); ok && len(kinds) == 2 && kinds[1] == "null" {
		s["type"] = kinds[0]
	}
	if isNull(s) {
		return s["anyOf"].([]Schema)[1]
	}
	return s
}

// isNull tells whether s is the wider form of Nullable.
func isNull(s Schema) bool {
	branches, _ := s["anyOf"].([]Schema)
	return len(s) == 1 && len(branches) == 2 && branches[0]["type"] == "null"
}

func isBound(keyword string) bool {
	return strings.HasPrefix(keyword, "min") || strings.HasPrefix(keyword, "max") || strings.HasPrefix(keyword, "exclusive")
}

// tighter returns the one of two bounds that lets less through.
func tighter(keyword string, a, b any) any {
	x, okX := new(big.Rat).SetString(fmt.Sprint(a))
	y, okY := new(big.Rat).SetString(fmt.Sprint(b))
	isMin := strings.HasPrefix(keyword, "min") || keyword == "exclusiveMinimum"
	if okX && okY && (x.Cmp(y) < 0) == isMin {
		return b
	}
	return a
}

// addRules adds parts of a tag as they are.
func (s Schema) addRules(parts ...string) {
	rules, _ := s[Rules].([]string)
	for _, part := range parts {
		if !slices.Contains(rules, part) {
			rules = append(slices.Clip(rules), part)
		}
	}
	if len(rules) > 0 {
		s[Rules] = rules
	}
}

// Nullable returns s for values that may be null too.
func (s Schema) Nullable() Schema {
	// A keyword about lengths says nothing of a null, and its opposite refuses it.
	if kind, ok := s["type"].(string); ok && s["enum"] == nil && s["const"] == nil && s["not"] == nil {
		s["type"] = []string{kind, "null"}
		return s
	}
	if len(s) == 0 || s["type"] == nil && s["anyOf"] != nil && isNull(s) {
		return s
	}
	return Schema{"anyOf": []Schema{{"type": "null"}, s}}
}

// quote returns a pattern for the text itself, in the syntax that regular expressions have in
// common.
func quote(text string) string {
	var b strings.Builder
	for _, r := range text {
		if strings.ContainsRune(`\.+*?()|[]{}^$/`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
