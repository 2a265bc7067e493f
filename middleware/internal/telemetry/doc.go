// Package telemetry collects the numbers that the telemetry modules of package middleware
// export: otelstream to OpenTelemetry and promstream to Prometheus. It knows neither of them.
//
//   - [Timings] has the histograms of processing: how long it took, and how old the entries
//     were. A middleware records into it.
//   - [Gatherer] reads the Stats and the Health of consumers at the moment of a collection, and
//     asks Redis for their lag from time to time.
//   - [ErrorType] names an error without its text.
//
// Each number belongs to a [Key], which is a stream and its group or label. Consumers that have
// the same key in one process are added up.
//
// # Goroutines
//
// A [Gatherer] starts one goroutine when lags are due, which ends with the queries, and eight
// more at most, each with a query. Nothing else starts one.
//
// # Locks
//
// Gatherer.mu, lags.mu and Timings.mu are held alone, and none of them while Redis is asked.
package telemetry
