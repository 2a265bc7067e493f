// Package commit is the end of entries: a Batch of them is recorded, each settled as it is, or
// moved to a dead-letter stream. A Settler records it; each mode has its own. Any other write
// that is to happen together with the settling belongs into the Batch, too.
//
// Letters is the queue of dead letters, and LetterWriter writes one.
//
// Contract: a Settler makes one try, and is asked again after an error. It never settles an
// entry that another consumer has claimed, as far as Redis can tell. Letters hold their
// entries in the window until each has an Ending; one that cannot be written is in the
// way of no other entry.
//
// Goroutines: writers, up to eight for each server of dead letters, one while that fails, and
// none without letters; one for each try, which may be left behind at the stop; the
// sweeper, a task, which ends the letters of entries that were claimed away.
//
// Locks: Letters.mu guards the queue, and is held for a few instructions; the window's lock
// may be taken under it. letterbox.telling is taken before it, and held while the outage of a
// server is told, which may call code of the user: so the lines of one outage are in order.
// LetterWriter.carrying, a task.Lock, is held while an entry that is not kept in memory
// passes through here.
//
// Invariants: each letter that was posted has one Ending, and the window learns of it
// afterwards. Fresh letters come before those that have failed. The entry of a letter that
// may be moved and acked is not given up as claimed: see window.Leases.SetMoving.
package commit
