package stream

import (
	"container/heap"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// window is what a consumer holds: the entries that were read or taken over, and
// are not settled. The reader puts them in as long as there is room, workers take
// out what may be begun, and the settler what has ended. It is bounded, so that
// memory is, and so that what is delivered again after a crash is.
type window struct {
	mu    sync.Mutex
	ready sync.Cond // workers wait for an entry that may be begun
	room  sync.Cond // the reader waits for room
	limits

	again   queue // to be delivered again or taken over, and due
	freed   queue // the one before it with the same key has ended
	fresh   queue // read, in the order of the stream
	waiting dueHeap
	// assembler makes batches of the messages at work; nil without batches.
	assembler *assembler
	alarm     *time.Timer      // goes off when the first of waiting is due
	last      map[string]*held // by order key, the last entry that is in line

	// employ starts a worker.
	employ  func()
	workers int // that are employed
	working int // of these, at work
	idle    int // of these, waiting
	// leisure looks whether those who wait are needed: nil is nobody waits. readBy is
	// how much had been read when it was set.
	leisure *time.Timer
	readBy  int64
	// dismissed is set when whoever finds nothing to do is to leave.
	dismissed bool
	stopped   bool
	starved   bool // the reader waits for room
	writing   int  // entries whose dead letters are to be written
	// draining is set while the reader waits for everything to be settled.
	draining bool

	loaded int64 // bytes of the entries whose fields are here

	tally
	starvedSince, movedAt time.Time // the latter is when something was settled

	// What may be settled. In log mode that is the contiguous part of line, all
	// that is held in the order of the stream, whose processing has ended: the
	// first ended of them. In group mode it is done.
	line  []*held
	ended int
	done  []*held
	// letterLost is called when an entry was lost whose dead letter is to be written.
	letterLost func()
	// settle asks the settler; alarmed is when timer will do it.
	settle      func()
	timer       *time.Timer
	alarmed     time.Time
	lastSettled time.Time
	inFlight    int // how much of it is being settled just now
	// stalled is set while settling fails: nothing more is begun.
	stalled bool

	streak streak
	// causes are why entries are held, overcome those of which the log is to be told
	// that they are over; relief is set while there are some.
	causes   map[string]*cause
	overcome []cause
	relief   atomic.Bool

	slabs []*slab // to be used again

	// In group mode only. byID has all that is held, and goneSince what has left it
	// while somebody watches.
	byID      map[string]*held
	goneSince map[string]struct{}
	// mistaken are IDs of entries that were read while another entry of that ID was held.
	mistaken []string
	watchers int
	parked   int
	// taking is set while there may be something in again. hungry is called once there
	// is not, and room for more, as appetite says; it may be nil.
	taking   bool
	hungry   func()
	appetite int
	// own is from where on entries are pending on this consumer that are not here.
	own string
}

// limits are what a window's size and order are ruled by.
type limits struct {
	size     int           // entries in the window
	bytes    int           // what the fields of entries in the window may take in memory
	batch    int           // entries that one read may bring
	every    int           // entries that are settled together
	interval time.Duration // how long what has ended waits to be settled
	most     int           // workers
	// serial keeps everything behind an entry that is delivered again, or whose dead
	// letter is not written.
	serial bool
	// probing has an entry that holds up others tried before its time. None is tried
	// sooner than pause after it has failed.
	probing bool
	pause   time.Duration
	// key tells which entries are processed in order; nil is none.
	key func(*Entry) string
}

// lull is how long nothing was settled when a consumer that has nothing to do
// settles. Without it, a stream that brings many entries, but one by one, would
// have each of them settled by itself.
const lull = time.Millisecond

func newWindow(l limits, group bool) *window {
	w := &window{limits: l, settle: func() {}, employ: func() {}, letterLost: func() {}} // for a run to set
	w.ready.L, w.room.L = &w.mu, &w.mu
	w.last = make(map[string]*held)
	w.causes = make(map[string]*cause)
	if group {
		w.byID = make(map[string]*held)
	}
	return w
}

// addRead takes in entries that were read at the given time, and reports whether
// there is room for another batch.
func (w *window) addRead(b batch, at time.Time) (more bool) {
	entries := b.entries
	slab := w.takeSlab(len(entries))
	slab.entries = entries
	bytes := int64(0)
	for i := range entries {
		one := &slab.list[i]
		one.id, one.entry, one.touched, one.slab = entries[i].ID, &entries[i], at, slab
		one.bytes = entries[i].bytes()
		bytes += one.bytes
	}
	if w.key != nil {
		setKeys(w.key, slab.list)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loaded += bytes
	for i := range slab.list {
		one := &slab.list[i]
		if w.byID == nil {
			w.line = append(w.line, one)
		} else {
			// An ID that is held already was given out twice: the group was set back, or the
			// stream was made again and has another entry with this ID.
			if double := w.byID[one.id]; double != nil {
				if double.isAnother(one.entry) {
					w.mistaken = append(w.mistaken, one.id)
				}
				w.unloadLocked(one)
				w.dropLocked(one)
				continue
			}
			w.byID[one.id] = one
		}
		if w.queueUpLocked(one) {
			w.fresh.push(one)
		}
	}
	for _, left := range b.left {
		w.addLeftLocked(left, at)
	}
	if n := b.len(); n > 0 {
		w.read += int64(n)
		w.position, w.full = b.lastID(), b.more
	}
	w.wakeLocked(b.len())
	return w.hasRoomLocked()
}

// takeSlab returns memory for so many entries.
func (w *window) takeSlab(entries int) *slab {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.slabs) > 0 {
		last := len(w.slabs) - 1
		s := w.slabs[last]
		w.slabs = w.slabs[:last]
		if cap(s.list) >= entries {
			s.list, s.left = s.list[:entries], entries
			return s
		}
	}
	return &slab{list: make([]held, entries), left: entries}
}

// dropLocked forgets an entry that nothing points to any more.
func (w *window) dropLocked(one *held) {
	s := one.slab
	if s == nil {
		return
	}
	*one = held{}
	if s.left--; s.left > 0 {
		return
	}
	giveEntries(s.entries)
	s.entries = nil
	if len(w.slabs) < maxSlabs {
		w.slabs = append(w.slabs, s)
	}
}

// maxSlabs is how many are kept, as many as the default window has batches.
const maxSlabs = 4

// queueUpLocked puts an entry in the line of its key, and reports whether it is
// the first there, so that it may be begun.
func (w *window) queueUpLocked(one *held) bool {
	if w.key == nil || one.keyed {
		return true
	}
	one.keyed = true
	before := w.last[one.key]
	w.last[one.key] = one
	if before == nil {
		return true
	}
	before.behind = one
	return false
}

// releaseLocked takes an entry out of the line of its key, where it is the first,
// and lets the next one begin.
func (w *window) releaseLocked(one *held) {
	if !one.keyed {
		return
	}
	one.keyed = false
	if next := one.behind; next != nil {
		one.behind = nil
		w.freed.push(next)
		w.wakeLocked(1)
	} else {
		delete(w.last, one.key)
	}
}

// next waits for an entry to work on and returns it, nil when the worker is to leave:
// when nothing has come for a while, or there will be nothing any more. lose is how
// the worker is told that the entry is somebody else's.
func (w *window) next(lose context.CancelCauseFunc) *held {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.stopped {
		w.becomeDueLocked()
		if one := w.takeLocked(); one != nil {
			one.state, one.lose = working, lose
			w.working++
			w.beginLocked(one)
			if w.assembler != nil {
				w.assembler.takenLocked(one)
			}
			return one
		}
		if w.working == 0 && w.newlyEndedLocked() > 0 {
			w.settleWithinLocked(lull)
		}
		w.noteTime()
		if w.dismissed {
			break
		}
		w.idleLocked()
	}
	w.workers--
	return nil
}

// takeLocked returns an entry that may be begun: one that is due again before one
// that has waited for another of its key, and that before one that is new.
func (w *window) takeLocked() *held {
	// While a settling is on its way, as many entries again may end behind it;
	// with one at a time, that is none.
	if w.stalled || w.unsettledLocked() >= 2*w.every-1 || w.serial && w.writing > 0 {
		return nil
	}
	one := w.popLocked(&w.again)
	if w.again.len() == 0 {
		w.begunLocked()
	}
	if one == nil && (w.serial && len(w.waiting) > 0 || w.assembler != nil && w.assembler.roomLocked() == 0) {
		return nil
	}
	if one == nil {
		one = w.popLocked(&w.freed)
	}
	if one == nil {
		one = w.popLocked(&w.fresh)
	}
	if one == nil { // a lost entry in fresh may have been in front of one with its key
		one = w.popLocked(&w.freed)
	}
	return one
}

// popLocked returns the first of a queue that was not lost while it waited there.
func (w *window) popLocked(q *queue) *held {
	for q.len() > 0 {
		one := q.pop()
		if !one.lost {
			return one
		}
		w.releaseLocked(one)
	}
	return nil
}

// becomeDueLocked moves what is due to the queue, and sets the alarm for the rest.
func (w *window) becomeDueLocked() {
	if len(w.waiting) == 0 || w.stopped { // the former is the usual case, once for every entry
		return
	}
	now := time.Now()
	for len(w.waiting) > 0 && !w.waiting[0].due.After(now) {
		one := heap.Pop(&w.waiting).(*held)
		one.state = unread
		w.againLocked(one)
		if w.assembler != nil {
			w.assembler.dueLocked(one)
		}
	}
	var next time.Time
	if len(w.waiting) > 0 {
		next = w.waiting[0].due
		if one, at := w.probeLocked(); one != nil && at.After(now) {
			next = at
		} else if one != nil {
			one.due = now
			w.hastenUnitLocked(one)
			heap.Init(&w.waiting)
			w.becomeDueLocked()
			return
		}
	}
	if w.alarm != nil {
		w.alarm.Stop()
		w.alarm = nil
	}
	if len(w.waiting) > 0 {
		w.alarm = time.AfterFunc(next.Sub(now), func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.becomeDueLocked()
			w.wakeLocked(w.again.len())
		})
	}
}

func (w *window) againLocked(one *held) {
	w.again.push(one)
	w.taking = true
}

// begunLocked tells those who wait until everything that was taken over has been
// begun, or was lost: the reader, and who takes over.
func (w *window) begunLocked() {
	if w.taking {
		w.taking = false
		w.room.Broadcast()
		w.tellTakerLocked()
	}
}

// end takes an entry back from its worker. One that was lost in the meantime is
// forgotten, whatever became of it.
func (w *window) end(one *held, to state) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.learnLocked(one, to)
	w.returnedLocked(one)
	w.countLocked(one)
	if one.lost {
		w.forgetLocked(one)
		return
	}
	one.state = to
	if w.byID != nil {
		w.unloadLocked(one) // it is fetched anew; until then nobody needs the fields
	}
	switch to {
	case waiting:
		one.failed = true
		if w.assembler != nil {
			w.assembler.heldLocked(one)
		}
		heap.Push(&w.waiting, one)
		w.becomeDueLocked()
		// What is done is recorded before the wait: nobody knows how long the
		// entry stays, and what has been finished should not be run again.
		if w.newlyEndedLocked() > 0 {
			w.settle()
		}
	case broken:
		w.leaveBatchLocked(one)
	case parked:
		w.parked++
		w.releaseLocked(one)
		w.leaveBatchLocked(one)
		w.room.Broadcast()
		w.tellTakerLocked()
	case done:
		w.endedLocked(one)
	}
}

// forget takes an entry back from its worker, in group mode, that is settled
// already or somebody else's.
func (w *window) forget(one *held) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.returnedLocked(one)
	w.countLocked(one)
	w.forgetLocked(one)
}

// returnedLocked notes that a worker has given an entry back.
func (w *window) returnedLocked(one *held) {
	w.working--
	one.lose = nil
	if w.assembler != nil {
		w.assembler.returnedLocked(one)
	}
}

// leaveBatchLocked notes that an entry will not be delivered again.
func (w *window) leaveBatchLocked(one *held) {
	if w.assembler != nil {
		w.assembler.leaveLocked(one)
	}
}

func (w *window) forgetLocked(one *held) {
	one.state = done
	w.absolveLocked(one, false)
	w.leaveBatchLocked(one)
	w.releaseLocked(one)
	w.removeLocked(one.id)
	w.unloadLocked(one)
	w.dropLocked(one)
	w.room.Broadcast()
}

// stop ends every next, and has nobody employed any more.
func (w *window) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.assembler != nil {
		w.assembler.stopLocked()
	}
	w.idle = 0
	w.ready.Broadcast()
}

// close stops what would go off later.
func (w *window) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, timer := range []*time.Timer{w.alarm, w.timer, w.leisure} {
		if timer != nil {
			timer.Stop()
		}
	}
}
