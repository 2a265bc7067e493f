package stream

import (
	"container/heap"
	"slices"
	"time"

	"millrace/offset"
	"millrace/stream/internal/resp"
)

// The part of the window for group mode: the leases of its entries, claimed entries, and
// entries that other consumers have claimed. Redis keeps on whom an entry is pending, and
// for how long it has been idle.

// watchLeaving has the window keep the IDs of entries that leave it, until over is called: a
// list of pending entries that was asked for meanwhile, and is given to addClaimed, may
// name them.
func (w *window) watchLeaving() (over func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.leaveWatchers++; w.leaveWatchers == 1 {
		w.left = make(map[string]struct{})
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.leaveWatchers--; w.leaveWatchers == 0 {
			w.left = nil
		}
	}
}

// removeLocked takes an entry out of the window.
func (w *window) removeLocked(id string) {
	delete(w.byID, id)
	if w.left != nil {
		w.left[id] = struct{}{}
	}
	w.tellRoomToClaimLocked()
}

// addClaimed adds entries that became ours at the given time, and returns how many are new:
// those that are in the window are left out, and those that have left it since
// watchLeaving. uncounted says that their last delivery never was one.
func (w *window) addClaimed(ids []string, uncounted bool, at time.Time) (added int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		_, double := w.byID[id]
		if _, left := w.left[id]; double || left {
			continue
		}
		it := &item{id: id, uncounted: uncounted, renewed: at}
		w.byID[id] = it
		w.redeliverLocked(it)
		added++
	}
	w.wakeLocked(added)
	return added
}

// addLeftLocked takes in an entry that was read at the given time without its
// fields. They are fetched when it is begun, in its turn.
func (w *window) addLeftLocked(left resp.Leftover, at time.Time) {
	if _, double := w.byID[left.ID]; double {
		return
	}
	it := &item{id: left.ID, key: left.Key, uncounted: true, renewed: at}
	w.byID[left.ID] = it
	if w.queueUpLocked(it) {
		w.fresh.push(it)
	}
}

// takeDoubles returns the IDs of entries that are not in the window, because another
// entry with that ID is: its ack is theirs, too.
func (w *window) takeDoubles() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := w.doubles
	w.doubles = nil
	return ids
}

// load gives an entry, which is at work, its fields, and the number of its delivery.
func (w *window) load(it *item, entry *resp.Entry, deliveries int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	it.entry, it.bytes, it.deliveries = entry, entry.Bytes(), deliveries
	w.loaded += it.bytes
}

// queueUp puts an entry that has been fetched to be begun in the line of its key.
// It reports false if it has to wait there: the worker is to take another one.
func (w *window) queueUp(it *item) bool {
	if w.key == nil {
		return true
	}
	key := w.key.of(it.entry)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !it.keyed {
		it.key = key
	}
	if w.queueUpLocked(it) {
		return true
	}
	it.state = unread
	w.returnedLocked(it)
	w.leaveBatchLocked(it)
	return false
}

// split tells the entries that Redis was told of since the given time, which
// nobody can have claimed, from those that somebody may.
func (w *window) split(list []*item, since time.Time) (safe, late []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	safe = make([]string, 0, len(list))
	for _, it := range list {
		if it.renewed.Before(since) {
			late = append(late, it.id)
		} else {
			safe = append(safe, it.id)
		}
	}
	return safe, late
}

// noteRenewed notes that Redis was told of entries at the given time.
func (w *window) noteRenewed(ids []string, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		if it := w.byID[id]; it != nil {
			it.renewed, it.unowned = at, false
		}
	}
}

// giveUp takes out entries that other consumers have claimed, and ends the context of those
// at work, which their workers forget. It returns the IDs that were given up.
func (w *window) giveUp(ids []string, cause error) (given []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		it := w.byID[id]
		if it == nil || it.doubtful || it.state == done {
			continue
		}
		it.taken = true
		w.clearCauseLocked(it, false)
		given = append(given, id)
		switch it.state {
		case working:
			it.cancel(cause) // the worker forgets it
			continue
		case waiting:
			for i := range w.waiting {
				if w.waiting[i] == it {
					heap.Remove(&w.waiting, i)
					break
				}
			}
			w.releaseLocked(it)
		case writing:
			w.writing--
			w.releaseLocked(it)
			w.leaveBatchLocked(it)
			w.removeLocked(id)
			w.letterTaken() // which lets its fields go
			continue
		case parked:
			w.parked--
		}
		w.leaveBatchLocked(it)
		w.unloadLocked(it)
		w.removeLocked(id)
	}
	w.room.Broadcast()
	w.wakeLocked(w.countReadyLocked()) // an entry that was taken leaves its queue when a worker looks there
	return given
}

// doubtAll marks all entries: the group was gone.
func (w *window) doubtAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, it := range w.byID {
		it.doubtful = true
	}
}

// doubtGone marks entries that the stream no longer has, which are not pending
// any more either.
func (w *window) doubtGone(ids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		if it := w.byID[id]; it != nil {
			it.doubtful, it.gone = true, true
		}
	}
}

func (w *window) isDoubtful(it *item) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return it.doubtful
}

// setMoving notes that an entry is being moved to its dead-letter stream, or not.
func (w *window) setMoving(it *item, moving bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	it.moving = moving
}

// isTaken reports whether an entry was given up.
func (w *window) isTaken(it *item) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return it.taken
}

// roomToClaim returns how many entries may be claimed, a hundred at the most: no more than
// limit wait to be begun, and the window has no more than limit beyond its size. Entries
// that were read do not count: a consumer with a backlog must claim too.
func (w *window) roomToClaim(limit int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.roomToClaimLocked(limit)
}

func (w *window) roomToClaimLocked(limit int) int {
	return max(0, min(limit-w.redeliver.len(), limit+w.roomLocked(), 100))
}

// whenRoomToClaim calls tell once, when every claimed entry has been begun, or claimed away,
// and there is room for at least half of a claim: with less, entries would be claimed one
// by one while most of them fail.
func (w *window) whenRoomToClaim(limit int, tell func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onRoomToClaim, w.claimLimit = tell, limit
	w.tellRoomToClaimLocked()
}

func (w *window) tellRoomToClaimLocked() {
	if w.onRoomToClaim == nil || w.redeliver.len() > 0 || w.roomToClaimLocked(w.claimLimit) < (min(w.claimLimit, 100)+1)/2 {
		return
	}
	tell := w.onRoomToClaim
	w.onRoomToClaim = nil
	tell()
}

// roomForOwn returns how many entries that are pending on this consumer may be taken up.
func (w *window) roomForOwn() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(0, min(w.batch, w.roomLocked()))
}

// holds reports whether an entry is in the window.
func (w *window) holds(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.byID[id] != nil
}

// startOwn notes from where on entries are pending on this consumer that are not in the
// window, "" for nowhere.
func (w *window) startOwn(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ownFrom = id
}

// returned is an entry that goes back when the consumer stops. It is refunded if it has
// not used up the attempt that Redis counts for it.
type returned struct {
	id     string
	refund bool
}

// toReturn returns the entries that are to be handed back, the oldest first. Those that
// failed have used up their attempt. So has one that was not begun here, and was
// delivered to an earlier consumer.
func (w *window) toReturn() (list []returned) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, it := range w.byID {
		notBegun := it.state == unread && it.entry == nil && !it.uncounted
		list = append(list, returned{id, it.state != waiting && it.state != parked && !notBegun})
	}
	return sortedByID(list, func(r returned) string { return r.id })
}

// sortedByID sorts a list by the IDs of its elements.
func sortedByID[E any](list []E, idOf func(E) string) []E {
	type parsed struct {
		id offset.ID
		of E
	}
	all := make([]parsed, len(list))
	for i, one := range list {
		id, _ := offset.Parse(idOf(one))
		all[i] = parsed{id, one}
	}
	slices.SortFunc(all, func(a, b parsed) int { return a.id.Compare(b.id) })
	for i, one := range all {
		list[i] = one.of
	}
	return list
}

// toRenew returns the entries that Redis was told of before the given time,
// and that are still to be processed.
func (w *window) toRenew(since time.Time) (list []renewable) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, it := range w.byID {
		if it.state != done && !it.taken && it.renewed.Before(since) {
			list = append(list, renewable{id, it.renewed})
		}
	}
	// The script finds those together that follow each other.
	return sortedByID(list, func(t renewable) string { return t.id })
}

// claimable returns which of the entries another consumer may have claimed since the
// limit, if it is not known to be otherwise.
func (w *window) claimable(ids []string, limit time.Time) (list []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		if it := w.byID[id]; it != nil && it.claimable(limit) {
			list = append(list, id)
		}
	}
	return list
}

// renewable is an entry and when Redis was told of it.
type renewable struct {
	id string
	at time.Time
}

// orphan is an entry that is pending on nobody, and how often it was delivered, 0 is
// unknown.
type orphan struct {
	id         string
	deliveries int64
}

// orphans tells why entries are pending on nobody. They have ended if another
// consumer may have claimed them since the limit, or if what was ours no later, as
// Redis was told, is so still: then somebody has acked them by hand. Otherwise all
// went together: this consumer was removed.
func (w *window) orphans(ids []string, kept, limit time.Time) (removed []orphan, ended []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		it := w.byID[id]
		switch {
		case it == nil, it.doubtful, it.moving, it.state == done:
			continue
		case it.unowned: // and could not be taken back
		case it.claimable(limit), !kept.IsZero() && !it.renewed.Before(kept):
			ended = append(ended, id)
			continue
		}
		it.unowned = true
		of := orphan{id: id}
		if it.state == waiting || it.state == writing {
			of.deliveries = it.deliveries
		}
		removed = append(removed, of)
	}
	return removed, ended
}

func (w *window) unhandledGone() (ids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, it := range w.byID {
		if it.gone && !it.taken && it.state != done {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, resp.CompareIDs)
	return ids
}

// passGone marks those of the entries that are held, and returns the others, without
// those that have left the window since it is watched.
func (w *window) passGone(ids []string) (others []string) {
	w.doubtGone(ids)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		it := w.byID[id]
		if _, left := w.left[id]; !left && (it == nil || it.taken) {
			others = append(others, id)
		}
	}
	return others
}
