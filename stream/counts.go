package stream

import (
	"time"

	"millrace/stream/internal/resp"
)

// ending is a number under which the end of a delivery is counted. 0 is none; the window
// knows of no other what it means but of one: a delivery whose handler has succeeded.
type ending uint8

const (
	handled ending = 1
	endings        = 16
)

// tally is what a window counts, and where it is. The window's lock guards it there.
type tally struct {
	ends              [endings]int64
	read, redelivered int64
	// position is the last entry that was read, or where reading began, settledAt
	// the last that was settled, in log mode the saved offset.
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
	if n := t.ends[handled]; n != t.noted {
		t.noted, t.handledAt = n, time.Now()
	}
}

// count counts a delivery that has ended.
func (t *tally) count(it *item) {
	if it.ending == 0 {
		return // it was not delivered
	}
	t.ends[it.ending]++
	if it.repeated {
		t.redelivered++
	}
	if it.ending == handled {
		t.lastHandled = it.id
	}
	it.ending, it.repeated = 0, false
}

// plus returns the tally of earlier runs and of the one that followed them.
func (t tally) plus(next tally) tally {
	for i := range t.ends {
		next.ends[i] += t.ends[i]
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
	w.counts.noteTime()
	t := w.counts
	t.oldest = w.ledger.oldest()
	return t
}

// startAt notes the place at which reading begins.
func (w *window) startAt(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts.position, w.counts.settledAt = id, id
}

// at returns the position.
func (w *window) at() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts.position
}

// moveBack notes that the stream does not reach to the position any more.
func (w *window) moveBack(to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if resp.CompareIDs(to, w.counts.position) < 0 {
		w.counts.position = to
	}
}
