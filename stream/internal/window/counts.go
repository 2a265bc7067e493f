package window

import (
	"time"

	"millrace/stream/internal/resp"
)

// Outcome is a number under which the end of a delivery is counted; 0 is none. The window
// knows the meaning of [Handled] alone.
type Outcome uint8

// Handled is the outcome of a delivery whose handler has succeeded.
const Handled Outcome = 1

const outcomes = 16

// Counts are the counts of a window, and its place in the stream. The window's lock guards it there.
type Counts struct {
	Ends              [outcomes]int64
	Read, Redelivered int64
	// Position is the last entry that was read, or where reading began, SettledAt
	// the last that was settled, in log mode the saved offset.
	Position, SettledAt string
	// Full is set when the last read brought all that it may: there may be more.
	Full bool
	// HandledAt is when LastHandled ended. The clock is not asked for every entry:
	// it is asked when a worker finds nothing to do, and when something is settled;
	// noted is how many had been handled then.
	LastHandled string
	HandledAt   time.Time
	noted       int64
	// Oldest is the first entry that is not done; it is looked for when asked.
	Oldest string
}

func (t *Counts) noteTime() {
	if n := t.Ends[Handled]; n != t.noted {
		t.noted, t.HandledAt = n, time.Now()
	}
}

// count counts a delivery that has ended.
func (t *Counts) count(it *Item) {
	if it.Outcome == 0 {
		return // it was not delivered
	}
	t.Ends[it.Outcome]++
	if it.Repeated {
		t.Redelivered++
	}
	if it.Outcome == Handled {
		t.LastHandled = it.ID
	}
	it.Outcome, it.Repeated = 0, false
}

// Plus returns the tally of earlier runs and of the one that followed them.
func (t Counts) Plus(next Counts) Counts {
	for i := range t.Ends {
		next.Ends[i] += t.Ends[i]
	}
	next.Read += t.Read
	next.Redelivered += t.Redelivered
	if next.Position == "" { // it found no place to begin
		next.Position, next.SettledAt, next.Full, next.Oldest = t.Position, t.SettledAt, t.Full, t.Oldest
	}
	if next.LastHandled == "" {
		next.LastHandled, next.HandledAt = t.LastHandled, t.HandledAt
	}
	return next
}

// Counted returns the counts so far.
func (w *Window) Counted() Counts {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts.noteTime()
	t := w.counts
	t.Oldest = w.ledger.oldest()
	return t
}

// StartAt notes the place at which reading begins.
func (w *Window) StartAt(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts.Position, w.counts.SettledAt = id, id
}

// Position returns the position.
func (w *Window) Position() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts.Position
}

// MoveBack notes that the stream does not reach to the position any more.
func (w *Window) MoveBack(to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if resp.CompareIDs(to, w.counts.Position) < 0 {
		w.counts.Position = to
	}
}
