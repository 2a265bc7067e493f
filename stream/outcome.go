package stream

import (
	"context"
	"fmt"
	"log/slog"

	"millrace/stream/internal/contain"
	"millrace/stream/internal/window"
)

// Outcome is the result of a delivery for its entry. See the package documentation, "Delivery".
type Outcome uint8

// The outcomes. After the first five the entry is passed; with all others it is not.
const (
	// OutcomeHandled means that the handler returned nil.
	OutcomeHandled Outcome = iota + 1
	// OutcomeAbsorbed means that the entry could not be decoded.
	OutcomeAbsorbed
	// OutcomeSkipped means that it was of no concern; see [Skip].
	OutcomeSkipped
	// OutcomeDeadLettered means that it is in the dead-letter stream.
	OutcomeDeadLettered
	// OutcomeDiscarded means that it was over the limit of deliveries; see
	// [WithDiscard].
	OutcomeDiscarded
	// OutcomeHeld means that it failed, and is delivered again after a wait.
	OutcomeHeld
	// OutcomeParked means that it is over the limit of deliveries, and left
	// pending; see [WithMaxDeliveries].
	OutcomeParked
	// OutcomeInterrupted means that a stop broke its processing off, or came before its
	// dead letter could be written.
	OutcomeInterrupted
	// OutcomeClaimed means that another consumer had claimed it meanwhile; see
	// [ErrClaimed].
	OutcomeClaimed
	// OutcomePostponed means that it was put off, and comes back when its time has come; see
	// [RetryAfter].
	OutcomePostponed

	outcomes // how many there are, and one
)

var outcomeNames = [outcomes]string{
	"none", "handled", "absorbed", "skipped", "dead-lettered", "discarded", "held", "parked", "interrupted", "claimed", "postponed",
}

// String returns the outcome as one word, the value of a metric's label.
func (o Outcome) String() string {
	if o < outcomes {
		return outcomeNames[o]
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// state returns where the window has an entry after the outcome.
func (o Outcome) state() window.State {
	switch o {
	case OutcomeHeld:
		return window.Waiting
	case OutcomeParked:
		return window.Parked
	case OutcomeInterrupted, OutcomeClaimed:
		return window.Interrupted
	default:
		return window.Done
	}
}

// The window counts outcomes as numbers, and knows one of them.
var _ = [1]int{}[OutcomeHandled-Outcome(window.Handled)]

// decide returns the outcome of a delivery whose chain has returned err, and the dead letter
// that is to be written. The order matters: a dead letter's cause is often one of the others.
// ctx is the handler's.
func (e *Entry) decide(ctx context.Context, err error) (Outcome, *DeadLetterError) {
	switch {
	case context.Cause(ctx) == ErrClaimed: //nolint:errorlint // our own, never wrapped
		return OutcomeClaimed, nil
	case err == nil:
		return OutcomeHandled, nil
	}
	stopped := ctx.Err() != nil
	if letter, is := contain.As[*DeadLetterError](err); is {
		if !stopped {
			return OutcomeDeadLettered, letter
		}
		return OutcomeInterrupted, nil // the failure may come from the stop
	}
	if _, is := contain.As[*SkipError](err); is {
		return OutcomeSkipped, nil
	}
	if _, is := contain.As[*DecodeError](err); is && !stopped { // after a stop, no dead letter is made of it
		return OutcomeAbsorbed, nil
	}
	switch {
	case stopped || isStopping(ctx) && contain.IsErr(err, ErrStopping):
		return OutcomeInterrupted, nil
	case !e.reader.isExhausted(e):
		if _, is := contain.As[*RetryAfterError](err); is && e.Reader().Group != "" {
			return OutcomePostponed, nil
		}
		return OutcomeHeld, nil
	case e.reader.discard:
		return OutcomeDiscarded, nil
	default:
		return OutcomeParked, nil
	}
}

// log writes the line of a delivery that is not handled again now, unless a middleware has
// written one. A dead letter is logged when it is written, and a held entry by its cause.
func (o Outcome) log(log *slog.Logger, entry *Entry, err error) {
	log = log.With("entry_id", entry.ID, "attempt", entry.Deliveries)
	if panicked, is := contain.As[*PanicError](err); is {
		log = log.With("stack", string(panicked.Stack))
	}
	switch o {
	case OutcomeClaimed:
		log.Warn("entry given up while it was processed: another consumer has it; its result does not count")
		return
	case OutcomeDiscarded:
		log.Error("entry discarded: it is over the limit of deliveries, and no dead-letter middleware took it")
		return
	case OutcomeParked:
		log.Error("entry left pending: it is over the limit of deliveries, and no dead-letter middleware took it")
		return
	}
	if entry.logged {
		return
	}
	switch o {
	case OutcomeSkipped:
		skip, _ := contain.As[*SkipError](err)
		log.Info("entry passed: skipped", "reason", skip.Reason)
	case OutcomeAbsorbed:
		wrong, _ := contain.As[*DecodeError](err)
		log.Warn("entry passed: it cannot be decoded", "err", contain.Harmless(wrong.Err))
	case OutcomeInterrupted:
		log.Info("entry left: stopped while it was processed")
	case OutcomePostponed:
		after, _ := contain.As[*RetryAfterError](err)
		log.Info("entry put off: it comes back after a time", "after", after.After, "err", err)
	}
}
