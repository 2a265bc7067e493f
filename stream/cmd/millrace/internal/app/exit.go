package app

import (
	"context"
	"errors"
	"io"
	"syscall"

	"millrace/stream"
	"millrace/stream/admin"
)

// The exit codes of all commands.
const (
	exitDone        = 0
	exitError       = 1
	exitUsage       = 2
	exitFound       = 3
	exitRefused     = 4
	exitInterrupted = 130
)

// exitTexts are the meanings of the exit codes, for helps.
var exitTexts = map[int]string{
	exitDone:        "done",
	exitError:       "error",
	exitUsage:       "wrong usage",
	exitFound:       "found something",
	exitRefused:     "refused, or only planned",
	exitInterrupted: "interrupted",
}

// codeError ends a command with a code. It has no err if all was said already.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string {
	if e.err == nil {
		return exitTexts[e.code]
	}
	return e.err.Error()
}

func (e *codeError) Unwrap() error { return e.err }

// usage makes an error one of wrong usage, and refused one of a refusal.
func usage(err error) error   { return &codeError{exitUsage, err} }
func refused(err error) error { return &codeError{exitRefused, err} }

// ranError marks an error that a command has returned: all others come from the parsing of the
// command line.
type ranError struct{ error }

func (e ranError) Unwrap() error { return e.error }

// codeOf returns the exit code for the error of a command.
func codeOf(ctx context.Context, err error) int {
	var (
		own *codeError
		ran ranError
	)
	switch {
	case err == nil, errors.Is(err, errPipe), errors.Is(context.Cause(ctx), errPipe):
		return exitDone
	case errors.As(err, &own):
		return own.code
	case ctx.Err() != nil:
		return exitInterrupted
	case !errors.As(err, &ran), errors.Is(err, stream.ErrInvalidOption), errors.Is(err, admin.ErrNoPlace):
		return exitUsage
	case isRefusal(err):
		return exitRefused
	default:
		return exitError
	}
}

// isRefusal reports whether nothing was done, or no more is done, because it would do harm.
func isRefusal(err error) bool {
	var (
		moved    *admin.MovedError
		returned *admin.ReturnedError
	)
	return errors.As(err, &moved) || errors.As(err, &returned) || errors.Is(err, admin.ErrExpired) ||
		errors.Is(err, admin.ErrUnattended) || errors.Is(err, admin.ErrPending)
}

// isClosed reports whether the reader of a pipe has gone.
func isClosed(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe)
}
