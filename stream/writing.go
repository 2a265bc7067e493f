package stream

// hold takes an entry from its worker whose dead letter is to be written. It reports
// false if another consumer has claimed the entry.
func (w *window) hold(it *item) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if it.owner == taken {
		return false
	}
	w.causes.clear(it, false)
	w.returnedLocked(it)
	it.state = writing
	w.writing++
	if !w.serial { // else the messages behind it in its batch wait, too
		w.leaveBatchLocked(it)
	}
	return true
}

// writeFailed notes that the dead letter of an entry could not be written.
func (w *window) writeFailed(it *item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !it.failed && w.checkpoint.newly() > 0 {
		w.settle() // how long the entry stays is not known
	}
	it.failed = true
}

// written takes an entry back that was held for its dead letter.
func (w *window) written(it *item, to state) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.endWritingLocked(it) {
		return
	}
	it.state = to
	if to == done {
		w.endedLocked(it)
		if w.workers.working == 0 && w.checkpoint.newly() > 0 {
			w.checkpoint.within(idleSettleTime)
		}
	}
	w.passedLocked()
}

// forgetWritten is written for an entry that is settled already, or another
// consumer's.
func (w *window) forgetWritten(it *item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.endWritingLocked(it) {
		w.forgetLocked(it)
		w.passedLocked()
	}
}

// passedLocked has the entries begun that were kept behind a dead letter.
func (w *window) passedLocked() {
	if w.serial {
		w.wakeReadyLocked()
	}
}

// endWritingLocked reports false if the entry has left the window already.
func (w *window) endWritingLocked(it *item) bool {
	w.counts.count(it)
	if it.owner == taken {
		w.unloadLocked(it)
		return false
	}
	w.writing--
	return true
}

// isTaken reports whether another consumer has claimed an entry.
func (w *window) isTaken(it *item) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return it.owner == taken
}
