package telemetry

import (
	"cmp"
	"sync/atomic"

	"millrace/stream"
)

// Key names the consumers whose numbers are added up: those of one group, or of one label, that
// read one stream. The name of a consumer in its group is no part of it, because a name that is
// new with each start would be a new series with each start.
type Key struct {
	Stream, Group, Label string
}

// KeyOf returns the key of a consumer.
func KeyOf(id stream.Identity) Key {
	return Key{Stream: id.Stream, Group: id.Group, Label: id.Label}
}

// Compare orders keys by stream, group and label.
func (k Key) Compare(other Key) int {
	return cmp.Or(cmp.Compare(k.Stream, other.Stream), cmp.Compare(k.Group, other.Group), cmp.Compare(k.Label, other.Label))
}

// PerReader has a value for the consumer whose entries a middleware gets. A chain belongs to one
// consumer, so that the last value is nearly always the right one; the name of a consumer can
// change from Run to Run. It is safe for concurrent use, and must not be copied.
type PerReader[V any] struct {
	// New makes the value of a consumer. It may be called more than once for the same one.
	New  func(stream.Identity) V
	last atomic.Pointer[readerValue[V]]
}

type readerValue[V any] struct {
	id    stream.Identity
	value V
}

// Of returns the value for the entry's consumer, without an allocation unless the consumer is
// not the last one.
func (p *PerReader[V]) Of(entry *stream.Entry) V {
	id := entry.Reader()
	if id.Stream == "" { // an entry that no consumer has read
		id.Stream = entry.Stream
	}
	if last := p.last.Load(); last != nil && last.id == id {
		return last.value
	}
	value := &readerValue[V]{id: id, value: p.New(id)}
	p.last.Store(value)
	return value.value
}
