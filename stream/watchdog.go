package stream

import (
	"context"
	"sync"
	"time"
)

// watchdog measures how long a try to read, to settle or to start has been on its way. A
// try that fails is no concern of it: only one that does not come back is stuck.
//
// A try that waits for its turn behind others is stuck if their queue does not move. How
// long the queue is does not count: in an outage each turn takes until its timeout, a
// thousand times.
//
// Its methods are safe for concurrent use, and do nothing on nil. Under its own lock only
// the lock of the queue or of the other try is taken that the try waits for.
type watchdog struct {
	mu     sync.Mutex
	since  time.Time // the try began, or made progress; zero is no try
	behind moving    // the queue, or the other try, that the try waits for; nil is none
}

// moving tells when it has moved for the last time: a queue, or another try that may
// wait in a queue.
type moving interface{ last() time.Time }

// begin notes the begin of a try, end its end.
func (w *watchdog) begin() { w.set(time.Now(), nil) }
func (w *watchdog) end()   { w.set(time.Time{}, nil) }

// waits notes that the try waits in a queue, or for another try, until begin is called.
func (w *watchdog) waits(behind moving) { w.set(time.Now(), behind) }

func (w *watchdog) set(since time.Time, behind moving) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since, w.behind = since, behind
}

// progress notes that the try, if there is one, is not stuck.
func (w *watchdog) progress() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.since.IsZero() {
		w.since = time.Now()
	}
}

// still returns for how long nothing has moved, zero if no try is on its way.
func (w *watchdog) still(now time.Time) time.Duration {
	last := w.last()
	if last.IsZero() {
		return 0
	}
	return now.Sub(last)
}

// last returns when the try, or the queue or the other try that it waits for, has moved
// for the last time, zero if no try is on its way.
func (w *watchdog) last() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := w.since
	if !last.IsZero() && w.behind != nil {
		if moved := w.behind.last(); moved.After(last) {
			last = moved
		}
	}
	return last
}

type watchdogKey struct{}

// withWatchdog returns a context whose tries are watched. A queue finds the watchdog of a
// waiting try in its context.
func withWatchdog(ctx context.Context, w *watchdog) context.Context {
	return context.WithValue(ctx, watchdogKey{}, w)
}

// watchdogOf returns the watchdog of a context, nil if there is none.
func watchdogOf(ctx context.Context) *watchdog {
	w, _ := ctx.Value(watchdogKey{}).(*watchdog)
	return w
}

// movement is when a queue has moved for the last time: a turn has begun or ended.
type movement struct {
	mu sync.Mutex
	at time.Time
}

func (m *movement) note() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = time.Now()
}

func (m *movement) last() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at
}
