// Package stream consumes Redis streams, and publishes to them: typed, in order,
// and without losing an entry.
//
// # Usage
//
// A [Topic] joins a stream's key to a Go type. [NewConsumer] joins a topic to a
// [Handler], and to the [millrace/offset.Store] that keeps its place;
// [Consumer.Run] consumes until its context is done.
//
//	var Orders = stream.Topic[Order]{Name: "orders"}
//
//	consumer, err := stream.NewConsumer(client, Orders, store, handle,
//		stream.WithLabel("billing"),
//		stream.WithMiddleware(
//			middleware.Logging(logger),
//			middleware.DeadLetter(middleware.DeadLetterConfig{}),
//			middleware.Retry(middleware.RetryConfig{Attempts: 5}),
//		))
//	if err != nil {
//		return err
//	}
//	return consumer.Run(ctx)
//
// # Publishing
//
// [NewProducer] joins a topic to a client. [Producer.Publish] validates a value,
// encodes it and adds it; [Producer.PublishAll] does that with many in few round
// trips.
//
//	producer, err := stream.NewProducer(client, Orders, stream.WithMaxLen(1_000_000))
//	if err != nil {
//		return err
//	}
//	id, err := producer.Publish(ctx, Order{...})
//
// A value is added at most once per call, and an error says which it is: not
// written, or unknown ([UnknownWriteError]), when the reply was lost. The first
// may be tried again. For the second [Producer.PublishOnce] takes a key that the
// event has anyway, under which it is added once, however often that is tried.
//
// Nothing is ever trimmed unless [WithMaxLen], [WithExactMaxLen] or
// [WithMinIDAge] says so; they drop entries whether they were read or not.
//
// What no producer on Redis can promise: that an entry survives a failover. A
// replica that takes over may lack the last entries that were acknowledged.
//
// # Delivery
//
// An entry is delivered at least once. What ends its processing is what the
// handler, or the outermost middleware around it, returns:
//
//	nil                  it is done; the offset may advance
//	Skip(reason)         it is of no concern: logged (Info), passed
//	*DecodeError         it cannot be made into the topic's type, and no
//	                     middleware cared: logged (Warn), passed
//	*DeadLetterError     it is written to a dead-letter stream, and passed
//	                     when that has succeeded: logged (Warn)
//	any other error,     it is held: logged (Error), and delivered again after
//	or a panic           a wait that grows; nothing behind it is delivered
//	                     in its place
//
// The offset is saved at the end of every batch, once a second while a batch
// lasts, before an entry is held, and when Run returns. After a crash, the
// consumer's or that of Redis, what came since the last save is delivered
// again: at most a batch. A handler must therefore be able to see an entry
// twice. While an offset cannot be saved, nothing further is delivered.
//
// Where nothing is stored yet, the consumer starts at the beginning of the
// stream; [WithStart] says otherwise.
//
// # Ordering and concurrency
//
// Entries are handled one at a time, in the order of the stream. The next batch
// is read while one is handled; no more than these two are in memory. One
// consumer per label is meant to run at a time: two handle everything twice.
//
// # Errors
//
// Trouble with Redis and the store does not end Run. It is logged when it
// begins, every half minute, and when it is over, and tried again after 50
// milliseconds to a second, for ever. What no waiting can mend ends Run, with
// an error that says what to do; see [Consumer.Run].
//
// No field's value is in any error or log line of this module. What a handler
// puts into its own errors is logged, and becomes part of a dead letter.
//
// # Shutdown
//
// To stop, cancel the context of Run. It is the context of the handlers too, so
// that one that waits can stop waiting. What is returned after that, other than
// success, is no failure: the entry is left for the next run. Run returns when
// the handler at work has returned and the offset is saved, however long the
// block time is.
//
// # Testing
//
// A handler is a function: call it with a [Message] literal. Package
// [millrace/stream/streamtest] starts a redis-server for a test.
//
// # What is a bug in your code
//
// A handler that keeps a message's Entry.Fields and changes them; a handler
// that returns nil before the work is done, such as by starting a goroutine; a
// dead-letter stream or a label that two topics share by mistake.
package stream
