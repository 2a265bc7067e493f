package codec

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"
)

var (
	jsonMarshalerType = reflect.TypeFor[json.Marshaler]()
	jsonNumberType    = reflect.TypeFor[json.Number]()
)

// marshaling is one of the ways in which a type writes and reads itself.
type marshaling struct {
	name   string // of the format
	writes []reflect.Type
	write  func(from reflect.Value) ([]byte, error) // from is addressable
	read   func(text []byte, to reflect.Value) error
}

var textMarshaling = marshaling{
	name:   "text",
	writes: []reflect.Type{textMarshalerType},
	write: func(from reflect.Value) ([]byte, error) {
		return from.Addr().Interface().(encoding.TextMarshaler).MarshalText()
	},
	read: func(text []byte, to reflect.Value) error {
		return to.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText(text)
	},
}

var jsonMarshaling = marshaling{
	name:   "JSON",
	writes: []reflect.Type{jsonMarshalerType, textMarshalerType},
	write:  func(from reflect.Value) ([]byte, error) { return json.Marshal(from.Addr().Interface()) },
	read:   func(text []byte, to reflect.Value) error { return json.Unmarshal(text, to.Addr().Interface()) },
}

// has tells whether t or a pointer to it has a method that writes it.
func (m marshaling) has(t reflect.Type) bool {
	if t.Kind() == reflect.Interface || t.Kind() == reflect.Pointer {
		return false
	}
	for _, method := range m.writes {
		if reflect.PointerTo(t).Implements(method) {
			return true
		}
	}
	return false
}

// marshalsItself tells whether JSON calls a method of t, in either direction.
func marshalsItself(t reflect.Type) bool {
	return jsonMarshaling.has(t) || speaksJSON(t) || speaksText(t)
}

// text returns the text that the methods of v write, or ok = false where they
// refuse it or panic: such a value is not published.
func (m marshaling) text(v reflect.Value) (text string, ok bool) {
	defer func() {
		if recover() != nil {
			text, ok = "", false
		}
	}()
	b, err := m.write(v)
	return string(b), err == nil
}

func (m marshaling) reads(text string, v reflect.Value) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return m.read([]byte(text), v) == nil
}

// problem returns why the methods of t lose values of it, or "". The zero value is
// read back where it is published as a matter of course.
func (m marshaling) problem(t reflect.Type, zero, fields bool) string {
	if t == timeType || t == unixMilliType || t == unixType || t == jsonNumberType || !m.has(t) {
		return ""
	}
	if hidden := m.hides(t); fields && hidden != "" {
		return fmt.Sprintf("%s has the marshal methods of a type that it embeds, whose %s lacks %s; give it methods of its own, embed the type under a field name, or tag what is to be left out \"-\"", t, m.name, hidden)
	}
	if zero && !m.readsBackZero(t) {
		return fmt.Sprintf("%s writes its zero value as %s that it does not read back; use a pointer, correct its methods, or let the one that writes refuse it", t, m.name)
	}
	return ""
}

func (m marshaling) readsBackZero(t reflect.Type) bool {
	text, ok := m.text(reflect.New(t).Elem())
	if !ok {
		return true
	}
	back := reflect.New(t).Elem()
	if !m.reads(text, back) {
		return false
	}
	again, ok := m.text(back)
	return ok && again == text
}

// hides returns the exported fields of the struct t that its methods do not write,
// because they are those of an embedded type. A method that is declared for t has
// another text once such a field is set.
func (m marshaling) hides(t reflect.Type) string {
	if t.Kind() != reflect.Struct {
		return ""
	}
	for f := range t.Fields() {
		if !f.Anonymous || !m.has(deref(f.Type)) {
			continue
		}
		plain, filled := newEmbedding(t), newEmbedding(t)
		names := fillOthers(filled, f.Name)
		before, ok := m.text(plain)
		after, okToo := m.text(filled)
		if ok && okToo && before == after && names != "" {
			return names
		}
	}
	return ""
}

// newEmbedding returns a zero t whose embedded pointers are set: a nil one would
// make its methods panic.
func newEmbedding(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	for f := range t.Fields() {
		if f.Anonymous && f.IsExported() && f.Type.Kind() == reflect.Pointer {
			v.FieldByIndex(f.Index).Set(reflect.New(f.Type.Elem()))
		}
	}
	return v
}

// fillOthers sets the fields of the struct v that are to be published, but for one,
// and returns their names.
func fillOthers(v reflect.Value, but string) string {
	var names []string
	for f := range v.Type().Fields() {
		isOut := f.Tag.Get("json") == "-" || f.Tag.Get("mapstructure") == "-"
		if f.Name != but && !isOut && fill(v.FieldByIndex(f.Index), 0) {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, ", ")
}

// fill sets v, and the values inside of it, to values that are not zero, as far as they
// can be set.
func fill(v reflect.Value, depth int) (set bool) {
	const deepest = 4 // ends a recursive type
	if depth > deepest || !v.CanSet() && v.Kind() != reflect.Struct {
		return false
	}
	if v.Type() == timeType && v.CanSet() {
		v.Set(reflect.ValueOf(time.Unix(1, 0).UTC()))
		return true
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("1") // a json.Number is a string too
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint('1') // and a json.RawMessage is bytes
	case reflect.Float32, reflect.Float64:
		v.SetFloat(1)
	case reflect.Interface:
		if v.NumMethod() > 0 {
			return false
		}
		v.Set(reflect.ValueOf("1"))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth+1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), depth+1)
	case reflect.Map:
		key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, depth+1)
		fill(elem, depth+1)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, elem)
	case reflect.Array:
		for i := range min(v.Len(), 16) {
			set = fill(v.Index(i), depth+1) || set
		}
		return set
	case reflect.Struct:
		for i := range v.NumField() {
			set = fill(v.Field(i), depth+1) || set
		}
		return set
	default:
		return false
	}
	return true
}

// unheardIn returns the type in an element of a map whose marshal method has a
// pointer receiver: JSON cannot take the address of such an element, and would
// write the fields of the type in place of calling the method.
func unheardIn(t reflect.Type) reflect.Type {
	if jsonMarshaling.has(t) {
		for _, method := range jsonMarshaling.writes {
			if t.Implements(method) {
				return nil
			}
		}
		return t
	}
	switch t.Kind() {
	case reflect.Array:
		return unheardIn(t.Elem())
	case reflect.Struct:
		for f := range t.Fields() {
			if name, inlined := jsonNameOf(f); name == "" && !inlined {
				continue
			}
			if unheard := unheardIn(f.Type); unheard != nil {
				return unheard
			}
		}
	}
	return nil
}

// isNeverZero tells whether the zero value of a field is left out or refused, as
// its tags say, where the format's names stand in the tag called key.
func isNeverZero(f reflect.StructField, key string) bool {
	_, options, _ := strings.Cut(f.Tag.Get(key), ",")
	for option := range strings.SplitSeq(options, ",") {
		if option == "omitzero" || option == "omitempty" && !hasParts(f.Type) {
			return true
		}
	}
	first, _, _ := strings.Cut(f.Tag.Get("validate"), ",")
	return first == "required"
}

// hasParts tells whether omitempty does nothing for a t.
func hasParts(t reflect.Type) bool { return t.Kind() == reflect.Struct || t.Kind() == reflect.Array }

// namedForOthers returns the fields of the struct t whose tag other gives them a
// name, and that have no tag key, which is the one that counts. A field whose name
// in Go is the same, as far as isSame tells, loses nothing.
func namedForOthers(t reflect.Type, other, key string, isSame func(tagged, goName string) bool) string {
	var names []string
	for f := range t.Fields() {
		if f.Anonymous || !f.IsExported() {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get(other), ",")
		if _, named := f.Tag.Lookup(key); name != "" && !isSame(name, f.Name) && !named {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, ", ")
}

// takesNull tells whether JSON null becomes a t that is written as null again.
func takesNull(t reflect.Type) bool {
	if t == nil {
		return true
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Interface:
		return true
	case reflect.Map, reflect.Slice:
		return !speaksText(t) || speaksJSON(t)
	}
	if !speaksJSON(t) {
		return false
	}
	if !jsonMarshaling.has(t) {
		return true // it reads the JSON of others, and gets null
	}
	known, ok := nullTakers.Load(t)
	if !ok {
		back := reflect.New(t).Elem()
		if jsonMarshaling.reads("null", back) {
			text, _ := jsonMarshaling.text(back)
			known = text == "null"
		} else {
			known = true // it says so itself
		}
		nullTakers.Store(t, known)
	}
	takes, _ := known.(bool)
	return takes
}

// nullTakers holds a bool for each reflect.Type that takesNull had to ask.
var nullTakers sync.Map
