package window

import (
	"context"
	"time"
)

// SetPaused keeps anything more from being begun, read or claimed, or ends that. Entries at
// work go on, and end.
func (w *Window) SetPaused(paused bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.budget.paused == paused {
		return
	}
	w.budget.paused = paused
	if w.assembler != nil {
		w.assembler.SetPausedLocked(paused)
	}
	if paused {
		return
	}
	w.budget.since = time.Now() // for the reader, a window that is full became so now
	w.becomeDueLocked()
	w.roomMadeLocked()
	w.wakeReadyLocked()
}

// IsPaused reports whether the window is paused.
func (w *Window) IsPaused() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.budget.paused
}

// Drain waits until all entries have ended and are settled, but for those that are parked. It
// is for the reader, which adds nothing meanwhile. Nothing is claimed.
func (w *Window) Drain(ctx context.Context) error {
	defer context.AfterFunc(ctx, w.budget.wakeReader)()
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.ledger.len() > w.budget.parked && ctx.Err() == nil {
		if w.checkpoint.newly() > 0 {
			w.Settle()
		}
		w.budget.draining = true
		w.budget.room.Wait()
	}
	w.budget.draining = false
	w.budget.tellClaimer(w.order.redeliver.len())
	return ctx.Err()
}
