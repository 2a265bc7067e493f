// Package otelstream makes OpenTelemetry spans and metrics of consumers and producers. It is a
// module of its own, so that other programs do not get the packages of OpenTelemetry.
//
//	tel, err := otelstream.New(otelstream.Config{}) // the global providers; one for all topics
//	if err != nil {
//		return err
//	}
//	producer, err := stream.NewProducer(client, Orders, stream.WithPublishMiddleware(tel.Publish()))
//	consumer, err := stream.NewGroupConsumer(client, Orders, "billing", handle,
//		stream.WithMiddleware(tel.Middleware(), middleware.Standard(logger)), stream.WithObserver(tel))
//	var r stream.Runner
//	r.Add(consumer)
//	err = tel.Register(&r)
//
// The example examples/observed is a whole service.
//
// # Spans
//
//	publish <stream>   PRODUCER   a call of a producer, by Publish
//	process <stream>   CONSUMER   a delivery of an entry, by Middleware
//	process <stream>   CONSUMER   a batch, by Batch, with a link to the span of each message
//
// The span of a delivery is a child of the one that published the entry, so that one trace goes
// from the producer to the handlers; with [Config].Link it begins a trace, with a link. A
// redelivery is a span beside the first. A dead letter keeps the headers, so that one that is
// redriven continues the trace. [Telemetry.Attempts] makes events of the attempts of
// middleware.Retry.
//
// Attributes are those of the semantic conventions for messaging, version 1.43, with
// messaging.system redis, and millrace.label in log mode, millrace.attempt and millrace.outcome.
// A failure has the status Error and an error.type: decode, panic or claimed, or the Go type of
// the innermost error. It never has the text of an error, which may hold field values. Skipped
// and interrupted deliveries are no failures.
//
// # Headers
//
// The headers of an entry are traceparent and tracestate of the W3C, and baggage if
// [Config].Baggage says so. They take memory: an entry of eight small fields takes 90 bytes in
// Redis, with a traceparent on each entry 153, on one of ten 106. So they are written for a
// sampled span alone. An entry without a sampled traceparent has no span, and its handler's
// context is the one of Run: a span that the handler begins starts a trace.
//
// # Metrics
//
//	messaging.client.consumed.messages      counter    deliveries that have ended
//	messaging.client.sent.messages          counter    values to publish, with error.type, by Publish
//	messaging.client.operation.duration     histogram  publish, by Publish; receive and ack, by WithObserver
//	messaging.process.duration              histogram  deliveries, with error.type, by Middleware
//	millrace.entry.age                      histogram  from the ID of an entry until it is handled
//	millrace.outcomes                       counter    deliveries, by millrace.outcome
//	millrace.read, .redelivered, .lost,
//	.claimed, .handed-back, .reconnects,
//	.seeks                                  counter    as of stream.Stats
//	millrace.behind, .working, .held, .parked, .paused,
//	.window.used, .window.size,
//	.window.bytes.used, .window.bytes.size  gauge      as of stream.Stats
//	millrace.lag.time, .lag.entries         gauge      of the stream; absent when not known
//	millrace.pending                        gauge      delivered to the group and not acked
//	millrace.live, .ready                   gauge      1 is well
//
// Counters and gauges are read when metrics are collected, and are those of the consumers that
// were given to [Telemetry.Register]. Lag and pending entries are asked of Redis then, at most
// each 15 seconds ([Config].LagEvery), with the rights that [millrace/stream.Consumer.Lag] names.
// A collection waits for a second at most: those series are absent while Redis is away.
// Consumers of one group or label in a process are added up; the largest of times is told.
//
// The histograms are counted in buckets of our own, and given to the SDK by
// [Telemetry.Producer], with the span of a sampled delivery as exemplar of its bucket. Without it
// nothing is measured.
//
// # Costs
//
// On a machine with two busy cores, where a clock is read in 60 nanoseconds, the middleware takes
// for an entry
//
//	not sampled                      20 to 30 ns   no allocation
//	not sampled, with histograms   100 to 120 ns   no allocation; most is one reading of a clock
//	sampled, exported in batches     10 to 15 us   12 allocations, nearly all of the SDK
//
// Next to a consumer in log mode that does nothing else, with events of eight fields, and 2.2
// microseconds of CPU time for each, the medians were +1.0 % where no entry is sampled, +4.7 % with
// histograms, +7.8 % with one entry in a hundred sampled, and +9.5 % with both; the same consumer
// once more was at +0.3 %. BenchmarkConsumer repeats the comparison.
package otelstream
