package stream

import (
	"container/heap"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"millrace/stream/internal/batch"
	"millrace/stream/internal/resp"
)

// window is the bounded set of entries that were read or claimed and are not settled. The
// reader adds entries while there is room, workers take entries that may be begun, and the
// settler takes out those that have ended. The bound limits memory, and the number of
// entries that are delivered again after a crash.
//
// mu guards all of it, the items and the assembler too. Methods with the suffix Locked need
// it held. No method asks a server, or calls code of the user, while mu is held.
type window struct {
	mu    sync.Mutex
	ready sync.Cond // workers wait for an entry that may be begun
	room  sync.Cond // the reader waits for room
	limits

	redeliver queue // to be delivered again and due, or claimed
	unblocked queue // the entry before it with the same key has ended
	fresh     queue // read, in the order of the stream
	waiting   dueHeap
	// assembler makes batches of the messages at work; nil without batches.
	assembler *batch.Assembler
	dueTimer  *time.Timer      // goes off when the first of waiting is due
	last      map[string]*item // by order key, the last entry that is in line

	// startWorker starts a worker.
	startWorker func()
	workers     int // that were started, and have not left
	working     int // of these, at work
	idle        int // of these, waiting
	// idleTimer ends the workers that wait, unless something was read since it was set, when
	// readAtIdle had been read; it is nil while no worker waits.
	idleTimer  *time.Timer
	readAtIdle int64
	// releasing is set while workers that find nothing to do are to leave.
	releasing   bool
	stopped     bool
	readerWaits bool // the reader waits for room
	writing     int  // entries whose dead letters are to be written
	// draining is set while the reader waits for everything to be settled.
	draining bool

	loaded int64 // bytes of the entries whose fields are here

	tally
	readerWaitsSince, movedAt time.Time // the latter is when something was settled

	// The entries that may be settled. In log mode line has all entries in the order of the
	// stream, and the first ended of them have all ended: the last of those is the low mark.
	// In group mode done has them, in the order in which they ended.
	line  []*item
	ended int
	done  []*item
	// letterTaken is called when an entry was claimed away whose dead letter is to be written.
	letterTaken func()
	// settle requests the settler; settleTimer does that at settleTimerAt.
	settle        func()
	settleTimer   *time.Timer
	settleTimerAt time.Time
	lastSettled   time.Time
	inFlight      int // how many of them are being settled just now
	// stalled is set while settling fails: nothing more is begun.
	stalled bool

	streak streak
	// causes are why entries are held; endedCauses are those whose end is to be logged, and
	// causesEnded is set while there are some.
	causes      map[string]*cause
	endedCauses []cause
	causesEnded atomic.Bool

	slabs []*slab // to be used again

	// In group mode only. byID has all entries, and left the IDs of those that have left
	// since watchLeaving was called.
	byID map[string]*item
	left map[string]struct{}
	// doubles are IDs of entries that were read while another entry had that ID in the window.
	doubles       []string
	leaveWatchers int
	parked        int
	// redelivering is set while there may be something in redeliver. onRoomToClaim is called
	// once when there is not, and there is room to claim, of claimLimit; it may be nil.
	redelivering  bool
	onRoomToClaim func()
	claimLimit    int
	// ownFrom is from where on entries are pending on this consumer that are not here.
	ownFrom string
}

// limits are the settings of a window: its size and its order.
type limits struct {
	size       int           // entries in the window
	bytes      int           // what the fields of entries in the window may take in memory
	batch      int           // entries that one read may bring
	every      int           // entries that are settled together
	interval   time.Duration // how long what has ended waits to be settled
	maxWorkers int           // workers
	// serial keeps everything behind an entry that is delivered again, or whose dead
	// letter is not written.
	serial bool
	// probing has an entry that holds up others tried before its time. None is tried
	// sooner than pause after it has failed.
	probing bool
	pause   time.Duration
	// key tells which entries are processed in order; nil is none.
	key keys
}

// keys tells order keys, each entry's or those of many entries. It does not panic.
type keys interface {
	of(entry *resp.Entry) string
	ofAll(entries []resp.Entry, set func(i int, key string))
}

// gather has a batch handler get the messages of entries that are at work at the same time.
func (w *window) gather(s batch.Settings) {
	wake := func() { w.wakeLocked(w.countReadyLocked()) }
	repeats := func() bool { return w.redeliver.len() > 0 || len(w.waiting) > 0 }
	w.assembler = batch.New(s, &w.mu, wake, repeats)
}

func newWindow(l limits, group bool) *window {
	w := &window{limits: l, settle: func() {}, startWorker: func() {}, letterTaken: func() {}} // for a run to set
	w.ready.L, w.room.L = &w.mu, &w.mu
	w.last = make(map[string]*item)
	w.causes = make(map[string]*cause)
	if group {
		w.byID = make(map[string]*item)
	}
	return w
}

// addRead takes in entries that were read at the given time, and reports whether
// there is room for another batch.
func (w *window) addRead(b resp.Batch, at time.Time) (more bool) {
	entries := b.Entries
	slab := w.takeSlab(len(entries))
	slab.entries = entries
	bytes := int64(0)
	for i := range entries {
		it := &slab.list[i]
		it.id, it.entry, it.renewed, it.slab = entries[i].ID, &entries[i], at, slab
		it.bytes = entries[i].Bytes()
		bytes += it.bytes
	}
	if w.key != nil {
		w.key.ofAll(entries, func(i int, key string) { slab.list[i].key = key })
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loaded += bytes
	for i := range slab.list {
		it := &slab.list[i]
		if w.byID == nil {
			w.line = append(w.line, it)
		} else {
			// An ID that is held already was given out twice: the group was set back, or the
			// stream was made again and has another entry with this ID.
			if double := w.byID[it.id]; double != nil {
				if double.isAnother(it.entry) {
					w.doubles = append(w.doubles, it.id)
				}
				w.unloadLocked(it)
				w.dropLocked(it)
				continue
			}
			w.byID[it.id] = it
			it.deliveries = 1 // a read counts it
		}
		if w.queueUpLocked(it) {
			w.fresh.push(it)
		}
	}
	for _, left := range b.Left {
		w.addLeftLocked(left, at)
	}
	if n := b.Len(); n > 0 {
		w.read += int64(n)
		w.position, w.full = b.LastID(), b.More
	}
	w.wakeLocked(b.Len())
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
	return &slab{list: make([]item, entries), left: entries}
}

// dropLocked forgets an entry that nothing points to any more.
func (w *window) dropLocked(it *item) {
	s := it.slab
	if s == nil {
		return
	}
	*it = item{}
	if s.left--; s.left > 0 {
		return
	}
	resp.GiveEntries(s.entries)
	s.entries = nil
	if len(w.slabs) < maxSlabs {
		w.slabs = append(w.slabs, s)
	}
}

// maxSlabs is how many are kept, as many as the default window has batches.
const maxSlabs = 4

// queueUpLocked puts an entry in the line of its key, and reports whether it is
// the first there, so that it may be begun.
func (w *window) queueUpLocked(it *item) bool {
	if w.key == nil || it.keyed {
		return true
	}
	it.keyed = true
	before := w.last[it.key]
	w.last[it.key] = it
	if before == nil {
		return true
	}
	before.behind = it
	return false
}

// releaseLocked takes an entry out of the line of its key, where it is the first,
// and lets the next one begin.
func (w *window) releaseLocked(it *item) {
	if !it.keyed {
		return
	}
	it.keyed = false
	if next := it.behind; next != nil {
		it.behind = nil
		w.unblocked.push(next)
		w.wakeLocked(1)
	} else {
		delete(w.last, it.key)
	}
}

// next waits for an entry to work on and returns it, nil when the worker is to leave:
// when nothing has come for a while, or there will be nothing any more. lose is how
// the worker is told that the entry is somebody else's.
func (w *window) next(lose context.CancelCauseFunc) *item {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.stopped {
		w.becomeDueLocked()
		if it := w.takeLocked(); it != nil {
			it.state, it.cancel = working, lose
			w.working++
			w.beginLocked(it)
			if w.assembler != nil {
				it.member = w.assembler.TakeLocked(it.member, it.id, lose)
			}
			return it
		}
		if w.working == 0 && w.newlyEndedLocked() > 0 {
			w.settleWithinLocked(idleSettleTime)
		}
		w.noteTime()
		if w.releasing {
			break
		}
		w.waitLocked()
	}
	w.workers--
	return nil
}

// takeLocked returns an entry that may be begun: one that is delivered again or was
// claimed before one that has waited for another of its key, and that before a new one.
func (w *window) takeLocked() *item {
	// While a settling is on its way, as many entries again may end behind it;
	// with one at a time, that is none.
	if w.stalled || w.unsettledLocked() >= 2*w.every-1 || w.serial && w.writing > 0 {
		return nil
	}
	it := w.popLocked(&w.redeliver)
	if w.redeliver.len() == 0 {
		w.redeliveredLocked()
	}
	if it == nil && (w.serial && len(w.waiting) > 0 || w.assembler != nil && w.assembler.RoomLocked() == 0) {
		return nil
	}
	if it == nil {
		it = w.popLocked(&w.unblocked)
	}
	if it == nil {
		it = w.popLocked(&w.fresh)
	}
	if it == nil { // an entry in fresh that was claimed away may have been in front of one with its key
		it = w.popLocked(&w.unblocked)
	}
	return it
}

// popLocked returns the first entry of a queue that was not claimed away while it waited.
func (w *window) popLocked(q *queue) *item {
	for q.len() > 0 {
		it := q.pop()
		if !it.taken {
			return it
		}
		w.releaseLocked(it)
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
		it := heap.Pop(&w.waiting).(*item)
		it.state = unread
		w.redeliverLocked(it)
		if w.assembler != nil {
			w.assembler.BeDueLocked(it.member)
		}
	}
	var next time.Time
	if len(w.waiting) > 0 {
		next = w.waiting[0].due
		if it, at := w.probeLocked(); it != nil && at.After(now) {
			next = at
		} else if it != nil {
			it.due = now
			w.bringUnitForwardLocked(it)
			heap.Init(&w.waiting)
			w.becomeDueLocked()
			return
		}
	}
	if w.dueTimer != nil {
		w.dueTimer.Stop()
		w.dueTimer = nil
	}
	if len(w.waiting) > 0 {
		w.dueTimer = time.AfterFunc(next.Sub(now), func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.becomeDueLocked()
			w.wakeLocked(w.redeliver.len())
		})
	}
}

func (w *window) redeliverLocked(it *item) {
	w.redeliver.push(it)
	w.redelivering = true
}

// redeliveredLocked tells the reader and the claimer, which wait until every claimed entry
// has been begun, or was claimed away.
func (w *window) redeliveredLocked() {
	if w.redelivering {
		w.redelivering = false
		w.room.Broadcast()
		w.tellRoomToClaimLocked()
	}
}

// end takes an entry back from its worker. An entry that was claimed away meanwhile is
// forgotten, with any result.
func (w *window) end(it *item, to state) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.learnLocked(it, to)
	w.returnedLocked(it)
	w.countLocked(it)
	if it.taken {
		w.forgetLocked(it)
		return
	}
	it.state = to
	if w.byID != nil {
		w.unloadLocked(it) // the fields are fetched anew when they are needed
	}
	switch to {
	case waiting:
		it.failed = true
		if w.assembler != nil {
			it.due = w.assembler.HoldLocked(it.member, it.due)
		}
		heap.Push(&w.waiting, it)
		w.becomeDueLocked()
		// What is done is recorded before the wait: nobody knows how long the
		// entry stays, and what has been finished should not be run again.
		if w.newlyEndedLocked() > 0 {
			w.settle()
		}
	case interrupted:
		w.leaveBatchLocked(it)
	case parked:
		w.parked++
		w.releaseLocked(it)
		w.leaveBatchLocked(it)
		w.room.Broadcast()
		w.tellRoomToClaimLocked()
	case done:
		w.endedLocked(it)
	}
}

// forget takes an entry back from its worker, in group mode, that is settled
// already or somebody else's.
func (w *window) forget(it *item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.returnedLocked(it)
	w.countLocked(it)
	w.forgetLocked(it)
}

// returnedLocked notes that a worker has given an entry back.
func (w *window) returnedLocked(it *item) {
	w.working--
	it.cancel = nil
	if w.assembler != nil {
		w.assembler.ReturnLocked(it.member)
	}
}

// leaveBatchLocked notes that an entry will not be delivered again.
func (w *window) leaveBatchLocked(it *item) {
	if w.assembler != nil {
		w.assembler.LeaveLocked(it.member)
		it.member = nil
	}
}

func (w *window) forgetLocked(it *item) {
	it.state = done
	w.clearCauseLocked(it, false)
	w.leaveBatchLocked(it)
	w.releaseLocked(it)
	w.removeLocked(it.id)
	w.unloadLocked(it)
	w.dropLocked(it)
	w.room.Broadcast()
}

// stop ends every next. No worker is started any more.
func (w *window) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.assembler != nil {
		w.assembler.StopLocked()
	}
	w.idle = 0
	w.ready.Broadcast()
}

// close stops what would go off later.
func (w *window) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, timer := range []*time.Timer{w.dueTimer, w.settleTimer, w.idleTimer} {
		if timer != nil {
			timer.Stop()
		}
	}
}
