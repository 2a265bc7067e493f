package codec

import (
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// members tells into what encoding/json decodes the parts of an object.
type members struct {
	elem   reflect.Type            // of all of them, unless it is a struct
	key    reflect.Kind            // of a map
	fields map[string]reflect.Type // of a struct, by name
	folded map[string]string       // their names, by what they are without regard to case
}

// structMembers holds the members of each struct type, by reflect.Type.
var structMembers sync.Map

// documentType takes the pointers off t. It returns nil for a type that decodes
// itself.
func documentType(t reflect.Type) reflect.Type {
	if t == nil {
		return nil
	}
	if t = deref(t); speaksJSON(t) || speaksText(t) {
		return nil
	}
	return t
}

// elemOf returns what the elements of an array are decoded into.
func elemOf(t reflect.Type) reflect.Type {
	if t != nil {
		switch t.Kind() {
		case reflect.Slice, reflect.Array:
			return t.Elem()
		case reflect.Interface:
			return t
		}
	}
	return nil
}

func membersOf(t reflect.Type) members {
	if t == nil {
		return members{}
	}
	switch t.Kind() {
	case reflect.Map:
		return members{elem: t.Elem(), key: t.Key().Kind()}
	case reflect.Interface:
		return members{elem: t}
	case reflect.Struct:
		known, ok := structMembers.Load(t)
		if !ok {
			m := members{fields: map[string]reflect.Type{}, folded: map[string]string{}}
			m.addStructs([]reflect.Type{t}, map[reflect.Type]bool{})
			known, _ = structMembers.LoadOrStore(t, m)
		}
		m, _ := known.(members)
		return m
	}
	return members{}
}

// addStructs adds the fields of structs that are embedded at one depth, and then
// those one deeper, which the former hide.
func (m *members) addStructs(level []reflect.Type, seen map[reflect.Type]bool) {
	var deeper []reflect.Type
	for _, t := range level {
		if seen[t] {
			continue
		}
		seen[t] = true
		for f := range t.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			embedded := f.Anonymous && deref(f.Type).Kind() == reflect.Struct
			switch {
			case f.Tag.Get("json") == "-" || !f.IsExported() && !embedded:
			case embedded && name == "":
				deeper = append(deeper, deref(f.Type))
			default:
				if name == "" {
					name = f.Name
				}
				m.addField(name, f.Type)
			}
		}
	}
	if len(deeper) > 0 {
		m.addStructs(deeper, seen)
	}
}

func (m *members) addField(name string, t reflect.Type) {
	if _, hidden := m.fields[name]; !hidden {
		m.fields[name] = t
	}
	if _, taken := m.folded[fold(name)]; !taken {
		m.folded[fold(name)] = name
	}
}

// find returns the name that a key has in Go, so that two keys of one part have
// one name, and into what its value is decoded.
func (m members) find(key string) (name string, elem reflect.Type) {
	if m.fields == nil {
		return m.mapKey(key), m.elem
	}
	if elem, ok := m.fields[key]; ok {
		return key, elem
	}
	if name, ok := m.folded[fold(key)]; ok {
		return name, m.fields[name]
	}
	return key, nil
}

// mapKey returns the one text of an integer, which "7" and "07" are.
func (m members) mapKey(key string) string {
	switch m.key {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if n, err := strconv.ParseInt(key, 10, 64); err == nil {
			return strconv.FormatInt(n, 10)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if n, err := strconv.ParseUint(key, 10, 64); err == nil {
			return strconv.FormatUint(n, 10)
		}
	}
	return key
}

// fold makes names the same that encoding/json does not tell apart.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				return next
			}
			r = next
		}
	}, name)
}
