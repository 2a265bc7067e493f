package window

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// streak is a number of deliveries that fail without one that succeeds in between. The
// success that ends it makes the entries due that began to fail in it: a sink was away,
// and their waits have grown for that, not because the entries are bad. An
// entry that fails by itself, among others that succeed, has begun in a streak before,
// and keeps the wait that it has. A streak is guarded by the window's lock.
//
// A delivery that was begun before the first failure of a streak, and succeeds, does not
// end the streak. One that was begun before the end of a streak, and fails, begins none.
type streak struct {
	// number is that of the streak, or of the next one; 0 is that of none.
	number int64
	on     bool
	// long is set when it is over, and was long enough to change anything.
	long    bool
	entries int // that have failed in it
	since   time.Time
	// failed is when the last delivery failed, and probeIn how long after that an entry
	// is tried that holds up others.
	failed  time.Time
	probeIn time.Duration
	// begun counts the deliveries, up to the one that was begun last; first is its value at
	// the first failure of the streak, ended its value at the end of the one before.
	begun, first, ended int64
}

const (
	// outageTime is how long a streak has lasted that changes anything.
	outageTime = time.Second
	// manyFailed is how many entries have failed in a streak that is the fault of none of
	// them, also not of those that had failed before.
	manyFailed = 10
	// redeliverySpread is the time over which the entries that a success makes due are spread, so
	// that many consumers do not come back to a sink at the same moment.
	redeliverySpread = 250 * time.Millisecond
	// probeInterval is how long an entry that holds up others waits at the most, while
	// nothing succeeds.
	probeInterval = 1500 * time.Millisecond
)

// begin notes that a delivery begins.
func (s *streak) begin(it *Item) {
	s.begun++
	it.begun = s.begun
}

// learnLocked notes how a delivery has ended, before the entry goes where that leads.
func (w *Window) learnLocked(it *Item, to State) {
	s := &w.streak
	switch {
	case to == Waiting:
		w.failedLocked(it)
	case to != Interrupted:
		w.causes.clear(it, it.Outcome == Handled)
		if s.on && it.Outcome == Handled && it.begun > s.first {
			w.endStreakLocked()
		}
	}
}

func (w *Window) failedLocked(it *Item) {
	s, now := &w.streak, time.Now()
	late := it.begun <= s.ended // and the streak that it belongs to is over
	if !s.on && !late {
		*s = streak{number: s.number + 1, on: true, since: now, begun: s.begun, first: s.begun, ended: s.ended}
	}
	it.failedAt = now
	if it.lastStreak != s.number {
		it.lastStreak = s.number
		s.entries++
	}
	if it.firstStreak == 0 {
		it.firstStreak = s.number
	}
	if late && !s.on && s.long && it.firstStreak == s.number {
		w.bringForwardLocked(it, now)
	}
	s.failed, s.probeIn = now, probeInterval-rand.N(probeInterval/2)
}

// endStreakLocked makes the entries due that began to fail in the streak.
func (w *Window) endStreakLocked() {
	s, now := &w.streak, time.Now()
	s.on, s.ended, s.long = false, s.begun, now.Sub(s.since) >= outageTime
	if !s.long {
		return // no wait can have grown much
	}
	outage := s.entries >= manyFailed
	for _, it := range w.order.waiting {
		if it.lastStreak == s.number && (outage || it.firstStreak == s.number) {
			w.bringForwardLocked(it, now)
		}
	}
	heap.Init(&w.order.waiting)
	w.becomeDueLocked()
	w.wakeLocked(w.order.redeliver.len())
}

func (w *Window) bringForwardLocked(it *Item, now time.Time) {
	soon := now.Add(rand.N(redeliverySpread))
	if first := it.failedAt.Add(w.Pause / 2); soon.Before(first) {
		soon = first
	}
	if soon.Before(it.Due) {
		it.Due = soon
	}
	w.bringUnitForwardLocked(it)
}

// bringUnitForwardLocked has the entries of a failed batch wait for the same time, as one of
// them is due sooner: they come back together. The order of waiting is to be made anew.
func (w *Window) bringUnitForwardLocked(it *Item) {
	if w.assembler == nil || !it.Member.InUnitLocked() {
		return
	}
	it.Due = w.assembler.HastenLocked(it.Member, it.Due)
	for _, other := range w.order.waiting {
		if other.Member.WithLocked(it.Member) {
			other.Due = it.Due
		}
	}
}

// probeLocked returns which of the entries that wait is to be tried before its time,
// and when: while nothing succeeds, one that holds up others, because only by that
// would it be known that all goes well again. It returns nil if there is none.
func (w *Window) probeLocked() (it *Item, at time.Time) {
	s := &w.streak
	if at = s.failed.Add(s.probeIn); !w.Probing || !s.on || w.workers.working > 0 || w.order.redeliver.len() > 0 || !at.Before(w.order.waiting[0].Due) {
		return nil, at
	}
	if w.budget.readerWaits || w.Serial && w.ledger.len() > 1 {
		return w.order.waiting[0], at
	}
	for _, other := range w.order.waiting {
		if other.behind != nil && (it == nil || other.Due.Before(it.Due)) {
			it = other
		}
	}
	return it, at
}
