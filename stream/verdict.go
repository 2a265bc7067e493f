package stream

import (
	"millrace/stream/internal/conn"
	"millrace/stream/internal/contain"
)

// classify returns the verdict on an error of a server, of a store, or of this package.
func classify(err error) conn.Verdict {
	if loss, is := contain.As[*LossError](err); is && loss != nil {
		return conn.Verdict{Class: conn.Final, Advice: "the loss policy says stop; look at what was lost, then set the offset, or choose another policy"}
	}
	return conn.Classify(err)
}

// explain returns the error as it is shown to users: with its advice in front, and with
// a [*PanicError] for a panic that a room has caught. It is safe to log.
func explain(err error) error {
	v := classify(err)
	if panicked, is := contain.As[*contain.PanicError](err); is {
		shown := PanicError(*panicked)
		err = &shownPanicError{err, &shown}
	}
	return v.Explain(err)
}

// shownPanicError is an error that wraps a panic's, for errors.As to find the public one.
type shownPanicError struct {
	error
	panicked *PanicError
}

func (e *shownPanicError) Unwrap() []error { return []error{e.error, e.panicked} }
