// Package effect has the effects of handlers as data: the writes that happen together with the
// settling of an entry, or not at all. It asks no server.
//
// Contract: a [Target] is a key that may be written, declared when a consumer is constructed, and
// [Targets] are all of a consumer. A worker has a [Buffer], in which one run of the handler after
// another collects its effects. The [List] of the last run that succeeded goes with its entry into
// the window and into a commit, as the arguments of a script ([List.AppendArgs]).
//
// The wire form of a list is the number of its effects, and then for each: the verb, the number of
// the target's key among KEYS, the number of the other arguments, and those. The prelude_effects of
// room script reads it. The same list has the same wire form each time: a commit that may have
// happened is sent again unchanged.
//
// Goroutines: none. Lock: Buffer.mu guards a buffer, and is held alone for a few instructions. A
// List is not changed after the run that made it, and needs no lock.
//
// Invariant: an effect is in the list of the run that asked for it, or its caller got an error. A
// run has a number of its own; a buffer takes effects of the run that is open, and of no other.
package effect
