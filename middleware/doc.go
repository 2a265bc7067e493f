// Package middleware holds the middleware that most consumers need. All of it
// wraps the processing of an entry, decoding included, and knows nothing of a
// topic's type, so that one stack serves every topic:
//
//	stream.WithMiddleware(
//		middleware.Logging(logger),
//		middleware.DeadLetter(middleware.DeadLetterConfig{}),
//		middleware.Retry(middleware.RetryConfig{Attempts: 5}),
//		middleware.Recover(),
//		middleware.Timeout(10*time.Second),
//	)
//
// # Order
//
// The first is the outermost: it sees what all the others have made of an
// entry. The order above is the right one, from the outside in:
//
//   - [Logging] tells what became of the entry in the end, once per delivery.
//     Further in it would tell of every single attempt.
//   - [DeadLetter] takes what [Retry] has given up. Inside of Retry it would
//     take nothing but permanent and decode errors, because there an ordinary
//     error has not been given up by anybody yet.
//   - [Retry] tries again what is inside of it.
//   - [Recover] makes a panic of a middleware inside of it an error of the
//     attempt. Outside of Retry that panic would go past it and not be tried
//     again. A handler's panic is an error of the attempt without it.
//   - [Timeout] limits a single attempt. Outside of Retry it would limit all
//     attempts together, and the waits between them.
//
// [Dedup], for producers that send twice, stands between Logging and DeadLetter,
// outside of Retry too: it asks Redis once per delivery, not per attempt, and
// its own errors - Redis is away, a twin is being handled - hold the entry.
// Further in, Retry would give them up, and DeadLetter would take an entry that
// has nothing wrong with it. What goes to the dead letters is not marked as
// handled.
//
// Middleware decides, the engine settles: nothing in this package but the marks
// of Dedup is written to Redis. A config's zero value is useful, and so is a
// zero field: it means the default. All of it is safe for concurrent use.
package middleware
