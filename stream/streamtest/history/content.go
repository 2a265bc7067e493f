package history

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"slices"

	"millrace/codec"
)

// SumOf returns a hash of fields for [Event.Sum]. The hash does not depend on the order of the
// fields, has the last value of a name that repeats, and is the same in every process.
func SumOf(fields codec.Fields) uint64 {
	hash := fnv.New64a()
	values := fields.Map()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values[name]
		_, _ = fmt.Fprintf(hash, "%d:%s%d:", len(name), name, len(value))
		_, _ = io.WriteString(hash, value) // a hash returns no error
	}
	return hash.Sum64()
}

// contents finds entries that were delivered with another key than they were published with, or
// with another key or other fields than before.
func (c *check) contents() {
	type content struct {
		key string
		sum uint64
		at  int // the position of the event
	}
	seen := make(map[*checked]content)
	for i, event := range c.events {
		if event.Kind != Published && event.Kind != Delivered {
			continue
		}
		entry, _ := c.entry(event.ID)
		before := seen[entry]
		// After a failover, another entry can have the same ID.
		by := between(c.faults, before.at, i, func(s *span) bool { return s.Loses })
		switch {
		case event.Key != "" && before.key != "" && event.Key != before.key:
			c.find(Altered, entry, by, "%s with the key %q, before with %q", event.Kind, event.Key, before.key)
			before = content{}
		case event.Sum != 0 && before.sum != 0 && event.Sum != before.sum:
			c.find(Altered, entry, by, "delivered to %q with other fields than before", event.By)
		}
		seen[entry] = content{cmp.Or(event.Key, before.key), cmp.Or(event.Sum, before.sum), i}
	}
}

// publishes finds publishes that came into the stream twice: a key that has more entries than
// publishes. A key without a recorded publish is not judged.
func (c *check) publishes() {
	published := make(map[string]int)
	for _, event := range c.events {
		if event.Kind == Publishing {
			published[event.Key]++
		}
	}
	found := make(map[string]int)
	for _, entry := range slices.SortedFunc(maps.Values(c.entries), byID) {
		n, recorded := published[entry.key]
		if !recorded || entry.published == c.never() && entry.delivered == c.never() {
			continue
		}
		if found[entry.key]++; found[entry.key] > n {
			c.find(Doubled, entry, nil, "entry %d of a key that was published %d times", found[entry.key], n)
		}
	}
}
