package jsonschema

import (
	"encoding/json"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// keywords returns the keywords of one part of a tag, or ok = false for a part that has none.
func (f Field) keywords(t reflect.Type, part string) (s Schema, ok bool) {
	name, param, hasParam := strings.Cut(part, "=")
	if f.IsOwn != nil && f.IsOwn(name) {
		return nil, false
	}
	base := deref(t)
	if strings.Contains(part, "|") {
		var any []Schema
		for alternative := range strings.SplitSeq(part, "|") {
			one, ok := f.keywords(base, alternative)
			if !ok || strings.HasPrefix(alternative, "omit") {
				return nil, false
			}
			any = append(any, one)
		}
		return Schema{"anyOf": any}, true
	}
	param = strings.NewReplacer("0x2C", ",", "0x7C", "|").Replace(param)
	if part == "required" && t.Kind() == reflect.Pointer {
		return Schema{}, true // any value behind a pointer is one
	}
	switch base.Kind() {
	case reflect.String:
		return stringKeywords(name, param, hasParam)
	case reflect.Bool:
		return boolKeywords(name, param)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64:
		return numberKeywords(base, name, param)
	case reflect.Slice, reflect.Map, reflect.Array:
		return listKeywords(base, name, param)
	}
	return nil, false
}

// impossible is the schema of no value.
func impossible() Schema { return Schema{"not": Schema{}} }

// blanks are the characters of which a blank text consists, as notblank takes it.
const blanks = "\t-\r\x1c- \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"

// patterns are those of tags that look at each character.
var patterns = map[string]string{
	"alpha":    "^[a-zA-Z]+$",
	"alphanum": "^[a-zA-Z0-9]+$",
	"uuid":     "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
}

// formats are the formats of JSON Schema, which are close to the tags, and not the same: the tag
// stays a rule as well.
var formats = map[string]string{
	"email": "email", "ipv4": "ipv4", "ipv6": "ipv6", "hostname": "hostname", "hostname_rfc1123": "hostname", "url": "uri", "uri": "uri",
}

func stringKeywords(name, param string, hasParam bool) (Schema, bool) {
	if pattern, ok := patterns[name]; ok && !hasParam {
		return Schema{"pattern": pattern}, true
	}
	if format, ok := formats[name]; ok && !hasParam {
		return Schema{"format": format, Rules: []string{name}}, true
	}
	switch name {
	case "required":
		return Schema{"minLength": int64(1)}, true
	case "notblank":
		return Schema{"pattern": "[^" + blanks + "]"}, true
	}
	if !hasParam {
		return nil, false
	}
	switch name {
	case "eq":
		return Schema{"const": param}, true
	case "ne":
		return Schema{"not": Schema{"const": param}}, true
	case "oneof":
		return Schema{"enum": words(param)}, true
	case "noneof":
		return Schema{"not": Schema{"enum": words(param)}}, true
	case "contains":
		return Schema{"pattern": quote(param)}, true
	case "excludes":
		return Schema{"not": Schema{"pattern": quote(param)}}, true
	case "startswith":
		return Schema{"pattern": "^" + quote(param)}, true
	case "endswith":
		return Schema{"pattern": quote(param) + "$"}, true
	}
	return lengthKeywords(name, param, func(n int64, bound string) Schema { return Schema{bound + "Length": n} })
}

func boolKeywords(name, param string) (Schema, bool) {
	if name == "required" || name == "notblank" {
		return Schema{"const": true}, true
	}
	want, err := strconv.ParseBool(param)
	switch {
	case err != nil:
		return nil, false
	case name == "eq":
		return Schema{"const": want}, true
	case name == "ne":
		return Schema{"const": !want}, true
	}
	return nil, false
}

func numberKeywords(base reflect.Type, name, param string) (Schema, bool) {
	switch name {
	case "required", "notblank":
		return Schema{"not": Schema{"const": int64(0)}}, true
	case "oneof", "noneof":
		var numbers []json.Number
		for _, word := range words(param) {
			if isPlain(word) { // validator compares texts: 01 is never equal
				numbers = append(numbers, json.Number(word))
			}
		}
		if base.Kind() == reflect.Float32 || base.Kind() == reflect.Float64 {
			return nil, false
		}
		list := Schema{"enum": numbers}
		if len(numbers) == 0 {
			list = impossible()
		}
		if name == "noneof" {
			return Schema{"not": list}, true
		}
		return list, true
	}
	limit, ok := numberOf(base, param)
	if !ok {
		return nil, false
	}
	switch name {
	case "eq", "len":
		return Schema{"const": limit}, true
	case "ne":
		return Schema{"not": Schema{"const": limit}}, true
	case "gt":
		return Schema{"exclusiveMinimum": limit}, true
	case "gte", "min":
		return Schema{"minimum": limit}, true
	case "lt":
		return Schema{"exclusiveMaximum": limit}, true
	case "lte", "max":
		return Schema{"maximum": limit}, true
	}
	return nil, false
}

// isPlain tells whether an integer has the text that it is written with.
func isPlain(word string) bool {
	if n, err := strconv.ParseInt(word, 10, 64); err == nil {
		return strconv.FormatInt(n, 10) == word
	}
	n, err := strconv.ParseUint(word, 10, 64)
	return err == nil && strconv.FormatUint(n, 10) == word
}

// numberOf returns the parameter as validator takes it for the type.
func numberOf(base reflect.Type, param string) (json.Number, bool) {
	switch base.Kind() {
	case reflect.Float32, reflect.Float64:
		x, err := strconv.ParseFloat(param, base.Bits())
		if err != nil || math.IsInf(x, 0) || math.IsNaN(x) {
			return "", false
		}
		return json.Number(strconv.FormatFloat(x, 'g', -1, base.Bits())), true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(param, 0, 64)
		return json.Number(strconv.FormatUint(n, 10)), err == nil
	}
	n, err := strconv.ParseInt(param, 0, 64)
	return json.Number(strconv.FormatInt(n, 10)), err == nil
}

func listKeywords(base reflect.Type, name, param string) (Schema, bool) {
	if isBytes(base) {
		return nil, false // the text in the document has another length
	}
	switch name {
	case "required":
		if base.Kind() == reflect.Array {
			return nil, false
		}
		return Schema{}, true // what is there is no nil
	case "notblank":
		return sized(base, 1, "min"), true
	case "unique":
		if param != "" || base.Kind() == reflect.Map || !isPlainKind(base.Elem()) {
			return nil, false
		}
		return Schema{"uniqueItems": true}, true
	}
	return lengthKeywords(name, param, func(n int64, bound string) Schema { return sized(base, n, bound) })
}

func isPlainKind(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	}
	return false
}

// sized is the schema of lists, or maps, with a bound of their length.
func sized(base reflect.Type, n int64, bound string) Schema {
	if base.Kind() == reflect.Map {
		return Schema{bound + "Properties": n}
	}
	return Schema{bound + "Items": n}
}

// lengthKeywords are those of a length, where bounded makes a schema of a bound called min or max.
func lengthKeywords(name, param string, bounded func(n int64, bound string) Schema) (Schema, bool) {
	n, err := strconv.ParseInt(param, 0, 64)
	if err != nil {
		return nil, false
	}
	atLeast := func(n int64) Schema { return bounded(max(n, 0), "min") }
	atMost := func(n int64) Schema {
		if n < 0 {
			return impossible()
		}
		return bounded(n, "max")
	}
	exactly := func(n int64) Schema {
		if n < 0 {
			return impossible()
		}
		s := atLeast(n)
		s.add(atMost(n))
		return s
	}
	switch name {
	case "eq", "len":
		return exactly(n), true
	case "ne":
		return Schema{"not": exactly(n)}, true
	case "gt":
		return atLeast(n + 1), n < math.MaxInt64
	case "gte", "min":
		return atLeast(n), true
	case "lt":
		return atMost(n - 1), n > math.MinInt64
	case "lte", "max":
		return atMost(n), true
	}
	return nil, false
}

// words splits a parameter as validator does: quotes keep words together, and are dropped
// wherever they stand.
func words(param string) []string {
	texts := quotedWords().FindAllString(param, -1)
	for i := range texts {
		texts[i] = strings.ReplaceAll(texts[i], "'", "")
	}
	return texts
}

var quotedWords = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`'[^']*'|\S+`) })
