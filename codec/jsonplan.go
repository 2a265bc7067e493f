package codec

import (
	"encoding"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// readJSON reads the value at which r is into to, which is settable and zero. It is not
// ok where r is not; to may be anything then.
type readJSON func(r *jsonReader, to reflect.Value) (ok bool)

// jsonPlans holds a readJSON for each reflect.Type, nil for a type that is left to
// encoding/json.
var jsonPlans sync.Map

func jsonPlanOf(t reflect.Type) readJSON {
	known, ok := jsonPlans.Load(t)
	if !ok {
		known, _ = jsonPlans.LoadOrStore(t, newJSONPlan(t))
	}
	read, _ := known.(readJSON)
	return read
}

// read decodes the text into target, which is settable and zero, in one pass. Where it is
// not ok, target is zero again, and document.look and document.decode tell why, or decode
// what a plan does not know.
func (o jsonOptions) read(text string, target reflect.Value) (ok bool) {
	read := jsonPlanOf(target.Type())
	if read == nil {
		return false
	}
	r := newJSONReader(o, text)
	defer func() {
		ok = recover() == nil && ok // a method of a type may panic
		if !ok {
			target.SetZero()
		}
		r.free()
	}()
	return read(r, target) && r.next() == 0 && r.at == len(text)
}

// newJSONPlan returns nil for a type that has parts of which encoding/json knows more:
// those that Check refuses among them.
func newJSONPlan(t reflect.Type) readJSON {
	sound := true
	jsonProblems(t, t.String(), func(string, string) { sound = false })
	p := jsonPlanner{reads: map[reflect.Type]*readJSON{}, ok: sound}
	if sound {
		if read := p.read(t); p.ok {
			return read
		}
	}
	return nil
}

// jsonPlanner makes the plan of one type. The parts of a recursive type are found in
// reads once they are made.
type jsonPlanner struct {
	reads map[reflect.Type]*readJSON
	ok    bool
}

func (p *jsonPlanner) read(t reflect.Type) readJSON {
	if known, ok := p.reads[t]; ok {
		return func(r *jsonReader, to reflect.Value) bool { return (*known)(r, to) }
	}
	made := new(readJSON)
	p.reads[t] = made
	if *made = p.make(t); *made == nil {
		p.ok = false
	}
	return *made
}

func (p *jsonPlanner) make(t reflect.Type) readJSON {
	switch {
	case t == timeType:
		return readTime
	case t == unixType:
		return readUnix(parseUnix)
	case t == unixMilliType:
		return readUnix(parseUnixMilli)
	case t == jsonNumberType:
		return readNumber
	case t.Kind() == reflect.Pointer:
		return p.pointer(t)
	case speaksJSON(t):
		return readByJSON
	case speaksText(t):
		return readByText
	}
	switch t.Kind() {
	case reflect.String:
		return readString
	case reflect.Bool:
		return readBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return readInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return readUint
	case reflect.Float32, reflect.Float64:
		return readFloat
	case reflect.Interface:
		return readAny
	case reflect.Slice:
		return p.slice(t)
	case reflect.Array:
		return p.array(t)
	case reflect.Map:
		return p.mapOf(t)
	case reflect.Struct:
		return p.structOf(t)
	}
	return nil
}

func (p *jsonPlanner) pointer(t reflect.Type) readJSON {
	if deref(t).Kind() == reflect.Pointer {
		return nil // one that has no end
	}
	elem, read := t.Elem(), p.read(t.Elem())
	return func(r *jsonReader, to reflect.Value) bool {
		if r.next() == 'n' {
			return r.null()
		}
		to.Set(reflect.New(elem))
		return read(r, to.Elem())
	}
}

// element returns the plan of an element of a list or a map, which may not be null where
// that would leave a zero.
func (p *jsonPlanner) element(t reflect.Type) readJSON {
	read := p.read(t)
	if takesNull(t) {
		return read
	}
	return func(r *jsonReader, to reflect.Value) bool { return r.next() != 'n' && read(r, to) }
}

func (p *jsonPlanner) slice(t reflect.Type) readJSON {
	elem := t.Elem()
	read := p.element(elem)
	isBytes := elem.Kind() == reflect.Uint8
	return func(r *jsonReader, to reflect.Value) bool {
		switch c := r.next(); {
		case c == 'n':
			return r.null()
		case c == '"' && isBytes:
			return readBytes(r, to)
		case c != '[' || !r.open():
			return false
		}
		if r.next() == ']' {
			r.close()
			to.Set(reflect.MakeSlice(t, 0, 0))
			return true
		}
		for n := 0; ; n++ {
			if n == to.Cap() {
				to.Grow(1)
			}
			to.SetLen(n + 1)
			if !read(r, to.Index(n)) {
				return false
			}
			if more, ok := r.more(']'); !ok || !more {
				return ok
			}
		}
	}
}

func (p *jsonPlanner) array(t reflect.Type) readJSON {
	read, length := p.element(t.Elem()), t.Len()
	return func(r *jsonReader, to reflect.Value) bool {
		switch c := r.next(); {
		case c == 'n':
			return r.null()
		case c != '[' || !r.open():
			return false
		}
		if r.next() == ']' {
			r.close()
			return length == 0
		}
		for n := range length {
			if !read(r, to.Index(n)) {
				return false
			}
			if more, ok := r.more(']'); !ok || !more {
				return ok && n+1 == length
			}
		}
		return false
	}
}

func (p *jsonPlanner) mapOf(t reflect.Type) readJSON {
	key, elem := t.Key(), t.Elem()
	setKey := mapKeyOf(key)
	if setKey == nil {
		return nil
	}
	if t == anyMapType {
		return readAnyMap
	}
	read := p.element(elem)
	return func(r *jsonReader, to reflect.Value) bool {
		switch c := r.next(); {
		case c == 'n':
			return r.null()
		case c != '{' || !r.open():
			return false
		}
		m := reflect.MakeMap(t)
		to.Set(m)
		if r.next() == '}' {
			r.close()
			return true
		}
		k, v := reflect.New(key).Elem(), reflect.New(elem).Elem()
		for n := 1; ; n++ {
			name, ok := r.name()
			if !ok || !setKey(k, r.keep(name)) {
				return false
			}
			v.SetZero()
			if !read(r, v) {
				return false
			}
			if m.SetMapIndex(k, v); m.Len() != n {
				return false // a key twice, also as "7" and "07"
			}
			if more, ok := r.more('}'); !ok || !more {
				return ok
			}
		}
	}
}

// mapKeyOf returns what sets a key of type t from its name, or nil for a type that reads
// itself.
func mapKeyOf(t reflect.Type) func(to reflect.Value, name string) (ok bool) {
	if speaksText(t) {
		return nil
	}
	switch t.Kind() {
	case reflect.String:
		return func(to reflect.Value, name string) bool {
			to.SetString(name)
			return true
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return setInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return setUint
	}
	return nil
}

// structReader reads objects into one struct type.
type structReader struct {
	members []memberReader // those of embedded structs come last
	byName  map[string]int
	folded  map[string]int // by folded names; notSure where two members meet
}

const (
	unknown = -1
	notSure = -2
)

type memberReader struct {
	name   string
	quoted string
	index  []int
	read   readJSON
}

func (p *jsonPlanner) structOf(t reflect.Type) readJSON {
	s := &structReader{byName: map[string]int{}, folded: map[string]int{}}
	for _, f := range jsonFields(t) {
		sf := t.FieldByIndex(f.index)
		_, options, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if !sf.IsExported() || strings.Contains(options, "string") {
			return nil
		}
		i := len(s.members)
		s.members = append(s.members, memberReader{f.name, strconv.Quote(f.name), f.index, p.read(f.typ)})
		s.byName[f.name] = i
		if _, taken := s.folded[fold(f.name)]; taken {
			i = notSure
		}
		s.folded[fold(f.name)] = i
	}
	return s.read
}

func (s *structReader) read(r *jsonReader, to reflect.Value) bool {
	switch c := r.next(); {
	case c == 'n':
		return r.null() // as the member of a struct, which may be missing as well
	case c != '{' || !r.open():
		return false
	}
	if r.next() == '}' {
		r.close()
		return true
	}
	var seen uint64    // the first members
	var others nameSet // all other names
	for next := 0; ; {
		i, name, ok := s.find(r, next)
		switch {
		case !ok || i == notSure || i == unknown && r.strict:
			return false
		case i >= 0 && i < 64:
			if seen&(1<<i) != 0 {
				return false
			}
			seen |= 1 << i
		case !others.add(name):
			return false
		}
		if i == unknown {
			ok = r.skip()
		} else {
			m := &s.members[i]
			next, ok = i+1, m.read(r, fieldIn(to, m.index))
		}
		if !ok {
			return false
		}
		if more, ok := r.more('}'); !ok || !more {
			return ok
		}
	}
}

// find reads a name and goes past its colon. Most objects have their names in the order of
// the members: next is the one to try first.
func (s *structReader) find(r *jsonReader, next int) (member int, name string, ok bool) {
	if next < len(s.members) && r.next() == '"' {
		if m := &s.members[next]; strings.HasPrefix(r.text[r.at:], m.quoted) {
			r.at += len(m.quoted)
			return next, m.name, r.is(':')
		}
	}
	if name, ok = r.name(); !ok {
		return unknown, "", false
	}
	if i, exact := s.byName[name]; exact {
		return i, name, true
	}
	i, declared := s.findFolded(name)
	if !declared {
		return unknown, name, true
	}
	if i >= 0 {
		name = s.members[i].name
	}
	return i, name, true
}

// findFolded allocates nothing for the names of most producers.
func (s *structReader) findFolded(name string) (member int, declared bool) {
	var upper [32]byte
	n := copy(upper[:], name)
	for i, c := range upper[:n] {
		if c >= utf8.RuneSelf {
			n = -1
			break
		}
		if 'a' <= c && c <= 'z' {
			upper[i] = c - 'a' + 'A'
		}
	}
	if n == len(name) {
		member, declared = s.folded[string(upper[:n])]
	} else {
		member, declared = s.folded[fold(name)]
	}
	return member, declared
}

// fieldIn is reflect's FieldByIndex that sets the embedded pointers on its way.
func fieldIn(v reflect.Value, index []int) reflect.Value {
	for n, i := range index {
		if n > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v
}

func readString(r *jsonReader, to reflect.Value) bool {
	switch r.next() {
	case '"':
		s, ok := r.str()
		to.SetString(r.keep(s))
		return ok
	case 'n':
		return r.null()
	}
	return false
}

func readBytes(r *jsonReader, to reflect.Value) bool {
	s, ok := r.str()
	if !ok {
		return false
	}
	b, err := base64.StdEncoding.DecodeString(s)
	to.SetBytes(b)
	return err == nil
}

func readBool(r *jsonReader, to reflect.Value) bool {
	if r.next() == 'n' {
		return r.null()
	}
	b, ok := r.bool()
	to.SetBool(b)
	return ok
}

func readInt(r *jsonReader, to reflect.Value) bool {
	text, isNull, ok := r.numberOrNull()
	return ok && (isNull || setInt(to, text))
}

func readUint(r *jsonReader, to reflect.Value) bool {
	text, isNull, ok := r.numberOrNull()
	return ok && (isNull || setUint(to, text))
}

func readFloat(r *jsonReader, to reflect.Value) bool {
	text, isNull, ok := r.numberOrNull()
	if !ok || isNull {
		return ok
	}
	x, err := strconv.ParseFloat(text, to.Type().Bits())
	to.SetFloat(x)
	return err == nil
}

func readNumber(r *jsonReader, to reflect.Value) bool {
	text, isNull, ok := r.numberOrNull()
	if ok && !isNull {
		to.SetString(r.keep(text))
	}
	return ok
}

func (r *jsonReader) numberOrNull() (text string, isNull, ok bool) {
	if r.next() == 'n' {
		return "", true, r.null()
	}
	text, ok = r.number()
	return text, false, ok
}

func setInt(to reflect.Value, text string) bool {
	n, err := strconv.ParseInt(text, 10, to.Type().Bits())
	to.SetInt(n)
	return err == nil
}

func setUint(to reflect.Value, text string) bool {
	n, err := strconv.ParseUint(text, 10, to.Type().Bits())
	to.SetUint(n)
	return err == nil
}

func readAny(r *jsonReader, to reflect.Value) bool {
	value, ok := r.any()
	if ok && value != nil {
		to.Set(reflect.ValueOf(value))
	}
	return ok
}

func readAnyMap(r *jsonReader, to reflect.Value) bool {
	switch r.next() {
	case 'n':
		return r.null()
	case '{':
		m, ok := r.anyMap()
		to.Set(reflect.ValueOf(m))
		return ok
	}
	return false
}

// readTime reads a time as its UnmarshalJSON does, which takes no escapes.
func readTime(r *jsonReader, to reflect.Value) bool {
	switch r.next() {
	case '"':
		start := r.at + 1
		s, ok := r.str()
		return ok && r.at-1-start == len(s) && to.Addr().Interface().(*time.Time).UnmarshalText([]byte(s)) == nil
	case 'n':
		return r.null()
	}
	return false
}

func readUnix(parse func(string) (time.Time, bool)) readJSON {
	return func(r *jsonReader, to reflect.Value) bool {
		r.next()
		text, ok := r.number()
		if !ok {
			return false
		}
		t, ok := parse(text)
		*to.Field(0).Addr().Interface().(*time.Time) = t
		return ok
	}
}

// readByJSON has a type read itself.
func readByJSON(r *jsonReader, to reflect.Value) bool {
	r.next()
	start := r.at
	if !r.skip() {
		return false
	}
	return to.Addr().Interface().(json.Unmarshaler).UnmarshalJSON([]byte(r.text[start:r.at])) == nil
}

// readByText has a type read itself.
func readByText(r *jsonReader, to reflect.Value) bool {
	switch r.next() {
	case '"':
		s, ok := r.str()
		return ok && to.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s)) == nil
	case 'n':
		return r.null()
	}
	return false
}
