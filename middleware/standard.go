package middleware

import (
	"log/slog"
	"slices"

	"millrace/stream"
)

// Standard is the recommended stack as one middleware. It behaves as this list:
//
//	middleware.Logging(logger),
//	middleware.DeadLetter(middleware.DeadLetterConfig{}),
//	middleware.Retry(middleware.RetryConfig{}),
//	middleware.Breaker(middleware.BreakerConfig{Logger: logger}),
//
// Each delivery is logged once. An entry gets three attempts within half a second, and
// is then a dead letter in the stream that stream.DeadLetterStream names. A permanent
// error (stream.Permanent) and an entry that cannot be decoded are dead letters at once.
// A panic is an error like any other. To change one of the four, write the list by hand.
// A nil logger means slog.Default() at the time of the call of Standard.
//
// Breaker is part of the stack because Retry and DeadLetter need it: while a database
// is away, each entry would use up its three attempts in half a second, and the whole
// backlog would become dead letters. With Breaker, entries wait, and one attempt is made
// every one to two seconds. Breaker opens after five failures in a row, and an entry
// has three attempts: one entry alone does not open it.
//
// A limit for the time of an attempt is not part of the stack: no duration is right for
// every handler. [Timeout], and other middleware that is to see each attempt, is given
// after Standard. Middleware before Standard sees the final outcome of a delivery.
// [Dedup] stands between Logging and DeadLetter, and needs the list.
//
// Each consumer that is given the middleware has a breaker of its own.
func Standard(logger *slog.Logger) stream.Middleware {
	stack := []stream.Middleware{
		Logging(logger),
		DeadLetter(DeadLetterConfig{}),
		Retry(RetryConfig{}),
		Breaker(BreakerConfig{Logger: logger}),
	}
	return func(next stream.EntryHandler) stream.EntryHandler {
		for _, middleware := range slices.Backward(stack) {
			next = middleware(next)
		}
		return next
	}
}
