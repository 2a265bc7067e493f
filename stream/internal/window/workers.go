package window

import (
	"sync"
	"time"
)

// workers counts the workers: they are started when entries may be begun, and leave when
// nothing was read for a while. The window's lock guards it.
type workers struct {
	ready   sync.Cond // workers wait for an entry that may be begun
	started int       // that have not left
	working int       // of these, at work
	idle    int       // of these, waiting
	// idleTimer ends the workers that wait, unless something was read since it was set, when
	// readAtIdle had been read; it is nil while no worker waits.
	idleTimer  *time.Timer
	readAtIdle int64
	// releasing is set while workers that find nothing to do are to leave.
	releasing bool
}

// wake wakes up workers for so many entries, and returns for how many there was none.
func (w *workers) wake(entries int) (left int) {
	if entries > 0 {
		w.releasing = false
	}
	for ; entries > 0 && w.idle > 0; entries-- {
		w.idle--
		w.ready.Signal()
	}
	return entries
}

// releaseAll wakes up all workers.
func (w *workers) releaseAll() {
	w.idle = 0
	w.ready.Broadcast()
}

// wakeLocked finds workers for so many entries: those that wait, and then new ones. A
// worker that is at work looks for an entry itself before it waits or leaves.
func (w *Window) wakeLocked(entries int) {
	if w.budget.paused {
		return // the end of the pause wakes them
	}
	most := w.MaxWorkers
	if w.assembler != nil {
		most = w.assembler.MostLocked()
		entries = min(entries, w.assembler.RoomLocked()+w.order.redeliver.len())
	}
	for entries = w.workers.wake(entries); entries > 0 && w.workers.started < most && !w.stopped; entries-- {
		w.workers.started++
		w.StartWorker()
	}
}

// wakeReadyLocked finds workers for all entries that may be begun.
func (w *Window) wakeReadyLocked() { w.wakeLocked(w.order.ready()) }

// workerIdleTime is how long nothing has been read when the workers leave. A stack for each
// is much in a thousand idle consumers; to start one takes a microsecond, which is much
// for each entry of a stream that has one now and then.
const workerIdleTime = time.Second

// wait waits until there may be something to do, or the worker is released: read counts what
// was read.
func (w *workers) wait(read *int64) {
	if w.idleTimer == nil {
		w.readAtIdle = *read
		w.idleTimer = time.AfterFunc(workerIdleTime, func() { w.release(read) })
	}
	w.idle++
	w.ready.Wait()
}

// release has the workers leave who wait, unless something was read meanwhile. It takes the
// window's lock.
func (w *workers) release(read *int64) {
	w.ready.L.Lock()
	defer w.ready.L.Unlock()
	if *read != w.readAtIdle {
		w.readAtIdle = *read
		w.idleTimer.Reset(workerIdleTime)
		return
	}
	w.idleTimer, w.releasing = nil, true
	w.releaseAll()
}
