package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/stream/internal/contain"
	"millrace/stream/internal/effect"
	"millrace/stream/internal/window"
)

// startWorker starts a worker, which works until the window releases it. A handler may end
// its goroutine (runtime.Goexit, as a test's FailNow does): then another one takes
// its place, or the consumer would go quiet.
func (r *run) startWorker(stopping, handling context.Context) {
	r.workers.Go(func() {
		over := false
		defer func() {
			if !over {
				r.startWorker(stopping, handling)
			}
		}()
		for lost := true; lost; {
			lost = r.workOn(stopping, handling)
		}
		over = true
	})
}

// workOn processes one entry after another, until the worker is to leave. It returns
// earlier, with true, if an entry was claimed away: one context serves many entries, and
// that one has used it up.
func (r *run) workOn(stopping, handling context.Context) (lost bool) {
	ctx, lose := context.WithCancelCause(handling)
	defer lose(nil)
	reader := *r.reader
	if targets := r.engine.config.targets; targets != nil {
		reader.effects = effect.NewBuffer(targets)
	}
	d := delivery{reader: &reader} // one for many entries, because each would be allocated
	reader.watch.Waited()
	for stopping.Err() == nil {
		var waited bool
		if d.it, waited = r.window.Next(lose); d.it == nil {
			return false
		}
		if waited {
			reader.watch.Waited()
		}
		r.deliver(ctx, &d)
		d.entry = Entry{} // whose fields may be large
		r.logEndedCauses()
		if ctx.Err() != nil {
			return true
		}
	}
	return false
}

// delivery is one delivery of an entry: the item of the window, and the entry as the chain
// gets it.
type delivery struct {
	reader *reader // of the worker
	it     *window.Item
	entry  Entry
}

// deliver processes one entry, and decides where it goes.
func (r *run) deliver(ctx context.Context, d *delivery) {
	it := d.it
	if !r.mode.Deliverer.Begin(ctx, it) {
		return
	}
	if it.Repeated = it.Deliveries > 1; it.Repeated {
		d.reader.watch.Waited() // the server may have been asked
	}
	d.entry = Entry{
		reader: d.reader, Stream: d.reader.Stream, ID: it.ID, Fields: it.Entry.Fields, Deliveries: it.Deliveries,
		guarded: it.Exited, size: it.Entry.Size,
	}
	returned := false
	defer func() {
		if !returned {
			it.Exited = true
			r.conclude(ctx, d, contain.ErrGoexit)
		}
	}()
	if it.Member != nil {
		ctx = context.WithValue(ctx, memberKey{}, it.Member)
	}
	if len(r.engine.config.observers.delivery) > 0 {
		tellHere(r.engine, r.engine.config.observers.delivery, r.delivery(it), DeliveryObserver.OnDelivery)
		d.reader.watch.Waited()
	}
	d.reader.watch.Begin()
	failure := r.engine.chain(ctx, &d.entry)
	returned = true
	if d.reader.effects != nil {
		if effects := d.reader.effects.Take(); failure == nil {
			it.Effects = effects
		}
	}
	if failure == nil && ctx.Err() == nil {
		r.end(it, OutcomeHandled, nil, r.took(d))
		if len(r.engine.config.observers.end) > 0 {
			d.reader.watch.Waited()
		}
		return
	}
	r.conclude(ctx, d, failure)
}

// took returns how long a delivery has taken, if an observer is to know that.
func (r *run) took(d *delivery) time.Duration {
	if len(r.engine.config.observers.end) == 0 {
		return 0
	}
	return d.reader.watch.Elapsed()
}

func (r *run) delivery(it *window.Item) DeliveryBegun {
	return DeliveryBegun{Identity: r.reader.Identity, EntryID: it.ID, Attempt: it.Deliveries}
}

// end takes an entry back from its worker after a delivery.
func (r *run) end(it *window.Item, outcome Outcome, failure error, took time.Duration) {
	defer r.window.End(it, outcome.state()) // also if an observer ends this goroutine
	r.noteEnd(it, outcome, failure, took)
}

// noteEnd comes before the window knows, so that no observer is told that an entry was
// settled before its end.
func (r *run) noteEnd(it *window.Item, outcome Outcome, failure error, took time.Duration) {
	it.Outcome = window.Outcome(outcome)
	if len(r.engine.config.observers.end) > 0 {
		event := DeliveryEnded{DeliveryBegun: r.delivery(it), Outcome: outcome, Duration: took, Err: failure}
		tellHere(r.engine, r.engine.config.observers.end, event, EndObserver.OnEnd)
	}
	switch outcome {
	case OutcomeAbsorbed, OutcomeDeadLettered, OutcomeDiscarded, OutcomeHeld, OutcomeParked, OutcomePostponed:
		attempt := it.Deliveries
		r.engine.meter.update(func(m *meter) {
			m.lastError = lastError{at: time.Now(), what: it.ID, outcome: outcome, attempt: attempt}
		})
	}
}

// conclude decides the outcome of an entry whose processing failed, or came back
// when its context had ended.
func (r *run) conclude(ctx context.Context, d *delivery, failure error) {
	it, took := d.it, r.took(d)
	defer d.reader.watch.Waited() // a line may be written
	outcome, dead := d.entry.decide(ctx, failure)
	switch outcome {
	case OutcomeDeadLettered:
		r.postLetter(d, dead, failure, took)
		return
	case OutcomePostponed:
		if outcome, failure = r.postpone(ctx, d, failure); outcome == OutcomePostponed || outcome == OutcomeClaimed {
			outcome.log(r.engine.log, &d.entry, failure)
			defer r.window.Forget(it) // also if an observer ends this goroutine
			r.noteEnd(it, outcome, failure, took)
			return
		}
	}
	switch outcome {
	case OutcomeHeld:
		r.tellHeld(d, failure)
		it.Due = time.Now().Add(r.engine.config.backoff.Delay(d.entry.Deliveries))
	default:
		outcome.log(r.engine.log, &d.entry, failure)
	}
	r.end(it, outcome, failure, took)
}

// postpone puts an entry off, and returns the outcome of that. An entry that cannot be put off is
// held as after any other error.
func (r *run) postpone(ctx context.Context, d *delivery, failure error) (Outcome, error) {
	after, _ := contain.As[*RetryAfterError](failure)
	err := r.mode.Postpone(ctx, d.it, after.After)
	switch {
	case err == nil:
		return OutcomePostponed, failure
	case errors.Is(err, ErrClaimed):
		return OutcomeClaimed, failure
	case ctx.Err() != nil:
		outcome, _ := d.entry.decide(ctx, failure)
		return outcome, failure
	default:
		return OutcomeHeld, fmt.Errorf("%w (it cannot be put off: %w)", failure, explain(err))
	}
}
