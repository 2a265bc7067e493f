package codec

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/go-playground/validator/v10"
)

// plan holds the results of reflection on a struct type. It does not change.
type plan struct {
	typ    reflect.Type
	fields []field // in the order of declaration, squashed structs in their place
	byName map[string]int
	// lengths has a bit for the length of each name in byName, the last for all longer ones.
	lengths uint64
	byPath  map[string]int // by Go path, as validator names fields
	remain  *remainder
	// hasIgnored is set when a field is tagged "-", which mapstructure v1 takes
	// for a name.
	hasIgnored bool
	jsonOptions
	marks    marks // of the codecs around it
	direct   bool  // decodes without mapstructure
	validate *validator.Validate
	own      []string // tags of WithValidation
	proof    *proof   // spares validate most of its work
	err      error    // all problems of the type
}

// field is one field of the struct that is a field of the entry.
type field struct {
	name      string // on the wire
	path      string // in Go, such as "Base.ID"
	index     []int
	typ       reflect.Type
	form      form
	trim      bool
	omitEmpty bool
}

// remainder is the map that takes the fields that no other field declares.
type remainder struct {
	path  string
	index []int
	typ   reflect.Type
}

// plans holds a plan for each planKey: a program has few types, but may have
// thousands of topics, and each had 16 KiB of plan and validator. Plans with tags
// of the user's own are not shared, as functions cannot be compared.
var plans sync.Map

type planKey struct {
	typ reflect.Type
	jsonOptions
}

func planFor(t reflect.Type, config structConfig) *plan {
	if len(config.tags) > 0 {
		return newPlan(t, config)
	}
	key := planKey{t, config.jsonOptions}
	shared, ok := plans.Load(key)
	if !ok {
		shared, _ = plans.LoadOrStore(key, newPlan(t, config))
	}
	p, _ := shared.(*plan)
	return p
}

// newPlan never fails: problems of the type are left in err.
func newPlan(t reflect.Type, config structConfig) *plan {
	p := &plan{typ: t, byName: map[string]int{}, byPath: map[string]int{}, jsonOptions: config.jsonOptions}
	if t.Kind() != reflect.Struct {
		p.problem("", "Struct serves structs only; use a struct, not a pointer to one, or the JSON codec")
		return p
	}
	p.add(t, nil, "")
	p.validate = plainValidator()
	var problems []error
	if len(config.tags) > 0 {
		p.validate, problems = newValidator(config.tags)
		for _, own := range config.tags {
			p.own = append(p.own, own.tag)
		}
	}
	problems = append(problems, tagProblems(p.validate, t, config.tags)...)
	p.err = errors.Join(append([]error{p.err}, problems...)...)
	if p.err == nil {
		p.direct = p.isDirect()
		p.proof = newProof(t, config.tags)
	}
	return p
}

func (p *plan) problem(path, format string, args ...any) {
	name := p.typ.String()
	if path != "" {
		name += "." + path
	}
	p.err = errors.Join(p.err, fmt.Errorf("%s: %s", name, fmt.Sprintf(format, args...)))
}

// add takes in the fields of the struct type t.
func (p *plan) add(t reflect.Type, index []int, path string) {
	if names := namedForOthers(t, "json", "mapstructure", func(a, b string) bool { return a == b }); names != "" {
		p.problem(strings.TrimSuffix(path, "."), `%s: a json tag and no mapstructure tag, which names the fields of an entry; give each a mapstructure tag too, or use the JSON codec, which puts the whole value into one field`, names)
	}
	for i := range t.NumField() {
		sf := t.Field(i)
		p.addField(sf, append(slices.Clone(index), i), path+sf.Name)
	}
}

func (p *plan) addField(sf reflect.StructField, index []int, path string) {
	tag, tagged := sf.Tag.Lookup("mapstructure")
	if tag == "-" {
		p.hasIgnored = true
		return
	}
	options, problem := parseTag(tag)
	if problem != "" {
		p.problem(path, "%s", problem)
		return
	}
	base := deref(sf.Type)
	switch {
	case options.squash:
		p.addSquash(sf, index, path)
		return
	case sf.Anonymous && tag == "" && base.Kind() == reflect.Struct && !speaksText(base):
		p.problem(path, `an embedded struct needs a tag: mapstructure:",squash" takes in its fields, a name makes it one JSON field, "-" keeps it out`)
		return
	case !sf.IsExported():
		if tagged {
			p.problem(path, "a tag on an unexported field does nothing; export the field or remove the tag")
		}
		return
	case options.remain:
		p.addRemain(sf, index, path)
		return
	}

	f := field{
		name: options.name, path: path, index: index, typ: sf.Type,
		trim: options.trim, omitEmpty: options.omitEmpty,
	}
	if f.name == "" {
		f.name = sf.Name
	}
	if other, ok := p.byName[f.name]; ok {
		p.problem(path, "the name %q is taken by %s; rename one of them", f.name, p.fields[other].path)
		return
	}
	var ok bool
	if f.form, ok = formOf(base); !ok {
		p.problem(path, `a %s cannot be made from a field's text; change its type, give it MarshalText and UnmarshalText, or tag it mapstructure:"-"`, base)
	}
	switch unix := options.unix; {
	case unix == "":
	case base == timeType && unix == "unix":
		f.form = unixForm
	case base == timeType:
		f.form = unixMilliForm
	case base == unixType && unix == "unix" || base == unixMilliType && unix == "unixmilli":
	default:
		p.problem(path, "the option %s is for time.Time, not for %s; remove it", unix, sf.Type)
	}
	// An empty json.Number is no number, as a nil pointer is none.
	f.omitEmpty = f.omitEmpty || sf.Type == jsonNumberType
	switch {
	case f.form.nested:
		f.form = jsonFormWith(p.jsonOptions)
		jsonProblems(base, path, func(path, problem string) { p.problem(path, "%s", problem) })
	case speaksText(base):
		zero := sf.Type == base && !isNeverZero(sf, "mapstructure")
		if problem := textMarshaling.problem(base, zero, true); problem != "" {
			p.problem(path, "%s", problem)
		}
		if carried := carriedIn(base); carried != nil {
			jsonProblems(carried, path+".Value", func(path, problem string) { p.problem(path, "%s", problem) })
		}
	}
	p.byName[f.name] = len(p.fields)
	p.lengths |= 1 << min(len(f.name), 63)
	p.byPath[f.path] = len(p.fields)
	p.fields = append(p.fields, f)
}

func (p *plan) addSquash(sf reflect.StructField, index []int, path string) {
	switch {
	case sf.Type.Kind() != reflect.Struct:
		p.problem(path, "squash is for structs, not for %s; use the struct itself, without a pointer", sf.Type)
	case !sf.IsExported() && !sf.Anonymous:
		p.problem(path, "an unexported field cannot be squashed; export or embed it")
	case isOpaque(sf.Type):
		p.problem(path, "squash takes in exported fields, and %s has none, so that its value would be lost; give it a name instead", sf.Type)
	default:
		p.add(sf.Type, index, path+".")
	}
}

func (p *plan) addRemain(sf reflect.StructField, index []int, path string) {
	t := sf.Type
	fits := t.Kind() == reflect.Map && t.Key() == reflect.TypeFor[string]() &&
		(t.Elem() == reflect.TypeFor[string]() || t.Elem() == reflect.TypeFor[any]())
	switch {
	case !fits:
		p.problem(path, "remain is for a map[string]string or a map[string]any, not for %s; change its type", t)
	case p.remain != nil:
		p.problem(path, "%s takes what remains already; keep one remain", p.remain.path)
	default:
		p.remain = &remainder{path: path, index: index, typ: t}
	}
}

// tagOptions are the parts of a mapstructure tag.
type tagOptions struct {
	name                            string
	squash, remain, omitEmpty, trim bool
	unix                            string // "unix" or "unixmilli", or neither
}

func parseTag(tag string) (options tagOptions, problem string) {
	name, rest, _ := strings.Cut(tag, ",")
	options.name = name
	if rest == "" && name != "-" {
		return options, ""
	}
	if name == "-" {
		return options, `the name "-" keeps a field out and takes no options; remove them, or the name`
	}
	for option := range strings.SplitSeq(rest, ",") {
		switch option {
		case "squash":
			options.squash = true
		case "remain":
			options.remain = true
		case "omitempty":
			options.omitEmpty = true
		case "unix", "unixmilli":
			if options.unix != "" {
				return options, "unix and unixmilli do not go together; remove one"
			}
			options.unix = option
		case "trim":
			options.trim = true
		default:
			return options, fmt.Sprintf("unknown tag option %q; the options are squash, remain, omitempty, unix, unixmilli and trim", option)
		}
	}
	if (options.squash || options.remain) && strings.Contains(rest, ",") {
		return options, "squash and remain go with no other option; remove the others"
	}
	return options, ""
}

// deref takes the pointers off t. It stops after a few, because a type such as
// "type P *P" never ends.
func deref(t reflect.Type) reflect.Type {
	for i := 0; i < 8 && t.Kind() == reflect.Pointer; i++ {
		t = t.Elem()
	}
	return t
}
