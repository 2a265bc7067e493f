package stream

import "time"

// idleSettleTime is how long nothing was settled when a consumer that has nothing to do
// settles. Without it, a stream that brings many entries, but one by one, would
// have each of them settled by itself.
const idleSettleTime = time.Millisecond

// endedLocked notes that the processing of an entry has ended.
func (w *window) endedLocked(it *item) {
	it.state = done
	w.leaveBatchLocked(it)
	w.releaseLocked(it)
	w.unloadLocked(it) // it may be long until what is before it has ended as well
	if w.byID != nil {
		w.done = append(w.done, it)
	} else {
		for w.ended < len(w.line) && w.line[w.ended].state == done {
			w.ended++
		}
	}
	switch n := w.newlyEndedLocked(); {
	case n >= w.every:
		w.settle()
	case n > 0:
		w.settleWithinLocked(w.interval)
		w.settleForRoomLocked()
	}
}

// unsettledLocked returns how many entries may be settled.
func (w *window) unsettledLocked() int { return w.ended + len(w.done) }

// newlyEndedLocked returns how many of them are in no settling that is on its way.
func (w *window) newlyEndedLocked() int { return w.unsettledLocked() - w.inFlight }

// settleForRoomLocked settles at once if that makes the room that the reader waits for.
func (w *window) settleForRoomLocked() {
	if !w.readerWaits && !w.draining || w.newlyEndedLocked() == 0 {
		return
	}
	if !w.draining && w.roomLocked() >= w.batch {
		return // it waits for entries to end, or to begin
	}
	if w.roomLocked()+w.unsettledLocked() >= w.batch || w.working == 0 {
		w.settle()
	}
}

// settleWithinLocked has the settler asked when it was not for d, so at once if
// that is so already.
func (w *window) settleWithinLocked(d time.Duration) {
	// A timer that is set already, and soon enough, is left: this is called for
	// every entry, and the clock is not to be asked each time.
	if !w.settleTimerAt.IsZero() && d >= w.interval {
		return
	}
	now := time.Now()
	at := w.lastSettled.Add(d)
	if !at.After(now) {
		w.settle()
		return
	}
	if !w.settleTimerAt.IsZero() && !at.Before(w.settleTimerAt) {
		return
	}
	w.settleTimerAt = at
	if w.settleTimer != nil {
		w.settleTimer.Reset(at.Sub(now))
		return
	}
	w.settleTimer = time.AfterFunc(at.Sub(now), func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.settleTimerAt = time.Time{}
		if w.newlyEndedLocked() > 0 {
			w.settle()
		}
	})
}

// settleable returns what may be settled now: in log mode in the order of the
// stream. It stays in the window until settled is called.
func (w *window) settleable() []*item {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inFlight, w.lastSettled = w.unsettledLocked(), time.Now()
	w.noteTime()
	if w.byID == nil {
		return w.line[:w.ended:w.ended]
	}
	return w.done[:len(w.done):len(w.done)]
}

// settled takes out the first n of what was settleable.
func (w *window) settled(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stalled, w.inFlight, w.movedAt = false, 0, time.Now()
	if w.byID == nil {
		w.settledAt = w.line[n-1].id
		w.line, w.ended = w.dropFirstLocked(w.line, n), w.ended-n
	} else {
		for _, it := range w.done[:n] {
			w.removeLocked(it.id)
		}
		w.done = w.dropFirstLocked(w.done, n)
	}
	w.room.Signal()
	w.wakeLocked(w.countReadyLocked())
	switch n := w.unsettledLocked(); {
	case n >= w.every:
		w.settle()
	case n > 0 && w.working == 0:
		w.settleWithinLocked(idleSettleTime)
	}
	w.settleForRoomLocked()
}

// dropFirstLocked keeps nothing alive of what it drops, and its place for what comes.
func (w *window) dropFirstLocked(list []*item, n int) []*item {
	for _, it := range list[:n] {
		w.dropLocked(it)
	}
	left := copy(list, list[n:])
	clear(list[left:])
	return list[:left]
}

// stall keeps anything more from being begun, until something is settled.
func (w *window) stall() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stalled = true
}
