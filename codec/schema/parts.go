package schema

import (
	"maps"
	"reflect"
	"slices"
)

// texts compares what is said of texts, and rules that have no keyword.
func (c *comparison) texts(r map[string]any, facts []map[string]any, path string) {
	for _, keyword := range []string{"pattern", "format", "contentEncoding", "contentMediaType", "x-go-type"} {
		want, ok := r[keyword]
		if !ok || anyHas(facts, keyword, want) || isImpossible(facts) {
			continue
		}
		c.report(path, "the reader has %s %s, and the writer has not", keyword, compact(want))
	}
	if want, ok := r["contentSchema"].(map[string]any); ok {
		for _, f := range facts {
			if have, ok := f["contentSchema"].(map[string]any); ok {
				c.compare(want, have, path+"(text)")
			}
		}
	}
	for _, rule := range list(r["x-validate"]) {
		if !slices.ContainsFunc(facts, func(f map[string]any) bool { return contains(list(f["x-validate"]), rule) }) {
			c.report(path, "the reader has the rule %s, and the writer has not", compact(rule))
		}
	}
}

func anyHas(facts []map[string]any, keyword string, want any) bool {
	return slices.ContainsFunc(facts, func(f map[string]any) bool { return reflect.DeepEqual(f[keyword], want) })
}

// object compares the members of objects, or the fields of an entry.
func (c *comparison) object(r map[string]any, facts []map[string]any, path string) {
	required := map[string]bool{}
	for _, f := range facts {
		for _, name := range list(f["required"]) {
			if text, ok := name.(string); ok {
				required[text] = true
			}
		}
	}
	for _, name := range list(r["required"]) {
		if text, ok := name.(string); ok && !required[text] {
			c.report(join(path, text), "the reader requires it, and the writer may leave it out")
		}
	}
	properties := object(r["properties"])
	for _, f := range facts {
		members := object(f["properties"])
		for _, name := range slices.Sorted(maps.Keys(members)) {
			if want, ok := properties[name]; ok {
				c.compare(object(want), object(members[name]), join(path, name))
			} else if isImpossible([]map[string]any{object(members[name])}) {
				continue
			} else if r["additionalProperties"] == false {
				c.report(join(path, name), "the writer has it, and the reader allows no members that it does not know")
			} else if want, ok := r["additionalProperties"].(map[string]any); ok && r["x-wire"] == nil {
				c.compare(want, object(members[name]), join(path, name))
			}
		}
	}
	c.inAll(r, facts, "additionalProperties", path, join(path, "*"))
	c.inAll(r, facts, "propertyNames", path, join(path, "(name)"))
}

// elements compares the elements of lists.
func (c *comparison) elements(r map[string]any, facts []map[string]any, path string) {
	c.inAll(r, facts, "items", path, path+"[]")
	if r["uniqueItems"] == true && !anyHas(facts, "uniqueItems", true) {
		c.report(path, "the reader refuses equal elements, and the writer does not")
	}
}

// inAll compares a schema that holds for all parts, where both have one.
func (c *comparison) inAll(r map[string]any, facts []map[string]any, keyword, path, inner string) {
	want, ok := r[keyword].(map[string]any)
	if !ok || r["x-wire"] != nil && keyword == "additionalProperties" {
		return
	}
	found := false
	for _, f := range facts {
		if have, ok := f[keyword].(map[string]any); ok {
			found = true
			c.compare(want, have, inner)
		}
	}
	if found || len(want) == 0 || keyword == "additionalProperties" && facts[0]["properties"] != nil {
		return
	}
	if slices.ContainsFunc(facts, func(f map[string]any) bool { return f["type"] != nil }) {
		c.report(path, "the reader has a rule for %s, and the writer has not", keyword)
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
