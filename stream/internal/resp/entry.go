package resp

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
)

// Entry is an entry as a read has brought it.
type Entry struct {
	// ID is the entry's ID, "<milliseconds>-<sequence>".
	ID string
	// Fields are none where the entry is too large, or was deleted.
	Fields codec.Fields
	// Size is that of the names and values together, repeated ones included, also if the
	// fields are not here. Redis takes no entry of a gigabyte or more.
	Size uint32
}

// fieldBytes is the memory of a field besides its name and value: two strings without their
// texts.
const fieldBytes = 32

// Bytes returns the memory that the fields of the entry take, about.
func (e *Entry) Bytes() int64 {
	if e.Fields.Len() == 0 {
		return 0
	}
	return int64(e.Size) + fieldBytes*int64(e.Fields.Len())
}

// Drop lets the fields of the entry go.
func (e *Entry) Drop() { e.Fields = codec.Fields{} }

// Take gives the entry the fields that go-redis has read, unless they are larger than most.
// go-redis has lost their order, so that they are sorted by name, and of a name that repeats
// all values but the last, which cannot be counted.
func (e *Entry) Take(values map[string]any, most int64) {
	size := 0
	pairs := make([]string, 0, 2*len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value, _ := values[name].(string)
		pairs = append(pairs, name, value)
		size += len(name) + len(value)
	}
	e.Size = uint32(min(int64(size), math.MaxUint32))
	if int64(size) <= most {
		e.Fields = codec.FieldsOf(pairs...)
	}
}

// Batch has the entries of one stream that one read has brought.
type Batch struct {
	Stream  string
	Entries []Entry // in the order of the stream
	// Left are the entries behind those for which there was no room.
	Left []Leftover
	// Bytes is the memory that all of them would take, those that are left included.
	Bytes int64
	// More says that the stream may have more to be read at once.
	More bool
	// Waited says that the read would have waited for entries if there had been none.
	Waited bool
}

// Leftover is an entry that was read without its fields.
type Leftover struct{ ID, Key string }

// BatchesOf makes batches of the reply to a read that go-redis has parsed.
func BatchesOf(reply []redis.XStream, want Budgets) []Batch {
	batches := make([]Batch, len(reply))
	for i, stream := range reply {
		batches[i] = Batch{Stream: stream.Stream, Entries: make([]Entry, 0, len(stream.Messages))}
		in := want(stream.Stream)
		in.Room = Unlimited // it is all here already
		for _, message := range stream.Messages {
			one := Entry{ID: message.ID}
			one.Take(message.Values, in.MaxEntry)
			batches[i].add(one, one.Bytes(), &in, Unlimited)
		}
	}
	return batches
}

// Len returns how many entries there are, with and without their fields.
func (b *Batch) Len() int { return len(b.Entries) + len(b.Left) }

// FirstID returns the ID of the first entry, of which there is one.
func (b *Batch) FirstID() string {
	if len(b.Entries) > 0 {
		return b.Entries[0].ID
	}
	return b.Left[0].ID
}

// LastID returns the ID of the last entry, of which there is one.
func (b *Batch) LastID() string {
	if n := len(b.Left); n > 0 {
		return b.Left[n-1].ID
	}
	return b.Entries[len(b.Entries)-1].ID
}

// add takes in the next entry, of the given size in memory, and returns what room
// there is for others.
func (b *Batch) add(one Entry, bytes int64, in *Budget, room int64) int64 {
	b.Bytes += bytes
	if int64(one.Size) > in.MaxEntry {
		bytes = 0
	}
	if len(b.Entries) < in.Least || bytes <= room {
		b.Entries = append(b.Entries, one)
		return room - bytes
	}
	left := Leftover{ID: strings.Clone(one.ID)}
	if in.Key != nil {
		shown := one // or each entry would be allocated, for the few that come here
		left.Key = strings.Clone(in.Key(&shown))
	}
	b.Left = append(b.Left, left)
	return -1 // nor for any other
}
