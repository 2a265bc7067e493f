package stream

import (
	"time"

	"millrace/stream/internal/resp"
)

// tally is what a window counts, and where it is.
type tally struct {
	outcomes          [outcomes]int64
	read, redelivered int64
	// position is the last entry that was read, or where reading began, settledAt
	// the saved offset.
	position, settledAt string
	// full is set when the last read brought all that it may: there may be more.
	full bool
	// handledAt is when lastHandled ended. The clock is not asked for every entry:
	// it is asked when a worker finds nothing to do, and when something is settled;
	// noted is how many had been handled then.
	lastHandled string
	handledAt   time.Time
	noted       int64
	// oldest is the first entry that is not done; it is looked for when asked.
	oldest string
}

func (t *tally) noteTime() {
	if n := t.outcomes[OutcomeHandled]; n != t.noted {
		t.noted, t.handledAt = n, time.Now()
	}
}

// plus returns the tally of earlier runs and of the one that followed them.
func (t tally) plus(next tally) tally {
	for i := range t.outcomes {
		next.outcomes[i] += t.outcomes[i]
	}
	next.read += t.read
	next.redelivered += t.redelivered
	if next.position == "" { // it found no place to begin
		next.position, next.settledAt, next.full, next.oldest = t.position, t.settledAt, t.full, t.oldest
	}
	if next.lastHandled == "" {
		next.lastHandled, next.handledAt = t.lastHandled, t.handledAt
	}
	return next
}

// tallied returns what the window has counted so far.
func (w *window) tallied() tally {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteTime()
	t := w.tally
	if t.oldest = w.oldestUndoneLocked(); t.oldest == "" {
		t.oldest = w.ownFrom
	}
	return t
}

// startAt notes the place at which reading begins.
func (w *window) startAt(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.position, w.settledAt = id, id
}

// at returns the position.
func (w *window) at() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.position
}

// moveBack notes that the stream does not reach to the position any more.
func (w *window) moveBack(to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if resp.CompareIDs(to, w.position) < 0 {
		w.position = to
	}
}

// countLocked counts a delivery that has ended.
func (w *window) countLocked(it *item) {
	if it.outcome == 0 {
		return // it was not delivered
	}
	w.outcomes[it.outcome]++
	if it.repeated {
		w.redelivered++
	}
	if it.outcome == OutcomeHandled {
		w.lastHandled = it.id
	}
	it.outcome, it.repeated = 0, false
}
