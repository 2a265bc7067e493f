package middleware

import (
	"context"
	"errors"
	"fmt"

	"millrace/stream"
)

// caught makes an error of the value of a panic, as the engine does.
func caught(value any) error {
	return stream.CatchPanic(func(context.Context, *stream.Entry) error { panic(value) })(context.Background(), &stream.Entry{})
}

// outlast calls a function of the user's beside the processing of an entry, such as a
// log handler. A panic, or runtime.Goexit, is returned as an error, so that it does not
// become a failure of an entry that has been handled.
func outlast(do func()) error {
	result := make(chan error, 1)
	go func() {
		returned := false
		defer func() {
			if value := recover(); value != nil {
				result <- caught(value)
			} else if !returned {
				result <- errors.New("it ended its goroutine (runtime.Goexit) instead of returning")
			}
		}()
		do()
		returned = true
		result <- nil
	}()
	return <-result
}

// decide asks a function of a config's about an error. Where it panics, the default
// decides, and the error that is returned tells of the panic, too.
func decide(ask, standard func(error) bool, err error) (bool, error) {
	yes := false
	failure := outlast(func() { yes = ask(err) })
	if failure != nil {
		return standard(err), fmt.Errorf("%w (the config's If could not be asked: %w)", err, failure)
	}
	return yes, err
}
