package stream

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"millrace/offset"
	"millrace/stream/internal/resp"
)

// stored is the offset of a consumer in log mode as it was last seen in the store. It has
// no lock: it is used at the start, by one settling at a time, and by the reading
// goroutine while nothing is left to be settled.
type stored struct {
	id    string   // stored last, as far as this consumer knows; empty if nothing was
	tried []string // since then, by saves whose outcome is not known
	saved bool     // this run has saved an offset
}

// rivalLasts is how long Health tells of another writer of the offset: on a stream with
// few entries, there are few saves that could find it again.
const rivalLasts = 5 * time.Minute

// is notes that an offset is stored.
func (s *stored) is(id string) { s.id, s.tried = id, nil }

// isOurs reports whether an offset that was found is one that this consumer knows of.
func (s *stored) isOurs(found string) bool {
	return found == s.id || slices.Contains(s.tried, found)
}

// save saves an offset, and looks at the one that was stored before, if the store tells it.
func (s *logSource) save(ctx context.Context, id string) error {
	var found atomic.Pointer[string] // the store may have a goroutine that comes too late
	if err := s.inTime(ctx, func() error {
		return s.store.Save(offset.WithFound(ctx, func(before string) { found.Store(&before) }), s.label, id)
	}); err != nil {
		s.stored.tried = append(s.stored.tried, id)
		return err
	}
	if before := found.Load(); before != nil && *before != "" {
		s.lookAt(*before)
		if resp.CompareIDs(*before, id) > 0 {
			id = *before // where it stays
		}
	}
	s.stored.is(id)
	s.stored.saved = true
	return nil
}

// lookAt tells of another writer that has moved the offset.
func (s *logSource) lookAt(before string) {
	switch known := s.stored; {
	case known.isOurs(before):
	case resp.CompareIDs(before, known.id) < 0:
		// No save goes back: a failover has, or a reset.
		s.log().Warn("the stored offset had gone back, by a failover or a reset, and was moved on again; to start again from there, stop the consumer first", "from", known.id, "to", before)
	case !known.saved:
		// The last save of the consumer before may have come after our Load.
	default:
		s.noteRival(s.log(), fmt.Sprintf("the offset %q was moved on by another writer: another consumer has this label, and both handle every entry, or the offset was reset; give each consumer a label of its own (WithLabel), and stop a consumer before its offset is reset", s.label), rivalLasts)
	}
}
