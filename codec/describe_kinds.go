package codec

import (
	"slices"

	"millrace/codec/internal/jsonschema"
)

func (c *oneOfCodec[T]) Describe() []byte { return describe(c) }

func (c *oneOfCodec[T]) describe(d *description) jsonschema.Schema {
	branches := make([]jsonschema.Schema, 0, len(c.kinds))
	for i, k := range c.kinds {
		branches = append(branches, discriminated(d.inner(c.byName[k.name].given, i), c.field, k.name))
	}
	return jsonschema.Schema{"title": titleOf(c.typ), "anyOf": branches}
}

func (c *versionsCodec[T]) Describe() []byte { return describe(c) }

func (c *versionsCodec[T]) describe(d *description) jsonschema.Schema {
	branches := []jsonschema.Schema{discriminated(d.inner(c.given, 0), c.field, c.name)}
	for i, v := range c.givenOld {
		old := discriminated(d.inner(v.codec, i+1), c.field, v.version)
		old["x-old"] = true // is read, and not written
		branches = append(branches, old)
	}
	return jsonschema.Schema{"title": titleOf(c.typ), "anyOf": branches}
}

// discriminated says in a schema which discriminator its entries have; "" is none at all.
func discriminated(s jsonschema.Schema, field, value string) jsonschema.Schema {
	if _, taken := s["x-discriminator"]; taken || s["$id"] != nil || s["anyOf"] != nil {
		s = jsonschema.Schema{"allOf": []jsonschema.Schema{s}}
	}
	s["x-discriminator"] = map[string]string{"field": field, "value": value}
	if s["x-wire"] != "fields" {
		return s
	}
	properties, _ := s["properties"].(map[string]jsonschema.Schema)
	required, _ := s["required"].([]string)
	if value == "" {
		properties[field] = jsonschema.Schema{"not": jsonschema.Schema{}}
		return s
	}
	properties[field] = jsonschema.Schema{"const": value}
	if !slices.Contains(required, field) {
		s["required"] = append([]string{field}, required...)
	}
	return s
}
