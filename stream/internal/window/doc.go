// Package window is the bounded set of entries that a consumer has read or claimed, and not
// settled.
//
// Contract: the reader adds entries ([Window.AddRead]) when there is room
// ([Window.AwaitRoom]). Workers take entries that may be begun ([Window.Next]) and give them
// back ([Window.End]). The settler takes those that have ended ([Window.Settleable]) and says
// that they are recorded ([Window.Settled]). A dead letter holds its entry without a worker
// ([Window.Hold], [Window.Written]). The window asks no server and calls no code of the user.
//
// A window that is paused ([Window.SetPaused]) gives out no entry and has no room, while entries at
// work end and are settled.
//
// Parts of a window, each a file: order (which entry may be begun), budget (room, and those
// that wait for it), workers (how many there are), checkpoint (when to settle), streak (when a
// failed entry is due sooner), causes (why entries are held), counts, memory (slabs). How
// entries are kept depends on the mode, and is the ledger: in log mode [LowMark], the line of
// all entries in the order of the stream; in group mode [Leases], the entries by ID, and on
// whom each is pending.
//
// States of an entry, see [State]:
//
//	unread -> working -> done -> settled, and out of the window
//	             |-----> waiting -> unread, when it is due
//	             |-----> writing -> done, when its dead letter is written
//	             |-----> parked, interrupted
//
// Lock: one mutex, Window.mu, guards all of it: parts, ledger, items, and the assembler of
// batches. While an item is at work, its first fields are its worker's.
//
// Goroutines: none but timers, which begin with the lock. Hooks start workers and request the
// settler; they are called with the lock held, and must not take it.
//
// Invariants: an entry is in the window once. No entry behind the low mark's first unended one
// is settled. Nothing is begun while settling fails, or while 2*Every-1 ended entries are not
// settled. An entry in [Unread] is in a queue, or behind another one of its key
// ([Window.Check] finds one that is not).
package window
