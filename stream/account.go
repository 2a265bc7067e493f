package stream

import (
	"sync"
	"time"

	"millrace/stream/internal/resp"
)

// account compares how far a group has come with how many entries this consumer was
// given. A read that waits for entries cannot be guarded (see guard.go): entries that were
// added and trimmed in one step while it waited, or left out because the group was set
// further on, are not in the state of the server afterwards. But as long as no other
// consumer of the group was given any, this consumer has to have had all of them.
//
// Two looks at the group are compared, and the entries that were read between them.
// An entry that was given out before the second look may still be on its way after it,
// so that they are compared once two more reads have come back.
//
// Its lock, mu, guards all fields, and is the last one to be taken.
type account struct {
	mu sync.Mutex
	// from is where the count begins, to where it ends; nil is not known.
	from, to *standpoint
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
	skipped *LossError
}

// standpoint is where a group stands when it is looked at.
type standpoint struct {
	place, deleted, others string
	nth, gone              int64 // of the entry at the place; of those that were ever added
	timed                  bool
	begun                  time.Time // before the look
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

func (a *account) beginLocked(at *standpoint) {
	a.from, a.to, a.own = at, nil, 0
	for _, one := range a.during {
		a.countLocked(one)
	}
}

// standpoint returns where the group stood, nil if that is not known.
func (o *groupState) standpoint(begun time.Time) *standpoint {
	if o == nil || o.quiet == 0 || o.found != "" {
		return nil
	}
	at := &standpoint{
		place: o.last, deleted: o.deleted, others: o.others, nth: o.read, gone: o.added - o.length,
		timed: o.timed == 1 || o.others == nobodyElse, begun: begun,
	}
	if o.last == o.generated {
		at.nth = o.added
	} else if o.sure == 0 {
		return nil
	}
	return at
}

// nobodyElse is the script's hash of no names.
const nobodyElse = "da39a3ee5e6b4b0d3255bfef95601890afd80709"

// alone reports whether no other consumer was given anything since an earlier look.
func (s *standpoint) alone(since *standpoint, quiet int64) bool {
	const slack = 100 * time.Millisecond // a server's clock stands still during a command
	return s.others == since.others && resp.CompareIDs(s.place, since.place) >= 0 &&
		(quiet < 0 || time.Duration(quiet)*time.Millisecond > time.Since(since.begun)+slack)
}

// void begins anew: something was read that is not counted, or told already.
func (a *account) void() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.look++
	a.from, a.to = nil, nil
}

// round notes that a read has come back, and reports whether something is to be told.
func (a *account) round() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reads++; a.to == nil || a.reads < a.due {
		return false
	}
	if loss := a.compareLocked(); loss != nil {
		a.skipped = loss
	}
	a.from, a.to, a.own, a.behind = a.to, nil, a.behind, 0
	return a.skipped != nil
}

// compareLocked returns the loss of entries that the group has passed without giving them
// to a consumer.
func (a *account) compareLocked() *LossError {
	missing := a.to.nth - a.from.nth - a.own
	trimmed := a.to.gone > a.from.nth
	if missing <= 0 || trimmed && !a.to.timed {
		return nil // the counter of such a server shows trimmed entries
	}
	loss := &LossError{Cause: LossMoved, From: a.from.place, To: a.to.place, Count: missing, Exact: true}
	if trimmed || resp.CompareIDs(a.to.deleted, a.from.place) > 0 {
		loss.Cause = LossTrimmed
	}
	return loss
}

// takeSkipped returns a loss that was found, once.
func (a *account) takeSkipped() *LossError {
	a.mu.Lock()
	defer a.mu.Unlock()
	loss := a.skipped
	a.skipped = nil
	return loss
}

// noteRound is called when a read has come back.
func (s *groupSource) noteRound() {
	if s.account.round() {
		s.claimer.Request() // the caller may hold a lock
	}
}

func (s *groupSource) tellSkipped() {
	if loss := s.account.takeSkipped(); loss != nil {
		s.reportLoss(s.log(), loss)
	}
}
