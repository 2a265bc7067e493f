package codec

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-playground/validator/v10"
)

// otherFields checks a part of a tag that speaks of other fields, which validator
// finds by their names in Go when a value is there. A name that is wrong finds
// nothing then, and the part is no check, or refuses everything. The reason
// completes a sentence that begins with the part; ok is false for any other part.
func (c *tagChecker) otherFields(parent, t reflect.Type, name, param string) (reason string, ok bool) {
	words := oneOf(param)
	switch name {
	case "required_if", "required_unless", "skip_unless", "excluded_if", "excluded_unless":
		return pairsReason(parent, name, words), true
	case "required_with", "required_with_all", "required_without", "required_without_all",
		"excluded_with", "excluded_with_all", "excluded_without", "excluded_without_all":
		for _, word := range words {
			if _, reason := resolve(parent, word); reason != "" {
				return reason, true
			}
		}
		return "", true
	case "postcode_iso3166_alpha2_field":
		if len(words) != 1 {
			return "takes the name of one field", true
		}
		other, reason := resolve(parent, words[0])
		if reason == "" && !other.unknown && other.typ.Kind() != reflect.String {
			reason = fmt.Sprintf("needs a field with a text, and %s is a %s", words[0], other.typ)
		}
		return reason, true
	case "unique":
		if param == "" {
			return "", false
		}
		return uniqueReason(parent, t, param), true
	}
	base, isCompared := strings.CutSuffix(name, "field")
	base = strings.TrimSuffix(base, "cs")
	switch {
	case name == "fieldcontains" || name == "fieldexcludes":
		base = name
	case !isCompared || !strings.Contains(" eq ne gt gte lt lte ", " "+base+" "):
		return "", false
	}
	other, reason := resolve(parent, param)
	if reason == "" && !other.unknown && t.Kind() != reflect.Interface {
		reason = comparedReason(base, t, param, other.typ)
	}
	return reason, true
}

// pairsReason is for parts with names and values, such as required_if=Kind refund.
func pairsReason(parent reflect.Type, tag string, words []string) string {
	if len(words)%2 != 0 {
		return "does not pair names with values; write a name, a space, a value, and so on, and quote a value that has spaces"
	}
	seen := map[string]bool{}
	for i := 0; i < len(words); i += 2 {
		name, value := words[i], words[i+1]
		if seen[name] && tag == "required_if" {
			return fmt.Sprintf("names %s twice, for which validator panics", name)
		}
		seen[name] = true
		other, reason := resolve(parent, name)
		if reason == "" && !other.unknown {
			reason = valueReason(other, name, value)
		}
		if reason != "" {
			return reason
		}
	}
	return ""
}

// valueReason tells why a field is never equal to the value in a tag, or cannot be
// compared with it.
func valueReason(other otherField, name, value string) string {
	var err error
	switch other.typ.Kind() {
	case reflect.String:
		return ""
	case reflect.Bool:
		if value != "true" && value != "false" {
			return fmt.Sprintf("compares %s, a bool, with another value than true and false", name)
		}
		return ""
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if other.typ == durationType {
			return "" // validator takes other texts for it
		}
		_, err = strconv.ParseInt(value, 0, 64)
	case reflect.Slice, reflect.Map:
		if value != "nil" {
			_, err = strconv.ParseInt(value, 0, 64)
		}
	case reflect.Array:
		_, err = strconv.ParseInt(value, 0, 64)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		_, err = strconv.ParseUint(value, 0, 64)
	case reflect.Float32, reflect.Float64:
		_, err = strconv.ParseFloat(value, 64)
	default:
		if other.pointer && value == "nil" {
			return ""
		}
		return fmt.Sprintf("compares %s, a %s, with a text, which it never is", name, other.typ)
	}
	switch {
	case err == nil:
		return ""
	case value == "nil" && other.pointer:
		return fmt.Sprintf("compares %s with nil, for which validator panics once it is set; use one of the tags that end in _with and _without", name)
	}
	return fmt.Sprintf("compares %s, a %s, with a value that is no number", name, other.typ)
}

func uniqueReason(parent, t reflect.Type, param string) string {
	var elem reflect.Type
	switch t.Kind() {
	case reflect.Interface:
		return ""
	case reflect.Slice, reflect.Array:
		elem = deref(t.Elem())
		if elem.Kind() != reflect.Struct {
			return fmt.Sprintf("takes a field only where the elements are structs, and they are %s", elem)
		}
	case reflect.Map:
		return "takes no field for a map; remove it"
	default:
		other, reason := resolve(parent, param)
		if reason == "" && !other.unknown && (other.pointer || other.typ.Kind() != t.Kind()) {
			reason = fmt.Sprintf("compares a %s with %s, which is of another type", t, param)
		}
		return reason
	}
	f, ok := elem.FieldByName(param)
	switch {
	case !ok:
		return fmt.Sprintf("names the field %s, which %s does not have; use the name of the field in Go", param, elem)
	case !f.IsExported() || !deref(f.Type).Comparable():
		return fmt.Sprintf("names the field %s of %s, which validator cannot compare", param, elem)
	}
	return ""
}

// comparedReason is for parts such as eqfield, without their last five letters.
func comparedReason(base string, t reflect.Type, name string, other reflect.Type) string {
	isTime := t.ConvertibleTo(timeType) && other.ConvertibleTo(timeType)
	if t.Kind() != other.Kind() || t.Kind() == reflect.Struct && t != other && !isTime {
		return fmt.Sprintf("compares a %s with %s, a %s, which are never equal", t, name, other)
	}
	switch t.Kind() {
	case reflect.String:
		return ""
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr,
		reflect.Float32, reflect.Float64:
		if !strings.HasPrefix(base, "field") {
			return ""
		}
	case reflect.Slice, reflect.Map, reflect.Array, reflect.Bool:
		if base == "eq" || base == "ne" {
			return ""
		}
	case reflect.Struct:
		if isTime && !strings.HasPrefix(base, "field") {
			return ""
		}
	}
	return fmt.Sprintf("cannot compare a %s", t)
}

// otherField is the field that a part of a tag names. Nothing is known of the
// value behind an interface.
type otherField struct {
	typ     reflect.Type // without its pointers
	pointer bool
	unknown bool
}

// resolve follows a name such as Inner.Items[0].City from the struct parent, as
// validator does.
func resolve(parent reflect.Type, name string) (other otherField, reason string) {
	missing := fmt.Sprintf("names the field %s, which %s does not have; use the names of the fields in Go", name, parent)
	t, rest := parent, name
	for {
		other.pointer = t.Kind() == reflect.Pointer
		t = deref(t)
		other.typ = t
		if t.Kind() == reflect.Interface || reflect.PointerTo(t).Implements(reflect.TypeFor[validator.Valuer]()) {
			other.unknown = true
			return other, ""
		}
		if rest == "" {
			return other, ""
		}
		switch t.Kind() {
		case reflect.Slice, reflect.Array, reflect.Map:
			_, after, ok := strings.Cut(rest, "]")
			if rest[0] != '[' || !ok {
				return other, missing
			}
			t, rest = t.Elem(), strings.TrimPrefix(after, ".")
		case reflect.Struct:
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			f, ok := t.FieldByName(rest[:end])
			if !ok || t.ConvertibleTo(timeType) {
				return other, missing
			}
			if len(f.Index) > 1 && isBehindPointer(t, f.Index) {
				return other, fmt.Sprintf("names the field %s of an embedded pointer, for which validator panics while it is nil; embed the struct itself", name)
			}
			t, rest = f.Type, strings.TrimPrefix(rest[end:], ".")
		default:
			return other, missing
		}
	}
}

func isBehindPointer(t reflect.Type, index []int) bool {
	for _, i := range index[:len(index)-1] {
		f := t.Field(i)
		if f.Type.Kind() == reflect.Pointer {
			return true
		}
		t = f.Type
	}
	return false
}
