package codec

import (
	"reflect"
	"slices"
	"strings"

	"github.com/go-playground/validator/v10"
)

// proof are checks that, when all of them hold, prove that validator finds
// nothing wrong with a struct, at a tenth of its cost. They prove nothing when one
// does not hold: validator is asked then, so that every error is its own. A nil
// proof never holds.
type proof struct{ fields []provenField }

// provenField is a field of the struct that has a validate tag.
type provenField struct {
	index    int
	nilHolds bool // for a pointer
	steps    []step
}

// step is one part of a validate tag. If it ends the tag and does not hold, the
// rest of the tag is not looked at, as with omitempty.
type step struct {
	ends  bool
	holds func(v reflect.Value) bool // v is no pointer
}

// newProof returns nil when a tag in t, or in a value that validator would walk into, is
// not known here down to the last detail.
func newProof(t reflect.Type, custom []validationTag) *proof {
	p := &proof{}
	for i := range t.NumField() {
		sf := t.Field(i)
		tag := sf.Tag.Get("validate")
		if tag == "-" || !sf.IsExported() && !sf.Anonymous {
			continue // validator does the same
		}
		if !isSilent(sf.Type, map[reflect.Type]bool{}) {
			return nil
		}
		if tag == "" {
			continue
		}
		f, ok := newProvenField(sf.Type, tag, custom)
		if !ok {
			return nil
		}
		f.index = i
		p.fields = append(p.fields, f)
	}
	return p
}

func newProvenField(t reflect.Type, tag string, custom []validationTag) (f provenField, ok bool) {
	for part := range strings.SplitSeq(tag, ",") {
		name, _, _ := strings.Cut(part, "=")
		if slices.ContainsFunc(custom, func(c validationTag) bool { return c.tag == name }) {
			return provenField{}, false
		}
		next, ok := newStep(t, part)
		if !ok {
			return provenField{}, false
		}
		// Only the first part of a tag sees a nil pointer.
		f.nilHolds = f.nilHolds || len(f.steps) == 0 && next.ends
		f.steps = append(f.steps, next)
	}
	return f, true
}

// holds tells whether validator is known to accept the struct root.
func (p *proof) holds(root reflect.Value) bool {
	if p == nil {
		return false
	}
	for i := range p.fields {
		if f := &p.fields[i]; !f.hold(root.Field(f.index)) {
			return false
		}
	}
	return true
}

func (f *provenField) hold(v reflect.Value) bool {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return f.nilHolds
		}
		v = v.Elem()
	}
	for i := range f.steps {
		if !f.steps[i].holds(v) {
			return f.steps[i].ends
		}
	}
	return true
}

// isSilent tells whether validator has nothing to say about the values inside a t:
// no tag is there, and no type that shows it another value in its place. Elements of
// slices and maps it sees behind a dive only. Types in seen are not looked at
// again.
func isSilent(t reflect.Type, seen map[reflect.Type]bool) bool {
	t = deref(t)
	if t.Kind() == reflect.Interface || t.Kind() == reflect.Pointer || reflect.PointerTo(t).Implements(reflect.TypeFor[validator.Valuer]()) {
		return false
	}
	if t.Kind() != reflect.Struct || t.ConvertibleTo(timeType) || seen[t] {
		return true
	}
	seen[t] = true
	for f := range t.Fields() {
		tag := f.Tag.Get("validate")
		if tag == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		if tag != "" || !isSilent(f.Type, seen) {
			return false
		}
	}
	return true
}
