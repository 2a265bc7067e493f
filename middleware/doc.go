// Package middleware holds the middleware that most consumers need. All of it
// wraps the processing of an entry, decoding included, and knows nothing of a
// topic's type, so that one stack serves every topic:
//
//	stream.WithMiddleware(middleware.Standard(logger), middleware.Timeout(10*time.Second))
//
// [Standard] is the recommended stack. Where one of its parts is to be different, the list
// takes its place:
//
//	stream.WithMiddleware(
//		middleware.Logging(logger),
//		middleware.DeadLetter(middleware.DeadLetterConfig{}),
//		middleware.Retry(middleware.RetryConfig{}),
//		middleware.Breaker(middleware.BreakerConfig{Logger: logger}),
//		middleware.Timeout(10*time.Second),
//	)
//
// # Order
//
// The first is the outermost: it sees the outcome of all the others. The order above is
// the right one, from the outside in:
//
//   - [Logging] logs the final outcome of an entry, once per delivery, and the engine
//     does not log it again. Further in, Logging would log each attempt.
//   - [DeadLetter] takes the entries that [Retry] has given up. Inside of Retry it would
//     take permanent and decode errors only, because an ordinary error has not been
//     given up there.
//   - [Retry] tries again the processing inside of it.
//   - [Breaker] lets entries wait while a service that the handler needs is away. Outside
//     of Retry it would see only the entries that Retry has given up, and each probe
//     would be a dead letter.
//   - [Timeout] limits a single attempt. Outside of Retry it would limit all
//     attempts together, and the waits between them.
//
// A panic, of the handler or of a middleware, is an error for the middleware outside of
// it; [Recover] does the same for a stack that is used without a consumer.
//
// [Dedup], for producers that send twice, stands between Logging and DeadLetter,
// outside of Retry too: it asks Redis once per delivery, not per attempt, and
// its own errors - Redis is away, a twin is being handled - hold the entry.
// Further in, Retry would give them up, and DeadLetter would take an entry that
// has nothing wrong with it. What goes to the dead letters is not marked as
// handled.
//
// [SkipUnknownKinds], for a topic with several types of events, stands inside of DeadLetter.
//
// Telemetry has modules of its own below this package, otelstream and promstream. Their
// middleware stands outside of Logging.
//
// Middleware decides, the engine settles: nothing in this package but the marks
// of Dedup is written to Redis. A config's zero value is useful, and so is a
// zero field: it means the default. All of it is safe for concurrent use.
package middleware
