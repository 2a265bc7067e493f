// Package contain runs code of the user so that a panic, or the end of the goroutine
// (runtime.Goexit), becomes an error: [Caught] on the same goroutine, [Isolated] on one of
// its own. [Harmless] and [Tame] do the same for the methods of errors, which can panic
// wherever an error is looked into or printed.
//
// Contract: no function of the package panics, whatever the function or the error does that
// it is given. An error without a flaw comes back as it is.
//
// Goroutines: Isolated has one while its function runs. Locks: none.
//
// Invariants: in an error that was contained, errors.Is and errors.As find everything that
// they find in the original without a panic, and no nil pointer.
package contain
