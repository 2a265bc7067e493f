package schema

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Break is a reason why a reader may refuse an event of a writer.
type Break struct {
	// Path leads to the part of the event, such as items[].price. It is empty for the whole.
	Path string
	// Reason is a sentence on that part.
	Reason string
}

// String returns the path and the reason in one line.
func (b Break) String() string {
	if b.Path == "" {
		return b.Reason
	}
	return b.Path + ": " + b.Reason
}

// Accepts returns the reasons why the reader may refuse events that the writer's document
// allows, in the order of their paths, or none. It is on the safe side: where it cannot tell
// that a rule of the reader holds for all events of the writer, that is a break.
//
// Events of old versions, which a writer reads only, are not looked at. A schema that
// refers to itself is compared once.
func Accepts(reader, writer Document) []Break {
	c := &comparison{reader: reader, writer: writer, under: map[pair]bool{}, left: new(int)}
	*c.left = maxCompared
	c.compare(schemaOf(reader.root), schemaOf(writer.root), "")
	slices.SortStableFunc(c.breaks, func(a, b Break) int { return strings.Compare(a.Path, b.Path) })
	return slices.Compact(c.breaks)
}

func schemaOf(root map[string]any) map[string]any {
	if root == nil {
		return map[string]any{}
	}
	return root
}

type comparison struct {
	reader, writer Document
	under          map[pair]bool // what is compared around the part at work
	left           *int          // how many parts may still be compared
	breaks         []Break
}

// pair are the addresses of two parts.
type pair struct{ reader, writer uintptr }

// maxCompared bounds a comparison, since references can make a small document large.
const maxCompared = 100_000

func (c *comparison) report(path, format string, args ...any) {
	c.breaks = append(c.breaks, Break{path, fmt.Sprintf(format, args...)})
}

// compare reports what a part of the reader's document refuses of the writer's.
func (c *comparison) compare(r, w map[string]any, path string) {
	if *c.left--; *c.left < 0 {
		if *c.left == -1 {
			c.report("", "the documents have too many parts to be compared; split them")
		}
		return
	}
	at := pair{reflect.ValueOf(r).Pointer(), reflect.ValueOf(w).Pointer()}
	if c.under[at] { // a schema that refers to itself
		return
	}
	c.under[at] = true
	defer delete(c.under, at)
	r, w = c.reader.resolve(r), c.writer.resolve(w)
	facts := c.facts(w)
	if branches := alternatives(w); branches != nil && !hasDiscriminated(branches) && alternatives(r) == nil {
		// Each of them has to be accepted, together with the facts beside it.
		for _, branch := range branches {
			joined := without(w, "anyOf")
			joined["allOf"] = append(slices.Clone(list(joined["allOf"])), branch)
			c.compare(r, joined, path)
		}
		return
	}
	c.wire(r, w, path)
	c.types(r, facts, path)
	c.values(r, facts, path)
	c.bounds(r, facts, path)
	c.texts(r, facts, path)
	c.object(r, facts, path)
	c.elements(r, facts, path)
	for _, part := range list(r["allOf"]) {
		c.compare(object(part), w, path)
	}
	if branches := alternatives(r); branches != nil {
		c.anyOf(branches, w, path)
	}
}

// facts are the schemas that all hold for the writer's part.
func (c *comparison) facts(w map[string]any) []map[string]any {
	facts := []map[string]any{w}
	for i := 0; i < len(facts) && len(facts) < 1000; i++ {
		for _, part := range list(facts[i]["allOf"]) {
			facts = append(facts, c.writer.resolve(object(part)))
		}
	}
	return facts
}

// anyOf: each alternative of the writer has to have one of the reader.
func (c *comparison) anyOf(readers []map[string]any, w map[string]any, path string) {
	writers := alternatives(w)
	rest := without(w, "anyOf")
	if writers == nil {
		writers, rest = []map[string]any{w}, nil
	}
	for _, branch := range writers {
		if branch["x-old"] == true {
			continue
		}
		if rest != nil && !isDiscriminated(branch) {
			joined := without(rest, "")
			joined["allOf"] = append(slices.Clone(list(joined["allOf"])), any(branch))
			branch = joined
		}
		c.oneOf(readers, branch, path)
	}
}

// oneOf reports why none of the reader's alternatives takes the writer's.
func (c *comparison) oneOf(readers []map[string]any, w map[string]any, path string) {
	if hasDiscriminated(readers) {
		want := discriminatorOf(w)
		for _, r := range readers {
			if have := discriminatorOf(r); have.value == want.value && (have.field == want.field || want.value == "") {
				c.compare(r, w, path)
				return
			}
		}
		if want.value == "" {
			c.report(path, "an event without the field %q is written, and the reader needs it", discriminatorOf(readers[0]).field)
			return
		}
		c.report(path, "events with %q in the field %q are written, and the reader does not know them", want.value, want.field)
		return
	}
	var fewest []Break
	for i, r := range readers {
		trial := &comparison{reader: c.reader, writer: c.writer, under: c.under, left: c.left}
		trial.compare(r, w, path)
		if len(trial.breaks) == 0 {
			return
		}
		if i == 0 || len(trial.breaks) <= len(fewest) {
			fewest = trial.breaks
		}
	}
	c.breaks = append(c.breaks, fewest...)
}

// wire compares how the event stands in the entry.
func (c *comparison) wire(r, w map[string]any, path string) {
	for _, keyword := range []string{"x-wire", "x-field"} {
		if r[keyword] != nil && w[keyword] != nil && r[keyword] != w[keyword] {
			c.report(path, "the event stands in the entry in another way: %s is %v, and %v for the reader", keyword, w[keyword], r[keyword])
		}
	}
	if want := discriminatorOf(w); want.value != "" && !isDiscriminated(r) && alternatives(r) == nil && r["x-wire"] != nil && r["additionalProperties"] == false {
		c.report(path, "the field %q is written, and the reader does not allow it", want.field)
	}
}

type discriminator struct{ field, value string }

func discriminatorOf(s map[string]any) (d discriminator) {
	of := object(s["x-discriminator"])
	d.field, _ = of["field"].(string)
	d.value, _ = of["value"].(string)
	return d
}

func isDiscriminated(s map[string]any) bool { return s["x-discriminator"] != nil }

func hasDiscriminated(branches []map[string]any) bool {
	return slices.ContainsFunc(branches, isDiscriminated)
}

func alternatives(s map[string]any) []map[string]any {
	var all []map[string]any
	for _, branch := range list(s["anyOf"]) {
		all = append(all, object(branch))
	}
	return all
}

func without(s map[string]any, but string) map[string]any {
	rest := make(map[string]any, len(s))
	for keyword, value := range s {
		if keyword != but {
			rest[keyword] = value
		}
	}
	return rest
}

func list(v any) []any {
	all, _ := v.([]any)
	return all
}

func object(v any) map[string]any {
	switch s := v.(type) {
	case map[string]any:
		return s
	case bool:
		if !s {
			return map[string]any{"not": map[string]any{}}
		}
	}
	return map[string]any{}
}
