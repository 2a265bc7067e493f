package window

import (
	"context"
	"sync"
	"time"
)

// budget is the room in the window, in entries and in bytes, and those that wait for it:
// the reader, and the claimer of group mode. The window's lock guards it.
type budget struct {
	ledger ledger
	size   int
	bytes  int
	room   sync.Cond // the reader waits for room

	loaded int64 // bytes of the entries whose fields are here
	// effects are bytes of effects that wait to be settled with their entries. They count in loaded,
	// too.
	effects int64
	parked  int // entries that do not count, or nothing would ever be read again

	readerWaits bool // the reader waits for room, since since
	since       time.Time
	// draining is set while the reader waits for everything to be settled.
	draining bool
	// paused keeps anything more from being begun, read or claimed.
	paused bool
	// onRoomToClaim is called once when there is room to claim, of claimLimit; it may be nil.
	onRoomToClaim func()
	claimLimit    int
}

// left returns how many more entries may be held.
func (b *budget) left() int { return b.size - (b.ledger.len() - b.parked) }

// isLoaded reports whether there is no room for the bytes that another read may bring.
func (b *budget) isLoaded() bool { return b.loaded > int64(b.bytes/2) }

// unload lets the fields of an entry go, which has ended or is not to be processed now.
func (b *budget) unload(it *Item) {
	if it.Entry == nil {
		return
	}
	it.Entry.Drop()
	it.Entry = nil
	was := b.isLoaded()
	b.loaded -= it.bytes
	it.bytes = 0
	if was && b.readerWaits && !b.isLoaded() {
		b.room.Broadcast()
	}
}

// loadEffects counts the effects of an entry that has ended, in place of its fields.
func (b *budget) loadEffects(it *Item) {
	bytes := it.Effects.Bytes()
	it.bytes += bytes
	b.loaded += bytes
	b.effects += bytes
}

// unloadEffects lets the effects of an entry go, which is settled or given up.
func (b *budget) unloadEffects(it *Item) {
	if it.Effects == nil {
		return
	}
	was := b.isLoaded()
	it.Effects = nil
	b.loaded -= it.bytes
	b.effects -= it.bytes
	it.bytes = 0
	if was && b.readerWaits && !b.isLoaded() {
		b.room.Broadcast()
	}
}

// isFullOfEffects reports whether effects take more than a part of the bytes that fields and
// effects may take.
func (b *budget) isFullOfEffects(part int) bool { return b.effects > int64(b.bytes/part) }

// toClaim returns how many entries may be claimed, a hundred at the most, and none in a pause
// or while the window is drained: no more than
// limit wait to be begun, and the window has no more than limit beyond its size. Entries
// that were read do not count: a consumer with a backlog must claim too.
func (b *budget) toClaim(limit, waiting int) int {
	if b.paused || b.draining {
		return 0
	}
	return max(0, min(limit-waiting, limit+b.left(), 100))
}

// tellClaimer tells the claimer, once, that every claimed entry has been begun, or claimed
// away, and that there is room for at least half of a claim: with less, entries would be
// claimed one by one while most of them fail.
func (b *budget) tellClaimer(waiting int) {
	if b.onRoomToClaim == nil || waiting > 0 || b.toClaim(b.claimLimit, 0) < (min(b.claimLimit, 100)+1)/2 {
		return
	}
	tell := b.onRoomToClaim
	b.onRoomToClaim = nil
	tell()
}

// roomMadeLocked has those look who wait for room.
func (w *Window) roomMadeLocked() {
	w.budget.room.Broadcast()
	w.budget.tellClaimer(w.order.redeliver.len())
}

// AwaitRoom waits until a batch more may be held and everything that is to be
// delivered again now has been begun, and while the window is paused; it reports false if ctx
// is done before.
// full is called from time to time while the window is.
func (w *Window) AwaitRoom(ctx context.Context, full func(oldest string, stands State, bytes int64)) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hasRoomLocked() {
		return ctx.Err() == nil
	}
	defer context.AfterFunc(ctx, w.budget.wakeReader)()
	b := &w.budget
	b.since = time.Now()
	complaint := b.reportFull(full)
	defer func() { complaint.Stop() }()
	for !w.hasRoomLocked() {
		if ctx.Err() != nil {
			b.readerWaits = false
			return false
		}
		b.readerWaits = true
		w.settleForRoomLocked()
		b.room.Wait()
	}
	b.readerWaits = false
	return ctx.Err() == nil
}

// wakeReader has the reader look again, at a context that is done. It takes the window's lock.
func (b *budget) wakeReader() {
	b.room.L.Lock()
	defer b.room.L.Unlock()
	b.room.Broadcast()
}

func (w *Window) hasRoomLocked() bool {
	return w.budget.left() >= w.Batch && w.order.redeliver.len() == 0 && !w.budget.isLoaded() && !w.budget.paused
}

// HasRoomAhead reports whether there will be room behind the batch that is being read.
func (w *Window) HasRoomAhead() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.budget.left() >= 2*w.Batch && !w.budget.paused
}

// fullLogInterval is how often a full window that does not move is reported.
const fullLogInterval = 10 * time.Second

// reportFull calls full, now and then, while the oldest entry stays the same. Its timer takes
// the window's lock.
func (b *budget) reportFull(full func(oldest string, stands State, bytes int64)) *time.Timer {
	blocking := func() *Item { return b.ledger.blocking(b.isLoaded()) }
	oldest := blocking()
	var timer *time.Timer
	timer = time.AfterFunc(fullLogInterval, func() {
		b.room.L.Lock()
		if !b.readerWaits {
			b.room.L.Unlock()
			return
		}
		now, id, stands := blocking(), "", Unread
		if now == oldest && now != nil && !b.paused {
			id, stands = now.ID, now.state
		}
		oldest = now
		bytes := b.loaded
		timer.Reset(fullLogInterval)
		b.room.L.Unlock()
		if id != "" {
			full(id, stands, bytes) // it may ask the window something
		}
	})
	return timer
}
