package codec

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-playground/validator/v10"

	"millrace/codec/internal/jsonschema"
)

// Describer is implemented by a [Codec] that can describe its events. [Struct], [JSON], [OneOf]
// and [Versions] do. Package millrace/codec/schema reads the description.
type Describer interface {
	// Describe returns a JSON Schema document (2020-12) of the events, the same for each call. It
	// returns nil for a codec whose Check reports problems.
	//
	// The document describes an event as JSON. What it says of the entry has names that begin
	// with "x-": x-wire is "fields" where each property is a field of the entry, as a text, and
	// "json" where the document is the text of the field x-field. x-validate are the parts of
	// validate tags for which JSON Schema has no keyword.
	Describe() []byte
}

const schemaDialect = "https://json-schema.org/draft/2020-12/schema"

// describing is a codec that adds its description to a document.
type describing interface {
	describe(d *description) jsonschema.Schema
}

// description is a document while it is made.
type description struct {
	defs  map[string]jsonschema.Schema
	names map[reflect.Type]string // of the structs in defs
	// Of the codec that is described.
	validate *validator.Validate
	isOwn    func(tag string) bool
	strict   bool
}

// describe returns the document of a codec, or nil if it has problems.
func describe(c describing) []byte {
	if checkOf(c) != nil {
		return nil
	}
	d := &description{defs: map[string]jsonschema.Schema{}, names: map[reflect.Type]string{}}
	root := c.describe(d)
	root["$schema"] = schemaDialect
	if len(d.defs) > 0 {
		root["$defs"] = d.defs
	}
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil
	}
	return append(text, '\n')
}

// of sets whose tags count from here on.
func (d *description) of(v *validator.Validate, isOwn func(string) bool, strict bool) {
	d.validate, d.isOwn, d.strict = v, isOwn, strict
}

// inner describes a codec within another, which may be a user's own.
func (d *description) inner(c any, number int) jsonschema.Schema {
	if own, ok := c.(describing); ok {
		return own.describe(d)
	}
	foreign := jsonschema.Schema{}
	if own, ok := c.(Describer); ok && json.Unmarshal(own.Describe(), &foreign) == nil {
		if _, named := foreign["$id"]; !named { // its references are within it
			foreign["$id"] = fmt.Sprintf("inner-%d.json", number)
		}
		return foreign
	}
	return jsonschema.Schema{"x-wire": "unknown"} // the codec does not tell
}

func (c structCodec[T]) Describe() []byte { return describe(c) }

func (c structCodec[T]) describe(d *description) jsonschema.Schema {
	p := c.plan
	d.of(p.validate, p.isOwn, p.strict)
	root := jsonschema.Schema{"title": titleOf(p.typ), "type": "object", "x-wire": "fields"}
	properties := map[string]jsonschema.Schema{}
	var required []string
	for i := range p.fields {
		f := &p.fields[i]
		sf := p.typ.FieldByIndex(f.index)
		s, must := jsonschema.Constrain(jsonschema.Field{
			Type: f.typ, Base: d.field(f), Tag: sf.Tag.Get("validate"), Opaque: isOpaqueForm(f),
			Validate: d.validate, IsOwn: d.isOwn, Zero: zeroOf(f.typ),
		})
		if f.trim {
			s["x-trim"] = true
		}
		properties[f.name] = s
		if must {
			required = append(required, f.name)
		}
	}
	root["properties"] = properties
	if len(required) > 0 {
		root["required"] = required
	}
	switch {
	case p.remain != nil:
		rest := jsonschema.Schema{"type": "string"}
		if tag := p.typ.FieldByIndex(p.remain.index).Tag.Get("validate"); tag != "" && tag != "-" {
			rest[jsonschema.Rules] = []string{tag}
		}
		root["additionalProperties"] = rest
	case p.strict:
		root["additionalProperties"] = false
	}
	return root
}

// isOwn tells whether a validate tag is one of WithValidation.
func (p *plan) isOwn(tag string) bool {
	for _, own := range p.own {
		if own == tag {
			return true
		}
	}
	return false
}

// isOpaqueForm tells whether validator sees another value than the document has.
func isOpaqueForm(f *field) bool {
	base := deref(f.typ)
	return base == durationType || base == timeType || isBytes(base) || speaksText(base)
}

// field is the schema of a field of an entry.
func (d *description) field(f *field) jsonschema.Schema {
	base := deref(f.typ)
	switch {
	case base == durationType:
		return jsonschema.Schema{"type": "string", "pattern": "^[+-]?([0-9.]+(ns|us|\u00b5s|\u03bcs|ms|s|m|h))+$|^[+-]?0$"}
	case base == timeType && f.form.set != nil && isUnixForm(f):
		return integer(64)
	case base.Kind() == reflect.Interface:
		return jsonschema.Schema{"type": "string"} // gets the text
	}
	return d.typ(base)
}

// isUnixForm tells whether a time is a number, as its tag says.
func isUnixForm(f *field) bool {
	var t = reflect.New(timeType).Elem()
	return f.form.set("1", t) == ""
}

// Describe returns a JSON Schema document of the value, see [Describer].
func (c JSON[T]) Describe() []byte { return describe(c) }

func (c JSON[T]) describe(d *description) jsonschema.Schema {
	d.of(plainValidator(), nil, false)
	t := deref(reflect.TypeFor[T]())
	var root jsonschema.Schema
	if t.Kind() == reflect.Struct && !marshalsItself(t) {
		root = d.object(t)
		if d.refersTo(t) {
			root = jsonschema.Schema{"$ref": "#/$defs/" + d.names[t]}
		}
	} else {
		root = d.typ(t)
	}
	root["title"], root["x-wire"], root["x-field"] = titleOf(t), "json", c.field()
	return root
}

// typ is the schema of a type in JSON, pointers taken off.
func (d *description) typ(t reflect.Type) jsonschema.Schema {
	t = deref(t)
	if carried := carriedIn(t); carried != nil {
		return jsonschema.Schema{"type": "string", "contentMediaType": "application/json", "contentSchema": d.typ(carried)}
	}
	switch t {
	case timeType:
		return jsonschema.Schema{"type": "string", "format": "date-time"}
	case unixType, unixMilliType:
		return integer(64)
	case jsonNumberType:
		return jsonschema.Schema{"type": "number"}
	}
	switch {
	case speaksJSON(t) || jsonMarshaling.has(t) && !speaksText(t):
		return jsonschema.Schema{jsonschema.GoType: t.String()}
	case speaksText(t):
		return jsonschema.Schema{"type": "string", jsonschema.GoType: t.String()}
	case isBytes(t):
		return jsonschema.Schema{"type": "string", "contentEncoding": "base64"}
	}
	switch t.Kind() {
	case reflect.String:
		return jsonschema.Schema{"type": "string"}
	case reflect.Bool:
		return jsonschema.Schema{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return integer(t.Bits())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return unsigned(t.Bits())
	case reflect.Float32, reflect.Float64:
		return jsonschema.Schema{"type": "number"}
	case reflect.Slice:
		return jsonschema.Schema{"type": "array", "items": d.element(t.Elem())}
	case reflect.Array:
		return jsonschema.Schema{"type": "array", "items": d.element(t.Elem()), "minItems": int64(t.Len()), "maxItems": int64(t.Len())}
	case reflect.Map:
		s := jsonschema.Schema{"type": "object", "additionalProperties": d.element(t.Elem())}
		if t.Key().Kind() != reflect.String && !speaksText(t.Key()) {
			s["propertyNames"] = jsonschema.Schema{"pattern": "^-?[0-9]+$"}
		}
		return s
	case reflect.Struct:
		return jsonschema.Schema{"$ref": "#/$defs/" + d.define(t)}
	}
	return jsonschema.Schema{}
}

// element is the schema of an element of a list or a map, which is null for a nil.
func (d *description) element(t reflect.Type) jsonschema.Schema {
	s := d.typ(t)
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		s = s.Nullable()
	}
	return s
}

func integer(bits int) jsonschema.Schema {
	most := int64(1)<<(bits-1) - 1
	return jsonschema.Schema{"type": "integer", "minimum": -most - 1, "maximum": most}
}

func unsigned(bits int) jsonschema.Schema {
	return jsonschema.Schema{"type": "integer", "minimum": int64(0), "maximum": uint64(1)<<bits - 1}
}

// define puts a struct among the definitions, once, and returns its name.
func (d *description) define(t reflect.Type) string {
	if name, ok := d.names[t]; ok {
		return name
	}
	name := titleOf(t)
	for n := 2; d.defs[name] != nil; n++ {
		name = fmt.Sprintf("%s%d", titleOf(t), n)
	}
	d.names[t], d.defs[name] = name, jsonschema.Schema{}
	d.defs[name] = d.object(t)
	return name
}

// refersTo tells whether the struct was defined while it was described: it has itself as a part.
func (d *description) refersTo(t reflect.Type) bool { return d.names[t] != "" }

// object is the schema of a struct in JSON.
func (d *description) object(t reflect.Type) jsonschema.Schema {
	properties := map[string]jsonschema.Schema{}
	var required []string
	for _, f := range jsonFields(t) {
		if _, hidden := properties[f.name]; hidden {
			continue
		}
		sf := fieldOfPath(t, f.path)
		base, quoted := d.typ(f.typ), isQuoted(sf)
		if quoted {
			base = jsonschema.Schema{"type": "string"}
		}
		b := deref(f.typ)
		s, must := jsonschema.Constrain(jsonschema.Field{
			Type: f.typ, Base: base, Tag: sf.Tag.Get("validate"), Null: true,
			Opaque:   quoted || b == timeType || isBytes(b) || b.Kind() == reflect.Interface || marshalsItself(b),
			Validate: d.validate, IsOwn: d.isOwn, Zero: zeroOf(f.typ),
		})
		properties[f.name] = s
		if must {
			required = append(required, f.name)
		}
	}
	s := jsonschema.Schema{"type": "object", "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	if d.strict {
		s["additionalProperties"] = false
	}
	return s
}

// zeroOf is the schema of the JSON of a zero struct, whose members may also be missing. It is nil
// for every other type.
func zeroOf(t reflect.Type) jsonschema.Schema {
	if t.Kind() != reflect.Struct || marshalsItself(t) {
		return nil
	}
	properties := map[string]jsonschema.Schema{}
	for _, f := range jsonFields(t) {
		if inner := zeroOf(f.typ); inner != nil {
			properties[f.name] = inner
			continue
		}
		text, err := json.Marshal(reflect.Zero(f.typ).Interface())
		if err != nil || fieldOfPath(t, f.path).PkgPath != "" {
			return nil
		}
		properties[f.name] = jsonschema.Schema{"const": json.RawMessage(text)}
	}
	return jsonschema.Schema{"type": "object", "properties": properties}
}

// isQuoted tells whether a json tag puts the value into a string.
func isQuoted(sf reflect.StructField) bool {
	_, options, _ := strings.Cut(sf.Tag.Get("json"), ",")
	switch deref(sf.Type).Kind() {
	case reflect.Struct, reflect.Slice, reflect.Map, reflect.Array, reflect.Interface:
		return false
	}
	return strings.Contains(","+options+",", ",string,")
}

func fieldOfPath(t reflect.Type, path string) (sf reflect.StructField) {
	for name := range strings.SplitSeq(path, ".") {
		sf, _ = deref(t).FieldByName(name)
		t = sf.Type
	}
	return sf
}

// titleOf is the name of a type, in letters that may stand in a reference.
func titleOf(t reflect.Type) string {
	t = deref(t)
	name := strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, t.Name())
	if name == "" {
		return t.Kind().String()
	}
	return name
}
