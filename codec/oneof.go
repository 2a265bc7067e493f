package codec

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
)

// ErrUnknownKind is wrapped by the errors of [OneOf] about an entry of a kind that is not
// listed. middleware.SkipUnknownKinds skips such entries; without it they are malformed, as
// every entry that cannot be decoded.
var ErrUnknownKind = errors.New("codec: unknown kind")

// OneOf returns the codec of a topic with events of several types. The discriminator, the
// given field of an entry, names the kind of its event, and with that the codec that reads the
// others:
//
//	type Event interface{ isEvent() } // which Order and Refund are
//
//	ledger := codec.OneOf("kind",
//		codec.Kind("order", codec.Struct[Order](), func(o Order) Event { return o }),
//		codec.Kind("refund", codec.Struct[Refund](), func(r Refund) Event { return r }))
//
// A handler tells the events apart by a type switch.
//
// An entry without a discriminator, with a blank one or with two of them is refused, and so is
// an entry of a kind that is not listed, with an error that wraps [ErrUnknownKind]. Encode
// finds the kind by the dynamic type of the event, and writes the discriminator first. The
// types need not declare the discriminator: a strict [Struct] does not refuse it, and a remain
// map does not get it. Where a type does declare it, it is a string, which is empty or the
// name of the kind when it is encoded.
//
// T is an interface. OneOf does not fail: a list that is empty, that has a name or a type
// twice, or that has a codec that does not serve its type is reported by Check, see
// [Checker]. The codec is safe for concurrent use.
func OneOf[T any](field string, kinds ...OneOfKind[T]) Codec[T] {
	return newOneOf(field, kinds)
}

func newOneOf[T any](field string, kinds []OneOfKind[T], around ...mark) *oneOfCodec[T] {
	c := &oneOfCodec[T]{
		discriminator: discriminator{field, reflect.TypeFor[T]()},
		kinds:         kinds,
		marks:         around,
		byName:        make(map[string]*boundKind[T], len(kinds)),
		byType:        make(map[reflect.Type]*boundKind[T], len(kinds)),
	}
	var names []string
	problems := []error{c.problem("OneOf")}
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf("OneOf: "+format, args...)) }
	if c.typ.Kind() != reflect.Interface {
		problem("%s is no interface; use one that the types of all kinds have", c.typ)
	}
	if len(kinds) == 0 {
		problem("there is no kind; list at least one")
	}
	for _, k := range kinds {
		_, twice := c.byName[k.name]
		switch {
		case k.bind == nil:
			problem("a kind is a zero value; make it with Kind")
			continue
		case strings.TrimSpace(k.name) == "":
			problem("the name of the kind of type %s is blank; give it the text that the discriminator has", k.typ)
		case twice:
			problem("the kind %q is listed twice; remove one", k.name)
		}
		if other, twice := c.byType[k.typ]; twice {
			problem("the type %s is listed as %q and as %q, and could be written as one of them only; declare a type of its own for each", k.typ, other.name, k.name)
		}
		bound := k.bind(append([]mark{{name: field, value: k.name}}, around...))
		bound.name, bound.typ = k.name, k.typ
		if bound.err != nil {
			problem("kind %q: %w", k.name, bound.err)
		}
		c.byName[k.name], c.byType[k.typ] = bound, bound
		if len(c.first) < mostFirst {
			c.first = append(c.first, bound)
		}
		names = append(names, k.name)
	}
	c.unknown = "is none of the kinds that are known here: " + strings.Join(names, ", ")
	c.err = errors.Join(problems...)
	return c
}

// OneOfKind is one of the kinds of [OneOf]. [Kind] makes it.
type OneOfKind[T any] struct {
	name string
	typ  reflect.Type
	bind func([]mark) *boundKind[T]
}

// Kind lists a kind for [OneOf]: the name that the discriminator has in the entries of it, the
// codec of its type, and a function that returns the event as it is. The function is there for
// the compiler, which refuses a type that is no T.
func Kind[K, T any](name string, codec Codec[K], event func(K) T) OneOfKind[T] {
	return OneOfKind[T]{name: name, typ: reflect.TypeFor[K](), bind: func(ms []mark) *boundKind[T] {
		return newBoundKind(codec, event, ms)
	}}
}

// boundKind is a kind in its place, without its type.
type boundKind[T any] struct {
	name   string
	typ    reflect.Type
	err    error
	decode func(Fields) (T, error)
	encode func(T) ([]string, error)
	check  func(T) error // of the validate tags
	given  any           // the codec, without marks
}

func newBoundKind[K, T any](codec Codec[K], event func(K) T, ms []mark) *boundKind[T] {
	switch {
	case codec == nil:
		return &boundKind[T]{err: errors.New("the codec is nil; give the codec of its type, such as Struct")}
	case event == nil:
		return &boundKind[T]{err: errors.New("the function is nil; give one that returns the event as it is")}
	}
	valid, given := validatorOf(codec), codec
	for _, m := range ms {
		codec = withMark(codec, m)
	}
	into, _ := codec.(IntoDecoder[K])
	// The event moves into an interface, so that it is allocated there. The place where it is
	// decoded is used again.
	pool := sync.Pool{New: func() any { return new(K) }}
	return &boundKind[T]{
		err:   errors.Join(checkOf(codec), keepsType(event)),
		given: given,
		decode: func(fields Fields) (value T, err error) {
			k, _ := pool.Get().(*K)
			if err = decodeWith(codec, into, fields, k); err == nil {
				value = event(*k)
			}
			var zero K
			*k = zero
			pool.Put(k)
			return value, err
		},
		encode: func(value T) ([]string, error) {
			k, _ := any(value).(K)
			return codec.Encode(k)
		},
		check: func(value T) error {
			k, _ := any(value).(K)
			return valid(&k)
		},
	}
}

// keepsType reports a function that returns another type than it gets: encoding would not find
// the kind of its events. A function that does not like a zero is not asked.
func keepsType[K, T any](event func(K) T) (err error) {
	defer func() {
		if recover() != nil {
			err = nil
		}
	}()
	var zero K
	value := any(event(zero))
	if _, ok := value.(K); !ok && value != nil {
		return fmt.Errorf("the function returns a %T for a %s, so that Encode would not find its kind; return the event as it is", value, reflect.TypeFor[K]())
	}
	return nil
}

// mostFirst is how many kinds are compared one by one, which takes less time than a look into a
// map.
const mostFirst = 6

type oneOfCodec[T any] struct {
	discriminator
	first   []*boundKind[T] // of the kinds, at most mostFirst
	byName  map[string]*boundKind[T]
	byType  map[reflect.Type]*boundKind[T]
	unknown string // the reason
	err     error

	// For a mark of a codec around this one, of which a new one is made.
	kinds []OneOfKind[T]
	marks []mark
}

func (c *oneOfCodec[T]) marked(m mark) Codec[T] {
	return newOneOf(c.field, c.kinds, append(c.marks[:len(c.marks):len(c.marks)], m)...)
}

func (c *oneOfCodec[T]) Check() error { return c.err }

func (c *oneOfCodec[T]) Decode(fields Fields) (value T, err error) {
	err = c.DecodeInto(fields, &value)
	return value, err
}

func (c *oneOfCodec[T]) DecodeInto(fields Fields, value *T) error {
	if c.err != nil {
		return c.err
	}
	name, found, err := c.read(fields)
	if err != nil {
		return err
	}
	if !found {
		return c.fail("is missing")
	}
	kind := c.named(name)
	if kind == nil {
		return c.failAs(ErrUnknownKind, c.unknown)
	}
	decoded, err := kind.decode(fields)
	if err != nil {
		return err
	}
	*value = decoded
	return nil
}

// named returns the kind with the name, or nil.
func (c *oneOfCodec[T]) named(name string) *boundKind[T] {
	for _, k := range c.first {
		if k.name == name {
			return k
		}
	}
	return c.byName[name]
}

// of returns the kind of the type, or nil.
func (c *oneOfCodec[T]) of(t reflect.Type) *boundKind[T] {
	for _, k := range c.first {
		if k.typ == t {
			return k
		}
	}
	return c.byType[t]
}

func (c *oneOfCodec[T]) Encode(value T) ([]string, error) {
	if c.err != nil {
		return nil, c.err
	}
	t := reflect.TypeOf(any(value))
	if kind := c.of(t); kind != nil {
		return kind.encode(value)
	}
	if t == nil {
		return nil, c.fail("cannot be written: the event is nil")
	}
	reason := fmt.Sprintf("cannot be written: the event is a %s, which is not listed", t)
	if t.Kind() == reflect.Pointer && c.byType[t.Elem()] != nil {
		reason = fmt.Sprintf("cannot be written: the event is a %s, and the kind is of %s; give the value, not a pointer to it", t, t.Elem())
	}
	return nil, c.fail(reason)
}

func (c *oneOfCodec[T]) checkValue(value *T) error {
	if kind := c.of(reflect.TypeOf(any(*value))); kind != nil {
		return kind.check(*value)
	}
	return c.fail("is of no type that is listed, or nil")
}
