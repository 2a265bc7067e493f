package stream

import (
	"container/heap"
	"slices"
	"time"

	"millrace/offset"
	"millrace/stream/internal/resp"
)

// leases is the ledger of group mode: the entries by their IDs. Redis keeps on whom an entry
// is pending, and for how long it has been idle. The window's lock guards it.
type leases struct {
	w    *window
	byID map[string]*item
	done []*item // may be settled, in the order in which they ended
	// left has the IDs of those that have left since watchLeaving was called.
	left          map[string]struct{}
	leaveWatchers int
	// doubles are IDs of entries that were read while another entry had that ID in the window.
	doubles []string
	// ownFrom is from where on entries are pending on this consumer that are not here.
	ownFrom string
}

// add takes an entry in. An ID that is here already was given out twice: the group was set
// back, or the stream was made again and has another entry with this ID.
func (l *leases) add(it *item) bool {
	if double := l.byID[it.id]; double != nil {
		if it.entry != nil && double.isAnother(it.entry) {
			l.doubles = append(l.doubles, it.id)
		}
		return false
	}
	l.byID[it.id] = it
	if it.entry != nil {
		it.deliveries = 1 // a read counts it
	}
	return true
}

func (l *leases) len() int { return len(l.byID) }

func (l *leases) end(it *item) { l.done = append(l.done, it) }

func (l *leases) settleable() []*item { return l.done[:len(l.done):len(l.done)] }

func (l *leases) settled(n int, drop func(*item)) {
	for _, it := range l.done[:n] {
		l.remove(it)
	}
	l.done = dropFirst(l.done, n, drop)
}

func (l *leases) remove(it *item) {
	delete(l.byID, it.id)
	if l.left != nil {
		l.left[it.id] = struct{}{}
	}
}

func (l *leases) blocking(fields bool) (blocking *item) {
	for _, it := range l.byID {
		// One that waits holds up none but by its fields, and without them none at all.
		if it.state != working && it.state != writing && (it.state != waiting || fields) {
			continue
		}
		if blocking == nil || it.renewed.Before(blocking.renewed) || it.renewed.Equal(blocking.renewed) && it.id < blocking.id {
			blocking = it
		}
	}
	return blocking
}

func (l *leases) oldest() string {
	oldest, text := offset.ID{}, ""
	for id, it := range l.byID {
		if it.state == done || it.state == parked || it.owner == taken {
			continue
		}
		if parsed, err := offset.Parse(id); err == nil && (text == "" || parsed.Compare(oldest) < 0) {
			oldest, text = parsed, id
		}
	}
	if text == "" {
		return l.ownFrom
	}
	return text
}

// watchLeaving has the window keep the IDs of entries that leave it, until over is called: a
// list of pending entries that was asked for meanwhile, and is given to addClaimed, may
// name them.
func (l *leases) watchLeaving() (over func()) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.leaveWatchers++; l.leaveWatchers == 1 {
		l.left = make(map[string]struct{})
	}
	return func() {
		l.w.mu.Lock()
		defer l.w.mu.Unlock()
		if l.leaveWatchers--; l.leaveWatchers == 0 {
			l.left = nil
		}
	}
}

// addClaimed adds entries that became ours at the given time, and returns how many are new:
// those that are in the window are left out, and those that have left it since
// watchLeaving. uncounted says that their last delivery never was one.
func (l *leases) addClaimed(ids []string, uncounted bool, at time.Time) (added int) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, id := range ids {
		_, double := l.byID[id]
		if _, left := l.left[id]; double || left {
			continue
		}
		it := &item{id: id, uncounted: uncounted, renewed: at}
		l.byID[id] = it
		l.w.order.redeliverAgain(it)
		added++
	}
	l.w.wakeLocked(added)
	return added
}

// takeDoubles returns the IDs of entries that are not in the window, because another
// entry with that ID is: its ack is theirs, too.
func (l *leases) takeDoubles() []string {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	ids := l.doubles
	l.doubles = nil
	return ids
}

// load gives an entry, which is at work, its fields, and the number of its delivery.
func (l *leases) load(it *item, entry *resp.Entry, deliveries int64) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	it.entry, it.bytes, it.deliveries = entry, entry.Bytes(), deliveries
	l.w.budget.loaded += it.bytes
}

// queueUp puts an entry that has been fetched to be begun in the line of its key.
// It reports false if it has to wait there: the worker is to take another one.
func (l *leases) queueUp(it *item) bool {
	w := l.w
	if w.key == nil {
		return true
	}
	key := w.key.Of(it.entry)
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if !it.keyed {
		it.key = key
	}
	if w.order.enqueue(it) {
		return true
	}
	it.state = unread
	w.returnedLocked(it)
	w.leaveBatchLocked(it)
	return false
}

// split tells the entries that Redis was told of since the given time, which
// nobody can have claimed, from those that somebody may.
func (l *leases) split(list []*item, since time.Time) (safe, late []string) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
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
func (l *leases) noteRenewed(ids []string, at time.Time) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, id := range ids {
		if it := l.byID[id]; it != nil {
			it.renewed = at
			if it.owner == unowned {
				it.owner = ours
			}
		}
	}
}

// giveUp takes out entries that other consumers have claimed, and ends the context of those
// at work, which their workers forget. It returns the IDs that were given up.
func (l *leases) giveUp(ids []string, cause error) (given []string) {
	w := l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		it := l.byID[id]
		if it == nil || it.owner >= doubtful || it.state == done {
			continue
		}
		it.owner = taken
		w.causes.clear(it, false)
		given = append(given, id)
		switch it.state {
		case working:
			it.cancel(cause) // the worker forgets it
			continue
		case waiting:
			for i := range w.order.waiting {
				if w.order.waiting[i] == it {
					heap.Remove(&w.order.waiting, i)
					break
				}
			}
			w.releaseLocked(it)
		case writing:
			w.writing--
			w.releaseLocked(it)
			w.leaveBatchLocked(it)
			l.remove(it)
			w.letterTaken() // which lets its fields go
			continue
		case parked:
			w.budget.parked--
		}
		w.leaveBatchLocked(it)
		w.unloadLocked(it)
		l.remove(it)
	}
	w.roomMadeLocked()
	w.wakeReadyLocked() // an entry that was taken leaves its queue when a worker looks there
	return given
}

// doubtAll marks all entries: the group was gone.
func (l *leases) doubtAll() {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, it := range l.byID {
		it.doubt(doubtful)
	}
}

// doubtGone marks entries that the stream no longer has, which are not pending
// any more either.
func (l *leases) doubtGone(ids []string) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, id := range ids {
		if it := l.byID[id]; it != nil {
			it.doubt(gone)
		}
	}
}

func (l *leases) isDoubtful(it *item) bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return it.isDoubtful()
}

// setMoving notes that an entry is being moved to its dead-letter stream, or not.
func (l *leases) setMoving(it *item, moving bool) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	it.moving = moving
}

// roomToClaim returns how many entries may be claimed, see budget.toClaim.
func (l *leases) roomToClaim(limit int) int {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.w.budget.toClaim(limit, l.w.order.redeliver.len())
}

// whenRoomToClaim calls tell once, when every claimed entry has been begun, or claimed away,
// and there is room for at least half of a claim.
func (l *leases) whenRoomToClaim(limit int, tell func()) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	b := &l.w.budget
	b.onRoomToClaim, b.claimLimit = tell, limit
	b.tellClaimer(l.w.order.redeliver.len())
}

// roomForOwn returns how many entries that are pending on this consumer may be taken up.
func (l *leases) roomForOwn() int {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return max(0, min(l.w.batch, l.w.budget.left()))
}

// holds reports whether an entry is in the window.
func (l *leases) holds(id string) bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.byID[id] != nil
}

// startOwn notes from where on entries are pending on this consumer that are not in the
// window, "" for nowhere.
func (l *leases) startOwn(id string) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.ownFrom = id
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
func (l *leases) toReturn() (list []returned) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for id, it := range l.byID {
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
func (l *leases) toRenew(since time.Time) (list []renewable) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for id, it := range l.byID {
		if it.state != done && it.owner != taken && it.renewed.Before(since) {
			list = append(list, renewable{id, it.renewed})
		}
	}
	// The script finds those together that follow each other.
	return sortedByID(list, func(t renewable) string { return t.id })
}

// claimable returns which of the entries another consumer may have claimed since the
// limit, if it is not known to be otherwise.
func (l *leases) claimable(ids []string, limit time.Time) (list []string) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, id := range ids {
		if it := l.byID[id]; it != nil && it.claimable(limit) {
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
func (l *leases) orphans(ids []string, kept, limit time.Time) (removed []orphan, ended []string) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, id := range ids {
		it := l.byID[id]
		switch {
		case it == nil, it.owner >= doubtful, it.moving, it.state == done:
			continue
		case it.owner == unowned: // and could not be taken back
		case it.claimable(limit), !kept.IsZero() && !it.renewed.Before(kept):
			ended = append(ended, id)
			continue
		}
		it.owner = unowned
		of := orphan{id: id}
		if it.state == waiting || it.state == writing {
			of.deliveries = it.deliveries
		}
		removed = append(removed, of)
	}
	return removed, ended
}

func (l *leases) unhandledGone() (ids []string) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for id, it := range l.byID {
		if it.owner == gone && it.state != done {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, resp.CompareIDs)
	return ids
}

// passGone marks those of the entries that are held, and returns the others, without
// those that have left the window since it is watched.
func (l *leases) passGone(ids []string) (others []string) {
	l.doubtGone(ids)
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, id := range ids {
		it := l.byID[id]
		if _, left := l.left[id]; !left && (it == nil || it.owner == taken) {
			others = append(others, id)
		}
	}
	return others
}
