package window

import (
	"container/heap"
	"slices"
	"time"

	"millrace/offset"
	"millrace/stream/internal/resp"
)

// Leases is the ledger of group mode: the entries by their IDs. Redis keeps on whom an entry
// is pending, and for how long it has been idle. The window's lock guards it.
type Leases struct {
	w    *Window
	byID map[string]*Item
	done []*Item // may be settled, in the order in which they ended
	// left has the IDs of those that have left since WatchLeaving was called.
	left          map[string]struct{}
	leaveWatchers int
	// doubles are IDs of entries that were read while another entry had that ID in the window.
	doubles []string
	// ownFrom is from where on entries are pending on this consumer that are not here.
	ownFrom string
}

// add takes an entry in. An ID that is here already was given out twice: the group was set
// back, or the stream was made again and has another entry with this ID.
func (l *Leases) add(it *Item) bool {
	if double := l.byID[it.ID]; double != nil {
		if it.Entry != nil && double.isAnother(it.Entry) {
			l.doubles = append(l.doubles, it.ID)
		}
		return false
	}
	l.byID[it.ID] = it
	if it.Entry != nil {
		it.Deliveries = 1 // a read counts it
	}
	return true
}

func (l *Leases) len() int { return len(l.byID) }

func (l *Leases) end(it *Item) { l.done = append(l.done, it) }

func (l *Leases) settleable() []*Item { return l.done[:len(l.done):len(l.done)] }

func (l *Leases) settled(n int, drop func(*Item)) {
	for _, it := range l.done[:n] {
		l.remove(it)
	}
	l.done = dropFirst(l.done, n, drop)
}

func (l *Leases) remove(it *Item) {
	delete(l.byID, it.ID)
	if l.left != nil {
		l.left[it.ID] = struct{}{}
	}
}

func (l *Leases) blocking(fields bool) (blocking *Item) {
	for _, it := range l.byID {
		// One that waits holds up none but by its fields, and without them none at all.
		if it.state != Working && it.state != Writing && (it.state != Waiting || fields) {
			continue
		}
		if blocking == nil || it.renewed.Before(blocking.renewed) || it.renewed.Equal(blocking.renewed) && it.ID < blocking.ID {
			blocking = it
		}
	}
	return blocking
}

func (l *Leases) oldest() string {
	oldest, text := offset.ID{}, ""
	for id, it := range l.byID {
		if it.state == Done || it.state == Parked || it.owner == taken {
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

// WatchLeaving has the window keep the IDs of entries that leave it, until over is called: a
// list of pending entries that was asked for meanwhile, and is given to AddClaimed, may
// name them.
func (l *Leases) WatchLeaving() (over func()) {
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

// IsLeavingWatched reports whether the window keeps the IDs of entries that leave it.
func (l *Leases) IsLeavingWatched() bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.leaveWatchers > 0
}

// AddClaimed adds entries that became ours at the given time, and returns how many are new:
// those that are in the window are left out, and those that have left it since
// WatchLeaving. uncounted says that their last delivery never was one.
func (l *Leases) AddClaimed(ids []string, uncounted bool, at time.Time) (added int) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, id := range ids {
		_, double := l.byID[id]
		if _, left := l.left[id]; double || left {
			continue
		}
		it := &Item{ID: id, Uncounted: uncounted, renewed: at}
		l.byID[id] = it
		l.w.order.redeliverAgain(it)
		added++
	}
	l.w.wakeLocked(added)
	return added
}

// TakeDoubles returns the IDs of entries that are not in the window, because another
// entry with that ID is: its ack is theirs, too.
func (l *Leases) TakeDoubles() []string {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	ids := l.doubles
	l.doubles = nil
	return ids
}

// Load gives an entry, which is at work, its fields, and the number of its delivery.
func (l *Leases) Load(it *Item, entry *resp.Entry, deliveries int64) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	it.Entry, it.bytes, it.Deliveries = entry, entry.Bytes(), deliveries
	l.w.budget.loaded += it.bytes
}

// QueueUp puts an entry that has been fetched to be begun in the line of its key.
// It reports false if it has to wait there: the worker is to take another one.
func (l *Leases) QueueUp(it *Item) bool {
	w := l.w
	if w.Key == nil {
		return true
	}
	key := w.Key.Of(it.Entry)
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if !it.keyed {
		it.key = key
	}
	if w.order.enqueue(it) {
		return true
	}
	it.state = Unread
	w.returnedLocked(it)
	w.leaveBatchLocked(it)
	return false
}

// Split tells the entries that Redis was told of since the given time, which
// no other consumer can have claimed, from those that another may have.
func (l *Leases) Split(list []*Item, since time.Time) (safe, late []string) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	safe = make([]string, 0, len(list))
	for _, it := range list {
		if it.renewed.Before(since) {
			late = append(late, it.ID)
		} else {
			safe = append(safe, it.ID)
		}
	}
	return safe, late
}

// NoteRenewed notes that Redis was told of entries at the given time.
func (l *Leases) NoteRenewed(ids []string, at time.Time) {
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

// GiveUp takes out entries that other consumers have claimed, and ends the context of those
// at work, which their workers forget. It returns the IDs that were given up.
func (l *Leases) GiveUp(ids []string, cause error) (given []string) {
	w := l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		it := l.byID[id]
		if it == nil || it.owner >= doubtful || it.state == Done {
			continue
		}
		it.owner = taken
		w.causes.clear(it, false)
		given = append(given, id)
		switch it.state {
		case Working:
			it.cancel(cause) // the worker forgets it
			continue
		case Waiting:
			for i := range w.order.waiting {
				if w.order.waiting[i] == it {
					heap.Remove(&w.order.waiting, i)
					break
				}
			}
			w.releaseLocked(it)
		case Writing:
			w.writing--
			w.releaseLocked(it)
			w.leaveBatchLocked(it)
			l.remove(it)
			w.LetterTaken() // which lets its fields go
			continue
		case Parked:
			w.budget.parked--
		}
		w.leaveBatchLocked(it)
		w.budget.unload(it)
		l.remove(it)
	}
	w.roomMadeLocked()
	w.wakeReadyLocked() // an entry that was taken leaves its queue when a worker looks there
	return given
}

// DoubtAll marks all entries: the group was gone.
func (l *Leases) DoubtAll() {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, it := range l.byID {
		it.doubt(doubtful)
	}
}

// DoubtGone marks entries that the stream no longer has, which are not pending
// any more either.
func (l *Leases) DoubtGone(ids []string) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, id := range ids {
		if it := l.byID[id]; it != nil {
			it.doubt(gone)
		}
	}
}

// IsDoubtful reports whether the group, or the entry in the stream, was gone: that the entry
// is not pending on this consumer does not mean that another has it.
func (l *Leases) IsDoubtful(it *Item) bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return it.isDoubtful()
}

// SetMoving notes that an entry is being moved to its dead-letter stream, or put off, or not.
func (l *Leases) SetMoving(it *Item, moving bool) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	it.moving = moving
}

// RoomToClaim returns how many entries may be claimed, see budget.toClaim.
func (l *Leases) RoomToClaim(limit int) int {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.w.budget.toClaim(limit, l.w.order.redeliver.len())
}

// WhenRoomToClaim calls tell once, when every claimed entry has been begun, or claimed away,
// and there is room for at least half of a claim.
func (l *Leases) WhenRoomToClaim(limit int, tell func()) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	b := &l.w.budget
	b.onRoomToClaim, b.claimLimit = tell, limit
	b.tellClaimer(l.w.order.redeliver.len())
}

// RoomForOwn returns how many entries that are pending on this consumer may be taken up.
func (l *Leases) RoomForOwn() int {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.w.budget.paused {
		return 0
	}
	return max(0, min(l.w.Batch, l.w.budget.left()))
}

// Holds reports whether an entry is in the window.
func (l *Leases) Holds(id string) bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.byID[id] != nil
}

// StartOwn notes from where on entries are pending on this consumer that are not in the
// window, "" for nowhere.
func (l *Leases) StartOwn(id string) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.ownFrom = id
}

// Returned is an entry that goes back when the consumer stops. It is refunded if it has
// not used up the attempt that Redis counts for it.
type Returned struct {
	ID     string
	Refund bool
}

// ToReturn returns the entries that are to be handed back, the oldest first. Those that
// failed have used up their attempt. So has one that was not begun here, and was
// delivered to an earlier consumer.
func (l *Leases) ToReturn() (list []Returned) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for id, it := range l.byID {
		notBegun := it.state == Unread && it.Entry == nil && !it.Uncounted
		list = append(list, Returned{id, it.state != Waiting && it.state != Parked && !notBegun})
	}
	return resp.SortByID(list, func(r Returned) string { return r.ID })
}

// ToRenew returns the entries that Redis was told of before the given time,
// and that are still to be processed.
func (l *Leases) ToRenew(since time.Time) (list []Renewable) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for id, it := range l.byID {
		if it.state != Done && it.owner != taken && it.renewed.Before(since) {
			list = append(list, Renewable{id, it.renewed})
		}
	}
	// The script finds those together that follow each other.
	return resp.SortByID(list, func(t Renewable) string { return t.ID })
}

// Claimable returns which of the entries another consumer may have claimed since the
// limit, if it is not known to be otherwise.
func (l *Leases) Claimable(ids []string, limit time.Time) (list []string) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, id := range ids {
		if it := l.byID[id]; it != nil && it.claimable(limit) {
			list = append(list, id)
		}
	}
	return list
}

// Renewable is an entry and when Redis was told of it.
type Renewable struct {
	ID string
	At time.Time
}

// Orphan is an entry that is pending on no consumer, and how often it was delivered, 0 is
// unknown.
type Orphan struct {
	ID         string
	Deliveries int64
}

// Orphans tells why entries are pending on no consumer. They have ended if another
// consumer may have claimed them since the limit, or if what was ours no later, as
// Redis was told, is so still: then they were acked by hand. Otherwise all
// went together: this consumer was removed.
func (l *Leases) Orphans(ids []string, kept, limit time.Time) (removed []Orphan, ended []string) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, id := range ids {
		it := l.byID[id]
		switch {
		case it == nil, it.owner >= doubtful, it.moving, it.state == Done:
			continue
		case it.owner == unowned: // and could not be taken back
		case it.claimable(limit), !kept.IsZero() && !it.renewed.Before(kept):
			ended = append(ended, id)
			continue
		}
		it.owner = unowned
		of := Orphan{ID: id}
		if it.state == Waiting || it.state == Writing {
			of.Deliveries = it.Deliveries
		}
		removed = append(removed, of)
	}
	return removed, ended
}

// EndedOrphans is Orphans for entries whose processing has ended. Those that are doubtful were not
// pending on any consumer either.
func (l *Leases) EndedOrphans(ids []string, kept, limit time.Time) (removed []Orphan, ended []string) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, id := range ids {
		it := l.byID[id]
		switch {
		case it == nil, it.owner > doubtful: // it cannot be taken back
			continue
		case it.owner == ours && (it.claimable(limit) || !kept.IsZero() && !it.renewed.Before(kept)):
			ended = append(ended, id)
			continue
		}
		removed = append(removed, Orphan{ID: id, Deliveries: it.Deliveries})
	}
	return removed, ended
}

// FirstRenewed returns when the first of the entries was renewed, zero if there are none.
func (l *Leases) FirstRenewed(list []*Item) (at time.Time) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, it := range list {
		if at.IsZero() || it.renewed.Before(at) {
			at = it.renewed
		}
	}
	return at
}

// UnhandledGone returns the entries that are gone from the stream, and that no handler has
// finished.
func (l *Leases) UnhandledGone() (ids []string) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for id, it := range l.byID {
		if it.owner == gone && it.state != Done {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, resp.CompareIDs)
	return ids
}

// PassGone marks those of the entries that are held, and returns the others, without
// those that have left the window since it is watched.
func (l *Leases) PassGone(ids []string) (others []string) {
	l.DoubtGone(ids)
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
