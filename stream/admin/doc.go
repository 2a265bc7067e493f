// Package admin looks at the topics, readers and dead letters of a server, and repairs them,
// without code for each of them: the traces of package stream's consumers on a server are
// enough.
//
// # Usage
//
//	a, err := admin.New(client)
//	for topic, err := range a.Overview(ctx, "order*") { ... }
//	plan, err := a.Seek(ctx, admin.Group("orders", "billing"), admin.AtTime(t))
//	done, err := plan.Do(ctx, admin.By("ada", "the partner is back"))
//
// Reading changes nothing and touches no group. Each change is a [Plan] first, which says what
// it would do; [Plan.Do] does it, refuses if the world has changed since, and has to be told
// who does it and why ([By]). A pause and an import take effect without a plan: the one ends by
// itself, the other adds nothing twice.
//
// Topics, labels and the health of consumers are found by records that the agents of the
// processes write ([NewAgent]). Groups, dead letters of the usual name and offsets in Redis are
// found without agents; the streams themselves by [WithScan].
//
// # Rights
//
// The user of the client needs the Redis rights
//
//	reading            ~* +hgetall +mget +time +scan +multi +exec +xinfo|stream
//	                   +xinfo|groups +xinfo|consumers +xlen +xrange +xrevrange
//	                   +xpending +xread +memory|usage
//
// where +scan is for [WithScan], +memory|usage for [WithBytes] and [Admin.Check], and
// [Admin.Check] uses +info and +config|get too. In the place of ~* are the topics, their dead
// letters, the hashes of offsets and <keyspace>:*, where it is {millrace}:* by default. Changes
// take those of reading, and
//
//	pause, resume      +hget +eval +evalsha +hset +hdel
//	seek of a group    +eval +evalsha +xgroup|setid
//	seek of a label    +hget +eval +evalsha +hset
//	trim               +hget +eval +evalsha +xtrim
//	remove a consumer  +eval +evalsha +xgroup|delconsumer
//	remove a group     +hget +eval +evalsha +xgroup|destroy +hset +hdel
//	forget a label     +hget +eval +evalsha +hset +hdel +xgroup|destroy
//	forget a topic     +hget +eval +evalsha +hdel
//	claim              +eval +evalsha +xclaim
//	ack                +xack
//	import             +eval +evalsha +xadd +get +set +del
//
// and +xadd for [WithAudit]. A seek of a reader with agents is that of pause. An agent needs, in
// a process whose consumers have their own rights,
//
//	~<keyspace>:*  +hgetall +hget +hset +hdel +get +mget +set +del +eval +evalsha +time
//
// # Lag grows
//
// Signs: Stats.LagTime and Lag of the consumer, millrace ls, or a consumer that logs "reading
// paused: the window is full". Find out which part is slow:
//
//	millrace group orders billing        # which consumers are live, and what they do
//	millrace pending orders billing      # whether the same entries are delivered again and again
//	millrace check orders
//
// A handler that is at work for long, or fails for each entry because a partner is down, is the
// usual cause: the Health of the consumer and its log name the entry in the way. If handlers are
// well and there is simply more to do, add consumers to the group, or raise
// stream.WithConcurrency; with an order key, look whether one key has most of the entries. A lag
// whose number of entries is unknown was cut by a trim: the lag in time still holds.
//
// # Pending grows
//
// Signs: PENDING of millrace ls, or Lag.Pending. Entries are delivered and not acked. Entries of a
// consumer that died are claimed by the others within stream.WithClaimIdle, so that old ones mean
// one of three things:
//
//	millrace pending orders billing --idle 5m
//
// A handler fails, and its entries are held or, over stream.WithMaxDeliveries, parked: mend the
// cause, or let middleware.DeadLetter take them. No consumer runs that would claim them: start
// one. Or a consumer is not one of this module and claims nothing: millrace claim gives its
// entries to another, and millrace ack takes out those that need no handling.
//
// # Letters pile up
//
// Signs: DEAD of millrace ls, Stats.DeadLettered, a log line "it is in the dead letters now".
// Group them by cause, mend the cause, and send the letters back to the readers that gave them
// up; others pass them:
//
//	millrace dead causes orders
//	millrace redrive orders --cause 'connection refused'                 # the plan
//	millrace redrive orders --cause 'connection refused' --rate 50 --apply --why 'partner is back'
//
// The same command goes on after an interruption. A redrive stops by itself when the entries come
// back as letters again. Letters that nobody will handle are deleted with millrace drop.
//
// # Bad deploy
//
// A version that handles entries wrongly does its harm at full speed. Stop it first, without
// stopping the processes; entries are kept, and the pause ends by itself:
//
//	millrace pause orders billing --for 1h --why 'bad deploy'
//
// Deploy the version before. Then handle again what the bad one has handled, if handlers stand
// that, and go on:
//
//	millrace seek orders billing --to '2026-11-28 10:00'                 # the plan
//	millrace seek orders billing --to '2026-11-28 10:00' --apply --why 'bad deploy'
//	millrace resume orders billing --why 'bad deploy is undone'
//
// # Failover
//
// Signs: log lines "reading failed" and, within seconds, that it works again; Stats.Reconnects. A
// consumer finds the new primary by itself. A replica that was behind when it took over lacks
// entries and acks: entries that are gone are reported as a loss (Stats.Lost, the log line
// "entries lost" with the range), and acked ones come again. Nothing has to be done but to decide
// about the entries that are named: their producers may have to publish them again. millrace check
// tells whether the new primary has its own persistence.
//
// # Out of memory
//
// Signs: producers fail with OOM, and so do dead letters, whose entries are held meanwhile; millrace
// check reports maxmemory. Consumers go on, and settle. Streams shrink only when they are trimmed:
//
//	millrace check                                                       # the largest topics
//	millrace trim orders                                                 # what every reader has passed
//	millrace group orders old-mail                                       # who holds back the trim
//	millrace forget orders old-mail                                      # a reader that is no more
//
// Afterwards run a stream.Trimmer for each topic. The eviction policy has to be noeviction: any
// other one deletes streams, offsets and keys of PublishOnce without a word.
//
// # Goroutines
//
// [New] and [NewAgent] start none. [Admin.Tail] has one for its read, in a cluster one for each
// stream, until it returns. [Agent.Run] has one for each consumer that obeys an order to seek,
// which ends before Run returns. All else is done on the goroutine of the caller.
package admin
