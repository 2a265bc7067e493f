package resp

import (
	"hash/maphash"
	"math/bits"
	"strings"

	"millrace/codec"
)

// Place is where to read on: behind an entry's ID or, in group mode, with ">".
type Place struct {
	ID string
	// Seen says that the stream has had an entry with this ID, and sum tells
	// that entry from another one: a stream that is deleted and filled again within
	// a millisecond has the same IDs. 0 is not known, nor that of an entry over the
	// limit of size: it is told by its ID alone.
	Seen bool
	Sum  uint64
}

// PlaceAfter returns the place behind the last of entries, of which there is one at least.
func PlaceAfter(entries []Entry) Place {
	last := entries[len(entries)-1]
	return Place{ID: strings.Clone(last.ID), Seen: true, Sum: SumOf(last.Fields)}
}

// Is reports whether an entry is the one at the place.
func (p Place) Is(entry Entry) bool {
	return entry.ID == p.ID && (p.Sum == 0 || entry.Fields.Len() == 0 || p.Sum == SumOf(entry.Fields))
}

var sumSeed = maphash.MakeSeed()

// SumOf returns a hash of fields, in any order, with the last value of a name that repeats:
// an entry that go-redis has read has the same as one that a Parser has.
func SumOf(fields codec.Fields) (sum uint64) {
	for name, value := range fields.Map() {
		sum += maphash.String(sumSeed, name) ^ bits.RotateLeft64(maphash.String(sumSeed, value), 1)
	}
	return sum
}
