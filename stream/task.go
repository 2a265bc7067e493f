package stream

import (
	"sync"
	"time"
)

// task is something that is done again whenever somebody asks for it, by a
// goroutine that is there only meanwhile: each one that waits for its next turn
// costs a stack, and so do a thousand of them in an idle process.
type task struct {
	do func()

	mu        sync.Mutex
	requested bool // since it was last begun
	running   bool // it is being done
	over      bool
	timer     *time.Timer // nil is none
	goroutine sync.WaitGroup
}

// request has it done, once for all who ask before that begins. It does not wait.
func (e *task) request() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.requestLocked()
}

func (e *task) requestLocked() {
	e.requested = true
	if !e.running && !e.over {
		e.running = true
		e.goroutine.Go(e.run)
	}
}

// every asks for it at an interval, from now on.
func (e *task) every(interval time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.timer = time.AfterFunc(interval, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if !e.over {
			e.timer.Reset(interval)
			e.requestLocked()
		}
	})
}

func (e *task) run() {
	for e.next() {
		e.do()
	}
}

func (e *task) next() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running, e.requested = e.requested && !e.over, false
	return e.running
}

// stop waits until it is not being done, and keeps it from being done again.
func (e *task) stop() {
	e.mu.Lock()
	e.over = true
	if e.timer != nil {
		e.timer.Stop()
	}
	e.mu.Unlock()
	e.goroutine.Wait()
}
