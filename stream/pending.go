package stream

import (
	"container/heap"
	"slices"
	"time"

	"millrace/offset"
)

// What the window knows in group mode: Redis keeps who an entry is pending on,
// and for how long it has been idle; entries can be taken over and lost.

// watch has the window remember what leaves it, until the function that it returns
// is called: a list of what is pending, which addTaken takes, may name some of that.
func (w *window) watch() (over func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watchers++; w.watchers == 1 {
		w.goneSince = make(map[string]struct{})
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.watchers--; w.watchers == 0 {
			w.goneSince = nil
		}
	}
}

// removeLocked takes an entry out of what is held.
func (w *window) removeLocked(id string) {
	delete(w.byID, id)
	if w.goneSince != nil {
		w.goneSince[id] = struct{}{}
	}
	w.tellTakerLocked()
}

// addTaken takes in IDs that became ours at the given time, leaves out those that
// were already or have been settled since, and returns how many are new.
func (w *window) addTaken(ids []string, free bool, at time.Time) (added int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		_, double := w.byID[id]
		if _, left := w.goneSince[id]; double || left {
			continue
		}
		one := &held{id: id, free: free, touched: at}
		w.byID[id] = one
		w.againLocked(one)
		added++
	}
	w.wakeLocked(added)
	return added
}

// addLeftLocked takes in an entry that was read at the given time without its
// fields. They are fetched when it is begun, in its turn.
func (w *window) addLeftLocked(left leftover, at time.Time) {
	if _, double := w.byID[left.id]; double {
		return
	}
	one := &held{id: left.id, key: left.key, free: true, touched: at}
	w.byID[left.id] = one
	if w.queueUpLocked(one) {
		w.fresh.push(one)
	}
}

// takeMistaken returns the IDs of entries that are not in the window, because another
// entry with that ID is: its ack is theirs, too.
func (w *window) takeMistaken() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := w.mistaken
	w.mistaken = nil
	return ids
}

// load gives an entry, which is at work, its fields.
func (w *window) load(one *held, entry *Entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one.entry, one.bytes = entry, entry.bytes()
	w.loaded += one.bytes
}

// queueUp puts an entry that has been fetched to be begun in the line of its key.
// It reports false if it has to wait there: the worker is to take another one.
func (w *window) queueUp(one *held) bool {
	if w.key == nil {
		return true
	}
	key := keyOf(w.key, one.entry)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !one.keyed {
		one.key = key
	}
	if w.queueUpLocked(one) {
		return true
	}
	one.state = unread
	w.returnedLocked(one)
	w.leaveBatchLocked(one)
	return false
}

// split tells the entries that Redis was told of since the given time, which
// nobody can have claimed, from those that somebody may.
func (w *window) split(list []*held, since time.Time) (safe, late []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	safe = make([]string, 0, len(list))
	for _, one := range list {
		if one.touched.Before(since) {
			late = append(late, one.id)
		} else {
			safe = append(safe, one.id)
		}
	}
	return safe, late
}

// touch notes that Redis was told of entries at the given time.
func (w *window) touch(ids []string, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		if one := w.byID[id]; one != nil {
			one.touched, one.dropped = at, false
		}
	}
}

// loseAll gives up entries that are somebody else's now, and ends the context of
// those at work. It returns the IDs that were given up.
func (w *window) loseAll(ids []string, cause error) (given []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		one := w.byID[id]
		if one == nil || one.suspect || one.state == done {
			continue
		}
		one.lost = true
		w.absolveLocked(one, false)
		given = append(given, id)
		switch one.state {
		case working:
			one.lose(cause) // the worker forgets it
			continue
		case waiting:
			for i := range w.waiting {
				if w.waiting[i] == one {
					heap.Remove(&w.waiting, i)
					break
				}
			}
			w.releaseLocked(one)
		case writing:
			w.writing--
			w.releaseLocked(one)
			w.leaveBatchLocked(one)
			w.removeLocked(id)
			w.letterLost() // which lets its fields go
			continue
		case parked:
			w.parked--
		}
		w.leaveBatchLocked(one)
		w.unloadLocked(one)
		w.removeLocked(id)
	}
	w.room.Broadcast()
	w.wakeLocked(w.readyLocked()) // what is lost leaves its queue when a worker looks there
	return given
}

// suspect marks everything that is held: the group was gone.
func (w *window) suspect() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.byID {
		one.suspect = true
	}
}

// suspectGone marks entries that the stream no longer has, which are not pending
// any more either.
func (w *window) suspectGone(ids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		if one := w.byID[id]; one != nil {
			one.suspect, one.gone = true, true
		}
	}
}

func (w *window) isSuspect(one *held) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return one.suspect
}

// setMoving notes that an entry is being moved to its dead-letter stream, or not.
func (w *window) setMoving(one *held, moving bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one.moving = moving
}

// isLost reports whether an entry was given up.
func (w *window) isLost(one *held) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return one.lost
}

// roomToTake returns how many entries may be taken over, a hundred at the most: no more
// than limit wait to be begun, and no more than limit are held beyond the size. Entries
// that were read do not count: a consumer with a backlog must take over too.
func (w *window) roomToTake(limit int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.roomToTakeLocked(limit)
}

func (w *window) roomToTakeLocked(limit int) int {
	return max(0, min(limit-w.again.len(), limit+w.roomLocked(), 100))
}

// whenRoomToTake calls tell once everything that was taken over has been begun, or was
// lost, and there is room for more: for at least half of the most, or it would be taken
// over one by one while most of the entries fail.
func (w *window) whenRoomToTake(limit int, tell func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hungry, w.appetite = tell, limit
	w.tellTakerLocked()
}

func (w *window) tellTakerLocked() {
	if w.hungry == nil || w.again.len() > 0 || w.roomToTakeLocked(w.appetite) < (min(w.appetite, 100)+1)/2 {
		return
	}
	tell := w.hungry
	w.hungry = nil
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
	w.own = id
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
	for id, one := range w.byID {
		notBegun := one.state == unread && one.entry == nil && !one.free
		list = append(list, returned{id, one.state != waiting && one.state != parked && !notBegun})
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
