package stream

import "time"

// The worker pool: workers are started when entries may be begun, and leave when nothing
// was read for a while.

// wakeLocked finds workers for so many entries: those that wait, and then new ones. A
// worker that is at work looks for an entry itself before it waits or leaves.
func (w *window) wakeLocked(entries int) {
	if w.assembler != nil {
		entries = min(entries, w.assembler.RoomLocked()+w.redeliver.len())
	}
	if entries > 0 {
		w.releasing = false
	}
	for ; entries > 0 && w.idle > 0; entries-- {
		w.idle--
		w.ready.Signal()
	}
	for ; entries > 0 && w.workers < w.maxWorkersLocked() && !w.stopped; entries-- {
		w.workers++
		w.startWorker()
	}
}

// maxWorkersLocked returns how many workers there may be.
func (w *window) maxWorkersLocked() int {
	if w.assembler != nil {
		return w.assembler.MostLocked()
	}
	return w.maxWorkers
}

// countReadyLocked returns how many entries may be begun, at the most.
func (w *window) countReadyLocked() int { return w.redeliver.len() + w.unblocked.len() + w.fresh.len() }

// workerIdleTime is how long nothing has been read when the workers leave. A stack for each
// is much in a thousand idle consumers; to start one takes a microsecond, which is much
// for each entry of a stream that has one now and then.
const workerIdleTime = time.Second

// waitLocked waits until there may be something to do, or the worker is released.
func (w *window) waitLocked() {
	if w.idleTimer == nil {
		w.readAtIdle = w.read
		w.idleTimer = time.AfterFunc(workerIdleTime, w.releaseWorkers)
	}
	w.idle++
	w.ready.Wait()
}

// releaseWorkers has the workers leave who wait, unless something was read meanwhile.
func (w *window) releaseWorkers() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.read != w.readAtIdle {
		w.readAtIdle = w.read
		w.idleTimer.Reset(workerIdleTime)
		return
	}
	w.idleTimer, w.releasing = nil, true
	w.idle = 0
	w.ready.Broadcast()
}
