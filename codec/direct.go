package codec

import (
	"reflect"
	"strings"
)

// isDirect tells whether all fields of the plan have one place that is known
// before the first entry: their values need no mapstructure to find it. Squashed
// structs, a remain map, and any, whose type it settles, are left to mapstructure.
func (p *plan) isDirect() bool {
	if p.remain != nil {
		return false
	}
	for i := range p.fields {
		f := &p.fields[i]
		if len(f.index) != 1 || deref(f.typ).Kind() == reflect.Interface {
			return false
		}
	}
	return true
}

// fill is place for a plan that isDirect. It goes through the entry once. Most entries have
// their fields in the order of the plan, as Encode writes them: then the next name is the
// expected one, and takes no look into a map.
func (p *plan) fill(fields Fields, root reflect.Value) (found complaints, belongs bool) {
	if fields.wire != "" {
		return p.fillFromWire(fields, root)
	}
	if len(p.fields) <= 8 && fields.Len() >= 4*len(p.fields) && !p.strict {
		return p.pick(fields, root)
	}
	var few [64]bool
	done := few[:]
	if len(p.fields) > len(few) {
		done = make([]bool, len(p.fields))
	}
	unknown := false
	next := len(p.fields) - 1
	// From the last pair to the first: of a name that repeats, the last value counts.
	for at := len(fields.pairs) - 2; at >= 0; at -= 2 {
		name, i := fields.pairs[at], next
		if i < 0 || p.fields[i].name != name {
			var declared bool
			if i, declared = p.byName[name]; !declared {
				unknown = unknown || p.strict && !p.isHeader(name)
				continue
			}
		}
		if next = i - 1; done[i] {
			continue
		}
		done[i], belongs = true, true
		f := &p.fields[i]
		if reason := f.set(fields.pairs[at+1], root.Field(f.index[0])); reason != "" {
			found.addField(p, i, reason)
		}
	}
	if unknown {
		found.addUnknown(p, fields)
	}
	return found, belongs
}

// cloneAbove is the size of an entry above which each text that is decoded has memory of its own:
// one that is kept would keep the memory of all.
const cloneAbove = 4 << 10

// fillFromWire is fill for fields as the server has sent them: it looks for the places of all
// texts first.
func (p *plan) fillFromWire(fields Fields, root reflect.Value) (found complaints, belongs bool) {
	var few [32]wireSpan
	places := few[:]
	if len(p.fields) > len(few) {
		places = make([]wireSpan, len(p.fields))
	}
	unknown := false
	next, at, wire := 0, 0, fields.wire
	for at < len(wire) {
		from, to := textAt(wire, at)
		start, end := textAt(wire, to+len(lineBreak))
		at = end + len(lineBreak)
		i := next
		if i == len(p.fields) || p.fields[i].name != wire[from:to] {
			declared := p.lengths&(1<<min(to-from, 63)) != 0 // which spares most looks into the map
			if declared {
				i, declared = p.byName[wire[from:to]]
			}
			if !declared {
				unknown = unknown || p.strict && !p.isHeader(wire[from:to])
				continue
			}
		}
		next = i + 1
		places[i] = wireSpan{start, end} // of a name that repeats, the last value counts
	}
	for i := range p.fields {
		place := places[i]
		if place.start == 0 { // before the first value there is its name
			continue
		}
		belongs = true
		text := wire[place.start:place.end]
		if len(wire) > cloneAbove && len(text) < len(wire)/2 {
			text = strings.Clone(text)
		}
		f := &p.fields[i]
		if reason := f.set(text, root.Field(f.index[0])); reason != "" {
			found.addField(p, i, reason)
		}
	}
	if unknown {
		found.addUnknown(p, fields)
	}
	return found, belongs
}

// wireSpan is where a text is.
type wireSpan struct{ start, end int }

// pick is fill for a few fields of a large entry, which it looks for one by one: of 50
// pairs, 2 are found in a sixth of the time.
func (p *plan) pick(fields Fields, root reflect.Value) (found complaints, belongs bool) {
	for i := range p.fields {
		f := &p.fields[i]
		text, ok := fields.Get(f.name)
		if !ok {
			continue
		}
		belongs = true
		if reason := f.set(text, root.Field(f.index[0])); reason != "" {
			found.addField(p, i, reason)
		}
	}
	return found, belongs
}
