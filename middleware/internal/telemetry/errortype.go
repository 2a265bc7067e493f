package telemetry

import (
	"fmt"

	"millrace/stream"
)

// maxDepth ends the search for the innermost error: an error may unwrap to itself.
const maxDepth = 100

// ErrorType returns a word for the failure of a delivery, or "" for one that did not fail:
// handled, skipped, or interrupted by a stop. The words are "decode", "panic" and "claimed", or
// the Go type of the innermost error, such as "*net.OpError". It never has the text of an error,
// which may hold field values.
func ErrorType(outcome stream.Outcome, err error) string {
	switch outcome {
	case stream.OutcomeHandled, stream.OutcomeSkipped, stream.OutcomeInterrupted:
		return ""
	case stream.OutcomeClaimed:
		return "claimed"
	case stream.OutcomeAbsorbed:
		return "decode"
	}
	return TypeOf(err)
}

// TypeOf is [ErrorType] of an error that belongs to no delivery. It returns "" for nil.
func TypeOf(err error) string {
	if err == nil {
		return ""
	}
	innermost := err
	// errors.As is no use here: it never ends with an error that unwraps to itself.
	for range maxDepth {
		switch innermost.(type) { //nolint:errorlint // it unwraps below
		case *stream.PanicError:
			return "panic"
		case *stream.DecodeError:
			return "decode"
		}
		inner := unwrap(innermost)
		if inner == nil {
			break
		}
		innermost = inner
	}
	return fmt.Sprintf("%T", innermost)
}

// unwrap returns the error inside, the first of several, or nil if there is none.
func unwrap(err error) error {
	switch wrapping := err.(type) { //nolint:errorlint // it unwraps
	case interface{ Unwrap() error }:
		return wrapping.Unwrap()
	case interface{ Unwrap() []error }:
		for _, one := range wrapping.Unwrap() {
			if one != nil {
				return one
			}
		}
	}
	return nil
}
