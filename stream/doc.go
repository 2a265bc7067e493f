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
//   - [NewGroupConsumer], group mode: any number of consumers share the entries, in no
//     particular order. Redis keeps the entries that each has not finished.
//
// Both are made of the same parts:
//
//	var Orders = stream.Topic[Order]{Name: "orders"}
//
//	consumer, err := stream.NewConsumer(client, Orders, store, handle,
//		stream.WithLabel("billing"),
//		stream.WithMiddleware(middleware.Standard(logger)))
//	if err != nil {
//		return err
//	}
//	return consumer.Run(ctx)
//
// middleware.Standard logs each delivery, tries a failed entry three times, moves it to a
// dead-letter stream then, and pauses while a service that the handler needs is away.
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
// When a consumer fails, the others go on, and the consumer is run again, unless its error
// is final ([FailurePolicy]). [Runner.Health] names it, and [Runner.Logger] gets the
// failure. [Runner.Remove] stops one consumer, and [Runner.Consumers] lists all.
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
// [WithHeader] gives an entry a header, a field that is not the event's, such as a trace's. The
// codecs leave headers out whose names are reserved ([codec.IsHeader]), and [Entry.Header]
// returns their values.
//
// [WithPublishMiddleware] wraps the calls of a producer: a [PublishMiddleware] can add headers
// to the entries, and time, count or refuse a call.
//
// No producer ever trims unless [WithMaxLen], [WithExactMaxLen] or
// [WithMinIDAge] says so; they drop entries whether they were read or not.
//
// A [Trimmer] does ask: it drops the entries that every group and every known offset has
// passed. A [Mirror] makes offsets known that are kept outside of the stream.
//
// No producer on Redis can promise that an entry survives a failover. A replica that takes over
// may lack the last entries that were acknowledged.
//
// # Later
//
// [Producer.PublishAt] publishes a value at a time that is to come, such as a reminder. The entry
// waits beside the topic, in a sorted set and a hash, and a [Mover] adds it to the stream: never
// before its time by the server's clock, and once.
//
//	ticket, err := producer.PublishAt(ctx, at, Reminder{...})
//	was, err := producer.Cancel(ctx, ticket) // false: it was published already
//
//	mover, err := stream.NewMover(client, []string{Reminders.Name})
//	r.Add(mover) // to a Runner; any number of processes may move
//
// A handler in group mode puts an entry off with [RetryAfter]: the entry leaves the window and the
// pending entries of the group, waits beside the stream, with a copy of its content, and becomes
// pending again where it is when its time has come. It has its ID, and its deliveries count on:
//
//	return stream.RetryAfter(time.Hour, err)
//
// If the entry has been trimmed or deleted meanwhile, it is added to the stream again, with another
// ID, as the last one, and for this group alone: the consumers of all others pass it (logged at
// Info). Its deliveries count on, see [HeaderDeliveries]. An entry that waits is not pending and not
// in the lag of its group, no trimmer waits for it, and a seek of the group does not touch it.
// Destroying the group does not remove the entries that wait: delete the keys
// ([RetryDueKey], [RetryLaterKey]). If the server refuses to put an entry off, it is held, as after
// any other error.
//
// # Delivery
//
// An entry is delivered at least once. The result of the handler, or of the outermost
// middleware around it, decides how its processing ends:
//
//	nil                  it is done; the offset may advance
//	Skip(reason)         it is of no concern: logged (Info), passed
//	*DecodeError         it cannot be made into the topic's type, and no
//	                     middleware cared: logged (Warn), passed
//	*DeadLetterError     it is written to a dead-letter stream, and passed
//	                     when that has succeeded: logged (Warn); it is held
//	                     meanwhile, and not processed again
//	RetryAfter(d, err)   it leaves the window, and is delivered again after
//	                     the time: logged (Info); see "Later". Group mode alone
//	any other error,     it is held, and delivered again after a wait that
//	or a panic           grows ([WithBackoff])
//
// Failures are logged as trouble with Redis is: the first of a cause at once (Error),
// the sum every half minute while it goes on (Error: how many entries are held, the
// oldest, the last error), and its end (Info). Errors are of one cause if they, and the
// errors that they wrap, have the same types; texts are compared without the words that
// look like IDs. Single failures are logged at Debug.
//
// A handler that succeeds after many failures in a row makes all entries due that have
// begun to fail meanwhile, so that delivery is back within two seconds after a sink that
// was away. An entry that fails among others that succeed keeps its growing wait.
// middleware.Breaker spares the attempts of entries while a sink is away.
//
// To pass an entry is to let the offset advance in log mode, and to ack the entry in
// group mode. That is done for many entries at a time: when as many as a batch have
// been processed, after a second, soon after the consumer has run out of work,
// before an entry is held, and when Run returns; [WithCheckpoint] says otherwise.
// While it is being done the next entries are processed. While it fails, nothing
// more is begun.
//
// A handler must be able to see an entry twice. After a crash, the consumer's or that of Redis,
// entries that were processed, and not recorded yet, are delivered again: at most as many as
// the window holds ([WithWindow]).
//
// In log mode the offset never passes an entry that is not done. In group mode
// [Entry.Deliveries] is Redis' own count, which outlives consumers, so that
// [WithMaxDeliveries] also ends a loop of crashes; a crash is charged to the entries
// that were at work, not to those beside them.
//
// Where nothing is stored yet, or the group is made, the consumer starts at the
// beginning of the stream; [WithStart] says otherwise.
//
// # Effects
//
// A handler that publishes by itself publishes again when its entry is delivered again. An [Output]
// and [Counters] do not: their writes happen together with the settling of the message, in one step
// of the server, or not at all.
//
//	bills, err := stream.NewOutput(Bills)
//	perHour, err := stream.NewCounters("orders_per_hour")
//	handle := func(ctx context.Context, msg *stream.Message[Order]) error {
//		if err := perHour.Add(ctx, msg, hour, 1); err != nil {
//			return err
//		}
//		return bills.Publish(ctx, msg, Bill{...})
//	}
//	consumer, err := stream.NewGroupConsumer(rdb, Orders, "billing", handle, stream.WithEffects(bills, perHour))
//
// Publish and Add collect the effects of the message. A handler may still run more than once. The
// effects that count are those of the run that has succeeded: a run that fails, panics or is tried
// again in place has none. Neither has a message that is skipped, cannot be decoded or becomes a
// dead letter. A consumer that has lost the entry to another one writes nothing, however late it
// notices. After a lost reply the commit is resolved: it is found out whether it has happened. In a
// batch handler an effect belongs to the message that it was given with, and [Bisect] drops those
// of a larger part that has failed. A message that is kept takes no effect once its handler has
// returned: the error is [ErrNoEffects].
//
// Outputs become visible when the message is settled: within a millisecond on an idle consumer, and
// within the interval of [WithCheckpoint] under load. The outputs of one settling follow the order
// of the stream.
//
// Before the first write the script checks everything that can refuse one: the type of each key, the
// rights, that each counter is an integer and stays within 64 bits, memory and replicas. While one
// refuses, nothing is written or begun, the log says why, and nothing is lost. If a command fails
// behind others nevertheless, which a server does not undo, Run ends with an error that says so. A
// user who has no right to a command is found before the first write on Redis 7 and later alone.
//
// In group mode all keys must be in the hash slot of the topic: in a cluster, give topics that belong
// together one hash tag ({orders}:in and {orders}:out).
//
// In log mode the offset moves in the same step as the effects. So the store must be an
// [offset.Redis], on the server of the outputs and, in a cluster, in their hash slot. The topic may be
// in another one. The offset stays where it is without effects, and they may be added to a consumer
// and removed from it. Each commit follows the one before by a link, which is kept in a hash beside
// the offsets. A consumer begins a new chain of links when it starts: of two with one label the one
// that was started last goes on, and Run of the other one returns with [ErrFenced]. After a failover
// that has lost commits, offset, links and effects are those of an earlier state. The consumer
// notices that at the next commit, or within half a minute, and goes on from there.
//
// A [Relay] copies a topic to another slot or server, each entry once: its offset is at the target.
//
// A consumer that an operator removes from its group (XGROUP DELCONSUMER) takes its entries back
// and commits them once. One with [WithConsumerName] and [WithEffects] does not: a second process
// with that name, which has committed them, would look the same. It tells them as a loss.
//
// These are not promised:
//
//   - What a handler does outside of its effects happens again when the handler runs again.
//   - An output that another program has read can be gone after a failover that loses it: its
//     message is handled again, and makes another one. WAIT does not change that.
//   - In log mode the topic may have gone back and the offsets not, as when the two are on different
//     servers. That is a loss, and its policy says where to go on ([WithLossPolicy]). [ResumeAtKnown]
//     repeats no effect while the consumer runs, but it does if the consumer is started anew before
//     it has noticed: then it begins with the first entry of the topic. [StopOnLoss] does not.
//   - A server of which the last command in the append-only file was cut off by a loss of power, not
//     by a mere end of its process, loads the rest of that commit's commands with its next start but
//     one (seen with Redis 7.0, with aof-load-truncated): outputs appear without their settling. Run
//     BGREWRITEAOF after a start whose log says that the file was truncated. Replicas and failovers
//     are not concerned.
//
// # Claims
//
// The entries in the window of a consumer in group mode are its own for as long as it
// lives, however long its handlers take: it renews all of them three times in each claim
// idle time ([WithClaimIdle]). The entries of a consumer that died are claimed by
// others after that time. If an entry is claimed away nevertheless, by a command of
// another program or after a long standstill, the handler's context ends and its
// result does not count.
//
// A consumer that starts under a name that has entries pending takes them up first, the
// oldest first, and nothing new before the last of them. Entries that do not fit in its
// window wait for their turn, and are not renewed: another consumer that has room may
// claim them once they are idle for long enough. No attempt is used up by that.
//
// A consumer that is stopped hands back the entries that it has not begun or not finished:
// another takes it within a second, no attempt is used up, and a rolling restart waits for no
// claim. Entries that had not been taken up into the window are handed back for a quarter of a
// second; if that is not enough, the log says so, and others claim the rest. The consumer's
// name is removed from the group once nothing is pending on it. Names of consumers that were
// killed are removed later, if they were names of our own making: for that the server is asked
// for a list of all names, which takes it a microsecond for each, with ten names once in ten
// claim idle times, with a hundred thousand at most once in a quarter of an hour.
//
// No script keeps the server from other work for more than two milliseconds, however many
// entries, pending entries and consumers there are. Redis shows a group only in the list
// of all groups of its stream, which a script takes two microseconds for each, and a
// field of an entry takes a third of a microsecond where a script has to do with it: a
// stream should have no more than a few hundred groups and mirrored labels, and an entry
// no more than a few thousand fields.
//
// Two live consumers under one name, or under one label in log mode, handle entries
// twice. They notice it and log a warning: see [WithConsumerName] and [WithLabel].
//
// When the group is gone, because the stream was deleted, flushed or evicted, or Redis came
// back empty, it is made again, behind the last entry that this consumer has read if the stream
// still has that, else at its beginning. Entries that live consumers hold are handled, as long
// as the stream has them, and told as lost otherwise. Entries that were pending on dead
// consumers are lost with the group; the log says so.
//
// # Losses
//
// Redis says nothing of entries that are trimmed or deleted before they are read, nor of a
// stream that is made again, or goes back, while it is read. A consumer finds out, and tells it
// as a [LossError], with the range, and with the number as far as that can be known: before it
// reads the first entry, after trouble with the server, and while it runs every half minute in
// log mode, every half of the claim idle time in group mode.
//
// A consumer in log mode knows the entries that it has read, and an offset in a store outlives
// the stream. In group mode the group's place is in the stream itself, and no consumer knows
// which entries the others have read. Each read behind which there may be a backlog is
// therefore sent together with a look at the group: unread entries that were trimmed, and a
// group that was set to another place, are told by the consumer that reads on, on every server
// and however many consumers there are. While a consumer waits for entries, a loss is found by
// comparing the entries that the group has passed with those that this consumer was given, if
// no other consumer was given any meanwhile.
//
// An entry that is trimmed or deleted while it is pending is handled all the same by a
// consumer that has it in memory. It is told when it is fetched to be delivered and is
// gone, when it cannot be handed back at a stop, and when another consumer takes it over
// from a dead one.
//
// These losses leave no trace on the server, and are not told:
//
//   - An entry was trimmed, its consumer noticed that when it renewed the entry, and the
//     process was killed before the entry was handled.
//   - A stream or a group was deleted, or a group was set to another place, while no
//     consumer ran.
//   - Entries were added and trimmed in one step, deleted by ID, or left out by a group
//     that was set to another place, while several consumers waited and each was given
//     some.
//   - A consumer that did not run was removed by hand, with the entries pending on it.
//   - A stream was deleted and filled again with the same IDs while no consumer ran: a
//     store keeps nothing but an ID.
//
// # Ordering and concurrency
//
// In log mode entries are handled one at a time, in the order of the stream, and
// nothing behind a held entry is delivered in its place. One consumer per label is
// meant to run at a time: two handle everything twice. In group mode no order is
// promised, and others go on while an entry is held.
//
// [WithConcurrency] has several handlers run at once, in either mode, and [WithOrderKey] keeps
// the order of the entries that belong together, such as those of one account: they are
// processed one at a time, and a held one holds up only entries of the same key.
//
// The entries that a consumer has read and not settled are its window. It is bounded: by
// default four batches (two in group mode), which are processed, settled and read ahead, and
// one entry for each handler. In log mode entries that are done count until the offset has
// passed them, so that one entry that is stuck, while others go on, fills the window in the
// end. Nothing is read then, and the log says which entry it is.
//
// # Memory
//
// A backlog of any length takes no more than the window: so many entries ([WithWindow]), and 64
// MiB of names and values ([WithWindowBytes]), or the one entry that is larger than that.
// Memory of the handlers is their own. How many entries a read asks for follows from how large
// the last ones were. Entries beyond the bound that come nevertheless are not kept: log mode
// reads them again, and group mode, on which they are pending now, fetches each when it is
// begun.
//
// [WithMaxEntryBytes] is for topics that others can write to. An entry over it takes
// no memory, is never decoded, and comes out of the chain as a [DecodeError].
//
// # Batches
//
// [NewBatchConsumer] and [NewGroupBatchConsumer] are for sinks that take many
// messages at once. The result of a message is its own: an entry that cannot be decoded
// is in no batch, and a dead letter is one entry's. [Partial] tells which have failed,
// [Bisect] finds out.
//
// The messages of a batch that have failed come back together, as one unit. In log mode
// nothing behind the unit is delivered before, or with [WithOrderKey] nothing with one of
// its keys. So the position can be stored in the same transaction as the batch.
//
// # Many topics
//
// The consumers of a [Runner] read together where they can, so that a thousand
// topics on a server take no more than about eight connections: consumers with the
// same client, read count and block time, in group mode also the same group and
// consumer name, in a cluster the same hash tag. A topic with a backlog is read by
// itself, in turns with others that have one; those that wait do so in one blocking
// read. A slow topic leaves that while its window is full.
//
// A server that stands still holds up none of the topics on another one: the limits of a
// Runner are for each server, in a cluster for each node.
//
// # Client
//
// While Run is at work, nothing goes over the connections of the client that a consumer
// was made with. The consumer has connections of its own, one to read and one for
// commands, made from the client's options and closed at the end. The commands of
// [millrace/offset.Redis], [Mirror] and [Trimmer.Run] go the same way. Of the options
//
//   - all are kept that name the server, the user and the protocol: addresses, Dialer,
//     TLSConfig, DB, Protocol, user, password and credentials providers, OnConnect,
//     ClientName, Limiter, lifetimes and buffers of connections, a cluster's NewClient
//   - DialTimeout and ReadTimeout count up to one second, and MaxRetries does not count:
//     the consumer tries again
//   - ReadOnly, RouteByLatency and RouteRandomly do not count: a replica may be behind
//   - pool sizes, client-side caching, and push and maintenance notifications do not
//     count; a cluster is looked at again once a second
//
// The hooks that a redis.Client has when Run starts see each command on its way, reads
// included. Of a read they see the duration and the error, not the entries. They see no
// dialling. A hook that changes keys, such as one that adds a tenant's prefix, ends Run at
// its first command, which is not sent: a hook can know neither each command nor the
// names in the replies. Give the topic the whole key.
//
// The hooks of a redis.ClusterClient see nothing of a consumer's commands: go-redis has
// no way to call them but on the client's own connections. Add such hooks to the nodes,
// in ClusterOptions.NewClient, or use [WithObserver]. A hook of a cluster client that
// changes keys is refused when Run starts: the program's producers would write to another
// stream. To find it, an XRANGE is shown to the hooks, and not sent.
//
// Producers, [Trimmer.Trim], [Consumer.Lag], middleware.Dedup and a store outside of Run
// work with the client as it is, with its pool, timeouts and hooks. They, too, ask
// primaries only. A hook that changes keys has to change each key of a command there, or
// PublishOnce takes the event of one tenant for that of another.
//
// # Errors
//
// Trouble with Redis and the store does not end Run. It is logged when it
// begins, every half minute, and when it is over, and tried again after 50
// milliseconds to half a second, for ever. An error that is not known is such trouble.
//
//	no connection, no answer, LOADING, BUSY,    it is waited for
//	CLUSTERDOWN, TRYAGAIN, OOM, MISCONF,
//	NOREPLICAS, too many clients
//	READONLY, MASTERDOWN, a master that was     the connection is dropped, so that
//	made a replica                              the master is found
//	NOGROUP, the stream is gone                 the group is made again
//	NOAUTH, WRONGPASS, NOPERM, WRONGTYPE,       Run returns at the start, with the
//	a command that the server lacks             remedy; later the log, Stats and
//	                                            Health say that, and it is waited for
//	the loss policy says stop, a stored offset  Run returns, with the remedy
//	that is none
//
// No field's value is in any error or log line of this module. The text of an error or panic of
// a handler, or of a codec of your own, is logged, and becomes part of a dead letter.
//
// # Faults
//
// This is the fate of the entries in each kind of fault, and the time when delivery goes on.
// Package [millrace/stream/faults] injects all of these, and accounts for every entry.
//
//   - A handler fails, panics, ends its goroutine (runtime.Goexit), or never returns:
//     its entry is held, and delivered again when the handler has returned. In log mode
//     the entries behind it wait, with an order key only those of the same key; in group
//     mode none wait. The same holds for middleware and codecs, and for errors whose own
//     methods panic, such as a nil *net.OpError.
//   - A store, a hook or a callback of the client panics: that is a failure of the
//     command, which is tried again. A panic of an observer or a log handler changes
//     nothing, and a panic of a loss policy ends Run.
//   - The consumer's process is killed: nothing is lost, and at most the window is
//     handled again, in log mode by the next run of it, in group mode by another
//     consumer after the claim idle time.
//   - Redis is killed or restarted with all that it had acknowledged, or connections are cut,
//     anywhere in a reply: nothing is lost. A consumer in log mode that lives handles nothing
//     again; one in group mode only entries that were claimed from it, because the fault lasted
//     longer than the claim idle time. Reading and settling are tried again after at most half
//     a second.
//   - Dead letters cannot be written, on the topic's server or on one of their own:
//     their entries are held as far as the window reaches, without a handler, and one
//     of the letters is tried again after at most half a second. In log mode the entries
//     behind wait, with an order key only those of the same key; in group mode others
//     go on. A stop leaves the entries, or hands them back.
//   - Redis stands still, or a network swallows everything: the same. It is noticed
//     when nothing has come for two seconds longer than the block time.
//   - Redis refuses what a consumer needs (out of memory, no disk, no replicas, still
//     loading, a right that was taken away): delivery goes on until the window is full of
//     entries that cannot be settled, and then waits. At the start, a fault that no waiting can
//     mend ends Run.
//   - Redis comes back empty, or without the last that it had acknowledged; a stream or group
//     is deleted; entries are trimmed or deleted before they were read; the clock goes back, so
//     that new entries have lower IDs: the loss is told, as far as it is known ([LossError]),
//     and everything that the stream has is handled. In log mode that is found at the start, at
//     the first read after any trouble, with every read of a backlog, and after half a minute
//     of idleness; in group mode by the next read, or within half the claim idle time.
//   - A failover, by sentinels or in a cluster: delivery goes on within three seconds of the
//     election, also if the old master stands still. Everything that the new one has is
//     handled. Entries that it lacks, and that were handled, cannot be undone; where this
//     consumer has read them, that is told. In log mode about as many can be handled again as
//     have vanished, in group mode those that were acked without the ack having reached the
//     replica. A slot that moves loses nothing. A command on its way to a master that stands
//     still is waited for one second at the most.
//
// It costs two connections for each Run (a few for a Runner), the last entry of every
// batch read twice in log mode (it proves that nothing behind it was trimmed away),
// and three small commands in half a minute of idleness, in group mode one or two a
// second. While a read waits, the sentinels or the cluster are asked once a second who
// the master is.
//
// Nothing on Redis can promise that the effect of a handler happens only once (keep a key of
// the event with the effect, or the offset in the same transaction); that Redis keeps the
// writes that it has acknowledged, in a failover, or without an append-only file that is synced
// always; an order across the consumers of a group, or across a claim; and that an entry that
// was trimmed before it was read can be brought back.
//
// # Shutdown
//
// To stop, cancel the context of Run. Nothing new is begun. The context of the handlers ends as
// well, at once or, with [WithDrainTimeout], after that time. A result after its end, other
// than success, is no failure: the entry is left for the next run or another consumer. Run
// returns when the handlers at work have returned and everything is settled, however long the
// block time is.
//
// # Pause and seek
//
// [Consumer.Pause] keeps a consumer from beginning anything for a time, after a bad deployment
// say, without a restart; [Consumer.Resume] ends that early. Handlers at work finish and are
// settled. In group mode the entries that the consumer has are kept for it, and everything else
// goes to the others. Health stays live and ready, so that nothing restarts the process, and says
// why and until when:
//
//	err := consumer.Pause("bad deploy", time.Now().Add(30*time.Minute))
//
// [Consumer.Seek] sets a label or a group to another place while Run is at work, or while it is
// not: back, to handle entries again, or on, to leave entries out. It waits for handlers at work,
// and settles what they have done. Entries that it leaves out are no loss.
//
//	err := consumer.Seek(ctx, stream.FromTime(time.Now().Add(-time.Hour)))
//
// A group has one place for all of its consumers. In several processes, pause all of them, seek
// with one, have the others [Consumer.Reposition], and resume them. A consumer that is not paused
// meanwhile may tell a LossError of the entries that the group has left out. Entries that were
// pending in the group stay so, and are delivered whatever the place is.
//
// To feed the past to another handler is no seek: give it a label or a group of its own, and
// [WithStart]. With [WithUntil] such a Run returns when it has come to a place: a bounded replay.
//
//	consumer, err := stream.NewConsumer(client, Orders, store, rebuild, stream.WithLabel("rebuild"),
//		stream.WithStart(stream.FromTime(monday)), stream.WithUntil(stream.FromEnd()))
//
// # Observing
//
// [Consumer.Stats] tells the work that a consumer has done and has in hand, without asking
// Redis: every entry that was absorbed, skipped, dead-lettered, discarded or lost is counted
// there, besides being logged. Its lag in time grows while nothing can be read. [Consumer.Lag]
// asks Redis, for a whole group, and for a number of entries; where that cannot be known it
// says so instead of giving a number.
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
// A handler is a function: call it with a [Message] literal. For a handler with effects,
// streamtest.Effects prepares the message, and returns the outputs. Package
// [millrace/stream/streamtest] starts a redis-server for a test.
//
// # Mistakes in your code
//
// A handler that returns nil before the work is done, such as by starting a goroutine; an
// observer that waits for something; a dead-letter stream or a label that two topics share by
// mistake.
package stream
