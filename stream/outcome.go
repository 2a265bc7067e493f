package stream

import (
	"context"
	"fmt"

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

	outcomes // how many there are, and one
)

var outcomeNames = [outcomes]string{
	"none", "handled", "absorbed", "skipped", "dead-lettered", "discarded", "held", "parked", "interrupted", "claimed",
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

// judge returns the outcome of a failure of the chain, and logs it if the entry is not
// held. It returns a dead letter that is to be written. The order matters: a dead letter's
// cause is often one of the others. ctx is the handler's.
func (e *engine) judge(ctx context.Context, entry *Entry, failure error) (Outcome, *DeadLetterError) {
	log := e.log.With("entry_id", entry.ID, "attempt", entry.Deliveries)
	if panicked, is := contain.As[*PanicError](failure); is {
		log = log.With("stack", string(panicked.Stack))
	}
	letter, isLetter := contain.As[*DeadLetterError](failure)
	skip, isSkip := contain.As[*SkipError](failure)
	wrong, isWrong := contain.As[*DecodeError](failure)
	switch {
	case isLetter && ctx.Err() == nil:
		return OutcomeDeadLettered, letter
	case isLetter:
		// The failure may come from the stop.
	case isSkip:
		if !entry.logged {
			log.Info("entry passed: skipped", "reason", skip.Reason)
		}
		return OutcomeSkipped, nil
	case isWrong && ctx.Err() == nil: // after a stop, no dead letter is made of it
		if !entry.logged {
			log.Warn("entry passed: it cannot be decoded", "err", contain.Harmless(wrong.Err))
		}
		return OutcomeAbsorbed, nil
	}
	if ctx.Err() != nil || isStopping(ctx) && contain.IsErr(failure, ErrStopping) {
		if !entry.logged {
			log.Info("entry left: stopped while it was processed")
		}
		return OutcomeInterrupted, nil
	}
	return OutcomeHeld, nil
}
