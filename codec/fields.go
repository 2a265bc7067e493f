package codec

import "iter"

// Fields are an entry's name-value pairs, in their order. [FieldsOf] makes them.
//
// The zero value has no pairs. Redis has no such entry: these are the fields of one that is
// larger than stream.WithMaxEntryBytes allows, which were not kept.
//
// Fields do not change. They may be copied and kept, and are safe for concurrent use.
type Fields struct {
	pairs []string // name, value, name, value, and so on
}

// FieldsOf returns the fields with the given names and values, such as those that a test
// decodes:
//
//	codec.FieldsOf("user_id", "u-1", "age", "36")
//
// If the count is odd, the last name has the value "". A slice that is given as pairs... is
// kept, and must not be changed afterwards.
func FieldsOf(pairs ...string) Fields {
	switch n := len(pairs); {
	case n == 0:
		return Fields{}
	case n%2 != 0:
		pairs = append(pairs[:n:n], "") // the caller's slice may have more behind it
	}
	return Fields{pairs}
}

// Get returns the value of the field with the given name, and whether there is such a
// field. Where an entry repeats the name, it is the last value.
func (f Fields) Get(name string) (value string, found bool) {
	for i := len(f.pairs) - 2; i >= 0; i -= 2 {
		if f.pairs[i] == name {
			return f.pairs[i+1], true
		}
	}
	return "", false
}

// All returns the names and values in the order of the entry, repeated names included.
func (f Fields) All() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for i := 0; i < len(f.pairs); i += 2 {
			if !yield(f.pairs[i], f.pairs[i+1]) {
				return
			}
		}
	}
}

// Len returns the number of pairs.
func (f Fields) Len() int { return len(f.pairs) / 2 }

// Map returns a new map of the values by their names. Where an entry repeats a name, it
// has the last value.
func (f Fields) Map() map[string]string {
	values := make(map[string]string, f.Len())
	for i := 0; i < len(f.pairs); i += 2 {
		values[f.pairs[i]] = f.pairs[i+1]
	}
	return values
}
