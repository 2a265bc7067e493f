// Package redrive moves the letters of a plan, and deletes them: the loops, the scripts and the
// counts behind package admin's Redrive, Edit and Drop.
//
// Contract: a [Job] has the letters that were chosen, and moves or deletes these and no others: each
// is known again by its ID and its last value. A letter is moved by one script, which adds the entry
// and deletes the letter, so that it is one of both at any moment; where the two streams are apart
// it is published with a key and then deleted, and each step can be repeated. A try whose answer was
// lost is made again. The numbers at the end follow from the letters that the server still has
// ([Ended]). Which letters are chosen, who may do it and what people are told is package admin's:
// the room knows nothing of its plans, and returns errors without what was done.
//
// A Job also looks around while it works: at the readers of the target, whose lag can hold it back
// and whose end is its own, and at the letters behind the last of its own, among which are the
// entries that have failed again.
//
// The scripts are here, and not in stream/internal/script, as no other package uses them.
//
// Goroutines: none. A Job is done on the goroutine of the caller. Locks: none.
package redrive
