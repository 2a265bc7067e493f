package middleware

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/stream"
)

// RetryConfig configures [Retry].
type RetryConfig struct {
	// Attempts is how often processing is tried in all, the first time
	// included. Default, also for less than 1: 3.
	Attempts int
	// MaxElapsed ends the trying when the next attempt would begin later than
	// this after the first. Default, also for less than zero: no limit.
	MaxElapsed time.Duration
	// Backoff is how long to wait between attempts.
	// Default for each field, also for less than zero: 100 milliseconds to 10 seconds.
	Backoff stream.Backoff
	// If says which errors are worth another attempt. Default: all. It is not
	// asked about those that never are: see [Retry]. A panic counts as yes.
	If func(error) bool
}

// Retry tries again in place: it repeats the processing inside of it until that
// succeeds, and waits in between, longer each time. During the wait, a consumer in log
// mode processes no other entry; a long wait is better left to the engine, which
// holds an entry that failed (see stream.WithBackoff).
//
// When the attempts or the time are used up, the last error comes back in a
// [*RetryError], which [DeadLetter] takes. Not tried again, and returned as
// they are, are decode errors, skips, dead letters, permanent errors
// (stream.Permanent), errors of stream.RetryAfter, entries over the limit of deliveries, errors that If
// declines, any error once the context is done, and stream.ErrStopping.
func Retry(config RetryConfig) stream.Middleware {
	if config.Attempts < 1 {
		config.Attempts = 3
	}
	config.Backoff = config.Backoff.Or(stream.Backoff{Min: 100 * time.Millisecond, Max: 10 * time.Second})
	return func(next stream.EntryHandler) stream.EntryHandler {
		return func(ctx context.Context, entry *stream.Entry) error {
			err := next(ctx, entry)
			if err == nil {
				return nil
			}
			return retry(ctx, config, entry, next, err)
		}
	}
}

// retry goes on after a first attempt that failed with err.
func retry(ctx context.Context, config RetryConfig, entry *stream.Entry, next stream.EntryHandler, err error) error {
	begun := time.Now()
	for attempt := 1; ; attempt++ {
		if err == nil || ctx.Err() != nil || !worthRetrying(err) {
			return err
		}
		if config.If != nil {
			var worth bool
			if worth, err = decide(config.If, worthRetrying, err); !worth {
				return err
			}
		}
		delay := config.Backoff.Delay(int64(attempt))
		late := config.MaxElapsed > 0 && time.Since(begun)+delay > config.MaxElapsed
		if attempt >= config.Attempts || late {
			return &RetryError{Attempts: attempt, Err: err}
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w (not tried again: %w)", err, context.Cause(ctx))
		}
		err = next(ctx, entry)
	}
}

func worthRetrying(err error) bool {
	var (
		decode    *stream.DecodeError
		skip      *stream.SkipError
		dead      *stream.DeadLetterError
		permanent *stream.PermanentError
		exhausted *stream.MaxDeliveriesError
		later     *stream.RetryAfterError
	)
	return !errors.Is(err, stream.ErrStopping) && !errors.As(err, &later) && !errors.As(err, &exhausted) && !errors.As(err, &decode) && !errors.As(err, &skip) && !errors.As(err, &dead) && !errors.As(err, &permanent)
}

// RetryError says that [Retry] has given up. It surfaces in the middleware
// outside of Retry; without a [DeadLetter] there the entry is held.
type RetryError struct {
	// Attempts is how often processing was tried.
	Attempts int
	// Err is the error of the last attempt.
	Err error
}

func (e *RetryError) Error() string {
	return fmt.Sprintf("gave up after %d attempts: %v", e.Attempts, e.Err)
}

// Unwrap returns the error of the last attempt.
func (e *RetryError) Unwrap() error { return e.Err }
