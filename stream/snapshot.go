package stream

import "time"

// inHand is what the window holds at a moment.
type inHand struct {
	working, held, parked int
	entries, size         int
	bytes, sizeBytes      int64
}

func (w *window) inHand() inHand {
	w.mu.Lock()
	defer w.mu.Unlock()
	return inHand{
		working: w.workers.working, held: len(w.order.waiting) + w.writing, parked: w.budget.parked,
		entries: w.size - w.budget.left(), size: w.size,
		bytes: w.budget.loaded, sizeBytes: int64(w.bytes),
	}
}

// stuck returns for how long the reader has waited for room without anything having
// been settled, and the entry that is in the way.
func (w *window) stuck(now time.Time) (id string, failing bool, since time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	blocking := w.ledger.blocking(w.budget.isLoaded())
	if !w.budget.readerWaits || blocking == nil {
		return "", false, 0
	}
	last := w.budget.since
	if w.checkpoint.movedAt.After(last) {
		last = w.checkpoint.movedAt
	}
	return blocking.id, blocking.failed, now.Sub(last)
}

func (w *window) isStopped() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stopped
}
