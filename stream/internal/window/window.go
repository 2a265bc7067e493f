package window

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"millrace/stream/internal/batch"
	"millrace/stream/internal/resp"
)

// Window is the bounded set of entries that were read or claimed and are not settled. The
// reader adds entries while there is room, workers take entries that may be begun, and the
// settler takes out those that have ended. The bound limits memory, and the number of
// entries that are delivered again after a crash.
//
// mu guards all of it, with its parts, the items, the ledger and the assembler. Methods with
// the suffix Locked, and those of the parts, need it held. No method asks a server, or calls
// code of the user, while mu is held.
type Window struct {
	Limits
	Hooks
	mu sync.Mutex

	ledger     ledger
	order      order
	budget     budget
	workers    workers
	checkpoint checkpoint
	streak     streak
	causes     causes
	counts     Counts
	slabs      slabs
	// assembler makes batches of the messages at work; nil without batches.
	assembler *batch.Assembler

	// refetch is set where the fields of an entry are let go after each delivery, and
	// fetched anew for the next one.
	refetch bool
	writing int // entries whose dead letters are to be written
	stopped bool
}

// Limits are the settings of a window: its size and its order.
type Limits struct {
	Size       int           // entries in the window
	Bytes      int           // of memory that the fields of entries in the window may take
	Batch      int           // entries that one read may bring
	Every      int           // entries that are settled together
	Interval   time.Duration // how long an entry that has ended waits to be settled
	MaxWorkers int           // workers
	// Serial keeps everything behind an entry that is delivered again, or whose dead
	// letter is not written.
	Serial bool
	// Probing has an entry that holds up others tried before its time. None is tried
	// sooner than pause after it has failed.
	Probing bool
	Pause   time.Duration
	// Key tells which entries are processed in order; nil is none.
	Key Keys
}

// Hooks are called with the window's lock held.
type Hooks struct {
	Settle      func() // requests the settler
	StartWorker func()
	// LetterTaken tells that an entry was claimed away whose dead letter is to be written.
	LetterTaken func()
}

// NewMarked returns a window for log mode, and its ledger.
func NewMarked(l Limits, h Hooks) (*Window, *LowMark) {
	m := new(LowMark)
	m.w = newWindow(l, h, m)
	return m.w, m
}

// NewLeased returns a window for group mode, and its ledger.
func NewLeased(l Limits, h Hooks) (*Window, *Leases) {
	owned := &Leases{byID: make(map[string]*Item)}
	owned.w = newWindow(l, h, owned)
	owned.w.refetch = true
	return owned.w, owned
}

func newWindow(l Limits, h Hooks, of ledger) *Window {
	w := &Window{Limits: l, Hooks: h, ledger: of}
	w.order = order{key: l.Key, last: make(map[string]*Item)}
	w.causes.byKey = make(map[string]*Cause)
	w.workers.ready.L, w.budget.room.L = &w.mu, &w.mu
	w.budget.ledger, w.budget.size, w.budget.bytes = of, l.Size, l.Bytes
	w.checkpoint = checkpoint{mu: &w.mu, ledger: of, settle: h.Settle, interval: l.Interval}
	return w
}

// Gather has a batch handler get the messages of entries that are at work at the same time.
func (w *Window) Gather(s batch.Settings) {
	repeats := func() bool { return w.order.redeliver.len() > 0 || len(w.order.waiting) > 0 }
	w.assembler = batch.New(s, &w.mu, w.wakeReadyLocked, repeats)
}

// AddRead takes in entries that were read at the given time, and reports whether
// there is room for another batch.
func (w *Window) AddRead(b resp.Batch, at time.Time) (more bool) {
	entries := b.Entries
	w.mu.Lock()
	slab := w.slabs.take(len(entries))
	w.mu.Unlock()
	slab.entries = entries
	bytes := int64(0)
	for i := range entries {
		it := &slab.list[i]
		it.ID, it.Entry, it.renewed, it.slab = entries[i].ID, &entries[i], at, slab
		it.bytes = entries[i].Bytes()
		bytes += it.bytes
	}
	if w.Key != nil {
		w.Key.OfAll(entries, func(i int, key string) { slab.list[i].key = key })
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.budget.loaded += bytes
	for i := range slab.list {
		it := &slab.list[i]
		switch {
		case !w.ledger.add(it):
			w.budget.unload(it)
			w.slabs.drop(it)
		case w.order.enqueue(it):
			w.order.fresh.push(it)
		}
	}
	for _, left := range b.Left { // fetched when it is begun, in its turn
		it := &Item{ID: left.ID, key: left.Key, Uncounted: true, renewed: at}
		if w.ledger.add(it) && w.order.enqueue(it) {
			w.order.fresh.push(it)
		}
	}
	if n := b.Len(); n > 0 {
		w.counts.Read += int64(n)
		w.counts.Position, w.counts.Full = b.LastID(), b.More
	}
	w.wakeLocked(b.Len())
	return w.hasRoomLocked()
}

// Next waits for an entry to work on and returns it, nil when the worker is to leave:
// when nothing has come for a while, or there will be nothing any more. lose is how
// the worker is told that the entry is another consumer's.
func (w *Window) Next(lose context.CancelCauseFunc) (it *Item, waited bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.stopped {
		w.becomeDueLocked()
		if it = w.takeLocked(); it != nil {
			it.state, it.cancel = Working, lose
			w.workers.working++
			w.streak.begin(it)
			if w.assembler != nil {
				it.Member = w.assembler.TakeLocked(it.Member, it.ID, lose)
			}
			return it, waited
		}
		if w.workers.working == 0 && w.checkpoint.newly() > 0 {
			w.checkpoint.within(idleSettleTime)
		}
		w.counts.noteTime()
		if w.workers.releasing {
			break
		}
		w.workers.wait(&w.counts.Read)
		waited = true
	}
	w.workers.started--
	return nil, waited
}

// takeLocked returns an entry that may be begun: one that is delivered again or was
// claimed before one that has waited for another of its key, and that before a new one.
func (w *Window) takeLocked() *Item {
	if w.budget.isFullOfEffects(1) && len(w.ledger.settleable()) > 0 {
		return nil // the end of the settling has entries begun
	}
	// While a settling is on its way, as many entries again may end behind it;
	// with one at a time, that is none.
	if w.budget.paused || w.checkpoint.stalled || len(w.ledger.settleable()) >= 2*w.Every-1 || w.Serial && w.writing > 0 {
		return nil
	}
	o := &w.order
	it := w.popLocked(&o.redeliver)
	if o.redeliver.len() == 0 {
		w.redeliveredLocked()
	}
	if it == nil && (w.Serial && len(o.waiting) > 0 || w.assembler != nil && w.assembler.RoomLocked() == 0) {
		return nil
	}
	if it == nil {
		it = w.popLocked(&o.unblocked)
	}
	if it == nil {
		it = w.popLocked(&o.fresh)
	}
	if it == nil { // an entry in fresh that was claimed away may have been in front of one with its key
		it = w.popLocked(&o.unblocked)
	}
	return it
}

// popLocked returns the first entry of a queue that was not claimed away while it waited.
func (w *Window) popLocked(q *queue) *Item {
	for q.len() > 0 {
		it := q.pop()
		if it.owner != taken {
			return it
		}
		w.releaseLocked(it)
	}
	return nil
}

// releaseLocked takes an entry out of the line of its key, where it is the first,
// and lets the next one begin.
func (w *Window) releaseLocked(it *Item) {
	if w.order.release(it) {
		w.wakeLocked(1)
	}
}

// becomeDueLocked moves the entries that are due to the queue, and sets the timer for the rest.
func (w *Window) becomeDueLocked() {
	o := &w.order
	if len(o.waiting) == 0 || w.stopped { // the former is the usual case, once for every entry
		return
	}
	now := time.Now()
	for len(o.waiting) > 0 && !o.waiting[0].Due.After(now) {
		it := heap.Pop(&o.waiting).(*Item)
		it.state = Unread
		o.redeliverAgain(it)
		if w.assembler != nil {
			w.assembler.BeDueLocked(it.Member)
		}
	}
	var next time.Time
	if len(o.waiting) > 0 {
		next = o.waiting[0].Due
		if it, at := w.probeLocked(); it != nil && at.After(now) {
			next = at
		} else if it != nil {
			it.Due = now
			w.bringUnitForwardLocked(it)
			heap.Init(&o.waiting)
			w.becomeDueLocked()
			return
		}
	}
	if o.dueTimer != nil {
		o.dueTimer.Stop()
		o.dueTimer = nil
	}
	if len(o.waiting) > 0 {
		o.dueTimer = time.AfterFunc(next.Sub(now), func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.becomeDueLocked()
			w.wakeLocked(o.redeliver.len())
		})
	}
}

// redeliveredLocked tells the reader and the claimer, which wait until every claimed entry
// has been begun, or was claimed away.
func (w *Window) redeliveredLocked() {
	if w.order.redelivering {
		w.order.redelivering = false
		w.roomMadeLocked()
	}
}

// End takes an entry back from its worker. An entry that was claimed away meanwhile is
// forgotten, with any result.
func (w *Window) End(it *Item, to State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.learnLocked(it, to)
	w.returnedLocked(it)
	w.counts.count(it)
	if it.owner == taken {
		w.forgetLocked(it)
		return
	}
	it.state = to
	if to != Done {
		it.Effects = nil
	}
	if w.refetch {
		w.budget.unload(it)
	}
	switch to {
	case Waiting:
		it.failed = true
		if w.assembler != nil {
			it.Due = w.assembler.HoldLocked(it.Member, it.Due)
		}
		heap.Push(&w.order.waiting, it)
		w.becomeDueLocked()
		// Entries that have ended are settled before the wait: how long the entry stays is
		// not known, and an entry that has been finished should not be run again.
		if w.checkpoint.newly() > 0 {
			w.Settle()
		}
	case Interrupted:
		w.leaveBatchLocked(it)
	case Parked:
		w.budget.parked++
		w.releaseLocked(it)
		w.leaveBatchLocked(it)
		w.roomMadeLocked()
	case Done:
		w.endedLocked(it)
	}
}

// Forget takes an entry back from its worker that is settled already, or another
// consumer's.
func (w *Window) Forget(it *Item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.returnedLocked(it)
	w.counts.count(it)
	w.forgetLocked(it)
}

// returnedLocked notes that a worker has given an entry back.
func (w *Window) returnedLocked(it *Item) {
	w.workers.working--
	it.cancel = nil
	if w.assembler != nil {
		w.assembler.ReturnLocked(it.Member)
	}
}

// leaveBatchLocked notes that an entry will not be delivered again.
func (w *Window) leaveBatchLocked(it *Item) {
	if w.assembler != nil {
		w.assembler.LeaveLocked(it.Member)
		it.Member = nil
	}
}

func (w *Window) forgetLocked(it *Item) {
	it.state = Done
	w.causes.clear(it, false)
	w.leaveBatchLocked(it)
	w.releaseLocked(it)
	w.ledger.remove(it)
	w.budget.unload(it)
	w.budget.unloadEffects(it)
	w.slabs.drop(it)
	w.roomMadeLocked()
}

// Stop ends every next. No worker is started any more.
func (w *Window) Stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.assembler != nil {
		w.assembler.StopLocked()
	}
	w.workers.releaseAll()
}

// Close stops the timers.
func (w *Window) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, timer := range []*time.Timer{w.order.dueTimer, w.checkpoint.timer, w.workers.idleTimer} {
		if timer != nil {
			timer.Stop()
		}
	}
}
