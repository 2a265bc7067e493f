package codec

import (
	"fmt"
	"reflect"
	"strings"
)

// decode decodes into the struct that target points to.
func (p *plan) decode(fields Fields, target any) error {
	if p.err != nil {
		return p.err
	}
	fields = p.marks.cut(fields)
	var found complaints
	var belongs bool
	if p.direct {
		found, belongs = p.fill(fields, reflect.ValueOf(target).Elem())
	} else {
		var err error
		if found, belongs, err = p.place(fields, target); err != nil {
			return err
		}
	}
	return p.judge(found, belongs, fields, target)
}

// judge returns the error of a value that is decoded: that nothing of the entry belongs to
// it, or the complaints and those of validator.
func (p *plan) judge(found complaints, belongs bool, fields Fields, target any) error {
	if !belongs && !p.marks.told() && len(p.fields) > 0 && (p.remain == nil || fields.Len() > 0) {
		return fmt.Errorf("none of the entry's fields belongs to %s; check that this is the stream of that type and that the names in its tags match exactly", p.typ)
	}
	if err := found.validate(p, target); err != nil && len(found) == 0 {
		return err
	}
	return found.err(len(p.fields))
}

// place converts the fields and has mapstructure put them into the struct that
// target points to. belongs is set when one of them is declared, or remains.
func (p *plan) place(fields Fields, target any) (found complaints, belongs bool, err error) {
	root := reflect.ValueOf(target).Elem()
	texts := make(map[string]any, fields.Len())
	unknown := false
	for name, text := range fields.All() {
		i, declared := p.byName[name]
		switch {
		case !declared && (p.remain == nil || p.isHeader(name)):
			unknown = unknown || p.strict && !p.isHeader(name)
			continue
		case declared && !isPlaceable(deref(p.fields[i].typ).Kind()):
			// Below: of a name that repeats, values before the last one are not converted.
		case name == "-" && p.hasIgnored:
			p.remain.set(name, text, root)
		default:
			texts[name] = fieldText{name, text}
		}
		belongs = true
	}
	for i := range p.fields {
		f := &p.fields[i]
		if isPlaceable(deref(f.typ).Kind()) {
			continue
		}
		if text, ok := fields.Get(f.name); ok {
			if reason := f.set(text, root.FieldByIndex(f.index)); reason != "" {
				found.addField(p, i, reason)
			}
		}
	}
	if unknown {
		found.addUnknown(p, fields)
	}
	err = place(texts, target, func(text fieldText, to reflect.Value) {
		i, declared := p.byName[text.name]
		if !declared {
			to.Set(reflect.ValueOf(text.text))
		} else if reason := p.fields[i].convert(text.text, to); reason != "" {
			found.addField(p, i, reason)
		}
	})
	if err != nil {
		return nil, belongs, fmt.Errorf("an entry cannot be placed in %s; this is a defect of package codec, please report the type", p.typ)
	}
	return found, belongs, nil
}

// convert puts the text into to, which has the type of the field without its
// pointers.
func (f *field) convert(text string, to reflect.Value) (reason string) {
	if f.trim {
		text = strings.TrimSpace(text)
	}
	if text == "" && f.form.refusesBlank {
		return "is blank"
	}
	return f.form.set(text, to)
}

// set puts the text into the field to without mapstructure.
func (f *field) set(text string, to reflect.Value) (reason string) {
	for to.Kind() == reflect.Pointer {
		to.Set(reflect.New(to.Type().Elem()))
		to = to.Elem()
	}
	return f.convert(text, to)
}

func (r *remainder) set(name, text string, root reflect.Value) {
	m := root.FieldByIndex(r.index)
	if m.IsNil() {
		m.Set(reflect.MakeMap(r.typ))
	}
	m.SetMapIndex(reflect.ValueOf(name), reflect.ValueOf(text))
}
