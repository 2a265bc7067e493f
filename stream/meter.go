package stream

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/loss"
	"millrace/stream/internal/window"
)

// meter keeps the numbers of which Stats and Health of a consumer are made, over all of
// its runs. Those that are counted for every entry are in the window of the run, under the
// lock that is held there anyway. That lock may be taken under this one, and never
// the other way round.
type meter struct {
	panicked atomic.Int64 // when a panic of an observer was logged
	exited   atomic.Bool  // an observer has ended a worker's goroutine

	mu sync.Mutex
	// run is the one at work, nil while there is none, runs its number. ended is the error
	// of the last one.
	run     *run
	runs    int64
	since   time.Time
	ended   error
	started bool // the place to start has been found
	// tally is of the runs before.
	window.Counts
	claimed, handedBack, lost, reconnects int64

	// lastRead is when a read came back without an error, reading since when one is
	// on its way, zero while there is no room for its entries.
	lastRead, reading time.Time
	unreadable        bool // the last read failed
	outages           []*outage
	lastError
	rival rival

	lag loss.LagCounter // has a lock of its own
}

// lastError is the last thing that went wrong: something that was tried again, or an
// entry. The text of an entry's error is its handler's, and may hold anything.
type lastError struct {
	at      time.Time
	what    string
	err     error
	outcome Outcome
	attempt int64
}

func (l *lastError) text() string {
	switch {
	case l.err != nil:
		return l.what + " failed: " + l.err.Error()
	case l.what != "":
		return fmt.Sprintf("entry %s was %v at attempt %d; the log has its error", l.what, l.outcome, l.attempt)
	}
	return ""
}

// begin and end are the first and the last of a run.
func (m *meter) begin(r *run) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.run, m.since, m.ended, m.started = r, time.Now(), nil, false
	m.runs++
	m.unreadable = false
	m.reading = time.Time{}
	m.rival = rival{}
}

func (m *meter) end(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Counts = m.Plus(m.run.window.Counted())
	if m.run.group {
		m.Oldest = "" // it was handed back
	}
	m.run, m.since, m.ended = nil, time.Time{}, err
}

// update changes the fields of m.
func (m *meter) update(do func(m *meter)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	do(m)
}

// silence returns how long no read has come back, zero if that is as it should be.
func (m *meter) silence(e *engine, now time.Time) time.Duration {
	if m.reading.IsZero() {
		return 0 // the window is full, or it has not begun
	}
	last := m.reading
	if m.lastRead.After(last) {
		last = m.lastRead
	}
	if d := now.Sub(last); d > e.block+conn.Patience {
		return d
	}
	return 0
}

// noteClaimed notes entries that became ours.
func (r *run) noteClaimed(entries int, handedBack bool) {
	r.meter.update(func(m *meter) { m.claimed += int64(entries) })
	if len(r.observers.claim) > 0 {
		event := EntriesClaimed{Identity: r.identity, Entries: entries, HandedBack: handedBack}
		tell(r.engine, r.observers.claim, func(o ClaimObserver) { o.OnClaim(event) })
	}
}

// outage is an incident that Stats, Health and the observers know of.
type outage struct {
	incident
	*run
	log  *slog.Logger
	what string
	err  error
	// elsewhere is set where it is about another server than the topic's.
	elsewhere bool
}

// newOutage returns one that has not begun.
func (r *run) newOutage(what string, log *slog.Logger) *outage {
	return &outage{run: r, log: log, what: what}
}

// goesOn notes a failure, and logs it now and then.
func (o *outage) goesOn(err error) {
	if !o.elsewhere {
		o.relocate(err)
	}
	err = explain(err)
	o.add(o.log, o.what, err)
	begins := o.Failures == 1
	o.meter.update(func(m *meter) {
		o.err = err
		if begins {
			m.outages = append(m.outages, o)
		}
		m.lastError = lastError{at: time.Now(), what: o.what, err: err}
	})
	if begins && len(o.observers.trouble) > 0 {
		event := o.event()
		tell(o.engine, o.observers.trouble, func(to TroubleObserver) { to.OnTrouble(event) })
	}
}

// ends notes that it works, and logs that if it did not before.
func (o *outage) ends() {
	if o == nil || o.Failures == 0 {
		return
	}
	o.over(o.log, o.what)
	event := o.event()
	o.abandon()
	if len(o.observers.recovery) > 0 {
		tell(o.engine, o.observers.recovery, func(to RecoveryObserver) { to.OnRecovery(event) })
	}
}

// abandon ends an outage that is not tried any more.
func (o *outage) abandon() {
	if o == nil || o.Failures == 0 {
		return
	}
	o.meter.update(func(m *meter) {
		m.outages = slices.DeleteFunc(m.outages, func(other *outage) bool { return other == o })
	})
	o.incident = incident{}
}

func (o *outage) event() Outage {
	return Outage{Identity: o.identity, What: o.what, Err: o.err, Failures: o.Failures, Since: o.Since}
}
