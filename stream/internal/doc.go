// Package internal describes the engine of package stream on one page, for those who
// change it. It has no code of its own; the rooms of the engine are below it, each with a
// page of its own: task, contain, effect, resp, batch, window, conn, script, loss, later, feed, commit, mode,
// logmode, groupmode and publish. They import only rooms that come earlier in that list, and
// nothing of package stream, which has the run loop and decides what becomes of an entry.
//
// # One consumer
//
// A consumer is a reader, a window and workers. The mode (log or group) decides where
// entries come from and how their end is recorded; the rest is shared. The run has a
// mode.Mode: a source, a deliverer, a settler and tasks. The mode knows of the run what
// mode.Host has.
//
//	Run -> reader --batches--> window --entries--> workers: chain(decode -> handler)
//	          |                  |  ^                  |
//	     feed: own connection    |  +---- outcome -----+--put off--> later: out of window and group,
//	     or the Runner's hub     |                                   and back as handed back
//	                             +--ended entries--> settler --commit.Batch--> offset, ack
//	                             +--dead letters---> letters --commit.Batch--> XADD, and ended
//
// The way of one entry in group mode:
//
//  1. [reader] source.Fetch (groupmode) waits for room in the window (run.AwaitRoom) and calls
//     Feed.Fetch. The feed sends XREADGROUP on a connection of its own, or joins the read
//     of the Runner's hub.
//  2. [reader] conn takes the reply from the connection, resp.Parser makes entries of it
//     (resp.Batch), run.Take puts them into the window, each as an item, and wakes workers.
//  3. [worker] Window.Next hands out an entry that may be begun. deliverer.Begin fetches
//     the fields, and counts the delivery, of an entry that is delivered again.
//  4. [worker] the chain runs on the worker's own Entry, which is filled from the item:
//     middleware, then decode, then the handler; an entry that was redriven for another reader
//     is skipped before (addressed). run.conclude and Entry.decide turn its error into an
//     Outcome. With WithEffects, each run of the handler collects its effects in the worker's
//     effect.Buffer, and those of a run that succeeds go into the item.
//  5. [worker] Window.End puts the entry where the outcome says, see "States".
//  6. [settler] run.Settle takes the ended entries from the window, settler.Settle acks
//     them, and Window.Settled forgets them. Those with effects are committed by a script, in
//     chunks (groupmode.committer), which remembers between tries what is resolved.
//
// Log mode is the same with XREAD in step 1, nothing to fetch in step 3, and in step 6 one Save
// of the low mark: the last entry before which all have ended. With WithEffects that is a script too,
// which also writes the effects (logmode.chain): the offset moves from one link to the next, and
// consumers with an older chain of links are refused.
//
// # One producer
//
// A call of a producer runs on the caller's goroutine, and keeps nothing:
//
//	Publish    -> middleware: encode -> publish: XADD; with a key, a script
//	PublishAll -> middleware: encode -> publish: the same in chunks, one pipeline for each
//	PublishAt  -> middleware: encode -> later: a script; a Mover adds the entry when its time has come
//
// internal/publish says of each entry whether it is in the stream, and the producer makes the
// public error of that. Without middleware nothing is allocated for it.
//
// # Goroutines
//
// Of one leg of a run:
//
//   - the reader is the goroutine of Run. It is the only one that adds what was read.
//   - workers (run.startWorker): from none to WithConcurrency, started when entries may be
//     begun, ended after a second without any. A batch handler has workers for the entries
//     that wait in its batches, and one goroutine for each batch at work (batch.Assembler).
//   - tasks (task.Task), each with a goroutine only while it is at work: the settler and, in
//     group mode, the renewer, which renews the leases of pending entries, and the claimer,
//     which looks for losses, claims, and removes names of dead consumers.
//     The returner, in group mode, has entries come back that were put off (later.MoveTask). The
//     watch of all consumers of a Runner, or of one without, is a task too: it looks for what is due,
//     and requests the tasks that move it.
//   - Letters (commit) has up to eight writers for each server of dead letters, one while that
//     fails; its sweeper, a task, ends the letters of entries that were claimed away.
//   - a recall (feed) ends the read of a group that waits when a pause begins.
//   - timers (time.AfterFunc): of the end of a pause; of the window, for an entry that is due, for a settling, for
//     workers that have nothing to do, and for the report that it is full; one for letters that have failed, one a second while a read waits (conn).
//   - contain.Isolated runs code of the user that may end its goroutine or panic on a
//     goroutine of its own; a query without fields, and a try to write a letter, have one
//     for their command.
//
// Of a Runner with shared connections, for each hub: the hot lane and the cold lane, and in
// group mode tick and checkStreams, which request the members' renewers. Of a Runner itself:
// one goroutine for each member (Runner.keep).
//
// Package stream starts no other goroutine. A constructor starts none.
//
// # Locks, and their order
//
// A lock may be taken while one to its left is held, never the other way round:
//
//	feed.Shared.mu -> hub.mu -> the lock of a task
//	meter.mu -> Window.mu -> the lock of a task
//	steering.mu -> Window.mu
//	letterbox.telling -> Letters.mu -> Window.mu
//	letterbox.telling -> meter.mu
//	meter.mu -> the lock of a watchdog -> that of the queue in which its try waits
//
// All other mutexes are held alone: Runner.mu, and those of the rooms.
//
// No mutex is held while a server is asked, and none but letterbox.telling while code of
// the user runs (log handlers, observers). A lock that is held meanwhile is a task.Lock,
// which a context can give up:
//
//   - steering.seeking: one seek at a time, and none while a Run begins.
//   - run.settling: one settling at a time. A worker of group mode also takes it before it
//     delivers an entry again, and acks what has ended: a crash must not charge that.
//   - stored.storing (logmode): one call of a store of the user's, taken under settling.
//   - LetterWriter.carrying: one oversized dead letter in memory at a time.
//   - ownPending.alone (groupmode): the reader takes up, or the claimer claims, pending entries.
//     An entry that the server has given to one of them is not in the window yet, and would be
//     unknown to the other.
//   - leases.renewing (groupmode): one renewal of pending entries at a time. It may be taken
//     under run.settling.
//   - loss.GroupFinder.checking: one look at the group. A guarded read holds it to its reply.
//   - the places of a server (a channel, in conn): commands at work on it. A place is taken
//     last, and given back with the reply.
//
// # States of an entry
//
//	read ----> unread --Next--> working --nil, skipped, absorbed------------> done
//	claimed      ^ ^               |                                          ^  |
//	             | |               +--error----------> waiting (until due)    |  |
//	             | +--- due -------|---------------------/                    |  |
//	             |                 +--dead letter----> writing ---written-----+  |
//	             |                 +--over the limit-> parked (group mode)       |
//	             |                 +--put off--------> forgotten (group mode)    |
//	             |                 +--stop-----------> interrupted               |
//	             +--behind its key-+                                             |
//	                                                   settled: forgotten <------+
//
// An entry in any state but done is given up (taken) when another consumer has claimed it;
// a worker that has it is told by the end of its context, and its result does not count.
// With an order key an entry is begun when it is the first of its key in the window: each
// entry knows the one behind it in the line of its key.
//
// In group mode the window also knows on whom an entry is pending:
//
//	ours --the consumer was removed--> unowned --taken back--> ours
//	  |-----the group, or the entry in the stream, was gone--> doubtful, gone
//	  |-----another consumer has claimed it------------------> taken
//
// # States of a consumer
//
//	               +------ seek ---+
//	               v               |
//	constructed -> starting -> reading <-> trouble
//	                            ^     ^
//	                            v     v
//	 full (no room in the window)     paused
//
//	any of them -> stopping -> ended
//
// A Run is one leg or more (engine.runLeg), each with a run of its own: the window, the feed, the
// finder of losses and the tasks. A seek ends the leg as a stop would, but for the context of
// handlers, then takes its turn (run.takeTurn), and the next leg starts at the place that is stored
// now: nothing of the leg before has to be set anew, and what that had seen is no loss. A leg also ends
// (run.StartOver) when a commit finds that the server has fallen back. A pause is
// the window's: it gives out no entry and has no room. At a bound (mode.Bound) the reader
// ends with mode.ErrOver, the window is drained, and the Run stops by itself.
//
// starting finds the place to begin (Source.Start). In trouble, run.persist tries a read or a
// settling again until it works, and a task at its next request; an outage tells of it.
// stopping begins when the context of Run ends: reads end, nothing more is begun, workers end
// what they have, letters and tasks end, Source.Stop settles and hands back. None of these is stored:
// engine.health derives them from the meter, the watchdogs and the window.
//
// # State, and its owner
//
//	entries read or claimed, not settled    Window: items, order, ledger
//	on whom an entry is pending             Redis; Leases has the last known
//	pending on our name, not in the window  groupmode.ownPending
//	the place of the reader, log mode       loss.LogFinder; the store has the offset
//	the place of the reader, group mode     Redis; groupmode.source.last is the last entry read
//	the offset as it was seen in the store  logmode.stored
//	a commit without an answer, log mode    logmode.chain; Redis has the link
//	dead letters that are not written       commit.Letters
//	entries that are put off                Redis (later.Postponed)
//	counts                                  Window of the leg at work, meter of those before
//	a pause, a seek that waits              engine.steering; the window knows that it is paused
//	the place at which Run ends             mode.Bound, over all legs of a Run
//	trouble                                 an outage of each thing that is tried again; meter lists them
//	the mode                                engine.identity: a Group or a Label
//	names of consumers in this process      groupmode.names
//
// # Invariants
//
//   - An entry is in the window from before its handler is called until its end is
//     recorded, or until it is another consumer's. It is in there once.
//   - An entry that is put off is pending, or has a time and contents beside its stream: one step of
//     the server changes that. It is forgotten without an end, so that no ack hits it when it is back.
//   - Effects of an entry are written in the step that settles it, by the consumer on which it is
//     pending. They are those of one run of the handler.
//   - The offset that is saved has no entry before it that has not ended.
//   - In group mode, everything that Redis has pending on this consumer's name is in the
//     window, or in a reply on its way, or will be taken up (ownPending, unanswered).
//   - Entries in the window: at most Limits.Size when something is read or taken up, and a
//     claim's worth more (WithWindow). Bytes of fields: at most Limits.Bytes, and one entry.
//   - Nothing is begun while settling fails, or while 2*Every-1 ended entries are not
//     settled: a crash replays a bounded number.
//   - Nothing waits for ever: each wait in the engine ends with its context, and each try
//     that does not come back is seen by a watchdog.
//
// TestWindowAgainstAModel holds the window against these.
//
// # Where to add it
//
//   - A write that happens together with the settling: an effect (internal/effect/list.go), its
//     command and its check in script/prelude_effects.lua, and its public face (effects.go).
//   - A mode: a room beside logmode and groupmode that returns a mode.Mode, a constructor in
//     consumer.go, and its options.
//   - An outcome of a delivery: outcome.go, and a window.State if the entry stays.
//   - An event: observer.go and telling.go.
//   - A codec, a store, a middleware: a file of its package, nothing here.
//
// # Where to find it
//
//	the run loop                run, worker, settle
//	what becomes of an entry    outcome, cause; deadletter
//	the window                  internal/window
//	batches                     internal/batch; batch
//	pause, seek                 steer; internal/window/pause, seek of both modes
//	the end of a bounded Run    internal/mode/bound; start
//	the seam to the modes       internal/mode
//	log mode                    internal/logmode; start
//	group mode                  internal/groupmode
//	recording an end            internal/commit
//	losses, the lag             internal/loss; loss, lag
//	feeds, shared reads         internal/feed
//	connections                 internal/conn
//	replies, entries, IDs       internal/resp
//	panics of the user's code   internal/contain; usercode
//	tasks, locks, watchdogs     internal/task
//	scripts                     internal/script
//	effects                     effects, output; internal/effect, groupmode/committer, logmode/chain
//	publishing                  producer, publishing, retention; internal/publish
//	publishing later            later, mover; internal/later
//	copying a topic             relay
//	putting off                 errors, worker; groupmode/postponer, returner; internal/later
//	trimming                    trim, trimmer, mirror
//	options                     option_consumer, option_producer, option_trimmer
//	what it tells               meter, outage, telling, stats, health, observer
package internal
