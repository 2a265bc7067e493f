package stream

import (
	"time"

	"millrace/stream/internal/resp"
	"millrace/stream/internal/task"
)

// cause is a kind of failure of deliveries, see causeOf, and the state of its log lines:
// the first failure at once, then a sum every half minute, and the end. It is guarded by
// the window's lock.
type cause struct {
	task.Incident
	held    int   // entries that wait because of it
	entries int64 // entries that have failed because of it
	told    bool  // since it was over
	worked  bool  // the handler has succeeded with one of them
}

// maxCauses is how many causes are told apart. All further ones are one more, so that
// errors that are all different cannot fill the log, or memory.
const maxCauses = 16

// otherCauses is the key of that one.
const otherCauses = "other"

// heldReport is the log line of an entry that is held.
type heldReport struct {
	due, first        bool
	failures, entries int64
	held              int
	oldest            string
	lasts             time.Duration
}

// noteCause notes why an entry, which is at work, is to be held.
func (w *window) noteCause(it *item, key string) (report heldReport) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	c := w.causeLocked(key, now)
	if it.cause != c {
		w.clearCauseLocked(it, false)
		it.cause = c
		c.held++
		c.entries++
	}
	if report.due = c.Note(now, ""); !report.due {
		return report
	}
	c.told = true
	report.first = c.Failures == 1
	report.failures, report.entries, report.held, report.lasts = c.Failures, c.entries, c.held, now.Sub(c.Since)
	report.oldest = it.id
	for _, other := range w.waiting {
		if other.cause == c && resp.CompareIDs(other.id, report.oldest) < 0 {
			report.oldest = other.id
		}
	}
	return report
}

func (w *window) causeLocked(key string, now time.Time) *cause {
	if c := w.causes[key]; c != nil {
		return c
	}
	if len(w.causes) >= maxCauses {
		for old, c := range w.causes {
			if c.held == 0 && c.IsDue(now) {
				delete(w.causes, old)
			}
		}
		if len(w.causes) >= maxCauses {
			key = otherCauses
		}
	}
	c := w.causes[key]
	if c == nil {
		c = new(cause)
		w.causes[key] = c
	}
	return c
}

// clearCauseLocked notes that an entry is not held any more, or for another cause, and
// whether it was handled. The end of a cause is logged if its beginning was, so that a
// cause that comes and goes all the time is logged twice in half a minute, and if the
// handler has succeeded: any other outcome of the entries is logged for each.
func (w *window) clearCauseLocked(it *item, handled bool) {
	c := it.cause
	if c == nil {
		return
	}
	it.cause = nil
	c.worked = c.worked || handled
	if c.held--; c.held > 0 || !c.told {
		return
	}
	if c.worked {
		w.endedCauses = append(w.endedCauses, *c)
		w.causesEnded.Store(true)
	}
	*c = cause{Incident: task.Incident{Logged: c.Logged}}
}

func (w *window) takeEndedCauses() []cause {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.endedCauses
	w.endedCauses = nil
	w.causesEnded.Store(false)
	return list
}
