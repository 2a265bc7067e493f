package window

import (
	"context"
	"time"

	"millrace/stream/internal/batch"
	"millrace/stream/internal/effect"
	"millrace/stream/internal/resp"
)

// Item is an entry in the window, from the moment it was read or claimed until it is
// settled, or another consumer has claimed it. The first fields are its worker's own while
// the entry is at work; the window's lock guards them otherwise, and all others always.
type Item struct {
	ID string
	// Entry is nil in group mode until the entry is begun, unless it came with a
	// read.
	Entry *resp.Entry
	// Due is when it is to be delivered again, deliveries how often it has been.
	Due        time.Time
	Deliveries int64
	// Effects are those of the delivery that has ended well, which are to happen with the
	// settling; nil is none.
	Effects *effect.List

	// The window's lock guards the rest at all times.

	slab  *slab // the memory that it is a part of
	state State
	bytes int64 // of its fields in memory
	// Outcome is that of the delivery that is ending, repeated whether it was not
	// the first: its worker sets them before it gives the entry back.
	Outcome  Outcome
	Repeated bool
	// failed is set once the entry was held, and cause says why it is.
	failed   bool
	failedAt time.Time
	cause    *Cause
	// begun is the number of its last delivery, of all of them; firstStreak and
	// lastStreak are the streaks in which it has failed, 0 is none.
	begun, firstStreak, lastStreak int64
	// Exited is set once a part of the chain has ended its goroutine.
	Exited bool
	// behind is the next entry with the same order key. With keyed set the entry
	// is in the line of its key, which ends with that of window.last.
	behind *Item
	key    string
	keyed  bool
	// Member is the entry for the assembler, nil while there is none.
	Member *batch.Member

	// The fields below are for group mode.

	owner owner
	// renewed is when the lease of the entry was renewed last, or a little before: Redis has
	// set its idle time to zero.
	renewed time.Time
	// Uncounted is set where Redis has counted a delivery that never was: beginning
	// the entry does not count as another attempt.
	Uncounted bool
	// moving is set while it is moved to its dead-letter stream, or put off, and acked with that,
	// or may have been.
	moving bool
	// cancel ends the context of the handler that is at work on it.
	cancel context.CancelCauseFunc
}

// owner is on whom an entry is pending, in group mode, as far as that is known.
type owner uint8

const (
	// ours: it is pending on this consumer.
	ours owner = iota
	// unowned: it is pending on no consumer, because this one was removed from the group.
	unowned
	// doubtful: the group was gone. That the entry is not pending on this consumer does then
	// not mean that another has it.
	doubtful
	// gone: the stream was found not to have it, so that it is not pending any more, and the
	// same holds.
	gone
	// taken: another consumer has claimed it. That is final.
	taken
)

// doubt has an entry be doubtful, or gone.
func (it *Item) doubt(as owner) {
	if it.owner < as {
		it.owner = as
	}
}

func (it *Item) isDoubtful() bool { return it.owner == doubtful || it.owner == gone }

// claimable reports whether another consumer may have claimed the entry: its lease was not
// renewed since the limit.
func (it *Item) claimable(limit time.Time) bool { return !it.isDoubtful() && it.renewed.Before(limit) }

// isAnother reports whether an entry is certainly not this one, though it has its ID.
func (it *Item) isAnother(entry *resp.Entry) bool {
	if it.Entry == nil {
		return false
	}
	return it.Entry.Size != entry.Size ||
		it.Entry.Fields.Len() > 0 && entry.Fields.Len() > 0 && resp.SumOf(it.Entry.Fields) != resp.SumOf(entry.Fields)
}

// slab is the memory for the entries of one read. It is used again when all of them have
// left the window.
type slab struct {
	list    []Item
	left    int
	entries []resp.Entry
}

// slabs are those to be used again. The window's lock guards it.
type slabs []*slab

// maxSlabs is how many are kept, as many as the default window has batches.
const maxSlabs = 4

// take returns memory for so many entries.
func (all *slabs) take(entries int) *slab {
	for len(*all) > 0 {
		last := len(*all) - 1
		s := (*all)[last]
		*all = (*all)[:last]
		if cap(s.list) >= entries {
			s.list, s.left = s.list[:entries], entries
			return s
		}
	}
	return &slab{list: make([]Item, entries), left: entries}
}

// drop forgets an entry that nothing points to any more.
func (all *slabs) drop(it *Item) {
	s := it.slab
	if s == nil {
		return
	}
	*it = Item{}
	if s.left--; s.left > 0 {
		return
	}
	resp.GiveEntries(s.entries)
	s.entries = nil
	if len(*all) < maxSlabs {
		*all = append(*all, s)
	}
}

// State is where an entry stands.
type State int

// The states of an entry.
const (
	Unread      State = iota // read or claimed, and not begun
	Working                  // a worker has it
	Interrupted              // broken off by a stop
	Waiting                  // it failed, and is to be delivered again when due
	Writing                  // its dead letter is to be written
	Parked                   // over the limit of deliveries, and no middleware takes it
	Done                     // its processing has ended, it is to be settled
)

// dueHeap orders entries by when they are due.
type dueHeap []*Item

func (d dueHeap) Len() int           { return len(d) }
func (d dueHeap) Less(i, j int) bool { return d[i].Due.Before(d[j].Due) }
func (d dueHeap) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *dueHeap) Push(one any)      { *d = append(*d, one.(*Item)) }
func (d *dueHeap) Pop() any {
	last := len(*d) - 1
	it := (*d)[last]
	*d = (*d)[:last]
	return it
}

// queue gives out the items in the order in which they were put in. It uses its memory again when it has run
// empty, which most do all the time.
type queue struct {
	list []*Item
	head int
}

func (q *queue) len() int { return len(q.list) - q.head }

func (q *queue) push(it *Item) {
	if q.head > len(q.list)/2 && len(q.list) == cap(q.list) {
		n := copy(q.list, q.list[q.head:])
		clear(q.list[n:])
		q.list, q.head = q.list[:n], 0
	}
	q.list = append(q.list, it)
}

func (q *queue) pop() *Item {
	it := q.list[q.head]
	q.list[q.head] = nil
	if q.head++; q.head == len(q.list) {
		q.list, q.head = q.list[:0], 0
	}
	return it
}
