// Package groupmode is group mode: entries are read with XREADGROUP, and settled with XACK.
// Redis keeps the entries that are pending on each consumer of the group, and others claim them
// when the consumer dies.
//
// Contract: Open makes the mode of one run. Everything that is read or claimed is in the
// window, so that nothing is begun twice, and so that its leases can be renewed and it can be
// handed back. An entry is settled only if it is still ours, as far as Redis can tell.
//
// Parts of it, each a type: source reads, makes the group where it is missing, and stops;
// ownPending takes up the entries that are pending on this consumer's name and not in the
// window; leases renews those in the window; claimer claims those of other consumers, with
// reaper, which removes names, and namesake, which looks for another consumer of our name;
// deliverer fetches entries that are delivered again; settler acks, and moves dead letters; committer
// settles entries with effects; postponer puts entries off, and a returner has them come back.
// Each has the consumer: its names, clients and limits. Besides, seek sets the place of the group,
// and over says when a Run with a bound has nothing left.
//
// Goroutines: three tasks. The renewer renews leases at an interval, and then requests the
// claimer, so that leases are renewed however long a claim takes. The claimer also looks for
// losses. The returner runs when the later.Watch has found something due: it hands that back,
// and requests the claimer.
//
// Locks: ownPending.alone is held while pending entries are claimed or taken up: entries that
// the server has given to the one, and that are not in the window yet, would be unknown to
// the other. leases.renewing is held during one renewal. Both are task.Locks. names guards
// the names of all consumers of the process, and is held alone.
//
// Invariants: everything that Redis has pending on this consumer's name is in the window, or in
// a reply on its way, or will be taken up (ownPending.open, unanswered). Nothing new is read
// before that, and nothing is claimed.
package groupmode
