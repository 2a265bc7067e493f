package codec

import (
	"cmp"
	"errors"
	"reflect"
	"slices"
)

// complaints are the problems of one entry while they are collected.
type complaints []complaint

type complaint struct {
	position int // of the field in the plan, or past all of them
	err      *FieldError
}

func (c *complaints) add(position int, name, typ, reason string) {
	*c = append(*c, complaint{position, &FieldError{Field: name, Type: typ, Reason: reason}})
}

func (c *complaints) addField(p *plan, i int, reason string) {
	c.add(i, p.fields[i].name, p.fields[i].typ.String(), reason)
}

// addUnknown adds each name of the entry that neither the plan declares nor a header has.
func (c *complaints) addUnknown(p *plan, fields Fields) {
	for name := range fields.Map() {
		if _, declared := p.byName[name]; !declared && !p.isHeader(name) {
			c.add(len(p.fields), cutName(name), "", "is not declared by "+p.typ.String())
		}
	}
}

// validate adds the failures that validator reports about the value. Fields that have a complaint
// get no second one: they hold a zero that was never in the entry.
func (c *complaints) validate(p *plan, target any) error {
	if p.proof.holds(reflect.ValueOf(target).Elem()) {
		return nil
	}
	failures, err := runValidator(p.validate, target)
	converted := *c
	isConverted := func(i int) bool {
		return i == len(p.fields) || !slices.ContainsFunc(converted, func(c complaint) bool { return c.position == i })
	}
	if broken, ok := errors.AsType[*brokenTagError](err); ok {
		if i, name := p.locateBroken(broken); i == len(p.fields) {
			c.add(i, name, "", broken.reason())
		} else if isConverted(i) {
			c.addField(p, i, broken.reason())
		}
		return nil
	}
	for _, failure := range failures {
		i, name := p.locate(failure.StructNamespace())
		switch {
		case !isConverted(i):
		case i < len(p.fields) && name == p.fields[i].name:
			c.addField(p, i, failureReason(failure))
		default:
			c.add(i, name, typeName(failure), failureReason(failure))
		}
	}
	return err
}

// err returns the complaints in the order of the declared fields, or nil. What
// is about no declared field comes last, by name, as a map's order is random.
func (c complaints) err(declared int) error {
	if len(c) == 0 {
		return nil
	}
	slices.SortStableFunc(c, func(a, b complaint) int {
		if a.position == b.position && a.position >= declared {
			return cmp.Compare(a.err.Field, b.err.Field)
		}
		return cmp.Compare(a.position, b.position)
	})
	errs := make(FieldErrors, len(c))
	for i, complaint := range c {
		errs[i] = complaint.err
	}
	return errs
}
