package codec

import (
	"reflect"

	"github.com/go-playground/validator/v10"
)

// Struct returns the codec that maps each field of the struct T to a field of
// the entry, by the mapstructure tags that the package documentation lists, and
// checks the validate tags of go-playground/validator, and notblank, after
// decoding and before encoding.
//
// Fields of the entry that T does not declare are ignored, unless T has a remain
// map or [DisallowUnknownFields] is given. Headers, see [IsHeader], are ignored in
// any case. An entry of which no field at all belongs to T is an error, since its
// value would be an event of zeros. Of a name that an entry repeats, the last value
// counts.
//
// A value that is encoded and decoded is the same, with these exceptions: a time
// loses its monotonic clock and the name of its zone, with unixmilli or unix its
// zone and the part below a millisecond or a second; a nil and an empty value cannot
// always be told apart (a nil slice or map is left out, with omitempty an empty one
// too); trim removes white space; a number or []byte in a field of type any or in
// a remain map comes back as its text.
//
// Struct does not fail. The problems of T are reported by the Check of the
// codec, see [Checker], and by each Decode and Encode. The codec is safe for
// concurrent use.
func Struct[T any](opts ...StructOption) Codec[T] {
	var config structConfig
	for _, opt := range opts {
		if opt != nil {
			opt.apply(&config)
		}
	}
	return structCodec[T]{planFor(reflect.TypeFor[T](), config)}
}

// StructOption is an option of [Struct].
type StructOption interface{ apply(*structConfig) }

type structConfig struct {
	jsonOptions
	tags []validationTag
}

type structOption func(*structConfig)

func (o structOption) apply(c *structConfig) { o(c) }

// DisallowUnknownFields makes [Struct] refuse entries with fields that T does not
// declare, and JSON fields with names that their structs do not declare, at any
// depth; a type that decodes itself is not looked into. The default is to ignore
// them, so that producers can add fields first. Headers are ignored all the same, see
// [IsHeader]. A remain map takes the fields of the entry that T does not declare; the
// JSON fields of such a T are looked into all the same.
func DisallowUnknownFields() StructOption {
	return structOption(func(c *structConfig) { c.strict = true })
}

// UseNumber makes every number in an any inside a JSON field a [encoding/json.Number], as
// the method of [encoding/json.Decoder] does. The default is a float64, and a
// json.Number only for a number that a float64 would not keep: a whole number that
// it would round, such as 9007199254740993, and one that is out of its range. It
// changes nothing for a field of the entry that is an any itself, which gets the
// text.
func UseNumber() StructOption {
	return structOption(func(c *structConfig) { c.useNumber = true })
}

// WithValidation adds a tag that validate tags of T can use, in this codec only.
// The default is no tag beyond those of validator, and notblank. An empty or
// reserved tag and a nil function are reported by Check. The function is called
// from many goroutines at once; when it panics, the field is refused.
func WithValidation(tag string, fn validator.Func) StructOption {
	return structOption(func(c *structConfig) { c.tags = append(c.tags, validationTag{tag, fn}) })
}

// structCodec joins T to the plan, which knows it by reflection only.
type structCodec[T any] struct{ plan *plan }

func (c structCodec[T]) Check() error { return c.plan.err }

func (c structCodec[T]) Decode(fields Fields) (T, error) {
	var value T
	if err := c.plan.decode(fields, &value); err != nil {
		var zero T
		return zero, err
	}
	return value, nil
}

func (c structCodec[T]) DecodeInto(fields Fields, value *T) error {
	return c.plan.decode(fields, value)
}

func (c structCodec[T]) Encode(value T) ([]string, error) { return c.plan.encode(&value) }
