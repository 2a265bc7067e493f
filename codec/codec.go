package codec

// Codec turns the fields of an entry into a T and back. Implementations are safe
// for concurrent use. A codec of one's own checks validate tags with [Validate],
// and is a [Checker] with the help of [CheckTags]; where only the format is one's own, [Field] is
// enough.
type Codec[T any] interface {
	// Decode returns the value that the fields hold. The value is the zero T when
	// the error is not nil. Decode may return stream.Skip, for entries that are meant
	// for other consumers: such an entry is passed as skipped, and is not counted as
	// malformed.
	Decode(fields Fields) (T, error)
	// Encode returns field, value, field, value and so on, at least one pair.
	// The order of the fields is the same for all values of T, because Redis
	// saves the names of an entry whose names repeat those before it.
	Encode(value T) ([]string, error)
}

// IntoDecoder is implemented by a [Codec] that can decode into a value that is there
// already, and spares its caller an allocation with that. [Struct], [JSON] and [Packed] do, and so
// do [OneOf] and [Versions].
type IntoDecoder[T any] interface {
	// DecodeInto is Decode into value, which is the zero T. After an error it is
	// whatever it is.
	DecodeInto(fields Fields, value *T) error
}

// Checker is implemented by a [Codec] that can tell whether it serves its type.
// The codecs of this package do, but for [Raw], which serves always.
type Checker interface {
	// Check returns an error that lists all reasons why the codec cannot serve
	// its type, each with the change that mends it, or nil. Consumers and producers call
	// it once, when they are constructed.
	Check() error
}
