// Package loss finds entries that a consumer will never see: trimmed or deleted before they
// were read, gone with a failover, or left out by a group that was set further on. No read
// tells of them, so that the place of the reader is held against the state of the server.
// [LogFinder] does that in log mode, [GroupFinder] in group mode; a [Finding] is the result.
// [LagCounter] does the same arithmetic for entries that are still to come, and [Stream.Number] for
// a place that a group is set to.
//
// Three kinds of evidence are used. A survey of the stream has its ends and its counters, and
// tells whether the entry is there that was read last. A count of the entries that were read
// is compared with the number that was ever added. In group mode script.Unread compares the
// counters of the group with those of the stream, between reads and, as a guard, in front of
// a read; the account covers the time in which a read waits, which no guard sees. The count of
// the account begins with a look that knows the number of the group's place. A group that was made
// or set without one, or is far from both ends of the stream, has none until it has read on to the
// end. All reads are guarded until the count begins, and the guard at the end begins it: a check,
// which comes at half of the claim idle time, would be too late for entries that are added and
// trimmed before. Behind a read that was lost, only a check begins the count. The server may
// still give entries to the lost read, and they would be missing in the count.
//
// Contract: the package decides nothing. It returns or tells a Finding, once, and the caller
// logs it and says where to go on. A Finding has no field values. Where the server does not
// grant a look, or has no such counters, nothing is found and nothing fails. A number that is
// not exact is the most that it can be.
//
// Goroutines: none. A LogFinder is used by the goroutine of a consumer and by the one that
// reads for it on a shared connection, a GroupFinder by these and by the claimer.
//
// Locks: LogFinder.mu, account.mu and LagCounter.mu are held for a few instructions, and no
// lock is taken under them. GroupFinder.checking, a task.Lock, is held while the server is
// asked for the state of the group; a guard holds it until the reply. A loss may be told
// while it is held.
//
// Invariants: one kind of evidence does not find a loss twice: it is given up (the mark, the
// account), or becomes the state that the next look is compared with. After a read that
// failed, another server may answer, and counts that the one before has told are dropped.
package loss
