// Package feed is where the entries of one stream come from: a connection of the consumer's
// own, or connections that the consumers of a Runner share ([Shared]). [Open] decides.
//
// Contract: [Feed.Fetch] gives entries behind a place to a [Sink], in the order of the stream,
// and returns when the sink wants no more, after the block time, or with the error of a read.
// It looks whether the entry at the place is still there, and returns [ErrNoWitness] if it is
// not. In group mode no entry is lost that the server has given out: a read that may have
// brought some is waited for, not broken off.
//
// Goroutines: an own feed has none. A hub, which reads for the members that share, has one
// for the hot lane and one for the cold lane, and in group mode tick, which requests the
// members' renewers, and checkStreams, which looks for streams with something to claim or to
// check. They end with the last member. Ending a read, for a stop or
// a recall, has a goroutine of its own.
//
// Locks: Shared.mu guards the hubs, and may be held when hub.mu is taken. hub.mu guards the
// members, the lanes and their waiters; it is not held while a server is asked, nor while a
// sink takes entries. A lane that has to end a read returns that as a readEnd, which is
// carried out without the lock. gate.mu is held alone. Turns (a channel) are the connections on which
// members read by themselves, one batch at a time.
//
// Invariants: a stream waits in one lane at most, and no stream with a full window waits in
// any. After a failed read one member dials at a time. What one read of a stream may bring is
// bounded by its budget; how many entries are asked for follows their size, and halves when a
// reply breaks off.
package feed
