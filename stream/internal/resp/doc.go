// Package resp reads the replies of Redis: RESP values ([Reader]), the replies of XREAD,
// XREADGROUP and XINFO ([Parser]), and the entries in them ([Batch], [Entry], [Leftover]).
// It also has the arithmetic of entry IDs, and tells an entry from another one of the same
// ID ([Place]).
//
// Contract: the package does no I/O but Read on the connection that a Reader is given, and
// trusts no length that the connection brings. A [Budget] limits the memory that one read
// takes: entries beyond it are read over, and only their ID, size and order key are kept.
//
// Goroutines: none. Locks: none but that of a pool of memory. A Reader or Parser belongs to
// the goroutine that reads; a Batch to the one that has it, until GiveEntries gives its
// memory back.
//
// Invariants: a value is read whole, or an error is returned and the connection is of no
// use any more. Errors say nothing of the values in a reply, which may be personal data.
package resp
