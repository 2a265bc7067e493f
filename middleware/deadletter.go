package middleware

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
)

// DeadLetterConfig configures [DeadLetter].
type DeadLetterConfig struct {
	// Stream is the key of the dead-letter stream.
	// Default: stream.DeadLetterStream of the entry's stream.
	Stream string
	// Client is for a dead-letter stream on another Redis. It is not closed.
	// Default: the consumer's own client.
	Client redis.UniversalClient
	// If says which errors make a dead letter. Default: those that [Retry] has
	// given up on, permanent errors (stream.Permanent), decode errors, and entries
	// over the limit of deliveries. If is not called for skips and for errors that
	// make a dead letter already. Where it panics, the default decides.
	If func(error) bool
}

// DeadLetter sends an entry that cannot be processed to a dead-letter stream:
// its original fields, byte for byte, and where it came from, how often it was
// tried, why it failed and when (the DeadLetter constants of package stream).
// Every other error goes on outwards, and the entry is held.
//
// DeadLetter only decides. The engine writes, passes the entry when that has
// succeeded, and holds it for as long as it fails. Nothing ever shortens the
// dead-letter stream but its owner.
func DeadLetter(config DeadLetterConfig) stream.Middleware {
	if config.If == nil {
		config.If = isGivenUp
	}
	return func(next stream.EntryHandler) stream.EntryHandler {
		return func(ctx context.Context, entry *stream.Entry) error {
			err := next(ctx, entry)
			if err == nil || ctx.Err() != nil || isSettled(err) {
				return err
			}
			takes, err := decide(config.If, isGivenUp, err)
			if !takes {
				return err
			}
			attempts := entry.Deliveries
			var (
				gaveUp    *RetryError
				exhausted *stream.MaxDeliveriesError
			)
			switch {
			case errors.As(err, &gaveUp):
				attempts = max(attempts, int64(gaveUp.Attempts))
			case errors.As(err, &exhausted):
				attempts-- // this delivery was none
			}
			return &stream.DeadLetterError{Stream: config.Stream, Client: config.Client, Attempts: attempts, Err: err}
		}
	}
}

func isGivenUp(err error) bool {
	var (
		gaveUp    *RetryError
		permanent *stream.PermanentError
		decode    *stream.DecodeError
		exhausted *stream.MaxDeliveriesError
	)
	return errors.As(err, &exhausted) || errors.As(err, &gaveUp) || errors.As(err, &permanent) || errors.As(err, &decode)
}

// isSettled reports whether the outcome was decided further in.
func isSettled(err error) bool {
	var (
		skip *stream.SkipError
		dead *stream.DeadLetterError
	)
	return errors.As(err, &skip) || errors.As(err, &dead) || errors.Is(err, stream.ErrStopping)
}
