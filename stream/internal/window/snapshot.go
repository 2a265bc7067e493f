package window

import "time"

// InHand are the numbers of a window at a moment.
type InHand struct {
	Working, Held, Parked int
	Entries, Size         int
	Bytes, SizeBytes      int64
}

// InHand returns the numbers of the window.
func (w *Window) InHand() InHand {
	w.mu.Lock()
	defer w.mu.Unlock()
	return InHand{
		Working: w.workers.working, Held: len(w.order.waiting) + w.writing, Parked: w.budget.parked,
		Entries: w.Size - w.budget.left(), Size: w.Size,
		Bytes: w.budget.loaded, SizeBytes: int64(w.Bytes),
	}
}

// Stuck returns for how long the reader has waited for room without anything having
// been settled, and the entry that is in the way.
func (w *Window) Stuck(now time.Time) (id string, failing bool, since time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	blocking := w.ledger.blocking(w.budget.isLoaded())
	if !w.budget.readerWaits || w.budget.paused || blocking == nil {
		return "", false, 0
	}
	last := w.budget.since
	if w.checkpoint.movedAt.After(last) {
		last = w.checkpoint.movedAt
	}
	return blocking.ID, blocking.failed, now.Sub(last)
}

// IsStopped reports whether Stop was called.
func (w *Window) IsStopped() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stopped
}
