package codec

import (
	"reflect"
	"strings"
	"sync"
	"time"
)

const (
	zoneReason        = "holds a time whose zone has seconds, which RFC 3339 would drop, and move the time by them; use its UTC()"
	emptyNumberReason = "holds a json.Number that is empty, which JSON would turn into 0; give it a number, or tag it omitempty"
)

var anyMapType = reflect.TypeFor[map[string]any]()

// lossOf returns why the JSON of v is not the value that v is, although
// encoding/json wrote it. v has no cycle, as it has been written.
func lossOf(v reflect.Value) (reason string) {
	t := v.Type()
	if !mayLose(t) {
		return ""
	}
	if t == timeType {
		if hasZoneSeconds(v) {
			return zoneReason
		}
		return ""
	}
	if t == jsonNumberType {
		if v.Len() == 0 {
			return emptyNumberReason
		}
		return ""
	}
	if t == anyMapType {
		return lossOfAny(v.Interface())
	}
	switch t.Kind() {
	case reflect.Interface:
		return lossOfAny(v.Interface())
	case reflect.Pointer:
		if v.IsNil() {
			return ""
		}
		return lossOf(v.Elem())
	case reflect.Slice, reflect.Array:
		for i := 0; i < v.Len() && reason == ""; i++ {
			reason = lossOf(v.Index(i))
		}
	case reflect.Map:
		for iter := v.MapRange(); iter.Next() && reason == ""; {
			if reason = lossOf(iter.Value()); reason == "" && t.Key() == timeType && hasZoneSeconds(iter.Key()) {
				reason = zoneReason
			}
		}
	case reflect.Struct:
		if marshalsItself(t) {
			if losesZoneSeconds(v, jsonMarshaling) {
				return zoneReason
			}
			return ""
		}
		for _, f := range losingFieldsOf(t) {
			if f.omitsEmpty && v.Field(f.index).Len() == 0 {
				continue
			}
			if reason = lossOf(v.Field(f.index)); reason != "" {
				break
			}
		}
	}
	return reason
}

// lossOfAny is lossOf for the content of an any, of which most is that of decoded JSON.
func lossOfAny(value any) (reason string) {
	switch value := value.(type) {
	case nil, string, bool, float64:
		return ""
	case map[string]any:
		for _, elem := range value {
			if reason = lossOfAny(elem); reason != "" {
				break
			}
		}
		return reason
	case []any:
		for _, elem := range value {
			if reason = lossOfAny(elem); reason != "" {
				break
			}
		}
		return reason
	}
	return lossOf(reflect.ValueOf(value))
}

// losingField is a field of a struct in which lossOf could find something.
type losingField struct {
	index      int
	omitsEmpty bool // a json.Number that is left out when it is empty
}

// losingFields holds a []losingField for each reflect.Type.
var losingFields sync.Map

func losingFieldsOf(t reflect.Type) []losingField {
	known, ok := losingFields.Load(t)
	if !ok {
		var fields []losingField
		for i := range t.NumField() {
			f := t.Field(i)
			if name, inlined := jsonNameOf(f); (name != "" || inlined) && mayLose(f.Type) {
				fields = append(fields, losingField{i, f.Type == jsonNumberType && omitsEmpty(f)})
			}
		}
		known, _ = losingFields.LoadOrStore(t, fields)
	}
	fields, _ := known.([]losingField)
	return fields
}

func omitsEmpty(f reflect.StructField) bool {
	_, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	return strings.Contains(","+options+",", ",omitempty,") || strings.Contains(","+options+",", ",omitzero,")
}

// losers holds a bool for each reflect.Type that mayLose was asked about.
var losers sync.Map

// mayLose tells whether lossOf could find something in a t.
func mayLose(t reflect.Type) bool {
	known, ok := losers.Load(t)
	if !ok {
		known = holdsLoser(t, map[reflect.Type]bool{})
		losers.Store(t, known)
	}
	may, _ := known.(bool)
	return may
}

func holdsLoser(t reflect.Type, seen map[reflect.Type]bool) bool {
	if t == timeType || t == jsonNumberType || t.Kind() == reflect.Interface {
		return true
	}
	if seen[t] {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return holdsLoser(t.Elem(), seen)
	case reflect.Map:
		return t.Key() == timeType || holdsLoser(t.Elem(), seen)
	case reflect.Struct:
		if marshalsItself(t) {
			return embedsTime(t)
		}
		for f := range t.Fields() {
			if name, inlined := jsonNameOf(f); (name != "" || inlined) && holdsLoser(f.Type, seen) {
				return true
			}
		}
	}
	return false
}

// embedsTime tells whether a struct that marshals itself may do so as the time
// that it embeds.
func embedsTime(t reflect.Type) bool {
	if t == unixMilliType || t == unixType || t.Kind() != reflect.Struct {
		return false
	}
	for f := range t.Fields() {
		if f.Anonymous && f.IsExported() && (f.Type == timeType || embedsTime(f.Type)) {
			return true
		}
	}
	return false
}

// losesZoneSeconds tells whether the struct v is written as the time that it
// embeds, and that time has seconds in its zone.
func losesZoneSeconds(v reflect.Value, m marshaling) bool {
	inner := v
	for inner.Type() != timeType {
		next := -1
		for i := range inner.NumField() {
			if f := inner.Type().Field(i); f.Anonymous && f.IsExported() && (f.Type == timeType || embedsTime(f.Type)) {
				next = i
			}
		}
		if next < 0 {
			return false
		}
		inner = inner.Field(next)
	}
	if !hasZoneSeconds(inner) {
		return false
	}
	outer, alone := reflect.New(v.Type()).Elem(), reflect.New(timeType).Elem()
	outer.Set(v)
	alone.Set(inner)
	written, ok := m.text(outer)
	time, okToo := m.text(alone)
	return ok && okToo && written == time
}

// hasZoneSeconds tells whether the offset of a time's zone has seconds, as before
// 1920 or so.
func hasZoneSeconds(v reflect.Value) bool {
	var t time.Time
	if v.CanAddr() {
		t = *v.Addr().Interface().(*time.Time) // spares an allocation
	} else {
		t, _ = v.Interface().(time.Time)
	}
	_, offset := t.Zone()
	return offset%60 != 0
}
