package stream

import (
	"sync"
	"time"
)

// errand is something that is done again whenever somebody asks for it, by a
// goroutine that is there only meanwhile: each one that waits for its next turn
// costs a stack, and so do a thousand of them in an idle process.
type errand struct {
	do func()

	mu    sync.Mutex
	asked bool // since it was last begun
	busy  bool // it is being done
	over  bool
	timer *time.Timer // nil is none
	doing sync.WaitGroup
}

// ask has it done, once for all who ask before that begins. It does not wait.
func (e *errand) ask() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.askLocked()
}

func (e *errand) askLocked() {
	e.asked = true
	if !e.busy && !e.over {
		e.busy = true
		e.doing.Go(e.run)
	}
}

// every asks for it at an interval, from now on.
func (e *errand) every(interval time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.timer = time.AfterFunc(interval, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if !e.over {
			e.timer.Reset(interval)
			e.askLocked()
		}
	})
}

func (e *errand) run() {
	for e.isToBeDone() {
		e.do()
	}
}

func (e *errand) isToBeDone() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.busy, e.asked = e.asked && !e.over, false
	return e.busy
}

// end waits until it is not being done, and keeps it from being done again.
func (e *errand) end() {
	e.mu.Lock()
	e.over = true
	if e.timer != nil {
		e.timer.Stop()
	}
	e.mu.Unlock()
	e.doing.Wait()
}
