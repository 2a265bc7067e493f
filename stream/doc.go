// Package stream consumes Redis streams, and publishes to them: typed, in order,
// and without losing an entry.
//
// # Usage
//
// A [Topic] joins a stream's key to a Go type. A consumer joins a topic to a
// [Handler], and [Consumer.Run] consumes until its context is done. There are two
// kinds, with the same handlers, middleware and options:
//
//   - [NewConsumer], log mode: one consumer handles all entries in the order of
//     the stream. Its place is an offset in an [millrace/offset.Store].
//
//   - [NewGroupConsumer], group mode: any number of consumers share the entries,
//     in no particular order. Redis keeps what each has not finished.
//
//     var Orders = stream.Topic[Order]{Name: "orders"}
//
//     consumer, err := stream.NewConsumer(client, Orders, store, handle,
//     stream.WithLabel("billing"),
//     stream.WithMiddleware(
//     middleware.Logging(logger),
//     middleware.DeadLetter(middleware.DeadLetterConfig{}),
//     middleware.Retry(middleware.RetryConfig{Attempts: 5}),
//     ))
//     if err != nil {
//     return err
//     }
//     return consumer.Run(ctx)
//
// A [Runner] runs the consumers of many topics in one process. Signals are the
// program's business:
//
//	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//	defer stop()
//	var r stream.Runner
//	r.Add(users, orders, payments)
//	return r.Run(ctx)
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
// No producer ever trims unless [WithMaxLen], [WithExactMaxLen] or
// [WithMinIDAge] says so; they drop entries whether they were read or not.
//
// A [Trimmer] does ask them: it drops what every group and every known offset has
// passed. A [Mirror] makes offsets known that are kept outside of the stream.
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
//	or a panic           a wait that grows
//
// To pass an entry is to let the offset advance in log mode, and to ack the entry in
// group mode. That is done for many entries at a time: when as many as a batch have
// been processed, after a second, soon after the consumer has run out of work,
// before an entry is held, and when Run returns; [WithCheckpoint] says otherwise.
// While it is being done the next entries are processed. While it fails, nothing
// more is begun.
//
// A handler must be able to see an entry twice. After a crash, the consumer's or
// that of Redis, what has been processed and not been recorded is delivered again:
// at most what the window holds ([WithWindow]).
//
// In log mode the offset never passes an entry that is not done. In group mode
// [Entry.Deliveries] is Redis' own count, which outlives consumers, so that
// [WithMaxDeliveries] also ends a loop of crashes; a crash is charged to the entries
// that were at work, not to those beside them.
//
// Where nothing is stored yet, or the group is made, the consumer starts at the
// beginning of the stream; [WithStart] says otherwise.
//
// # Claims
//
// What is pending on a consumer in group mode is its own for as long as it lives,
// however long its handlers take: it renews all of it three times in each claim
// idle time ([WithClaimIdle]). What belongs to a consumer that died is claimed by
// others after that time. If an entry is claimed away nevertheless, by a command
// of somebody's or after a long standstill, the handler's context ends and its
// result does not count.
//
// A consumer that is stopped hands back what it has not begun or not finished:
// another takes it within a second, no attempt is used up, and a rolling restart
// waits for no claim. Its name is removed from the group. Names of consumers that
// were killed are removed later, if they were names of our own making.
//
// When the group is gone, because the stream was deleted, flushed or evicted, or
// Redis came back empty, it is made again, behind the last entry that this
// consumer has read if the stream still has that, else at its beginning. What
// other consumers had pending, and did not live to finish, is lost with it; the
// log says so.
//
// # Ordering and concurrency
//
// In log mode entries are handled one at a time, in the order of the stream, and
// nothing behind a held entry is delivered in its place. One consumer per label is
// meant to run at a time: two handle everything twice. In group mode no order is
// promised, and others go on while an entry is held.
//
// [WithConcurrency] has several handlers run at once, in either mode, and
// [WithOrderKey] keeps the order of the entries that belong together, such as those
// of one account: they are processed one at a time, and a held one holds up only
// what has the same key.
//
// What a consumer has read and not settled is its window. It is bounded: by default
// four batches (two in group mode), which are processed, settled and read ahead, and
// one entry for each handler. In log mode entries that are done count until the offset has passed
// them, so that one entry that is stuck, while others go on, fills the window in the
// end. Nothing is read then, and the log says which entry it is.
//
// # Batches
//
// [NewBatchConsumer] and [NewGroupBatchConsumer] are for sinks that take many
// messages at once. What becomes of a message is decided for each: an entry that
// cannot be decoded is in no batch, one that fails is tried again, held or
// dead-lettered without the others. [Partial] tells which have failed, [Bisect]
// finds out.
//
// # Many topics
//
// The consumers of a [Runner] read together where they can, so that a thousand
// topics on a server take no more than about eight connections: consumers with the
// same client, batch size and block time, in group mode also the same group and
// consumer name, in a cluster the same hash tag. A topic with a backlog is read by
// itself, in turns with others that have one; those that wait do so in one blocking
// read. A slow topic leaves that while its window is full.
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
// To stop, cancel the context of Run. Nothing new is begun. The context of the
// handlers ends as well, at once or, with [WithDrainTimeout], after that time.
// What is returned after its end, other than success, is no failure: the entry is
// left for the next run or another consumer. Run returns when the handlers at work
// have returned and everything is settled, however long the block time is.
//
// # Observing
//
// [Consumer.Stats] tells what a consumer has done and what it has in hand, without
// asking Redis: every entry that was absorbed, skipped, dead-lettered, discarded or
// lost is counted there, besides being logged. Its lag in time grows while nothing can
// be read. [Consumer.Lag] asks Redis, for a whole group, and for a number of entries;
// where that cannot be known it says so instead of giving a number.
//
// [Consumer.Health] and [Runner.Health] are for health checks:
//
//	http.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
//		if h := runner.Health(); !h.Ready {
//			http.Error(w, h.Reason, http.StatusServiceUnavailable)
//		}
//	})
//
// Ready is for alerts, and for holding up a rollout. Live is for deciding to start the
// process anew, which does not help while Redis is away: it stays true then.
//
// [WithObserver] takes values that are told of each delivery, read, settling, claim,
// loss and trouble, one method for each ([Observer]). Metrics and traces are built on
// that; where there is no observer it costs nothing.
//
// # Testing
//
// A handler is a function: call it with a [Message] literal. Package
// [millrace/stream/streamtest] starts a redis-server for a test.
//
// # What is a bug in your code
//
// A handler that changes a message's Entry.Fields; an observer that waits for
// something, or ends its goroutine; a handler
// that returns nil before the work is done, such as by starting a goroutine; a
// dead-letter stream or a label that two topics share by mistake.
package stream
