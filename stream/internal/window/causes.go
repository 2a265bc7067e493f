package window

import (
	"sync/atomic"
	"time"

	"millrace/stream/internal/resp"
	"millrace/stream/internal/task"
)

// Cause is a kind of failure of deliveries, see causeOf, and the state of its log lines:
// the first failure at once, then a sum every half minute, and the end. It is guarded by
// the window's lock.
type Cause struct {
	task.Incident
	held    int   // entries that wait because of it
	Entries int64 // entries that have failed because of it
	told    bool  // since it was over
	worked  bool  // the handler has succeeded with one of them
}

// causes are why entries are held. The window's lock guards it.
type causes struct {
	byKey map[string]*Cause
	ended []Cause     // whose end is to be logged
	some  atomic.Bool // there are some of these
}

// maxCauses is how many causes are told apart. All further ones are one more, so that
// errors that are all different cannot fill the log, or memory.
const maxCauses = 16

// otherCauses is the key of that one.
const otherCauses = "other"

// HeldReport is the log line of an entry that is held, if one is due.
type HeldReport struct {
	Due, First        bool
	Failures, Entries int64
	Held              int
	Oldest            string
	Lasts             time.Duration
}

// NoteCause notes why an entry, which is at work, is to be held.
func (w *Window) NoteCause(it *Item, key string) (report HeldReport) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	c := w.causes.of(key, now)
	if it.cause != c {
		w.causes.clear(it, false)
		it.cause = c
		c.held++
		c.Entries++
	}
	if report.Due = c.Note(now, ""); !report.Due {
		return report
	}
	c.told = true
	report.First = c.Failures == 1
	report.Failures, report.Entries, report.Held, report.Lasts = c.Failures, c.Entries, c.held, now.Sub(c.Since)
	report.Oldest = it.ID
	for _, other := range w.order.waiting {
		if other.cause == c && resp.CompareIDs(other.ID, report.Oldest) < 0 {
			report.Oldest = other.ID
		}
	}
	return report
}

// of returns the cause with a key.
func (a *causes) of(key string, now time.Time) *Cause {
	if c := a.byKey[key]; c != nil {
		return c
	}
	if len(a.byKey) >= maxCauses {
		for old, c := range a.byKey {
			if c.held == 0 && c.IsDue(now) {
				delete(a.byKey, old)
			}
		}
		if len(a.byKey) >= maxCauses {
			key = otherCauses
		}
	}
	c := a.byKey[key]
	if c == nil {
		c = new(Cause)
		a.byKey[key] = c
	}
	return c
}

// clear notes that an entry is not held any more, or for another cause, and
// whether it was handled. The end of a cause is logged if its beginning was, so that a
// cause that comes and goes all the time is logged twice in half a minute, and if the
// handler has succeeded: any other outcome of the entries is logged for each.
func (a *causes) clear(it *Item, handled bool) {
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
		a.ended = append(a.ended, *c)
		a.some.Store(true)
	}
	*c = Cause{Incident: task.Incident{Logged: c.Logged}}
}

// TakeEndedCauses returns the causes whose end is to be logged. It is quick if there are none.
func (w *Window) TakeEndedCauses() []Cause {
	if !w.causes.some.Load() {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.causes.ended
	w.causes.ended = nil
	w.causes.some.Store(false)
	return list
}
