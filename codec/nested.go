package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"unicode/utf8"
)

var jsonUnmarshalerType = reflect.TypeFor[json.Unmarshaler]()

// speaksJSON tells whether t decodes itself from JSON.
func speaksJSON(t reflect.Type) bool {
	return t.Kind() != reflect.Interface && reflect.PointerTo(t).Implements(jsonUnmarshalerType)
}

// jsonForm is the form of values with parts: JSON inside the field.
var jsonForm = jsonFormWith(jsonOptions{})

func jsonFormWith(options jsonOptions) form {
	return form{
		refusesBlank: true,
		nested:       true,
		set: func(text string, to reflect.Value) string {
			if !speaksJSON(to.Type()) && isNull(text) {
				return nullReason
			}
			return options.unmarshal(text, to.Addr().Interface())
		},
		text: func(from reflect.Value) (string, string) { return options.marshal(from.Addr().Interface()) },
	}
}

const nullReason = "is JSON null, which would leave it empty without a word; leave the field out instead"

func isNull(text string) bool { return strings.Trim(text, " \t\r\n") == "null" }

// unmarshal is json.Unmarshal with reasons made from the types of its errors:
// their texts quote the document.
func (o jsonOptions) unmarshal(text string, target any) (reason string) {
	// encoding/json would put U+FFFD in its place and not say so.
	if !utf8.ValidString(text) {
		return "is JSON with bytes that are not UTF-8"
	}
	if o.read(text, reflect.ValueOf(target).Elem()) {
		return ""
	}
	return o.unmarshalSlowly(text, target)
}

// unmarshalSlowly is unmarshal in two passes, of which each knows its reasons. It is what a
// jsonReader is measured by.
func (o jsonOptions) unmarshalSlowly(text string, target any) (reason string) {
	defer func() {
		if recover() != nil {
			reason = "holds JSON that makes a method of its Go type panic"
		}
	}()
	d := document{jsonOptions: o, text: text}
	if reason, at := d.look(reflect.TypeOf(target).Elem()); reason != "" {
		return fmt.Sprintf("holds JSON that %s (at byte %d)", reason, at)
	}
	err := d.decode(target)
	if err == nil {
		return ""
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("is not valid JSON (at byte %d)", syntax.Offset)
	}
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		// Value is "number 300" for a number that does not fit.
		kind, _, _ := strings.Cut(mismatch.Value, " ")
		at := ""
		if mismatch.Field != "" {
			at = fmt.Sprintf(" at %q", mismatch.Field[:min(len(mismatch.Field), maxPathBytes)])
		}
		return fmt.Sprintf("holds a JSON %s%s that does not fit its Go type %s (at byte %d)", kind, at, mismatch.Type, mismatch.Offset)
	}
	return "holds JSON with a part that its Go type refuses"
}

// marshal is json.Marshal of the value that value points to. Its reasons are made of the
// types of the errors.
func (o jsonOptions) marshal(value any) (text, reason string) {
	defer func() {
		if recover() != nil {
			text, reason = "", "makes a method of its Go type panic when it is put into JSON"
		}
	}()
	w := newJSONWriter()
	defer w.free()
	if err := w.encoder.Encode(value); err != nil {
		if method, ok := errors.AsType[*json.MarshalerError](err); ok {
			return "", fmt.Sprintf("is refused by a marshal method of %s", method.Type)
		}
		return "", "holds what JSON cannot express: NaN, an infinity or a cycle"
	}
	b := bytes.TrimSuffix(w.buf.Bytes(), []byte("\n"))
	if hasReplacement(b) {
		return "", "holds a string that is not UTF-8, which JSON cannot carry"
	}
	text = string(b)
	v := reflect.ValueOf(value).Elem()
	var proof jsonProof
	if !proof.holds(v, 0) {
		proof.mayLose = true
		d := document{jsonOptions: o, text: text}
		if reason, _ := d.look(v.Type()); reason != "" {
			return "", "would be JSON that " + reason + ", which decoding refuses"
		}
	}
	if proof.mayLose {
		reason = lossOf(v)
	}
	return text, reason
}

// jsonWriter is an encoder with the memory that it writes to, for many values.
type jsonWriter struct {
	buf     bytes.Buffer
	encoder *json.Encoder
}

var jsonWriters = sync.Pool{New: func() any {
	w := new(jsonWriter)
	w.encoder = json.NewEncoder(&w.buf)
	return w
}}

func newJSONWriter() *jsonWriter {
	w, _ := jsonWriters.Get().(*jsonWriter)
	return w
}

func (w *jsonWriter) free() {
	if w.buf.Cap() <= maxScratchBytes {
		w.buf.Reset()
		jsonWriters.Put(w)
	}
}

// hasReplacement finds the escape that json.Marshal writes for bytes that are not
// UTF-8. A U+FFFD that the value really holds is written as its three bytes, and
// behind an odd backslash the same letters are ordinary text.
func hasReplacement(b []byte) bool {
	escape := []byte(`\ufffd`)
	for from := 0; ; {
		i := bytes.Index(b[from:], escape)
		if i < 0 {
			return false
		}
		at := from + i
		if before := at - len(bytes.TrimRight(b[:at], `\`)); before%2 == 0 {
			return true
		}
		from = at + 1
	}
}

// jsonProblems reports the parts of t, which is reached by path, that
// encoding/json cannot carry or would drop without a word.
func jsonProblems(t reflect.Type, path string, report func(path, problem string)) {
	c := jsonChecker{report: report, seen: map[seenType]bool{}}
	c.check(t, path, true)
}

// jsonChecker is one run of jsonProblems. Types in seen are not looked at again,
// so that a recursive type ends.
type jsonChecker struct {
	report func(path, problem string)
	seen   map[seenType]bool
}

type seenType struct {
	typ  reflect.Type
	zero bool
}

// check looks at one type. zero is set where a value that was never set is published as
// the zero value.
func (c *jsonChecker) check(t reflect.Type, path string, zero bool) {
	known, knownZero := c.seen[seenType{t, false}], c.seen[seenType{t, true}]
	if knownZero || known && !zero {
		return
	}
	c.seen[seenType{t, zero}] = true
	if problem := jsonMarshaling.problem(t, zero, !known); problem != "" {
		c.report(path, problem)
		return
	}
	if carried := carriedIn(t); carried != nil {
		c.check(carried, path+".Value", false)
	}
	if known || speaksJSON(t) || speaksText(t) {
		return
	}
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer, reflect.Uintptr:
		c.report(path, fmt.Sprintf("a %s has no JSON; remove it, or tag it json:\"-\"", t.Kind()))
	case reflect.Interface:
		if t.NumMethod() > 0 {
			c.report(path, fmt.Sprintf("JSON cannot tell which type to put into the interface %s; use a concrete type", t))
		}
	case reflect.Pointer, reflect.Slice:
		c.check(t.Elem(), path, false)
	case reflect.Array:
		c.check(t.Elem(), path, zero)
	case reflect.Map:
		if !isJSONKey(t.Key()) {
			c.report(path, fmt.Sprintf("JSON cannot have keys of type %s; use a string or an integer, or give the type MarshalText and UnmarshalText", t.Key()))
		}
		if unheard := unheardIn(t.Elem()); unheard != nil {
			c.report(path, fmt.Sprintf("the marshal method of %s is one of its pointer, which JSON does not call for the elements of a map; make it a method of the value, or use a map of pointers", unheard))
			return
		}
		c.check(t.Elem(), path, false)
	case reflect.Struct:
		c.checkStruct(t, path)
	}
}

func (c *jsonChecker) checkStruct(t reflect.Type, path string) {
	for f := range t.Fields() {
		if !isVisible(f) {
			continue
		}
		if f.Tag.Get("json") == "-" {
			continue
		}
		if !f.IsExported() && f.Type.Kind() == reflect.Pointer {
			c.report(path+"."+f.Name, "JSON cannot set an embedded pointer to an unexported struct; embed the struct itself")
			continue
		}
		if _, inlined := jsonNameOf(f); inlined && marshalsItself(deref(f.Type)) {
			c.report(path+"."+f.Name, fmt.Sprintf(`JSON takes the embedded %s apart and calls none of its methods; give it a name with a json tag, or tag it json:"-"`, f.Type))
			continue
		}
		c.check(f.Type, path+"."+f.Name, !isNeverZero(f, "json"))
	}
	if isOpaque(t) {
		c.report(path, fmt.Sprintf("%s has no exported field, so its JSON would always be {}; give it MarshalText and UnmarshalText", t))
	}
	taken := map[string]string{}
	for _, f := range jsonFields(t) {
		if other, ok := taken[f.name]; ok {
			if first, _, deep := strings.Cut(f.path, "."); deep && strings.HasPrefix(other, first+".") {
				continue // told of the struct that has both
			}
			c.report(path+"."+f.path, fmt.Sprintf("the JSON name %q is taken by %s, and one of them at least would be lost; rename one, or tag it json:\"-\"", f.name, other))
			continue
		}
		taken[f.name] = f.path
	}
	if names := namedForOthers(t, "mapstructure", "json", isFolded); names != "" {
		c.report(path, fmt.Sprintf("%s of %s: a mapstructure tag and no json tag, which names the parts of JSON; give each a json tag too", names, t))
	}
}

// isVisible tells whether JSON, or squash, looks at the field of a struct.
func isVisible(f reflect.StructField) bool {
	return f.IsExported() || f.Anonymous && deref(f.Type).Kind() == reflect.Struct
}

// isOpaque tells whether the struct t has fields and hides all of them.
func isOpaque(t reflect.Type) bool {
	for f := range t.Fields() {
		if isVisible(f) {
			return false
		}
	}
	return t.NumField() > 0
}

// isFolded tells whether encoding/json takes one name for the other.
func isFolded(a, b string) bool { return fold(a) == fold(b) }

func isJSONKey(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	}
	return speaksText(t) && t.Implements(textMarshalerType)
}
