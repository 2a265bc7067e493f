// Package batch makes batches of entries that are processed at the same time.
//
// Each entry of a batch is in a chain of its own, on a worker of its own. Its message comes
// to the [Assembler] when it has got as far as the handler ([Member.Add]), waits there until
// the batch is full or its time has come, and has its result when the batch was handled. A
// batch that has begun is a unit: its entries come back together until they are passed, or
// claimed away.
//
// Locks: the lock of the window guards all of it. Methods with the suffix Locked need it held;
// Add takes it.
//
// Goroutines: each batch is handled on one of its own. Messages wait on those of their
// workers. A timer begins a batch that is not full.
//
// Invariants: a unit begins when all of its entries that are left have come back. The
// assembler counts each entry that is at work once, as loose or as bound; so many workers
// as it asks for (MostLocked) are enough for every unit to become whole.
package batch
