package codec

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// members tells into which types encoding/json decodes the parts of an object.
type members struct {
	elem   reflect.Type            // of all of them, unless it is a struct
	key    reflect.Type            // of a map
	fields map[string]reflect.Type // of a struct, by name
	folded map[string]string       // their names, by their folded forms
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

func membersOf(t reflect.Type) members {
	if t == nil {
		return members{}
	}
	switch t.Kind() {
	case reflect.Map:
		return members{elem: t.Elem(), key: t.Key()}
	case reflect.Interface:
		return members{elem: t}
	case reflect.Struct:
		known, ok := structMembers.Load(t)
		if !ok {
			m := members{fields: map[string]reflect.Type{}, folded: map[string]string{}}
			for _, f := range jsonFields(t) {
				m.addField(f.name, f.typ)
			}
			known, _ = structMembers.LoadOrStore(t, m)
		}
		m, _ := known.(members)
		return m
	}
	return members{}
}

// jsonField is one field of a struct, or of a struct embedded in it, that
// encoding/json knows by a name.
type jsonField struct {
	name string
	path string // in Go, such as "Base.ID"
	// index is the way of reflect to it, from field to field.
	index []int
	typ   reflect.Type
}

// jsonFields returns the fields of the struct t and of the structs embedded in
// it. Fields that are less deep come first: they hide others of their name.
func jsonFields(t reflect.Type) []jsonField {
	type embedded struct {
		typ   reflect.Type
		path  string
		index []int
	}
	var fields []jsonField
	seen := map[reflect.Type]bool{}
	for level := []embedded{{typ: t}}; len(level) > 0; {
		var deeper []embedded
		for _, e := range level {
			seen[e.typ] = true
		}
		for _, e := range level {
			for f := range e.typ.Fields() {
				name, inlined := jsonNameOf(f)
				switch {
				case inlined && !seen[deref(f.Type)]:
					deeper = append(deeper, embedded{deref(f.Type), e.path + f.Name + ".", slices.Concat(e.index, f.Index)})
				case name != "":
					fields = append(fields, jsonField{name, e.path + f.Name, slices.Concat(e.index, f.Index), f.Type})
				}
			}
		}
		level = deeper
	}
	return fields
}

// jsonNameOf returns the name of a field in JSON. It is empty for a field that
// encoding/json leaves out, and for an embedded struct whose fields take its place.
func jsonNameOf(f reflect.StructField) (name string, inlined bool) {
	tag := f.Tag.Get("json")
	name, _, _ = strings.Cut(tag, ",")
	embedded := f.Anonymous && deref(f.Type).Kind() == reflect.Struct
	switch {
	case tag == "-" || !f.IsExported() && !embedded:
		return "", false
	case !isJSONName(name) && embedded:
		return "", true
	case !isJSONName(name):
		return f.Name, false
	}
	return name, false
}

// isJSONName tells whether encoding/json takes a name from a tag.
func isJSONName(name string) bool {
	for _, r := range name {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	return name != ""
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
// one name, and into which type its value is decoded. A struct may not declare it.
func (m members) find(key string) (name string, elem reflect.Type, declared bool) {
	if m.fields == nil {
		return m.mapKey(key), m.elem, true
	}
	if elem, ok := m.fields[key]; ok {
		return key, elem, true
	}
	if name, ok := m.folded[fold(key)]; ok {
		return name, m.fields[name], true
	}
	return key, nil, false
}

// mapKey returns the one text of an integer, which "7" and "07" are.
func (m members) mapKey(key string) string {
	if m.key == nil || speaksText(m.key) {
		return key
	}
	switch m.key.Kind() {
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
