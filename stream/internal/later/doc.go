// Package later keeps entries that are to be added to a topic at a later time, and moves them
// when the time has come.
//
// Contract: an entry is in two keys beside the topic: a sorted set has its ticket with the time
// at which it is due, and a hash has its contents. [Box.Add] puts it there at most once,
// however often it is sent; [Box.Cancel] takes it out; [Box.Move] moves the entries that are
// due to the topic. Each is one script, so that an entry is either waiting or in the topic,
// and any number of processes may move. Times are of the server's clock: nothing is moved
// before its time by that clock. [Look] asks for many topics at once when their next entry is due.
//
// [Postponed] is the same for the entries of a group that are put off: [Postponed.Postpone] takes one
// out of the pending ones, and [Postponed.BringBack] makes it pending again, where it is in the
// stream, as one that was handed back. A consumer has a [MoveTask] for each of its sorted sets, and
// a [Watch] looks for many of them at once.
//
// Goroutines: those of the tasks. A look that is not answered tells nothing, and none is made for a
// consumer whose reads fail.
//
// Locks: Watch.mu guards its members. A Box and a Postponed are not changed after they were made,
// and are safe for concurrent use.
//
// Invariants: no script writes anything before it has looked for the rights to all that it is
// going to write. An entry that the topic cannot take, such as contents of another form, is put
// off, and holds up no other.
package later
