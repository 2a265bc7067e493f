package stream

import "time"

// Who works on what is in the window: workers are employed when there is something to
// do, and leave when nothing has come for a while.

// wakeLocked finds workers for so many entries: those who wait, and then new ones.
// All others look what there is before they wait or leave.
func (w *window) wakeLocked(entries int) {
	if w.assembler != nil {
		entries = min(entries, w.assembler.roomLocked()+w.again.len())
	}
	if entries > 0 {
		w.dismissed = false
	}
	for ; entries > 0 && w.idle > 0; entries-- {
		w.idle--
		w.ready.Signal()
	}
	for ; entries > 0 && w.workers < w.mostLocked() && !w.stopped; entries-- {
		w.workers++
		w.employ()
	}
}

// mostLocked returns how many workers there may be.
func (w *window) mostLocked() int {
	if w.assembler != nil {
		return w.assembler.mostLocked()
	}
	return w.most
}

// readyLocked returns how many entries may be begun, at the most.
func (w *window) readyLocked() int { return w.again.len() + w.freed.len() + w.fresh.len() }

// leisure is how long nothing has been read when the workers leave. A stack for each
// is much in a thousand idle consumers; to employ one takes a microsecond, which
// is much for each entry of a stream that has one now and then.
const leisure = time.Second

// idleLocked waits until there may be something to do, or the worker is dismissed.
func (w *window) idleLocked() {
	if w.leisure == nil {
		w.readBy = w.read
		w.leisure = time.AfterFunc(leisure, w.dismiss)
	}
	w.idle++
	w.ready.Wait()
}

// dismiss has the workers leave who wait, unless something was read meanwhile.
func (w *window) dismiss() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.read != w.readBy {
		w.readBy = w.read
		w.leisure.Reset(leisure)
		return
	}
	w.leisure, w.dismissed = nil, true
	w.idle = 0
	w.ready.Broadcast()
}
