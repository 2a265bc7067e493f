package window

import (
	"sync"
	"time"
)

// checkpoint is when entries that have ended are settled. The window's lock, mu, guards it.
type checkpoint struct {
	mu       *sync.Mutex
	ledger   ledger
	settle   func()
	interval time.Duration

	timer       *time.Timer // requests the settler at timerAt
	timerAt     time.Time
	lastSettled time.Time // when settling began last
	movedAt     time.Time // when something was settled
	inFlight    int       // how many entries are being settled just now
	// stalled is set while settling fails: nothing more is begun.
	stalled bool
}

// newly returns how many entries may be settled that are in no settling which is on its way.
func (c *checkpoint) newly() int { return len(c.ledger.settleable()) - c.inFlight }

// within has the settler asked when it was not for d, so at once if that is so already.
func (c *checkpoint) within(d time.Duration) {
	// A timer that is set already, and soon enough, is left: this is called for
	// every entry, and the clock is not to be asked each time.
	if !c.timerAt.IsZero() && d >= c.interval {
		return
	}
	now := time.Now()
	at := c.lastSettled.Add(d)
	if !at.After(now) {
		c.settle()
		return
	}
	if !c.timerAt.IsZero() && !at.Before(c.timerAt) {
		return
	}
	c.timerAt = at
	if c.timer != nil {
		c.timer.Reset(at.Sub(now))
		return
	}
	c.timer = time.AfterFunc(at.Sub(now), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.timerAt = time.Time{}
		if c.newly() > 0 {
			c.settle()
		}
	})
}

// idleSettleTime is how long nothing was settled when a consumer that has nothing to do
// settles. Without it, a stream that brings many entries, but one by one, would
// have each of them settled by itself.
const idleSettleTime = time.Millisecond

// endedLocked notes that the processing of an entry has ended.
func (w *Window) endedLocked(it *Item) {
	it.state = Done
	w.leaveBatchLocked(it)
	w.releaseLocked(it)
	w.budget.unload(it) // it may be long until the entries before it have ended as well
	if it.Effects != nil {
		w.budget.loadEffects(it)
	}
	w.ledger.end(it)
	switch n := w.checkpoint.newly(); {
	case n >= w.Every || n > 0 && w.budget.isFullOfEffects(4):
		w.Settle()
	case n > 0:
		w.checkpoint.within(w.Interval)
		w.settleForRoomLocked()
	}
}

// settleForRoomLocked settles at once if that makes the room that the reader waits for.
func (w *Window) settleForRoomLocked() {
	b := &w.budget
	if !b.readerWaits && !b.draining || w.checkpoint.newly() == 0 {
		return
	}
	if !b.draining && b.left() >= w.Batch {
		return // it waits for entries to end, or to begin
	}
	if b.left()+len(w.ledger.settleable()) >= w.Batch || w.workers.working == 0 {
		w.Settle()
	}
}

// Settleable returns the entries that may be settled now: in log mode in the order of the
// stream. They stay in the window until Settled is called.
func (w *Window) Settleable() []*Item {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.ledger.settleable()
	w.checkpoint.inFlight, w.checkpoint.lastSettled = len(list), time.Now()
	w.counts.noteTime()
	return list
}

// Settled takes out the first n of those that were settleable.
func (w *Window) Settled(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &w.checkpoint
	c.stalled, c.inFlight, c.movedAt = false, 0, time.Now()
	w.counts.SettledAt = w.ledger.settleable()[n-1].ID
	w.ledger.settled(n, w.dropSettledLocked)
	w.roomMadeLocked()
	w.wakeReadyLocked()
	switch n := len(w.ledger.settleable()); {
	case n >= w.Every:
		w.Settle()
	case n > 0 && w.workers.working == 0:
		c.within(idleSettleTime)
	}
	w.settleForRoomLocked()
}

// dropSettledLocked lets an entry that was settled go.
func (w *Window) dropSettledLocked(it *Item) {
	if it.Effects != nil {
		w.budget.unloadEffects(it)
	}
	w.slabs.drop(it)
}

// Stall keeps anything more from being begun, until something is settled.
func (w *Window) Stall() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checkpoint.stalled = true
}
