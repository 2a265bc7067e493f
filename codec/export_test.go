package codec

import (
	"encoding/json"
	"reflect"
)

// Slow returns the codec that Struct would return if it had neither a direct way
// to decode nor a proof: the oracle of both.
func Slow[T any](opts ...StructOption) Codec[T] {
	c, _ := Struct[T](opts...).(structCodec[T])
	slow := *c.plan
	slow.direct, slow.proof = false, nil
	return structCodec[T]{&slow}
}

// IsDirect tells whether c decodes without mapstructure.
func IsDirect[T any](c Codec[T]) bool { return c.(structCodec[T]).plan.direct }

// HasProof tells whether c can prove values valid.
func HasProof[T any](c Codec[T]) bool { return c.(structCodec[T]).plan.proof != nil }

// Proves tells what a proof says of a field with the value and the tag. It is not
// known when such a field is left to validator.
func Proves(value any, tag string) (holds, known bool) {
	v := reflect.ValueOf(value)
	if !isSilent(v.Type(), map[reflect.Type]bool{}) {
		return false, false
	}
	f, known := newProvenField(v.Type(), tag, nil)
	return known && f.hold(v), known
}

// TagProblems is what Check finds in the validate tags of the struct t.
func TagProblems(t reflect.Type) []error { return tagProblems(plainValidator(), t, nil) }

// Resolves tells whether a validate tag of the struct t may name a field so, and
// whether that is certain.
func Resolves(t reflect.Type, name string) (ok, certain bool) {
	other, reason := resolve(t, name)
	return reason == "", !other.unknown
}

// Samples returns pointers to values of the struct t: zeros, its pointers set, and
// everything set.
func Samples(t reflect.Type) []any {
	zero, pointers, full := reflect.New(t), reflect.New(t), reflect.New(t)
	setPointers(pointers.Elem(), nil)
	fill(full.Elem(), 0)
	return []any{zero.Interface(), pointers.Interface(), full.Interface()}
}

// JSONInOnePass decodes a text that is UTF-8 as [JSON] does when all is well.
func JSONInOnePass[T any](text string, useNumber, strict bool) (value T, ok bool) {
	ok = jsonOptions{strict, useNumber}.read(text, reflect.ValueOf(&value).Elem())
	return value, ok
}

// JSONInTwoPasses decodes a text that is UTF-8 in the way that knows the reasons: the
// oracle of JSONInOnePass.
func JSONInTwoPasses[T any](text string, useNumber, strict bool) (value T, reason string) {
	reason = jsonOptions{strict, useNumber}.unmarshalSlowly(text, &value)
	return value, reason
}

// EncodedJSON is the text of a value, or the reason why there is none.
func EncodedJSON[T any](value T) (text, reason string) { return jsonOptions{}.marshal(&value) }

// EncodedJSONSlowly is EncodedJSON with a second look at every text and every value: its
// oracle.
func EncodedJSONSlowly[T any](value T) (text, reason string) {
	b, err := json.Marshal(&value)
	if err != nil || hasReplacement(b) {
		return jsonOptions{}.marshal(&value)
	}
	text = string(b)
	d := document{text: text}
	if reason, _ := d.look(reflect.TypeFor[T]()); reason != "" {
		return "", "would be JSON that " + reason + ", which decoding refuses"
	}
	return text, lossOf(reflect.ValueOf(&value).Elem())
}

// PackedSlowly returns the codec that Packed would return if it unpacked all entries: its oracle.
func PackedSlowly[T any](opts ...StructOption) Codec[T] {
	c, _ := Packed[T](opts...).(packedCodec[T])
	slow := *c.packing
	plan := *slow.plan
	plan.direct = false
	slow.plan = &plan
	return packedCodec[T]{&slow}
}

// IsPackedOwn tells whether c decodes the fields without unpacking them.
func IsPackedOwn[T any](c Codec[T], fields Fields) bool {
	_, ok := c.(packedCodec[T]).packing.isOwn(fields)
	return ok
}
