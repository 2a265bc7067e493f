package stream

import "millrace/codec"

// Topic names a Redis stream and says what its entries mean: the Go type of
// its events and the codec between the two. It is a plain value, made once per
// topic, usually as a package variable:
//
//	var Events = stream.Topic[Event]{Name: "user:lifecycle_events"}
//
// A Topic is safe for concurrent use as long as its fields are not changed.
type Topic[T any] struct {
	// Name is the key of the Redis stream. A blank name is refused when a
	// consumer is constructed.
	Name string
	// Codec converts between an entry's fields and T.
	// Nil means codec.Struct[T]().
	Codec codec.Codec[T]
}
