package task

import (
	"context"
	"sync"
	"time"
)

// Task runs a function each time it is requested, one run at a time, between Begin and
// Stop. Requests that arrive during a run make one more run. Its goroutine exists only while the function runs: the
// stacks of a thousand goroutines that wait would be held by an idle process.
//
// mu guards the fields below it. It may be taken while any other lock is held.
type Task struct {
	Do func(ctx context.Context) // set before Begin

	mu        sync.Mutex
	do        func() // Do with the context of Begin; nil before
	requested bool   // since the last run began
	running   bool
	over      bool        // no run begins any more
	timer     *time.Timer // nil is none
	due       time.Time   // when the timer of In goes off; zero is that it has, or of Every
	goroutine sync.WaitGroup
}

// Begin has the function run with the context whenever it is requested, from now on. A
// request that came before is carried out now.
func (t *Task) Begin(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.do = func() { t.Do(ctx) }
	if t.requested {
		t.requestLocked()
	}
}

// Request has the function run. It does not wait.
func (t *Task) Request() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requestLocked()
}

func (t *Task) requestLocked() {
	t.requested = true
	if !t.running && !t.over && t.do != nil {
		t.running = true
		t.goroutine.Go(t.run)
	}
}

// Every requests a run at an interval, from now on.
func (t *Task) Every(interval time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer = time.AfterFunc(interval, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if !t.over {
			t.timer.Reset(interval)
			t.requestLocked()
		}
	})
}

// In requests a run after the given time, or before, where that was asked for. It is not for a task
// with Every.
func (t *Task) In(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	due := time.Now().Add(d)
	if t.over || !t.due.IsZero() && !due.Before(t.due) {
		return
	}
	t.due = due
	if t.timer != nil {
		t.timer.Reset(d)
		return
	}
	t.timer = time.AfterFunc(d, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.due = time.Time{}
		t.requestLocked()
	})
}

func (t *Task) run() {
	for t.next() {
		t.do()
	}
}

func (t *Task) next() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running, t.requested = t.requested && !t.over, false
	return t.running
}

// Stop waits for the run that is on its way. No other one begins.
func (t *Task) Stop() {
	t.mu.Lock()
	t.over = true
	if t.timer != nil {
		t.timer.Stop()
	}
	t.mu.Unlock()
	t.goroutine.Wait()
}
