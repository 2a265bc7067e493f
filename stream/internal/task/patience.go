package task

import (
	"context"
	"sync"
	"time"
)

// Patience returns a context for tries that may have to wait in a queue. It ends, with
// [context.DeadlineExceeded], when for the limit, from since on, no try has begun and no turn
// of the queue that a try waits in was answered: how long the queue is does not count, and a
// server that stands still ends all that wait for it together. It also ends with ctx, and
// when cancel is called.
func Patience(ctx context.Context, limit time.Duration, since time.Time) (_ context.Context, cancel func()) {
	watchdog := &Watchdog{since: since, answered: true}
	p := &patience{Context: WithWatchdog(ctx, watchdog), done: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(limit-time.Since(since), func() {
		if left := limit - watchdog.Still(time.Now()); left > 0 {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.err == nil {
				p.timer.Reset(left)
			}
			return
		}
		p.end(context.DeadlineExceeded)
	})
	forget := context.AfterFunc(ctx, func() { p.end(ctx.Err()) })
	return p, func() {
		forget()
		p.end(context.Canceled)
	}
}

// patience is the context; mu guards err and timer.
type patience struct {
	context.Context
	done  chan struct{}
	mu    sync.Mutex
	err   error // nil until done is closed
	timer *time.Timer
}

func (p *patience) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
		p.timer.Stop()
		close(p.done)
	}
}

func (p *patience) Done() <-chan struct{} { return p.done }

func (p *patience) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *patience) Deadline() (at time.Time, set bool) { return time.Time{}, false }
