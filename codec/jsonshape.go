package codec

import (
	"encoding/json"
	"reflect"
	"sync"
)

// jsonShape tells how much of the JSON that encoding/json writes for a type could be
// refused by a document. Its own part is right: no name twice, arrays of their length, no
// null where none may be. The methods of types write anything, though, and what has no end
// in its type, or any type in it, may nest too deeply.
type jsonShape int

const (
	// methodShape is the shape of types with methods that write JSON: look at the text.
	methodShape jsonShape = -1
	// openShape is the shape of recursive types and those that hold an any: look at the
	// value.
	openShape jsonShape = -2
	// All other shapes are the number of levels of arrays and objects.
)

// jsonShapes holds a jsonShape for each reflect.Type.
var jsonShapes sync.Map

func jsonShapeOf(t reflect.Type) jsonShape {
	known, ok := jsonShapes.Load(t)
	if !ok {
		sound := true
		jsonProblems(t, t.String(), func(string, string) { sound = false })
		shape := methodShape
		if sound {
			shape = newJSONShape(t, map[reflect.Type]bool{})
		}
		known, _ = jsonShapes.LoadOrStore(t, shape)
	}
	shape, _ := known.(jsonShape)
	return shape
}

// newJSONShape is given the types that t is in, so that a recursive type ends.
func newJSONShape(t reflect.Type, around map[reflect.Type]bool) jsonShape {
	switch {
	case t == timeType || t == unixType || t == unixMilliType || t == jsonNumberType:
		return 0
	case marshalsItself(t):
		return methodShape
	case around[t]:
		return openShape
	}
	around[t] = true
	defer delete(around, t)
	switch t.Kind() {
	case reflect.Interface:
		return openShape
	case reflect.Pointer:
		return newJSONShape(t.Elem(), around)
	case reflect.Slice, reflect.Array:
		return newJSONShape(t.Elem(), around).inside()
	case reflect.Map:
		if marshalsItself(t.Key()) {
			return methodShape
		}
		return newJSONShape(t.Elem(), around).inside()
	case reflect.Struct:
		shape := jsonShape(0)
		for _, f := range jsonFields(t) {
			shape = shape.and(newJSONShape(f.typ, around))
		}
		return shape.inside()
	}
	return 0
}

// inside is the shape of an array or an object that has s in it.
func (s jsonShape) inside() jsonShape {
	if s >= 0 {
		s++
	}
	return s
}

func (s jsonShape) and(other jsonShape) jsonShape {
	switch {
	case s == methodShape || other == methodShape:
		return methodShape
	case s == openShape || other == openShape:
		return openShape
	}
	return max(s, other)
}

// jsonProof goes over a value that encoding/json has written, and so has no cycle, and
// proves what it can of its JSON without a look at the text.
type jsonProof struct {
	mayLose bool // lossOf could find something
}

// holds tells whether the JSON of v, at some depth, is known to be right.
func (p *jsonProof) holds(v reflect.Value, depth int) bool {
	t := v.Type()
	if shape := jsonShapeOf(t); shape != openShape {
		p.mayLose = p.mayLose || mayLose(t)
		return shape >= 0 && depth+int(shape) <= maxDepth
	}
	if t == anyMapType {
		return p.holdsAny(v.Interface(), depth)
	}
	switch t.Kind() {
	case reflect.Interface:
		return v.IsNil() || p.holdsAny(v.Interface(), depth)
	case reflect.Pointer:
		return v.IsNil() || p.holds(v.Elem(), depth)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if !p.holds(v.Index(i), depth+1) {
				return false
			}
		}
	case reflect.Map:
		for iter := v.MapRange(); iter.Next(); {
			if !p.holds(iter.Value(), depth+1) {
				return false
			}
		}
	case reflect.Struct:
		open := openFieldsOf(t)
		p.mayLose = p.mayLose || open.othersMayLose
		for _, index := range open.indexes {
			field, err := v.FieldByIndexErr(index) // an embedded pointer may be nil
			if err == nil && !p.holds(field, depth+1) {
				return false
			}
		}
		return depth+1+int(open.others) <= maxDepth
	}
	return depth < maxDepth
}

// holdsAny is holds for the content of an any, of which most is that of decoded JSON.
func (p *jsonProof) holdsAny(value any, depth int) bool {
	switch value := value.(type) {
	case nil, string, bool, float64:
		return true
	case json.Number:
		p.mayLose = p.mayLose || value == ""
		return true
	case map[string]any:
		for _, elem := range value {
			if !p.holdsAny(elem, depth+1) {
				return false
			}
		}
		return depth < maxDepth
	case []any:
		for _, elem := range value {
			if !p.holdsAny(elem, depth+1) {
				return false
			}
		}
		return depth < maxDepth
	}
	return p.holds(reflect.ValueOf(value), depth)
}

// openFields are the fields of a struct that are of the openShape.
type openFields struct {
	indexes       [][]int
	others        jsonShape // of the other fields
	othersMayLose bool
}

// knownOpenFields holds the openFields of each reflect.Type.
var knownOpenFields sync.Map

func openFieldsOf(t reflect.Type) openFields {
	known, ok := knownOpenFields.Load(t)
	if !ok {
		var open openFields
		for _, f := range jsonFields(t) {
			if shape := jsonShapeOf(f.typ); shape == openShape {
				open.indexes = append(open.indexes, f.index)
			} else {
				open.others = max(open.others, shape)
				open.othersMayLose = open.othersMayLose || mayLose(f.typ)
			}
		}
		known, _ = knownOpenFields.LoadOrStore(t, open)
	}
	open, _ := known.(openFields)
	return open
}
