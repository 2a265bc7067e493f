package window

// Hold takes an entry from its worker whose dead letter is to be written. It reports
// false if another consumer has claimed the entry.
func (w *Window) Hold(it *Item) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if it.owner == taken {
		return false
	}
	w.causes.clear(it, false)
	w.returnedLocked(it)
	it.state = Writing
	w.writing++
	if !w.Serial { // else the messages behind it in its batch wait, too
		w.leaveBatchLocked(it)
	}
	return true
}

// WriteFailed notes that the dead letter of an entry could not be written.
func (w *Window) WriteFailed(it *Item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !it.failed && w.checkpoint.newly() > 0 {
		w.Settle() // how long the entry stays is not known
	}
	it.failed = true
}

// Written takes an entry back that was held for its dead letter.
func (w *Window) Written(it *Item, to State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.endWritingLocked(it) {
		return
	}
	it.state = to
	if to == Done {
		w.endedLocked(it)
		if w.workers.working == 0 && w.checkpoint.newly() > 0 {
			w.checkpoint.within(idleSettleTime)
		}
	}
	if w.Serial { // those behind it were kept
		w.wakeReadyLocked()
	}
}

// ForgetWritten is written for an entry that is settled already, or another
// consumer's.
func (w *Window) ForgetWritten(it *Item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.endWritingLocked(it) {
		w.forgetLocked(it)
		if w.Serial { // those behind it were kept
			w.wakeReadyLocked()
		}
	}
}

// endWritingLocked reports false if the entry has left the window already.
func (w *Window) endWritingLocked(it *Item) bool {
	w.counts.count(it)
	if it.owner == taken {
		w.budget.unload(it)
		return false
	}
	w.writing--
	return true
}

// IsTaken reports whether another consumer has claimed an entry.
func (w *Window) IsTaken(it *Item) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return it.owner == taken
}
