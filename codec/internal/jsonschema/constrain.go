package jsonschema

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-playground/validator/v10"
)

// Field is a field of a struct, with its validate tag.
type Field struct {
	// Type is its Go type, and Base the schema of it, pointers taken off. Base is changed.
	Type reflect.Type
	Base Schema
	Tag  string
	// Opaque is set where the value in the document is another than the one that validator sees,
	// such as the text of a duration: then no part of the tag has a keyword.
	Opaque bool
	// Zero is the schema of the zero value of a struct, or nil.
	Zero Schema
	// Null is set where a nil is written as null, and not left out.
	Null bool
	// Validate is the validator that the codec asks, and IsOwn tells of a tag of the user's own,
	// whose function is not called here.
	Validate *validator.Validate
	IsOwn    func(tag string) bool
}

// Constrain returns the schema of the field's value, and whether the field must be there.
func Constrain(f Field) (s Schema, required bool) {
	required = !f.takesZero()
	var parts []string
	if f.Tag != "" && f.Tag != "-" {
		parts = strings.Split(f.Tag, ",")
	}
	s = f.constrain(f.Base, f.Type, parts)
	if f.Null && !required && isNilable(f.Type) {
		s = s.Nullable()
	}
	return s, required
}

func isNilable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return true
	}
	return false
}

// constrain adds the parts to the schema of a t.
func (f Field) constrain(s Schema, t reflect.Type, parts []string) Schema {
	base := deref(t)
	for i, part := range parts {
		switch part {
		case "omitempty", "omitnil", "omitzero":
			if t.Kind() == reflect.Struct && part != "omitnil" && f.Zero != nil {
				return Schema{"anyOf": []Schema{f.Zero, f.constrain(s, base, parts[i+1:])}}
			}
			zero, has := zeroSchema(part, t)
			if !has || f.Opaque { // the zero, a nil, is not there
				return f.constrain(s, base, parts[i+1:])
			}
			rest := f.constrain(Schema{}, base, parts[i+1:])
			if len(rest) == 0 {
				return s
			}
			s.add(Schema{"anyOf": []Schema{zero, rest}})
			return s
		case "dive":
			return f.dive(s, base, parts[i+1:])
		}
		if keywords, ok := f.keywords(t, part); ok && !f.Opaque {
			s.add(keywords)
		} else if part != "" {
			s.addRules(part)
		}
	}
	return s
}

// zeroSchema is the schema of the values for which the part ends a tag, or has = false where
// they are nils only.
func zeroSchema(part string, t reflect.Type) (s Schema, has bool) {
	base := deref(t)
	if t.Kind() == reflect.Pointer && part != "omitzero" || part == "omitnil" {
		return nil, false
	}
	switch base.Kind() {
	case reflect.String:
		return Schema{"maxLength": int64(0)}, true
	case reflect.Bool:
		return Schema{"const": false}, true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64:
		return Schema{"const": int64(0)}, true
	case reflect.Slice, reflect.Map:
		if part == "omitzero" {
			return sized(base, 0, "max"), true
		}
		return nil, false
	case reflect.Array, reflect.Struct:
		return Schema{Rules: []string{part}}, true // a zero of many parts has no keyword
	}
	return nil, false
}

// dive adds the parts behind a dive to the elements.
func (f Field) dive(s Schema, base reflect.Type, parts []string) Schema {
	elements := "items"
	if base.Kind() == reflect.Map {
		elements = "additionalProperties"
	}
	if f.Opaque || base.Kind() != reflect.Map && base.Kind() != reflect.Slice && base.Kind() != reflect.Array || isBytes(base) {
		s.addRules(strings.Join(append([]string{"dive"}, parts...), ","))
		return s
	}
	if len(parts) > 0 && parts[0] == "keys" {
		end := slices.Index(parts, "endkeys")
		if end < 0 {
			end = len(parts) - 1
		}
		if base.Key().Kind() == reflect.String {
			s.add(Schema{"propertyNames": f.constrain(Schema{}, base.Key(), parts[1:end])})
		} else {
			s.addRules("dive," + strings.Join(parts[:end+1], ","))
		}
		parts = parts[end+1:]
	}
	inner, ok := s[elements].(Schema)
	if !ok {
		inner = Schema{}
	}
	inner = f.constrain(inner.notNull(), base.Elem(), parts)
	of := f
	of.Type, of.Tag = base.Elem(), strings.Join(parts, ",")
	switch {
	case !isNilable(of.Type):
	case of.takesZero():
		inner = inner.Nullable()
	case !ok:
		inner.add(Schema{"not": Schema{"const": nil}})
	}
	s[elements] = inner
	return s
}

// takesZero tells whether validator accepts the field when it is missing. Parts that speak of
// other fields, or are the user's own, have no say in that here.
func (f Field) takesZero() bool {
	if f.Validate == nil {
		return true
	}
	var parts []string
	for part := range strings.SplitSeq(f.Tag, ",") {
		name, _, _ := strings.Cut(part, "=")
		if f.IsOwn != nil && f.IsOwn(name) || speaksOfOthers(name) {
			continue
		}
		parts = append(parts, part)
	}
	tag := reflect.StructTag("validate:" + strconv.Quote(strings.Join(parts, ",")))
	return accepts(f.Validate, reflect.StructOf([]reflect.StructField{{Name: "V", Type: f.Type, Tag: tag}}))
}

func accepts(v *validator.Validate, t reflect.Type) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = true
		}
	}()
	return v.Struct(reflect.New(t).Interface()) == nil
}

func speaksOfOthers(name string) bool {
	for _, prefix := range []string{"required_", "excluded_", "skip_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return strings.HasSuffix(name, "field") || name == "fieldcontains" || name == "fieldexcludes"
}

func deref(t reflect.Type) reflect.Type {
	for i := 0; i < 8 && t.Kind() == reflect.Pointer; i++ {
		t = t.Elem()
	}
	return t
}

func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}
