package codec

import (
	"reflect"
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

// fill is place for a plan that isDirect. It asks the entry for the fields of the
// plan: to range over the entry and to look for each of its names in the plan
// costs twice as much.
func (p *plan) fill(fields Fields, root reflect.Value) (found complaints, belongs bool) {
	hits := 0
	for i := range p.fields {
		f := &p.fields[i]
		value, ok := fields[f.name]
		if !ok {
			continue
		}
		hits++
		text, ok := value.(string)
		if !ok {
			var reason string
			if text, reason = textOf(value); reason != "" {
				found.addField(p, i, reason)
				continue
			}
		}
		if reason := f.set(text, root.Field(f.index[0])); reason != "" {
			found.addField(p, i, reason)
		}
	}
	if p.strict && hits < len(fields) {
		for name := range fields {
			if _, declared := p.byName[name]; !declared {
				found.addUnknown(p, name)
			}
		}
	}
	return found, hits > 0
}
