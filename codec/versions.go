package codec

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// ErrUnknownVersion is wrapped by the errors of [Versions] about an entry of a version that is
// not listed. Most often the entry is newer than this program: deploy consumers before
// producers, or have a middleware hold such entries until the consumer that knows them is
// there, by returning an error that does not wrap this one.
var ErrUnknownVersion = errors.New("codec: unknown version")

// Versions returns the codec of an event that has changed, in a topic that has entries of
// before the change. The given field of an entry names the version of its event. New events
// are written with the current version by the current codec; entries of an old version are read
// by its own codec, and brought up by its own function:
//
//	orders := codec.Versions("v", "2", codec.Struct[Order](),
//		codec.Upcast("", codec.Struct[OrderV1](), func(o OrderV1) (Order, error) {
//			return Order{ID: o.Number, Currency: "EUR"}, nil
//		}))
//
// The version "" is that of the entries that lack the field; without it the field must be
// there. Each old version has one function, which leads to the current version directly.
//
// An entry with a blank version or with two of them is refused, and so is an entry of a version
// that is not listed, with an error that wraps [ErrUnknownVersion]. The value that a function
// returns is checked by the validate tags of the current type. As with [OneOf], the types need
// not declare the field.
//
// Versions does not fail: a version that is listed twice, and a codec that does not serve its
// type, are reported by Check, see [Checker]. The codec is safe for concurrent use.
func Versions[T any](field, current string, codec Codec[T], old ...OldVersion[T]) Codec[T] {
	return newVersions(discriminator{field, reflect.TypeFor[T]()}, current, codec, old)
}

// OldVersion is one of the old versions of [Versions]. [Upcast] makes it.
type OldVersion[T any] struct {
	version string
	codec   any
	bind    func(d discriminator, m []mark, check func(*T) error) (oldCodec[T], error)
}

// oldCodec reads the entries of an old version, without its type.
type oldCodec[T any] func(Fields, *T) error

// Upcast lists an old version for [Versions]: its name, the codec that reads its entries, and
// the function that makes a current event of an old one.
//
// An error of the function, and a panic in it, refuse the entry. The text of that error is not
// shown, as it may be made of values; errors.Is and errors.As find it. The function is
// called from many goroutines at once.
func Upcast[Old, T any](version string, codec Codec[Old], up func(Old) (T, error)) OldVersion[T] {
	return OldVersion[T]{version: version, codec: codec, bind: func(d discriminator, ms []mark, check func(*T) error) (oldCodec[T], error) {
		switch {
		case codec == nil:
			return nil, errors.New("the codec is nil; give the codec that reads its entries")
		case up == nil:
			return nil, errors.New("the function is nil; give one that makes a current event of an old one")
		}
		marked := codec
		for _, m := range ms {
			marked = withMark(marked, m)
		}
		return func(fields Fields, value *T) error {
			before, err := marked.Decode(fields)
			if err != nil {
				return err
			}
			if err := d.bring(func() (err error) {
				*value, err = up(before)
				return err
			}); err != nil {
				return err
			}
			return check(value)
		}, checkOf(marked)
	}}
}

// bring calls an upcaster.
func (d discriminator) bring(up func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = d.fail("is of an old version whose function in Upcast panics")
		}
	}()
	if err := up(); err != nil {
		return d.failAs(err, "is of an old version whose function in Upcast refuses the event")
	}
	return nil
}

type versionsCodec[T any] struct {
	discriminator
	name    string // of the current version
	current Codec[T]
	into    IntoDecoder[T] // the current codec, or nil
	old     map[string]oldCodec[T]
	unknown string // the reason
	err     error

	// For a mark of a codec around this one, of which a new one is made.
	given    Codec[T]
	givenOld []OldVersion[T]
	marks    []mark
}

func newVersions[T any](d discriminator, current string, codec Codec[T], old []OldVersion[T], around ...mark) *versionsCodec[T] {
	c := &versionsCodec[T]{
		discriminator: d, name: current, given: codec, givenOld: old, marks: around,
		old: make(map[string]oldCodec[T], len(old)),
	}
	problems := []error{d.problem("Versions")}
	problem := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("Versions of %s: "+format, append([]any{d.typ}, args...)...))
	}
	if strings.TrimSpace(current) == "" {
		problem("the current version is blank, and could not be written; give it a name")
	}
	if codec == nil {
		problem("the codec of the current version is nil; give one, such as Struct")
		c.err = errors.Join(problems...)
		return c
	}
	c.current = withMark(codec, mark{name: d.field, value: current})
	for _, m := range around {
		c.current = withMark(c.current, m)
	}
	c.into, _ = c.current.(IntoDecoder[T])
	problems = append(problems, checkOf(c.current))
	names := []string{current}
	for _, v := range old {
		_, twice := c.old[v.version]
		switch {
		case v.bind == nil:
			problem("an old version is a zero value; make it with Upcast")
			continue
		case twice || v.version == current:
			problem("the version %q is listed twice; remove one", v.version)
		case v.version != "" && strings.TrimSpace(v.version) == "":
			problem(`an old version is blank; use "" for entries that lack the field`)
		}
		bound, err := v.bind(d, append([]mark{{name: d.field, value: v.version}}, around...), validatorOf(codec))
		if err != nil {
			problem("version %q: %w", v.version, err)
		}
		c.old[v.version] = bound
		if v.version != "" {
			names = append(names, v.version)
		}
	}
	c.unknown = "is none of the versions that are known here: " + strings.Join(names, ", ")
	c.err = errors.Join(problems...)
	return c
}

func (c *versionsCodec[T]) marked(m mark) Codec[T] {
	return newVersions(c.discriminator, c.name, c.given, c.givenOld, append(c.marks[:len(c.marks):len(c.marks)], m)...)
}

func (c *versionsCodec[T]) Check() error { return c.err }

func (c *versionsCodec[T]) Decode(fields Fields) (T, error) {
	var value, zero T
	if err := c.DecodeInto(fields, &value); err != nil {
		return zero, err
	}
	return value, nil
}

func (c *versionsCodec[T]) DecodeInto(fields Fields, value *T) error {
	if c.err != nil {
		return c.err
	}
	version, found, err := c.read(fields)
	if err != nil {
		return err
	}
	if version == c.name { // the field is there, as no current version is blank
		return decodeWith(c.current, c.into, fields, value)
	}
	if old, ok := c.old[version]; ok {
		return old(fields, value)
	}
	if !found {
		return c.fail("is missing")
	}
	return c.failAs(ErrUnknownVersion, c.unknown)
}

func (c *versionsCodec[T]) Encode(value T) ([]string, error) {
	if c.err != nil {
		return nil, c.err
	}
	return c.current.Encode(value)
}

// valueChecker is a codec of this package whose validate tags can be asked alone.
type valueChecker[T any] interface {
	checkValue(value *T) error
}

// validatorOf returns the check of the validate tags that c does when it decodes.
func validatorOf[T any](c Codec[T]) func(*T) error {
	if own, ok := c.(valueChecker[T]); ok {
		return own.checkValue
	}
	return func(value *T) error { return Validate(*value) }
}

func (c structCodec[T]) checkValue(value *T) error {
	var found complaints
	if err := found.validate(c.plan, value); err != nil {
		return err
	}
	return found.err(len(c.plan.fields))
}

func (c JSON[T]) checkValue(value *T) error { return c.validate(value) }
