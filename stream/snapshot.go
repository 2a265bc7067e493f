package stream

import (
	"time"

	"millrace/offset"
)

// oldestUndoneLocked returns the ID of the first entry, in the order of the stream,
// whose processing has not ended, "" if there is none.
func (w *window) oldestUndoneLocked() string {
	if w.byID == nil {
		if w.ended < len(w.line) {
			return w.line[w.ended].id
		}
		return ""
	}
	oldest, text := offset.ID{}, ""
	for id, it := range w.byID {
		if it.state == done || it.state == parked || it.taken {
			continue
		}
		if parsed, err := offset.Parse(id); err == nil && (text == "" || parsed.Compare(oldest) < 0) {
			oldest, text = parsed, id
		}
	}
	return text
}

// inHand tells what the window holds.
func (w *window) inHand(s *Stats) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.Working, s.Held, s.Parked = w.working, len(w.waiting)+w.writing, w.parked
	s.Window, s.WindowSize = w.size-w.roomLocked(), w.size
	s.WindowBytes, s.WindowSizeBytes = w.loaded, int64(w.bytes)
}

// stuck returns for how long the reader has waited for room without anything having
// been settled, and the entry that is in the way.
func (w *window) stuck(now time.Time) (id string, failing bool, since time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	oldest := w.oldestLocked()
	if !w.readerWaits || oldest == nil {
		return "", false, 0
	}
	last := w.readerWaitsSince
	if w.movedAt.After(last) {
		last = w.movedAt
	}
	return oldest.id, oldest.failed, now.Sub(last)
}

func (w *window) isStopped() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stopped
}

func (w *window) standing() standing {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := standing{position: w.position, oldest: w.oldestUndoneLocked(), read: w.read}
	for _, it := range w.line[w.ended:] {
		if it.state != done {
			at.undone++
		}
	}
	return at
}

// standing is where a consumer in log mode is: what it has read, how many entries that
// were, and how many of them are not done.
type standing struct {
	run              *run
	position, oldest string
	read, undone     int64
}
