package codec

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// maxDepth bounds how deep arrays and objects nest. encoding/json stops at
// 10,000, each of which costs stack and heap; no event needs 100.
const maxDepth = 100

// jsonOptions are the options of a codec that reach into its JSON.
type jsonOptions struct {
	strict    bool // an object may have no name that its struct does not declare
	useNumber bool // every number in an any becomes a json.Number
}

// document looks in a JSON text for parts that encoding/json would take and get
// wrong without a word.
type document struct {
	jsonOptions
	text   string
	at     int
	depth  int
	reason string // completes "JSON that"
	rounds bool   // a number in an any would not survive as a float64
}

// look goes over the text, which is decoded into a t. A text that is no JSON has
// no reason: encoding/json says it better.
func (d *document) look(t reflect.Type) (reason string, at int) {
	d.value(t)
	return d.reason, d.at + 1
}

// fail and all that follow return false when there is nothing more to look at.
func (d *document) fail(reason string) bool {
	d.reason = reason
	return false
}

// value goes over one value. t is the type that it is decoded into, or nil for a
// type that sees the text itself.
func (d *document) value(t reflect.Type) bool {
	switch c := d.next(); c {
	case '{':
		return d.nest() && d.object(documentType(t))
	case '[':
		return d.nest() && d.array(documentType(t))
	case '"':
		_, ok := d.str()
		return ok
	case 't', 'f', 'n':
		return d.skip("truefalsn") != ""
	default:
		number := d.skip("0123456789+-.eE")
		if t != nil && deref(t).Kind() == reflect.Interface && !isKept(number) {
			d.rounds = true
		}
		return number != ""
	}
}

// element goes over one value of a list or a map. encoding/json leaves a zero
// where a null stands for a type that has none. The member of a struct may be
// null: it may be missing as well.
func (d *document) element(t reflect.Type) bool {
	if d.next() == 'n' && !takesNull(t) {
		return d.fail("has null as an element, which would leave a zero without a word; use a list or map of pointers")
	}
	return d.value(t)
}

// next skips white space and returns the byte behind it, or 0.
func (d *document) next() byte {
	d.skip(" \t\r\n")
	if d.at == len(d.text) {
		return 0
	}
	return d.text[d.at]
}

// is goes past c if it comes next.
func (d *document) is(c byte) bool {
	if d.next() != c {
		return false
	}
	d.at++
	return true
}

// skip goes over the bytes that are in set and returns them.
func (d *document) skip(set string) string {
	start := d.at
	for d.at < len(d.text) && strings.IndexByte(set, d.text[d.at]) >= 0 {
		d.at++
	}
	return d.text[start:d.at]
}

func (d *document) nest() bool {
	if d.depth == maxDepth {
		return d.fail(fmt.Sprintf("nests deeper than %d levels", maxDepth))
	}
	d.depth++
	d.at++
	return true
}

func (d *document) array(t reflect.Type) bool {
	var elem reflect.Type
	start, most := d.at, -1
	if t != nil {
		switch t.Kind() {
		case reflect.Slice:
			elem = t.Elem()
		case reflect.Array:
			elem, most = t.Elem(), t.Len()
		case reflect.Interface:
			elem = t
		}
	}
	for n := 0; ; n++ {
		if n == 0 && d.is(']') || n > 0 && !d.is(',') {
			// encoding/json fills up a short array with zeros, and cuts a long one.
			if most >= 0 && n != most {
				d.at = start
				return d.fail(fmt.Sprintf("has an array of %d elements for its Go type %s", n, t))
			}
			d.depth--
			return n == 0 || d.is(']')
		}
		if !d.element(elem) {
			return false
		}
	}
}

func (d *document) object(t reflect.Type) bool {
	if d.is('}') {
		d.depth--
		return true
	}
	members := membersOf(t)
	var seen nameSet
	var keys map[any]bool // of a map whose keys decode themselves
	if members.key != nil && speaksText(members.key) {
		keys = map[any]bool{}
	}
	for {
		if d.next() != '"' {
			return false
		}
		start := d.at
		key, ok := d.str()
		if !ok {
			return false
		}
		name, elem, declared := members.find(key)
		reason := ""
		switch {
		case !declared && d.strict:
			reason = fmt.Sprintf("has a name that %s does not declare", t)
		case !seen.add(name):
			reason = "has a name twice in one object"
		case keys != nil:
			reason = addKey(keys, members.key, key)
		}
		if reason != "" {
			d.at = start
			return d.fail(reason)
		}
		if !d.is(':') {
			return false
		}
		if isStruct := members.fields != nil; isStruct && !d.value(elem) || !isStruct && !d.element(elem) {
			return false
		}
		if d.is('}') {
			d.depth--
			return true
		}
		if !d.is(',') {
			return false
		}
	}
}

// addKey adds to keys the key of type t that text stands for. Two texts may stand
// for one key, of which encoding/json keeps the last value.
func addKey(keys map[any]bool, t reflect.Type, text string) (reason string) {
	key := reflect.New(t)
	if read, ok := key.Interface().(encoding.TextUnmarshaler); !ok || read.UnmarshalText([]byte(text)) != nil {
		return fmt.Sprintf("has a key that its Go type %s refuses", t)
	}
	if keys[key.Elem().Interface()] {
		return "has two names in one object that are one key of its map"
	}
	keys[key.Elem().Interface()] = true
	return ""
}

// str goes over a string and returns its value.
func (d *document) str() (s string, ok bool) {
	start, escaped := d.at, false
	for d.at++; d.at < len(d.text); d.at++ {
		switch d.text[d.at] {
		case '"':
			d.at++
			if s = d.text[start+1 : d.at-1]; escaped {
				ok = json.Unmarshal([]byte(d.text[start:d.at]), &s) == nil
				return s, ok
			}
			return s, true
		case '\\':
			escaped = true
			if !d.escape() {
				return "", false
			}
		}
	}
	return "", false
}

// escape goes to the last byte of an escape. Half a surrogate pair would become
// U+FFFD.
func (d *document) escape() bool {
	high := d.unit(d.at)
	switch {
	case high < 0xD800 || high > 0xDFFF:
		d.at++ // the digits behind a \u are ordinary to the loop of str
		return true
	case high < 0xDC00:
		if low := d.unit(d.at + 6); low >= 0xDC00 && low <= 0xDFFF {
			d.at += 11
			return true
		}
	}
	return d.fail("has half a surrogate pair in a string")
}

// unit returns the code unit of the \u escape at a position, or -1.
func (d *document) unit(at int) int64 {
	if at+6 > len(d.text) || d.text[at] != '\\' || d.text[at+1] != 'u' {
		return -1
	}
	unit, err := strconv.ParseUint(d.text[at+2:at+6], 16, 16)
	if err != nil {
		return -1
	}
	return int64(unit)
}

// isKept tells whether a number that becomes a float64 is written the same way
// when it is encoded again. Only a whole number must be: it may be an ID.
func isKept(number string) bool {
	const alwaysKept = 15 // digits
	if len(number) <= alwaysKept && !strings.ContainsAny(number, "eE") {
		return true
	}
	x, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return false // out of range
	}
	return strings.ContainsAny(number, ".eE") || strconv.FormatFloat(x, 'f', -1, 64) == number
}

// nameSet is a set of the names of one object, most of which have few.
type nameSet struct {
	few  [16]string
	size int
	many map[string]bool // once there are more
}

// add tells whether the name is new.
func (s *nameSet) add(name string) bool {
	if s.many == nil && s.size < len(s.few) {
		for _, other := range s.few[:s.size] {
			if other == name {
				return false
			}
		}
		s.few[s.size] = name
		s.size++
		return true
	}
	if s.many == nil {
		s.many = make(map[string]bool, 2*s.size)
		for _, name := range s.few {
			s.many[name] = true
		}
	}
	if s.many[name] {
		return false
	}
	s.many[name] = true
	return true
}
