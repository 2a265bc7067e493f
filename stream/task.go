package stream

import (
	"sync"
	"time"
)

// task runs a function each time it is requested, one run at a time. Requests that arrive
// during a run make one more run. Its goroutine exists only while the function runs: the
// stacks of a thousand goroutines that wait would be held by an idle process.
//
// mu guards the fields below it. It may be taken while any other lock is held.
type task struct {
	do func()

	mu        sync.Mutex
	requested bool // since the last run began
	running   bool
	over      bool        // no run begins any more
	timer     *time.Timer // nil is none
	goroutine sync.WaitGroup
}

// request has the function run. It does not wait.
func (t *task) request() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requestLocked()
}

func (t *task) requestLocked() {
	t.requested = true
	if !t.running && !t.over {
		t.running = true
		t.goroutine.Go(t.run)
	}
}

// every requests a run at an interval, from now on.
func (t *task) every(interval time.Duration) {
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

func (t *task) run() {
	for t.next() {
		t.do()
	}
}

func (t *task) next() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running, t.requested = t.requested && !t.over, false
	return t.running
}

// stop waits for the run that is on its way. No other one begins.
func (t *task) stop() {
	t.mu.Lock()
	t.over = true
	if t.timer != nil {
		t.timer.Stop()
	}
	t.mu.Unlock()
	t.goroutine.Wait()
}
