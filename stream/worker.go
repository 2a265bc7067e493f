package stream

import (
	"context"
	"sync"
	"time"
)

// employ starts a worker, which works until the window dismisses it. A handler may end
// its goroutine (runtime.Goexit, as a test's FailNow does): then another one takes
// its place, or the consumer would go quiet.
func (r *run) employ(stopping, handling context.Context, workers *sync.WaitGroup) {
	workers.Go(func() {
		over := false
		defer func() {
			if !over {
				r.employ(stopping, handling, workers)
			}
		}()
		for lost := true; lost; {
			lost = r.workOn(stopping, handling)
		}
		over = true
	})
}

// workOn processes one entry after another, until the worker is to leave. It returns
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
		r.tellOvercome()
		if ctx.Err() != nil {
			return true
		}
	}
	return false
}

// deliver processes one entry, and decides where it goes.
func (r *run) deliver(ctx context.Context, one *held) {
	if !r.source.begin(ctx, one) {
		return
	}
	one.repeated = one.entry.Deliveries > 1
	one.entry.guarded, one.entry.logged = one.exited, false
	var begun time.Time
	returned := false
	defer func() {
		if !returned {
			one.exited = true
			r.conclude(ctx, one, errGoexit, begun)
		}
	}()
	if one.piece != nil {
		ctx = context.WithValue(ctx, pieceKey{}, one.piece)
	}
	begun = r.begun(one)
	failure := r.chain(ctx, one.entry)
	returned = true
	if failure == nil && ctx.Err() == nil {
		r.end(one, OutcomeHandled, nil, r.sinceBegun(begun))
		return
	}
	r.conclude(ctx, one, failure, begun)
}

// begun tells that an entry is about to be processed, and returns the time if
// somebody wants to know how long that takes.
func (r *run) begun(one *held) (at time.Time) {
	if len(r.observers.delivery) > 0 {
		event := r.delivery(one)
		tellHere(r.engine, r.observers.delivery, event, DeliveryObserver.OnDelivery)
	}
	if len(r.observers.end) > 0 {
		at = time.Now()
	}
	return at
}

func (r *run) sinceBegun(begun time.Time) time.Duration {
	if begun.IsZero() {
		return 0
	}
	return time.Since(begun)
}

func (r *run) delivery(one *held) Delivery {
	return Delivery{Identity: r.identity, EntryID: one.id, Attempt: one.entry.Deliveries}
}

// end takes an entry back from its worker after a delivery.
func (r *run) end(one *held, outcome Outcome, failure error, took time.Duration) {
	defer r.window.end(one, outcome.state()) // also if an observer ends this goroutine
	r.noteEnd(one, outcome, failure, took)
}

// noteEnd comes before the window knows, so that nobody is told that an entry was
// settled before its end.
func (r *run) noteEnd(one *held, outcome Outcome, failure error, took time.Duration) {
	one.outcome = outcome
	if len(r.observers.end) > 0 {
		event := End{Delivery: r.delivery(one), Outcome: outcome, Duration: took, Err: failure}
		tellHere(r.engine, r.observers.end, event, EndObserver.OnEnd)
	}
	switch outcome {
	case OutcomeAbsorbed, OutcomeDeadLettered, OutcomeDiscarded, OutcomeHeld, OutcomeParked:
		attempt := one.entry.Deliveries
		r.meter.update(func(m *meter) {
			m.lastError = lastError{at: time.Now(), what: one.id, outcome: outcome, attempt: attempt}
		})
	}
}

// conclude decides what becomes of an entry whose processing failed, or came back
// when its context had ended.
func (r *run) conclude(ctx context.Context, one *held, failure error, begun time.Time) {
	entry, took := one.entry, r.sinceBegun(begun)
	switch {
	case context.Cause(ctx) == ErrClaimed: //nolint:errorlint // our own, never wrapped
		r.log().Warn("entry given up while it was processed: another consumer has it; its result does not count", "entry_id", one.id, "attempt", entry.Deliveries)
		r.end(one, OutcomeClaimed, failure, took)
		return
	case failure == nil:
		r.end(one, OutcomeHandled, nil, took)
		return
	}
	outcome, dead := r.judge(ctx, entry, failure)
	switch {
	case dead != nil:
		r.letters.post(r.newDeadLetter(one, dead, failure, took))
		return
	case outcome != OutcomeHeld:
	case entry.exhausted && r.discard:
		r.log().Error("entry discarded: it is over the limit of deliveries, and no dead-letter middleware took it", "entry_id", one.id, "attempt", entry.Deliveries)
		outcome = OutcomeDiscarded
	case entry.exhausted:
		r.log().Error("entry left pending: it is over the limit of deliveries, and no dead-letter middleware took it", "entry_id", one.id, "attempt", entry.Deliveries)
		outcome = OutcomeParked
	default:
		r.tellHeld(one, failure)
		one.due = time.Now().Add(r.backoff.Delay(entry.Deliveries))
		one.deliveries = entry.Deliveries
	}
	r.end(one, outcome, failure, took)
}
