package loss

import (
	"sync"
	"time"

	"millrace/stream/internal/resp"
)

// account compares how far a group has come with how many entries this consumer was
// given. A guard cannot see the time in which its read waits (see GroupFinder.Guard): entries
// that were added and trimmed in one step while it waited, or left out because the group was set
// further on, are not in the state of the server afterwards. But as long as no other
// consumer of the group was given any, this consumer has to have had all of them.
//
// The count begins with the first look that knows the number of the group's place. The server may
// not know it until the group has read to the end of the stream. A loss before the count begins is
// not seen, so that the guards of all reads are looks for the account until then.
//
// Two looks at the group are compared, and the entries that were read between them.
// An entry that was given out before the second look may still be on its way after it,
// so that they are compared once two more reads have come back.
//
// Its lock, mu, guards all fields. No other lock is taken under it.
type account struct {
	mu sync.Mutex
	// from is where the count begins, to where it ends; nil is not known.
	from, to *standpoint
	// late is set when the next check is to begin the count, and no guard: a read may have been
	// lost, and may still wait on the server, or the server does not tell of other consumers.
	late bool
	// own is how many entries behind from were read, up to to; behind counts those
	// behind it.
	own, behind int64
	// during are the batches that have come while a look was on its way.
	during  []portion
	looking bool
	begun   time.Time
	look    int // is another one once a read may have been lost
	reads   int64
	due     int64 // is the number of reads at which the two are compared
	skipped Finding
}

// portion is the entries of one read.
type portion struct {
	first string
	n     int64
}

// read counts entries that were read.
func (a *account) read(first string, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	one := portion{first, int64(n)}
	if a.looking {
		a.during = append(a.during, one)
	}
	a.countLocked(one)
}

// countLocked counts entries that were read. a.mu must be held.
func (a *account) countLocked(one portion) {
	switch {
	case a.from == nil || resp.CompareIDs(one.first, a.from.place) <= 0:
	case a.to != nil && resp.CompareIDs(one.first, a.to.place) > 0:
		a.behind += one.n
	default:
		a.own += one.n
	}
}

// begin begins a look, and returns the number of the look for end.
func (a *account) begin() (look int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.looking, a.during, a.begun = true, nil, time.Now()
	return a.look
}

// end takes the state of the group that a check has found, nil if it has found none.
func (a *account) end(look int, at *groupState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.looking = false
	if look != a.look {
		return
	}
	now := at.standpoint(a.begun)
	if at != nil {
		a.late = at.quiet == 0 && at.placed()
	}
	switch {
	case now == nil:
		a.from, a.to = nil, nil
	case a.from == nil, a.to == nil && !now.alone(a.from, at.quiet):
		a.beginLocked(now)
	case a.to == nil:
		a.to, a.behind, a.due = now, 0, a.reads+2
		for _, one := range a.during {
			if resp.CompareIDs(one.first, now.place) > 0 {
				a.own, a.behind = a.own-one.n, a.behind+one.n
			}
		}
	}
}

// beginLocked begins the count at a standpoint. a.mu must be held.
func (a *account) beginLocked(at *standpoint) {
	a.from, a.to, a.own = at, nil, 0
	for _, one := range a.during {
		a.countLocked(one)
	}
}

// void begins anew: something was read that is not counted, or told already. late says that a
// read may have been lost.
func (a *account) void(late bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.look++
	a.from, a.to, a.late = nil, nil, late
}

// wanting reports whether the count has not begun, and a guard may begin it.
func (a *account) wanting() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.from == nil && !a.late
}

// round notes that a read has come back, and reports whether something is to be told.
func (a *account) round() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reads++; a.to == nil || a.reads < a.due {
		return false
	}
	if found := a.compareLocked(); found.Cause != None {
		a.skipped = found
	}
	a.from, a.to, a.own, a.behind = a.to, nil, a.behind, 0
	return a.skipped.Cause != None
}

// compareLocked returns the loss of entries that the group has passed without giving them
// to a consumer. a.mu must be held.
func (a *account) compareLocked() Finding {
	missing := a.to.nth - a.from.nth - a.own
	trimmed := a.to.gone > a.from.nth
	if missing <= 0 || trimmed && !a.to.timed {
		return Finding{} // the counter of such a server shows trimmed entries
	}
	found := Finding{Cause: GroupMoved, From: a.from.place, To: a.to.place, Count: missing, Exact: true}
	if trimmed || resp.CompareIDs(a.to.deleted, a.from.place) > 0 {
		found.Cause = Trimmed
	}
	return found
}

// takeSkipped returns a loss that was found, once.
func (a *account) takeSkipped() Finding {
	a.mu.Lock()
	defer a.mu.Unlock()
	found := a.skipped
	a.skipped = Finding{}
	return found
}
