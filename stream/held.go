package stream

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// held is an entry that is pending on this consumer, from the moment it was
// given to it until it is acked or somebody else's. Its fields are its worker's
// own while it is at work, and the holdings' otherwise.
type held struct {
	id string
	// entry is nil until the entry is begun, unless it came with a read.
	entry *Entry
	// free is set where Redis has counted a delivery that never was: beginning
	// the entry does not count as another attempt.
	free bool
	// due is when it is to be delivered again, deliveries how often it has been.
	due        time.Time
	deliveries int64

	// The rest is the holdings', at all times.

	state state
	// touched is when Redis last set the entry's idle time to zero, or a little
	// before that.
	touched time.Time
	// suspect is set once the group was gone, or the entry: that it is not pending
	// on us does then not mean that somebody else has it.
	suspect bool
	// lose ends the context of the handler that is at work.
	lose context.CancelCauseFunc
	lost bool
}

// state is where an entry stands.
type state int

const (
	unread  state = iota // read or taken over, and not begun
	working              // a worker has it
	broken               // broken off by a stop
	waiting              // it failed, and is to be delivered again when due
	parked               // over the limit of deliveries, and nobody takes it
	done                 // its processing has ended, it is to be acked
)

// holdings are all entries that a consumer in group mode holds. Workers take
// from them, what was read or is due; everybody may ask what there is.
type holdings struct {
	mu      sync.Mutex
	changed sync.Cond
	byID    map[string]*held
	again   []*held // to be delivered again, now
	fresh   []*held // read, in the order of the stream
	waiting dueHeap
	done    []*held
	parked  int
	stopped bool
	alarm   *time.Timer // goes off when the first of waiting is due
	// taking is set while there may be something in again, and hungry has
	// something in it once there is not.
	taking bool
	hungry chan struct{}
}

func newHoldings() *holdings {
	h := &holdings{byID: make(map[string]*held), hungry: make(chan struct{}, 1)}
	h.changed.L = &h.mu
	return h
}

// addRead takes in entries that were read at the given time.
func (h *holdings) addRead(entries []Entry, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	slab := make([]held, len(entries))
	for i := range entries {
		one := &slab[i]
		*one = held{id: entries[i].ID, entry: &entries[i], touched: at}
		// An ID that is held already was given out twice: the group was set back.
		if _, double := h.byID[one.id]; double {
			continue
		}
		h.byID[one.id] = one
		h.fresh = append(h.fresh, one)
	}
	h.changed.Broadcast()
}

// addTaken takes in IDs that became ours at the given time, leaves out those that
// were already, and returns how many are new.
func (h *holdings) addTaken(ids []string, free bool, at time.Time) (added int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		if _, double := h.byID[id]; double {
			continue
		}
		one := &held{id: id, free: free, touched: at}
		h.byID[id] = one
		h.againLocked(one)
		added++
	}
	h.changed.Broadcast()
	return added
}

// next returns an entry to work on: one that is due again before one that is
// new. Without one it returns nil at once, or waits if it is told to; nil is then
// the end. lose is how the worker is told that the entry is somebody else's.
func (h *holdings) next(wait bool, lose context.CancelCauseFunc) *held {
	h.mu.Lock()
	defer h.mu.Unlock()
	for !h.stopped {
		h.wakeLocked()
		one := take(&h.again)
		if len(h.again) == 0 {
			h.begunLocked()
		}
		if one == nil {
			one = take(&h.fresh)
		}
		if one != nil {
			one.state, one.lose = working, lose
			return one
		}
		if !wait {
			return nil
		}
		h.changed.Wait()
	}
	return nil
}

// take returns the first of a queue that was not lost while it waited there.
func take(queue *[]*held) *held {
	for len(*queue) > 0 {
		one := (*queue)[0]
		*queue = (*queue)[1:]
		if !one.lost {
			return one
		}
	}
	return nil
}

func (h *holdings) againLocked(one *held) {
	h.again = append(h.again, one)
	h.taking = true
}

// begunLocked tells those who wait until everything that was taken over has been
// begun, or was lost: the reader, and who takes over.
func (h *holdings) begunLocked() {
	if h.taking {
		h.taking = false
		h.changed.Broadcast()
		select {
		case h.hungry <- struct{}{}:
		default:
		}
	}
}

// wakeLocked moves what is due to the queue, and sets the alarm for the rest.
func (h *holdings) wakeLocked() {
	if len(h.waiting) == 0 || h.stopped { // the former is the usual case, once for every entry
		return
	}
	now := time.Now()
	for len(h.waiting) > 0 && !h.waiting[0].due.After(now) {
		one := heap.Pop(&h.waiting).(*held)
		one.state = unread
		h.againLocked(one)
	}
	if h.alarm != nil {
		h.alarm.Stop()
		h.alarm = nil
	}
	if len(h.waiting) > 0 {
		h.alarm = time.AfterFunc(h.waiting[0].due.Sub(now), h.changed.Broadcast)
	}
}

// end takes an entry back from its worker. One that was lost in the meantime is
// forgotten, whatever became of it.
func (h *holdings) end(one *held, to state) {
	h.mu.Lock()
	defer h.mu.Unlock()
	one.lose = nil
	if one.lost {
		delete(h.byID, one.id)
		return
	}
	one.state = to
	switch to {
	case waiting:
		one.entry = nil // it is fetched anew; until then nobody needs the payload
		heap.Push(&h.waiting, one)
		h.wakeLocked()
	case parked:
		one.entry = nil
		h.parked++
		h.changed.Broadcast()
	case done:
		h.done = append(h.done, one)
	}
}

// forget drops an entry that is not pending on us any more.
func (h *holdings) forget(list ...*held) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, one := range list {
		delete(h.byID, one.id)
	}
	h.changed.Broadcast()
}

// takeDone returns what is to be acked if that is at least n.
func (h *holdings) takeDone(n int) []*held {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.done) < n {
		return nil
	}
	list := h.done
	h.done = nil
	return list
}

// split tells the entries that Redis was told of since the given time, which
// nobody can have claimed, from those that somebody may.
func (h *holdings) split(list []*held, since time.Time) (safe, late []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	safe = make([]string, 0, len(list))
	for _, one := range list {
		if one.touched.Before(since) {
			late = append(late, one.id)
		} else {
			safe = append(safe, one.id)
		}
	}
	return safe, late
}

// returnDone takes back what could not be acked.
func (h *holdings) returnDone(list []*held) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done = append(list, h.done...)
}

// untouched returns the entries that Redis was told of before the given time,
// and that are still to be processed.
func (h *holdings) untouched(since time.Time) (ids []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, one := range h.byID {
		if one.state != done && !one.lost && one.touched.Before(since) {
			ids = append(ids, id)
		}
	}
	return ids
}

// touch notes that Redis was told of entries at the given time.
func (h *holdings) touch(ids []string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		if one := h.byID[id]; one != nil {
			one.touched = at
		}
	}
}

// lose gives up entries that are somebody else's now, and ends the context of
// those at work. It returns the IDs that were given up.
func (h *holdings) lose(ids []string, cause error) (given []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		one := h.byID[id]
		if one == nil || one.suspect || one.state == done {
			continue
		}
		one.lost = true
		given = append(given, id)
		switch one.state {
		case working:
			one.lose(cause) // the worker forgets it
			continue
		case waiting:
			for i := range h.waiting {
				if h.waiting[i] == one {
					heap.Remove(&h.waiting, i)
					break
				}
			}
		case parked:
			h.parked--
		}
		delete(h.byID, id)
	}
	h.changed.Broadcast()
	return given
}

// suspect marks everything that is held: the group was gone.
func (h *holdings) suspect() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, one := range h.byID {
		one.suspect = true
	}
}

// suspectGone marks entries that the stream no longer has, which are not pending
// any more either.
func (h *holdings) suspectGone(ids []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		if one := h.byID[id]; one != nil {
			one.suspect = true
		}
	}
}

func (h *holdings) isSuspect(one *held) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return one.suspect
}

// roomToTake returns how many entries may be taken over, a hundred at the most, so
// that no more than limit wait to be begun. What was read does not count: a
// consumer that always has something to read must take over too.
func (h *holdings) roomToTake(limit int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(0, min(limit-len(h.again), 100))
}

// roomLocked returns how many more entries may be read. What is parked does not
// count, or nothing would ever be read again.
func (h *holdings) roomLocked(limit int) int { return limit - (len(h.byID) - h.parked) }

// awaitRoom waits until n more entries may be held and everything that is to be
// delivered again now has been begun; it reports false if ctx is done before.
func (h *holdings) awaitRoom(ctx context.Context, n, limit int) bool {
	defer context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.changed.Broadcast()
	})()
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.roomLocked(limit) < n || len(h.again) > 0 {
		if ctx.Err() != nil {
			return false
		}
		h.changed.Wait()
	}
	return ctx.Err() == nil
}

// stop ends every next.
func (h *holdings) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = true
	if h.alarm != nil {
		h.alarm.Stop()
	}
	h.changed.Broadcast()
}

// charged returns the IDs of the entries that have used up the attempt which
// Redis counts for them: those that failed. All others that are pending when the
// consumer stops have not.
func (h *holdings) charged() (ids []any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, one := range h.byID {
		notBegun := one.state == unread && one.entry == nil && !one.free // counted by an earlier consumer
		if one.state == waiting || one.state == parked || notBegun {
			ids = append(ids, id)
		}
	}
	return ids
}

// dueHeap orders entries by when they are due.
type dueHeap []*held

func (d dueHeap) Len() int           { return len(d) }
func (d dueHeap) Less(i, j int) bool { return d[i].due.Before(d[j].due) }
func (d dueHeap) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *dueHeap) Push(one any)      { *d = append(*d, one.(*held)) }
func (d *dueHeap) Pop() any {
	last := len(*d) - 1
	one := (*d)[last]
	*d = (*d)[:last]
	return one
}
