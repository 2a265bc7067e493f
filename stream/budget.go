package stream

import (
	"context"
	"time"
)

// How the reader waits for room in the window, and what it says when there is none
// for long.

// awaitRoom waits until a batch more may be held and everything that is to be
// delivered again now has been begun; it reports false if ctx is done before.
// full is called from time to time while the window is.
func (w *window) awaitRoom(ctx context.Context, full func(oldest string, stands state, bytes int64)) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hasRoomLocked() {
		return ctx.Err() == nil
	}
	defer context.AfterFunc(ctx, w.wakeReader)()
	w.readerWaitsSince = time.Now()
	complaint := w.reportFullLocked(full)
	defer func() { complaint.Stop() }()
	for !w.hasRoomLocked() {
		if ctx.Err() != nil {
			w.readerWaits = false
			return false
		}
		w.readerWaits = true
		w.settleForRoomLocked()
		w.room.Wait()
	}
	w.readerWaits = false
	return ctx.Err() == nil
}

// wakeReader has the reader look again, at a context that is done.
func (w *window) wakeReader() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.room.Broadcast()
}

func (w *window) hasRoomLocked() bool {
	return w.roomLocked() >= w.batch && w.redeliver.len() == 0 && !w.isLoadedLocked()
}

// HasRoomAhead reports whether there will be room behind the batch that is being read.
func (w *window) hasRoomAhead() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.roomLocked() >= 2*w.batch
}

// roomLocked returns how many more entries may be held. What is parked does not
// count, or nothing would ever be read again.
func (w *window) roomLocked() int {
	if w.byID == nil {
		return w.size - len(w.line)
	}
	return w.size - (len(w.byID) - w.parked)
}

// fullLogInterval is how often a full window that does not move is reported.
const fullLogInterval = 10 * time.Second

// reportFullLocked calls full, now and then, while the oldest entry stays the same.
func (w *window) reportFullLocked(full func(oldest string, stands state, bytes int64)) *time.Timer {
	oldest := w.oldestLocked()
	var timer *time.Timer
	timer = time.AfterFunc(fullLogInterval, func() {
		w.mu.Lock()
		if !w.readerWaits {
			w.mu.Unlock()
			return
		}
		now, id, stands := w.oldestLocked(), "", unread
		if now == oldest && now != nil {
			id, stands = now.id, now.state
		}
		oldest = now
		bytes := w.loaded
		timer.Reset(fullLogInterval)
		w.mu.Unlock()
		if id != "" {
			full(id, stands, bytes) // it may ask the window something
		}
	})
	return timer
}

// oldestLocked returns the entry that has to end before the window moves.
func (w *window) oldestLocked() (oldest *item) {
	byBytes := w.isLoadedLocked() // then an entry without fields is in nobody's way
	if w.byID == nil {
		if byBytes && w.ended < len(w.line) {
			return w.line[w.ended]
		}
		if len(w.line) > 0 {
			return w.line[0]
		}
		return nil
	}
	for _, it := range w.byID {
		if it.state != working && it.state != writing && (it.state != waiting || byBytes) {
			continue
		}
		if oldest == nil || it.renewed.Before(oldest.renewed) || it.renewed.Equal(oldest.renewed) && it.id < oldest.id {
			oldest = it
		}
	}
	return oldest
}

// drain waits until all that is held has ended and is settled. It is for the
// reader, in log mode, which adds nothing meanwhile.
func (w *window) drain(ctx context.Context) error {
	defer context.AfterFunc(ctx, w.wakeReader)()
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.line) > 0 && ctx.Err() == nil {
		if w.newlyEndedLocked() > 0 {
			w.settle()
		}
		w.draining = true
		w.room.Wait()
	}
	w.draining = false
	return ctx.Err()
}

// isLoadedLocked reports whether there is no room for what another read may bring.
func (w *window) isLoadedLocked() bool { return w.loaded > int64(w.bytes/2) }

// unloadLocked lets the fields of an entry go, which has ended or is not to be
// processed now.
func (w *window) unloadLocked(it *item) {
	if it.entry == nil {
		return
	}
	it.entry.Fields = nil
	if w.byID != nil {
		it.entry = nil
	}
	was := w.isLoadedLocked()
	w.loaded -= it.bytes
	it.bytes = 0
	if was && w.readerWaits && !w.isLoadedLocked() {
		w.room.Broadcast()
	}
}
