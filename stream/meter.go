package stream

import (
	"fmt"
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
	// run is the leg at work, nil while there is none, runs its number. ended is the error
	// of the last Run.
	run     *run
	runs    int64
	since   time.Time
	ended   error
	started bool // the place to start has been found
	// tally is of the runs before.
	window.Counts
	claimed, handedBack, lost, reconnects, seeks int64

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

// begin is the first of a leg, and end the last of a Run. Between two legs the one before counts as
// the one at work.
func (m *meter) begin(r *run) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.run == nil {
		m.since = time.Now()
	}
	m.addLocked()
	m.run, m.ended, m.started = r, nil, false
	m.runs++
	m.unreadable = false
	m.reading = time.Time{}
	m.rival = rival{}
}

func (m *meter) end(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addLocked()
	m.run, m.since, m.ended = nil, time.Time{}, err
}

// addLocked adds the counts of the leg at work to those of the legs before. m.mu must be held.
func (m *meter) addLocked() {
	if m.run == nil {
		return
	}
	m.Counts = m.Plus(m.run.window.Counted())
	if m.run.engine.inGroup() {
		m.Oldest = "" // it was handed back
	}
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
	if d := now.Sub(last); d > e.config.block+conn.Patience {
		return d
	}
	return 0
}
