package feed

import (
	"context"
	"sync"
	"time"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/task"
)

// gate keeps many from trying, all of them, a read that has just failed for one: while a
// server cannot be reached one at a time does, after a wait that grows. A thousand
// consumers that each dial once a second are a flood, of connections and of what
// go-redis logs about them.
type gate struct {
	mu       sync.Mutex
	failures int64
	next     time.Time     // when to try again
	trying   bool          // a member is about to
	changed  chan struct{} // closed when one of these has changed; nil is none waits
	moved    task.Movement // when a try was over
}

// enter waits until it is of use to try; it reports false if ctx is done before.
// leave must follow if it reports true.
func (g *gate) enter(ctx context.Context) bool {
	for {
		g.mu.Lock()
		if g.failures == 0 {
			g.mu.Unlock()
			return ctx.Err() == nil
		}
		if !g.trying {
			g.trying = true
			wait := time.Until(g.next)
			g.mu.Unlock()
			if task.Sleep(ctx, wait) {
				return true
			}
			g.leave(ctx, ctx.Err())
			return false
		}
		if g.changed == nil {
			g.changed = make(chan struct{})
		}
		changed := g.changed
		g.mu.Unlock()
		watchdog := task.WatchdogOf(ctx)
		watchdog.Waits(&g.moved)
		select {
		case <-changed:
			watchdog.Begin()
		case <-ctx.Done():
			return false
		}
	}
}

// leave tells how the try went. Any answer of the server is a
// success, and a try that ctx has ended is none at all.
func (g *gate) leave(ctx context.Context, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case err == nil || conn.Classify(err).Answered():
		g.failures = 0
	case ctx.Err() == nil:
		g.failures++
		g.next = time.Now().Add(task.Recovery.Delay(g.failures))
	}
	g.trying = false
	g.moved.Note()
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}
