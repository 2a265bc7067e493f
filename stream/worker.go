package stream

import (
	"context"
	"errors"
	"sync"
	"time"
)

// work runs the workers until the window is stopped.
func (r *run) work(stopping, handling context.Context) {
	var workers sync.WaitGroup
	for range r.concurrency {
		workers.Go(func() { r.employ(stopping, handling) })
	}
	workers.Wait()
}

// employ has one worker after another work, until the window is stopped. There is
// more than one if a handler ends its goroutine (runtime.Goexit, as a test's
// FailNow does): without another one the consumer would go quiet.
func (r *run) employ(stopping, handling context.Context) {
	for over := false; !over; {
		var worker sync.WaitGroup
		worker.Go(func() {
			for lost := true; lost; {
				lost = r.workOn(stopping, handling)
			}
			over = true
		})
		worker.Wait()
	}
}

// workOn processes one entry after another, until stopping is done. It returns
// earlier, with true, if an entry was lost: one context serves many entries, and
// that one has used it up.
func (r *run) workOn(stopping, handling context.Context) (lost bool) {
	ctx, lose := context.WithCancelCause(handling)
	defer lose(nil)
	for stopping.Err() == nil {
		one := r.window.next(lose)
		if one == nil {
			return false
		}
		r.deliver(ctx, one)
		if ctx.Err() != nil {
			return true
		}
	}
	return false
}

// errGoexit is the failure of a handler that ended its goroutine.
var errGoexit = errors.New("the handler ended its goroutine (runtime.Goexit) instead of returning")

// deliver processes one entry, and decides where it goes.
func (r *run) deliver(ctx context.Context, one *held) {
	if !r.source.begin(ctx, one) {
		return
	}
	failure, returned := errGoexit, false
	defer func() {
		if !returned {
			r.conclude(ctx, one, failure)
		}
	}()
	failure = r.chain(ctx, one.entry)
	returned = true
	if failure == nil && ctx.Err() == nil {
		r.window.end(one, done)
		return
	}
	r.conclude(ctx, one, failure)
}

// conclude decides what becomes of an entry whose processing failed, or came back
// when its context had ended.
func (r *run) conclude(ctx context.Context, one *held, failure error) {
	entry := one.entry
	switch {
	case context.Cause(ctx) == ErrClaimed: //nolint:errorlint // our own, never wrapped
		r.log().Warn("entry given up while it was processed: another consumer has it; its result does not count", "entry_id", one.id, "attempt", entry.Deliveries)
		r.window.end(one, broken)
		return
	case failure == nil:
		r.window.end(one, done)
		return
	}
	settled := false
	outcome, err := r.judge(ctx, entry, failure, func(dead *DeadLetterError) (err error) {
		settled, err = r.source.bury(ctx, one, dead)
		return err
	})
	switch {
	case err != nil || outcome == interrupted:
		r.window.end(one, broken)
	case outcome == passed && settled:
		r.window.forget(one)
	case outcome == passed:
		r.window.end(one, done)
	case entry.exhausted && r.discard:
		r.log().Error("entry discarded: it is over the limit of deliveries, and no dead-letter middleware took it", "entry_id", one.id, "attempt", entry.Deliveries)
		r.window.end(one, done)
	case entry.exhausted:
		r.log().Error("entry left pending: it is over the limit of deliveries, and no dead-letter middleware took it", "entry_id", one.id, "attempt", entry.Deliveries)
		one.entry = nil
		r.window.end(one, parked)
	default:
		one.due = time.Now().Add(r.backoff.Delay(entry.Deliveries))
		one.deliveries = entry.Deliveries
		if r.group {
			one.entry = nil // it is fetched anew; until then nobody needs the payload
		}
		r.window.end(one, waiting)
	}
}
