package task

import (
	"context"
	"sync"
	"time"
)

// Watchdog measures how long a try has been on its way, such as a read or a settling. A try
// that fails is no concern of a watchdog: only one that does not come back is stuck.
//
// A try that waits for its turn behind others is stuck if their queue does not move. How
// long the queue is does not count: in an outage each turn takes until its timeout, a
// thousand times.
//
// Its methods are safe for concurrent use; Begin, End and Waits do nothing on nil. mu guards
// the fields. Under mu only the lock of the queue, or of the other try, is taken that the
// try waits for.
type Watchdog struct {
	mu     sync.Mutex
	since  time.Time // when the try began, or made progress; zero is no try
	behind moving    // the queue, or the other try, that the try waits for; nil is none
	// answered has only those turns count as movement that were answered.
	answered bool
}

// moving tells when a queue, or another try that may wait in a queue, has moved for the
// last time, or has moved by an answer.
type moving interface{ last(answered bool) time.Time }

// Begin notes that a try begins.
func (w *Watchdog) Begin() { w.set(time.Now(), nil) }

// End notes that the try has come back.
func (w *Watchdog) End() { w.set(time.Time{}, nil) }

// Waits notes that the try waits in a queue, a [*Movement], or for another try, a
// [*Watchdog], until Begin is called.
func (w *Watchdog) Waits(behind moving) { w.set(time.Now(), behind) }

func (w *Watchdog) set(since time.Time, behind moving) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since, w.behind = since, behind
}

// Progress notes that the try, if there is one, is not stuck.
func (w *Watchdog) Progress() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.since.IsZero() {
		w.since = time.Now()
	}
}

// Still returns for how long nothing has moved, zero if no try is on its way.
func (w *Watchdog) Still(now time.Time) time.Duration {
	last := w.last(w.answered)
	if last.IsZero() {
		return 0
	}
	return now.Sub(last)
}

// last returns when the try, or the queue or the other try that it waits for, has moved
// for the last time, zero if no try is on its way.
func (w *Watchdog) last(answered bool) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := w.since
	if !last.IsZero() && w.behind != nil {
		if moved := w.behind.last(answered); moved.After(last) {
			last = moved
		}
	}
	return last
}

type watchdogKey struct{}

// WithWatchdog returns a context whose tries are watched. A queue finds the watchdog of a
// waiting try in its context.
func WithWatchdog(ctx context.Context, w *Watchdog) context.Context {
	return context.WithValue(ctx, watchdogKey{}, w)
}

// WatchdogOf returns the watchdog of a context, nil if there is none.
func WatchdogOf(ctx context.Context) *Watchdog {
	w, _ := ctx.Value(watchdogKey{}).(*Watchdog)
	return w
}

// Movement is when a queue has moved for the last time: a turn has begun or ended. The zero
// value is ready, and its methods are safe for concurrent use.
type Movement struct {
	mu           sync.Mutex
	at, answered time.Time
}

// Note notes that the queue moves now.
func (m *Movement) Note() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = time.Now()
}

// NoteAnswer notes that a turn ends now, with an answer.
func (m *Movement) NoteAnswer() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = time.Now()
	m.answered = m.at
}

func (m *Movement) last(answered bool) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if answered {
		return m.answered
	}
	return m.at
}
