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
// Each delivery is logged once. A failed entry is tried three times, within half a second
// and the time that the handler takes, and is then a dead letter in the stream that
// stream.DeadLetterStream names. Permanent errors (stream.Permanent) and decode errors
// are dead letters at once. A panic is tried again as an error is. To change one of the
// four, write the list. A nil logger means slog.Default() at the time of the call of
// Standard.
//
// Breaker is in the stack because Retry and DeadLetter alone would make dead letters of a
// whole backlog while a database is away: each entry uses up its attempts in half a
// second. With Breaker, entries wait, and one attempt is made every one to two seconds, so
// that one entry in four or five seconds of the outage becomes a dead letter. Breaker
// opens after five failures in a row: an entry with three attempts does not open it by
// itself. Where no entry may become a dead letter during an outage, leave Retry out of
// the list: DeadLetter then takes permanent and decode errors only, and other failed
// entries are held.
//
// [Timeout] is not in the stack, because no duration is right for every handler. Give it
// after Standard, as all middleware that is to see each attempt. Middleware before
// Standard sees the final outcome of each delivery. [Dedup] stands between Logging and
// DeadLetter, and needs the list.
//
// Each consumer that is given the middleware has a breaker of its own. Standard is safe
// for concurrent use, as is the middleware.
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
