package schema

import (
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
)

// types: each type of the writer is one of the reader's.
func (c *comparison) types(r map[string]any, facts []map[string]any, path string) {
	want := typesOf(r)
	if want == nil || isImpossible(facts) {
		return
	}
	have := []string(nil)
	for _, f := range facts {
		if types := typesOf(f); types != nil && (have == nil || len(types) < len(have)) {
			have = types
		}
	}
	if have == nil {
		have = typesOfValues(facts)
	}
	if have == nil {
		c.report(path, "it may be of any type, and the reader wants %s", strings.Join(want, " or "))
		return
	}
	for _, t := range have {
		if !slices.Contains(want, t) && (t != "integer" || !slices.Contains(want, "number")) {
			c.report(path, "it may be of type %s, and the reader wants %s", t, strings.Join(want, " or "))
		}
	}
}

func typesOf(s map[string]any) []string {
	switch t := s["type"].(type) {
	case string:
		return []string{t}
	case []any:
		var all []string
		for _, one := range t {
			if text, ok := one.(string); ok {
				all = append(all, text)
			}
		}
		return all
	}
	return nil
}

// typesOfValues are those of a constant or an enumeration.
func typesOfValues(facts []map[string]any) (types []string) {
	values, ok := valuesOf(facts)
	if !ok {
		return nil
	}
	for _, v := range values {
		kind := "null"
		switch v.(type) {
		case string:
			kind = "string"
		case bool:
			kind = "boolean"
		case json.Number:
			kind = "number"
			if n, ok := number(v); ok && n.IsInt() {
				kind = "integer"
			}
		case []any:
			kind = "array"
		case map[string]any:
			kind = "object"
		}
		if !slices.Contains(types, kind) {
			types = append(types, kind)
		}
	}
	return types
}

func isImpossible(facts []map[string]any) bool {
	return slices.ContainsFunc(facts, func(f map[string]any) bool {
		not, is := f["not"].(map[string]any)
		return is && len(not) == 0
	})
}

// valuesOf are the values that the facts allow, if they list them.
func valuesOf(facts []map[string]any) (values []any, listed bool) {
	for _, f := range facts {
		if value, ok := f["const"]; ok {
			return []any{value}, true
		}
		if enum, ok := f["enum"].([]any); ok && (!listed || len(enum) < len(values)) {
			values, listed = enum, true
		}
	}
	return values, listed
}

// values compares constants, enumerations and what is excluded.
func (c *comparison) values(r map[string]any, facts []map[string]any, path string) {
	have, listed := valuesOf(facts)
	if want, isListed := valuesOf([]map[string]any{r}); isListed {
		if !listed {
			c.report(path, "it may be any value, and the reader takes %s only", texts(want))
		}
		for _, v := range have {
			if !contains(want, v) {
				c.report(path, "it may be %s, and the reader takes %s only", texts([]any{v}), texts(want))
			}
		}
	}
	not, is := r["not"].(map[string]any)
	if !is || isImpossible(facts) {
		return
	}
	for _, f := range facts {
		if reflect.DeepEqual(f["not"], r["not"]) {
			return
		}
	}
	if excluded, isListed := valuesOf([]map[string]any{not}); isListed {
		for _, v := range excluded {
			if mayBe(facts, v) {
				c.report(path, "it may be %s, and the reader refuses that", texts([]any{v}))
			}
		}
		return
	}
	c.report(path, "the reader refuses %s, and the writer does not", compact(not))
}

// mayBe tells whether the facts leave a value possible.
func mayBe(facts []map[string]any, v any) bool {
	if values, listed := valuesOf(facts); listed && !contains(values, v) {
		return false
	}
	for _, f := range facts {
		if not, ok := f["not"].(map[string]any); ok {
			if values, listed := valuesOf([]map[string]any{not}); listed && contains(values, v) {
				return false
			}
		}
		n, isNumber := number(v)
		if !isNumber {
			continue
		}
		for keyword, holds := range map[string]func(int) bool{
			"minimum": func(c int) bool { return c >= 0 }, "exclusiveMinimum": func(c int) bool { return c > 0 },
			"maximum": func(c int) bool { return c <= 0 }, "exclusiveMaximum": func(c int) bool { return c < 0 },
		} {
			if limit, ok := number(f[keyword]); ok && !holds(n.Cmp(limit)) {
				return false
			}
		}
	}
	return true
}

// bound is a keyword that limits a number or a length.
type bound struct {
	keyword, exclusive string // of the same direction
	lower              bool
	absent             int64 // the bound where the keyword is not there; below zero for none
	of                 string
}

var bounds = []bound{
	{"minimum", "exclusiveMinimum", true, -1, "it may be"},
	{"maximum", "exclusiveMaximum", false, -1, "it may be"},
	{"minLength", "", true, 0, "its length may be"},
	{"maxLength", "", false, -1, "its length may be"},
	{"minItems", "", true, 0, "the number of its elements may be"},
	{"maxItems", "", false, -1, "the number of its elements may be"},
	{"minProperties", "", true, 0, "the number of its members may be"},
	{"maxProperties", "", false, -1, "the number of its members may be"},
}

// bounds compares the limits of numbers and lengths.
func (c *comparison) bounds(r map[string]any, facts []map[string]any, path string) {
	if isImpossible(facts) {
		return
	}
	values, listed := valuesOf(facts)
	for _, b := range bounds {
		for _, exclusive := range []bool{false, true} {
			keyword := b.keyword
			if exclusive {
				keyword = b.exclusive
			}
			want, ok := number(r[keyword])
			if !ok || listed && b.allWithin(values, want, exclusive) {
				continue
			}
			have, isExclusive, found := b.tightest(facts)
			if !found && b.absent >= 0 {
				have, found = new(big.Rat).SetInt64(b.absent), true
			}
			direction := "larger"
			if b.lower {
				direction = "smaller"
			}
			switch {
			case !found:
				c.report(path, "%s of any size, and the reader has %s %s", b.of, keyword, want.RatString())
			case !b.within(have, want, exclusive, isExclusive):
				c.report(path, "%s %s than the reader takes: %s %s", b.of, direction, keyword, want.RatString())
			}
		}
	}
}

// within tells whether the writer's bound is as tight as the reader's.
func (b bound) within(have, want *big.Rat, exclusive, isExclusive bool) bool {
	cmp := have.Cmp(want)
	if !b.lower {
		cmp = -cmp
	}
	return cmp > 0 || cmp == 0 && (!exclusive || isExclusive)
}

// tightest returns the writer's bound.
func (b bound) tightest(facts []map[string]any) (have *big.Rat, exclusive, found bool) {
	for _, f := range facts {
		for _, keyword := range []string{b.keyword, b.exclusive} {
			n, ok := number(f[keyword])
			if !ok {
				continue
			}
			if isExclusive := keyword == b.exclusive; !found || b.within(n, have, exclusive, isExclusive) {
				have, exclusive, found = n, isExclusive, true
			}
		}
	}
	return have, exclusive, found
}

// allWithin tells whether all listed values keep within the reader's bound.
func (b bound) allWithin(values []any, want *big.Rat, exclusive bool) bool {
	for _, v := range values {
		var n *big.Rat
		switch v := v.(type) {
		case json.Number:
			if strings.Contains(b.keyword, "Length") || strings.Contains(b.keyword, "Items") || strings.Contains(b.keyword, "Properties") {
				continue // does not count for numbers
			}
			n, _ = number(v)
		case string:
			if !strings.Contains(b.keyword, "Length") {
				continue
			}
			n = new(big.Rat).SetInt64(int64(len([]rune(v))))
		}
		if n != nil && !b.within(n, want, exclusive, false) {
			return false
		}
	}
	return true
}

func number(v any) (*big.Rat, bool) {
	n, ok := v.(json.Number)
	if !ok || len(n) > 64 { // a text such as 1e999999999 has a long fraction
		return nil, false
	}
	if _, exponent, has := strings.Cut(strings.ToLower(n.String()), "e"); has && len(strings.Trim(exponent, "+-0")) > 3 {
		return nil, false
	}
	return new(big.Rat).SetString(n.String())
}

// texts returns values of a document, which are no event's.
func texts(values []any) string {
	all := make([]string, 0, len(values))
	for i, v := range values {
		if i == 10 {
			all = append(all, fmt.Sprintf("and %d more", len(values)-i))
			break
		}
		all = append(all, compact(v))
	}
	return strings.Join(all, ", ")
}

func compact(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return "a value"
	}
	return string(text[:min(len(text), 200)])
}

func contains(values []any, v any) bool {
	return slices.ContainsFunc(values, func(other any) bool {
		x, isNumber := number(v)
		y, isNumberToo := number(other)
		if isNumber && isNumberToo {
			return x.Cmp(y) == 0
		}
		return reflect.DeepEqual(v, other)
	})
}
