package codec

import (
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// newStep returns the step that is equal to validator for one part of the tag
// of a field of type t, or ok = false for a part that is left to validator.
func newStep(t reflect.Type, part string) (s step, ok bool) {
	base := deref(t)
	switch part {
	case "omitempty":
		return step{ends: true, holds: hasValue(t)}, true
	case "omitzero":
		return step{ends: true, holds: isNotZero(base)}, true
	case "omitnil":
		return step{ends: true, holds: isNotNil(base)}, true
	case "required":
		return step{holds: hasValue(t)}, true
	case "notblank":
		return step{holds: isNotBlankValue}, true
	}
	name, param, hasParam := strings.Cut(part, "=")
	if strings.Contains(part, "|") || !hasParam {
		return step{}, false
	}
	param = strings.NewReplacer("0x2C", ",", "0x7C", "|").Replace(param)
	var holds func(reflect.Value) bool
	switch base.Kind() {
	case reflect.String:
		holds = stringCheck(name, param)
	case reflect.Bool:
		holds = boolCheck(name, param)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		holds = intCheck(name, param, base)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		holds = uintCheck(name, param)
	case reflect.Float32, reflect.Float64:
		holds = floatCheck(name, param, base.Bits())
	case reflect.Slice, reflect.Map, reflect.Array:
		holds = lenCheck(name, param)
	}
	return step{holds: holds}, holds != nil
}

// hasValue is required and omitempty: any value behind a pointer is one.
func hasValue(t reflect.Type) func(reflect.Value) bool {
	switch base := deref(t); {
	case base.Kind() == reflect.Slice || base.Kind() == reflect.Map || base.Kind() == reflect.Chan || base.Kind() == reflect.Func:
		return isNotNil(base)
	case t.Kind() == reflect.Pointer:
		return func(reflect.Value) bool { return true }
	case base.Kind() == reflect.String:
		return func(v reflect.Value) bool { return v.Len() > 0 }
	default:
		return func(v reflect.Value) bool { return !v.IsZero() }
	}
}

func isNotNil(base reflect.Type) func(reflect.Value) bool {
	switch base.Kind() {
	case reflect.Slice, reflect.Map, reflect.Chan, reflect.Func:
		return func(v reflect.Value) bool { return !v.IsNil() }
	}
	return func(reflect.Value) bool { return true }
}

func isNotZero(base reflect.Type) func(reflect.Value) bool {
	switch base.Kind() {
	case reflect.Slice, reflect.Map:
		return func(v reflect.Value) bool { return v.Len() > 0 }
	}
	return func(v reflect.Value) bool { return !v.IsZero() }
}

func stringCheck(name, param string) func(reflect.Value) bool {
	switch name {
	case "eq":
		return func(v reflect.Value) bool { return v.String() == param }
	case "ne":
		return func(v reflect.Value) bool { return v.String() != param }
	case "oneof":
		texts := oneOf(param)
		return func(v reflect.Value) bool { return slices.Contains(texts, v.String()) }
	case "noneof":
		texts := oneOf(param)
		return func(v reflect.Value) bool { return !slices.Contains(texts, v.String()) }
	case "contains":
		return func(v reflect.Value) bool { return strings.Contains(v.String(), param) }
	case "excludes":
		return func(v reflect.Value) bool { return !strings.Contains(v.String(), param) }
	case "startswith":
		return func(v reflect.Value) bool { return strings.HasPrefix(v.String(), param) }
	case "endswith":
		return func(v reflect.Value) bool { return strings.HasSuffix(v.String(), param) }
	}
	limit, err := strconv.ParseInt(param, 0, 64)
	if err != nil {
		return nil
	}
	if name == "max" || name == "lte" {
		// No string has more runes than bytes, so that most need no count.
		return func(v reflect.Value) bool {
			s := v.String()
			return int64(len(s)) <= limit || int64(utf8.RuneCountInString(s)) <= limit
		}
	}
	compare := comparison(name, limit)
	if compare == nil {
		return nil
	}
	return func(v reflect.Value) bool { return compare(int64(utf8.RuneCountInString(v.String()))) }
}

func boolCheck(name, param string) func(reflect.Value) bool {
	want, err := strconv.ParseBool(param)
	if err != nil {
		return nil
	}
	switch name {
	case "eq":
		return func(v reflect.Value) bool { return v.Bool() == want }
	case "ne":
		return func(v reflect.Value) bool { return v.Bool() != want }
	}
	return nil
}

func intCheck(name, param string, base reflect.Type) func(reflect.Value) bool {
	if name == "oneof" || name == "noneof" {
		return numberOneOf(name, param, func(v reflect.Value) string { return strconv.FormatInt(v.Int(), 10) })
	}
	limit, err := strconv.ParseInt(param, 0, 64)
	if base == durationType {
		if d, durationErr := time.ParseDuration(param); durationErr == nil {
			limit, err = int64(d), nil
		}
	}
	compare := comparison(name, limit)
	if err != nil || compare == nil {
		return nil
	}
	return func(v reflect.Value) bool { return compare(v.Int()) }
}

func uintCheck(name, param string) func(reflect.Value) bool {
	if name == "oneof" || name == "noneof" {
		return numberOneOf(name, param, func(v reflect.Value) string { return strconv.FormatUint(v.Uint(), 10) })
	}
	limit, err := strconv.ParseUint(param, 0, 64)
	compare := comparison(name, limit)
	if err != nil || compare == nil {
		return nil
	}
	return func(v reflect.Value) bool { return compare(v.Uint()) }
}

func floatCheck(name, param string, bits int) func(reflect.Value) bool {
	limit, err := strconv.ParseFloat(param, bits)
	compare := comparison(name, limit)
	if err != nil || compare == nil {
		return nil
	}
	return func(v reflect.Value) bool { return compare(v.Float()) }
}

// lenCheck is for slices, arrays and maps.
func lenCheck(name, param string) func(reflect.Value) bool {
	limit, err := strconv.ParseInt(param, 0, 64)
	compare := comparison(name, limit)
	if err != nil || compare == nil {
		return nil
	}
	return func(v reflect.Value) bool { return compare(int64(v.Len())) }
}

// comparison returns nil for a name that does not compare.
func comparison[N int64 | uint64 | float64](name string, limit N) func(N) bool {
	switch name {
	case "eq", "len":
		return func(n N) bool { return n == limit }
	case "ne":
		return func(n N) bool { return n != limit }
	case "gt":
		return func(n N) bool { return n > limit }
	case "gte", "min":
		return func(n N) bool { return n >= limit }
	case "lt":
		return func(n N) bool { return n < limit }
	case "lte", "max":
		return func(n N) bool { return n <= limit }
	}
	return nil
}

func numberOneOf(name, param string, format func(reflect.Value) string) func(reflect.Value) bool {
	texts, want := oneOf(param), name == "oneof"
	return func(v reflect.Value) bool { return slices.Contains(texts, format(v)) == want }
}

// oneOf splits a parameter as validator does: quotes keep words together, and
// are dropped wherever they stand.
func oneOf(param string) []string {
	texts := oneOfWords().FindAllString(param, -1)
	for i := range texts {
		texts[i] = strings.ReplaceAll(texts[i], "'", "")
	}
	return texts
}

var oneOfWords = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`'[^']*'|\S+`) })
