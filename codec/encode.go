package codec

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"
)

// encode returns the pairs of the struct that source points to, which it does
// not change. A pointer, because MarshalText may have a pointer receiver.
func (p *plan) encode(source any) ([]string, error) {
	if p.err != nil {
		return nil, p.err
	}
	var found complaints
	if err := found.validate(p, source); err != nil {
		return nil, err
	}
	if len(found) > 0 {
		return nil, found.err(len(p.fields))
	}
	root := reflect.ValueOf(source).Elem()
	pairs := make([]string, 0, 2*(len(p.marks)+len(p.fields)+p.remain.len(root)))
	pairs = p.marks.appendTo(pairs)
	made := newScratch()
	defer made.free()
	for i := range p.fields {
		f := &p.fields[i]
		from := root.FieldByIndex(f.index)
		if m, ok := p.marks.find(f.name); ok {
			if from.Len() > 0 && from.String() != m.value {
				found.addField(p, i, markReason)
			}
			continue
		}
		if f.omitEmpty && isEmpty(from) {
			continue
		}
		from, ok := follow(from)
		if !ok {
			continue
		}
		text, reason := f.form.encode(from, made, len(pairs)+1)
		if reason != "" {
			found.addField(p, i, reason)
			continue
		}
		pairs = append(pairs, f.name, text)
	}
	made.cut(pairs)
	if p.remain != nil {
		pairs, found = p.encodeRemain(pairs, root.FieldByIndex(p.remain.index), found)
	}
	if err := found.err(len(p.fields)); err != nil {
		return nil, err
	}
	if len(pairs) == 0 {
		return nil, emptyError(p.typ)
	}
	return pairs, nil
}

func emptyError(t reflect.Type) error {
	return fmt.Errorf("the %s is empty, so there is no field to write; a stream entry needs at least one: set a field or remove an omitempty", t)
}

// follow returns the value that from points to, or ok = false where nil stands for a
// field that is not there.
func follow(from reflect.Value) (to reflect.Value, ok bool) {
	for from.Kind() == reflect.Pointer {
		if from.IsNil() {
			return from, false
		}
		from = from.Elem()
	}
	switch from.Kind() {
	case reflect.Slice, reflect.Map, reflect.Interface:
		return from, !from.IsNil()
	}
	return from, true
}

// isEmpty has the meaning of omitempty in mapstructure and encoding/json, and holds for
// a zero time too, which comes back the same when it is left out.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		switch t := v.Addr().Interface().(type) {
		case *time.Time:
			return t.IsZero()
		case *Unix:
			return t.IsZero()
		case *UnixMilli:
			return t.IsZero()
		}
		return false
	}
	return v.IsZero()
}

func (r *remainder) len(root reflect.Value) int {
	if r == nil {
		return 0
	}
	return root.FieldByIndex(r.index).Len()
}

// encodeRemain returns its arguments with the pairs and complaints of m added. It takes no
// pointer to found, which its loop would move to the heap in every encode.
func (p *plan) encodeRemain(pairs []string, m reflect.Value, found complaints) ([]string, complaints) {
	texts := make(map[string]string, m.Len())
	for key, value := range m.Seq2() {
		name := key.String()
		if i, declared := p.byName[name]; declared {
			found.addField(p, i, "is in the map "+p.remain.path+" too; remove it there")
			continue
		}
		if p.isHeader(name) {
			found.add(len(p.fields), cutName(name), "", "has the name of a header, which decoding would not put back into the map "+p.remain.path+"; remove it there")
			continue
		}
		text, reason := textOf(value.Interface())
		if reason != "" {
			found.add(len(p.fields), cutName(name), "", reason)
			continue
		}
		texts[name] = text
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		pairs = append(pairs, name, texts[name])
	}
	return pairs, found
}
