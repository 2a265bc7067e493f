package codec

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/go-playground/validator/v10"
)

// validationTag is a tag that a user adds to those of validator.
type validationTag struct {
	tag string
	fn  validator.Func
}

// plainValidator serves all codecs without tags of the user's own. A validator
// is most of the memory of a codec.
var plainValidator = sync.OnceValue(func() *validator.Validate {
	v, _ := newValidator(nil)
	return v
})

// newValidator returns a validator with the tags added, and the problems of the tags.
func newValidator(tags []validationTag) (*validator.Validate, []error) {
	v := validator.New(validator.WithRequiredStructEnabled())
	var problems []error
	for _, t := range append([]validationTag{{"notblank", isNotBlank}}, tags...) {
		if err := register(v, t); err != nil {
			problems = append(problems, err)
		}
	}
	return v, problems
}

func register(v *validator.Validate, t validationTag) (err error) {
	defer func() {
		// validator panics for a tag that means something in its grammar.
		if recover() != nil {
			err = fmt.Errorf("WithValidation: the tag %q is reserved or has reserved characters; choose another name", t.tag)
		}
	}()
	if t.tag == "" {
		return errors.New("WithValidation: the tag is empty; give it a name")
	}
	if t.fn == nil {
		return fmt.Errorf("WithValidation: the function of the tag %q is nil; give it one", t.tag)
	}
	return v.RegisterValidation(t.tag, t.guarded)
}

// guarded calls the function of the tag, and marks its panic with the field, as
// validator does not say where it was.
func (t validationTag) guarded(field validator.FieldLevel) bool {
	defer func() {
		if recover() != nil {
			panic(&brokenTagError{tag: t.tag, parent: deref(field.Parent().Type()), goName: field.StructFieldName()})
		}
	}()
	return t.fn(field)
}

// brokenTagError is the panic of a user's validation function, without its value.
type brokenTagError struct {
	tag    string
	parent reflect.Type
	goName string // with the index or the key of an element, which is a value
}

func (b *brokenTagError) Error() string { return b.reason() }

func (b *brokenTagError) reason() string {
	return fmt.Sprintf("makes the function of the validate tag %q panic", b.tag)
}

// isNotBlank is the notblank of validator's non-standard package, which panics
// for structs that cannot be compared.
func isNotBlank(field validator.FieldLevel) bool { return isNotBlankValue(field.Field()) }

func isNotBlankValue(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		return strings.Trim(strings.TrimSpace(v.String()), "\x1c\x1d\x1e\x1f") != "" // ASCII's separators count as blank there
	case reflect.Map, reflect.Slice, reflect.Array, reflect.Chan:
		return v.Len() > 0
	}
	return v.IsValid() && !v.IsZero()
}

// runValidator checks the struct that target points to. The error is a
// *brokenTagError, or tells of a panic inside validator.
func runValidator(v *validator.Validate, target any) (failures validator.ValidationErrors, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *brokenTagError:
			failures, err = nil, r
		default:
			failures, err = nil, fmt.Errorf("a validate tag of %s makes validator panic; correct the tag or the methods of the type that it calls", deref(reflect.TypeOf(target)))
		}
	}()
	// Its only other error is for types it does not look into, such as a time.
	failures, _ = errors.AsType[validator.ValidationErrors](v.Struct(target))
	return failures, nil
}

// failureReason names the tag, which stands in the code. Everything else that a
// validator error can say is made from the value.
func failureReason(failure validator.FieldError) string {
	if failure.Param() == "" || strings.Contains(failure.Tag(), "=") {
		return fmt.Sprintf("fails %q", failure.Tag())
	}
	return fmt.Sprintf("fails %q", failure.Tag()+"="+failure.Param())
}

// typeName returns the Go type of the part that failed, or "" for a nil in an any.
func typeName(failure validator.FieldError) string {
	if failure.Type() == nil {
		return ""
	}
	return failure.Type().String()
}

// locate returns the position in the plan and the name on the wire of a part that
// validator calls T.Field.Part. It returns len(p.fields) and the Go path for a part
// that is no field of the entry.
func (p *plan) locate(namespace string) (position int, name string) {
	rest := withoutRoot(namespace, p.typ)
	for end := 0; ; {
		n := strings.IndexAny(rest[end:], ".[")
		if n < 0 {
			n = len(rest) - end
		}
		end += n
		if i, ok := p.byPath[rest[:end]]; ok {
			return i, p.fields[i].name + partPath(p.fields[i].typ, rest[end:])
		}
		// Behind a bracket is the key of a map, which is a value.
		if end == len(rest) || rest[end] == '[' {
			return len(p.fields), rest[:end]
		}
		end++
	}
}

func (p *plan) locateBroken(broken *brokenTagError) (position int, name string) {
	goName, _, _ := strings.Cut(broken.goName, "[")
	for i, f := range p.fields {
		sf := p.typ.FieldByIndex(f.index)
		if sf.Name == goName && parentOf(p.typ, f.index) == broken.parent {
			return i, f.name
		}
	}
	return len(p.fields), goName
}

func parentOf(root reflect.Type, index []int) reflect.Type {
	if len(index) == 1 {
		return root
	}
	return root.FieldByIndex(index[:len(index)-1]).Type
}

// withoutRoot takes the name of the root type off a namespace. A generic type
// has dots in its name, so that the first dot is not the end of it.
func withoutRoot(namespace string, root reflect.Type) string {
	if root.Name() == "" {
		return namespace
	}
	return strings.TrimPrefix(namespace, root.Name()+".")
}

// maxPathBytes bounds the path into a recursive type, which is as deep as the
// sender likes.
const maxPathBytes = 256

// partPath turns the rest of a namespace, such as ".Items[3].City", into JSON
// names, following the type t so that only names that the type declares come out. It
// ends at a map: where a key ends cannot be told, and keys are values.
func partPath(t reflect.Type, rest string) string { return pathIn(t, rest, jsonName) }

// goPath is partPath with the names of Go, and without the dot in front.
func goPath(t reflect.Type, rest string) string {
	return strings.TrimPrefix(pathIn(t, rest, func(f reflect.StructField) string { return f.Name }), ".")
}

func pathIn(t reflect.Type, rest string, nameOf func(reflect.StructField) string) string {
	var path strings.Builder
	for rest != "" && path.Len() < maxPathBytes {
		t = deref(t)
		if rest[0] == '[' {
			index, after, ok := strings.Cut(rest, "]")
			if !ok || t.Kind() != reflect.Slice && t.Kind() != reflect.Array {
				path.WriteString("[...]")
				break
			}
			path.WriteString(index + "]")
			t, rest = t.Elem(), after
			continue
		}
		goName := rest[1:]
		if end := strings.IndexAny(goName, ".["); end >= 0 {
			goName = goName[:end]
		}
		if t.Kind() != reflect.Struct {
			break
		}
		f, ok := t.FieldByName(goName)
		if !ok {
			break
		}
		path.WriteString("." + nameOf(f))
		t, rest = f.Type, rest[1+len(goName):]
	}
	return path.String()
}

func jsonName(f reflect.StructField) string {
	if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
		return name
	}
	return f.Name
}
