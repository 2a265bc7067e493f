// Package logmode is log mode: entries are read with XREAD from an offset that a store keeps,
// and settled by saving the low mark there. For a consumer with effects a chain saves it in place of
// the store, together with the effects.
//
// Contract: Open makes the mode of one run. The mode saves no offset behind an entry that has
// not ended, and none that is older than the one it has saved, but for a loss policy or a
// seek that goes back. A loss is told once, and reading goes on where the policy says.
//
// Goroutines: none of its own, but one for each call of a store of the user's, which may not
// look at its context; it is left behind when that ends, and waited for before the next call.
//
// Locks: source.storing, a task.Lock, is held while such a store is at work. The fields of a
// source are the reading goroutine's; stored is also used by the settler, one settling at a
// time, and by the reader only while nothing is left to be settled.
//
// Invariants: the window's low mark and the place of the finder of losses are set together, at
// the start and after a loss that moves the reader, and nothing is in the window then. Each mode
// begins a chain of its own before it has the offset. A commit without an answer is sent again,
// unchanged, before any other.
package logmode
