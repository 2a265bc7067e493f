// Package task has the engine's tools for work that goes on beside a consumer's reader and
// workers: a function that runs on request ([Task]), a lock that a context can give up
// ([Lock]), a wait that a context ends ([Sleep]), and the watch over tries that may not come
// back ([Watchdog], [Movement], [Patience]).
//
// Contract: the package knows nothing of Redis, of entries or of consumers.
//
// Goroutines: a Task has one while its function runs, and a timer if Every was called.
// Nothing else starts one.
//
// Locks: each type has a mutex of its own, held for a few instructions. A Watchdog takes
// the lock of the Movement, or of the other Watchdog, that its try waits for; nothing else
// is taken under another lock. The function of a Task runs without any.
//
// Invariants: a Task's function runs at most once at a time, and a run begins after each
// Request, unless Stop was called. After Stop has returned the function does not run.
package task
