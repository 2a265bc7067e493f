// Package codec turns the name-value pairs of a stream entry, its [Fields], into a Go
// value and back.
//
// [Struct] is the codec of most topics: each field of a struct is one field of
// the entry, named by a mapstructure tag and checked by a validate tag.
//
//	type Signup struct {
//		UserID string    `mapstructure:"user_id" validate:"required"`
//		Age    int8      `mapstructure:"age" validate:"gte=0"`
//		At     time.Time `mapstructure:"at"`
//	}
//
//	signups := codec.Struct[Signup]()
//
// [JSON] is for producers that put a whole JSON document into one field, [Field] for those that
// put any other format there, and [Raw] for fields that are the event themselves. [Text] is a value
// whose JSON stands in a string. [Packed] is Struct with all fields of the entry in one, for streams
// with much traffic.
//
// # Several types, and types that change
//
// [OneOf] is the codec of a topic with events of several types, which a field of the entry tells
// apart. [Versions] is that of a type that has changed: it reads old entries by their own
// types, and writes the current one. Both hand over to other codecs, and cost a look at that field.
//
// # Costs of each form
//
// An entry of 8 short fields in the form of Struct can be read and changed by any tool. To
// send it costs the Redis server two to three times as much as an entry of one field with the same
// values, and the client more than that. Redis saves the names of the fields once for many
// entries. Packed has one field whose name has all the names, so that the server's memory is
// about the same as with Struct, and any program can take the values apart. It needs ten lines of
// code where there is no library. JSON has one field, too, and nested values, but the names
// stand in each value: they cost memory of the server in each entry, and time in each client.
//
// # Conversion
//
// Conversion is strict: a text that is not plainly a value of the field's type is
// refused, never guessed.
//
//   - Names match exactly; "ID" and "id" are two fields.
//   - Strings and byte slices take the bytes as they are.
//   - Integers are decimal and fit the field's size: "010" is ten; "0x10",
//     "1_000", "1e3" and " 1" are refused.
//   - Floats are decimal and finite. Bools are those of [strconv.ParseBool].
//   - [time.Duration] is the text of [time.ParseDuration], [time.Time] is
//     RFC 3339, or Unix milliseconds with the tag option unixmilli or the type
//     [UnixMilli], or Unix seconds with the tag option unix or the type [Unix].
//   - A type with UnmarshalText and MarshalText is its own text. Check refuses a type
//     that has these methods from a type that it embeds, if that leaves out exported
//     fields, and a type that does not read back its own zero value.
//   - A [encoding/json.Number] is a number as JSON has it, and left out when empty.
//   - Structs, slices, arrays and maps are JSON inside their field; JSON null is
//     refused there, as it would leave a silent zero.
//   - JSON, in such a field and in [JSON], is refused where encoding/json would
//     lose something without a word: bytes that are not UTF-8 and half a
//     surrogate pair (both would be U+FFFD), one name twice in an object, also as
//     "ID" and "id" where a struct has one field for both, two texts of one key of
//     a map, an array that is not as long as its Go type, null as an element of a
//     list or a map whose Go type has no null, and more than 100 levels of arrays
//     and objects. Values that would encode to such JSON are refused too, and so
//     are a time whose zone has seconds and an empty json.Number. A null member of
//     a struct counts as absent.
//   - Inside JSON, a number in an any is a float64, or a [encoding/json.Number] if
//     a float64 would round it as a whole number (9007199254740993; fractions are
//     rounded as floats are) or is too small for it. [UseNumber] makes every one a
//     json.Number.
//   - A pointer is nil when the entry lacks its field, and left out when nil.
//   - A field of type any gets the text.
//
// Text that is there but blank is an error for numbers, bools, times, durations
// and JSON, also behind a pointer.
//
// # Tag options
//
// The fields of an entry are named by mapstructure tags, the parts of JSON by json
// tags; a struct with names in the other tag only is refused.
//
// Behind the name in a mapstructure tag: squash takes in the fields of a nested
// struct, remain (on one map[string]string or map[string]any) takes the fields of the
// entry that no field declares, but for headers, omitempty leaves an empty value or a
// zero time out when encoding, unix and unixmilli are described above, trim removes
// white space around a text before it is converted. The name "-" keeps a field out of
// the entry.
//
// # Headers
//
// An entry can have fields that are not the event's, such as those of a trace: headers.
// [IsHeader] has the names that are reserved for them. Such a field belongs to the event
// only if its type declares it.
//
// # Speed
//
// JSON is read in one pass, two to five times as fast as by encoding/json, and written as
// fast as by it, with all of the refusals above. Slower, at half the speed of encoding/json,
// are texts that are refused and types with a map whose keys have UnmarshalText or with the
// tag option string; types that decode themselves take their own time. The strings
// of a value share the memory of its text if that has up to 4 KiB, so that one that is kept
// keeps the text; those of a larger text are copied.
//
// The results of reflection are kept for each type, so that another [Struct] of it
// costs nothing. A struct without squash, remain and any is decoded more than ten times
// as fast as by mapstructure, which decodes the others. Validation is almost free
// where all validate tags of the struct are among required, omitempty, omitnil,
// omitzero, notblank, len, min, max, eq, ne, gt, gte, lt, lte, oneof, noneof,
// contains, excludes, startswith and endswith (of times and structs, those without
// a parameter), and no nested struct has tags. The verdicts and errors are those
// of validator in every case.
//
// # Errors
//
// A value that cannot be decoded or encoded is reported as [FieldErrors], all of
// an entry's problems at once. Field values are personal data: no error of this
// package contains one, so errors can be logged. A type that a codec cannot
// serve is reported by [Checker], before the first entry is read. So are validate
// tags that make validator panic, that name no field, that lack their parameter,
// that are the same for every value of their type, and that are never looked at
// because a dive is missing.
package codec
