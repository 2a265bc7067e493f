package codec

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/go-playground/validator/v10"
)

// tagProblems returns what is wrong with the validate tags of the struct t and of
// the structs that validator reaches from it. validator itself reports a bad tag
// by a panic at the first value that gets that far: often in production, as a
// parameter behind a required that fails is not looked at.
func tagProblems(v *validator.Validate, t reflect.Type, custom []validationTag) []error {
	c := tagChecker{v: v, custom: custom, seen: map[reflect.Type]bool{}}
	c.structTags(t)
	return c.problems
}

type tagChecker struct {
	v        *validator.Validate
	custom   []validationTag
	seen     map[reflect.Type]bool
	problems []error
}

func (c *tagChecker) structTags(t reflect.Type) {
	if c.seen[t] || t.ConvertibleTo(timeType) {
		return
	}
	c.seen[t] = true
	for f := range t.Fields() {
		tag := f.Tag.Get("validate")
		if tag == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		if tag != "" {
			if problem := c.fieldTag(f.Type, tag); problem != "" {
				c.problems = append(c.problems, fmt.Errorf("%s.%s: validate tag %q: %s", t, f.Name, tag, problem))
			}
		}
		if next := reached(f.Type, strings.Split(tag, ",")); next.Kind() == reflect.Struct {
			c.structTags(next)
		}
	}
}

// reached returns the type whose structs validator looks into: elements only
// behind a dive.
func reached(t reflect.Type, parts []string) reflect.Type {
	t = deref(t)
	dive := slices.Index(parts, "dive")
	if dive < 0 || t.Kind() != reflect.Slice && t.Kind() != reflect.Array && t.Kind() != reflect.Map {
		return t
	}
	return reached(t.Elem(), parts[dive+1:])
}

// fieldTag tries the parts of a tag one by one on a zero of their type.
func (c *tagChecker) fieldTag(t reflect.Type, tag string) (problem string) {
	var element []reflect.Type // what endkeys returns to
	for part := range strings.SplitSeq(tag, ",") {
		t = deref(t)
		switch part {
		case "dive":
			switch t.Kind() {
			case reflect.Map:
				element = append(element, t.Key())
				t = t.Elem()
			case reflect.Slice, reflect.Array:
				t = t.Elem()
			case reflect.Interface:
				return ""
			default:
				return fmt.Sprintf("dive is for slices, arrays and maps, not for %s; remove it", t)
			}
			continue
		case "keys":
			if len(element) == 0 {
				return "keys is for maps, directly behind dive; move or remove it"
			}
			last := len(element) - 1
			element[last], t = t, element[last]
			continue
		case "endkeys":
			if len(element) == 0 {
				return "endkeys without keys; remove it"
			}
			t = element[len(element)-1]
			continue
		}
		for alternative := range strings.SplitSeq(part, "|") {
			if problem := c.part(t, alternative); problem != "" {
				return problem
			}
		}
	}
	if panics(func() { _ = c.v.Var("", "omitempty,"+tag) }) {
		return "its parts do not go together; see the documentation of validator"
	}
	return ""
}

func (c *tagChecker) part(t reflect.Type, part string) (problem string) {
	// With a blank string omitempty stops before any function is called, so that
	// only the parsing is tried.
	if panics(func() { _ = c.v.Var("", "omitempty,"+part) }) {
		return fmt.Sprintf("%q is undefined; correct it, or define it with WithValidation", part)
	}
	name, _, _ := strings.Cut(part, "=")
	if t.Kind() == reflect.Interface || needsOtherFields(name) ||
		slices.ContainsFunc(c.custom, func(tag validationTag) bool { return tag.tag == name }) {
		return ""
	}
	zero := reflect.Zero(t).Interface()
	// nostructlevel keeps validator out of the fields of a struct, which get
	// their own turn.
	if panics(func() { _ = c.v.VarWithKey("field", zero, part+",nostructlevel") }) {
		return fmt.Sprintf("%q does not go with the type %s; correct its parameter or remove it", part, t)
	}
	return ""
}

// needsOtherFields tells whether a built-in tag looks at other fields of its
// struct, so that a value alone is no test of it.
func needsOtherFields(tag string) bool {
	return strings.Contains(tag, "field") || strings.HasPrefix(tag, "required_") ||
		strings.HasPrefix(tag, "excluded_") || strings.HasPrefix(tag, "skip_")
}

func panics(f func()) (panicked bool) {
	defer func() { panicked = recover() != nil }()
	f()
	return false
}
