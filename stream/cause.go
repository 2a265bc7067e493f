package stream

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"time"
	"unicode"

	"millrace/stream/internal/contain"
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

// causeOf returns the key that failures of one kind share: the types of the error and of
// all that it wraps, and the identity of the innermost ones. The text of an error is of
// no use as a key: it may hold an entry's ID, or a value.
func causeOf(failure error) string {
	var key strings.Builder
	left := 16
	_ = contain.CaughtPanic(func() { describe(&key, failure, &left) })
	return key.String()
}

func describe(key *strings.Builder, err error, left *int) {
	if *left--; err == nil || *left < 0 {
		return
	}
	fmt.Fprintf(key, "%T ", err)
	wrapped := contain.WrappedBy(err)
	for _, inner := range wrapped {
		describe(key, inner, left)
	}
	if len(wrapped) > 0 {
		return
	}
	switch value := reflect.ValueOf(err); {
	case value.CanInt() || value.CanUint(): // such as a syscall.Errno
		fmt.Fprintf(key, "%d ", err)
	case value.Kind() == reflect.String, reflect.TypeOf(err) == typeOfText:
		key.WriteString(shape(err.Error()))
	}
}

// typeOfText is the type of the errors of errors.New: sentinels, and texts that were put
// together.
var typeOfText = reflect.TypeOf(contain.ErrGoexit)

// shape returns the start of a text without the words that have digits or quotes, such
// as IDs.
func shape(text string) string {
	const longest = 128
	words := strings.Fields(text[:min(len(text), longest)])
	for i, word := range words {
		if strings.ContainsFunc(word, func(r rune) bool { return unicode.IsDigit(r) || strings.ContainsRune("\"'`", r) }) {
			words[i] = "#"
		}
	}
	return strings.Join(words, " ")
}

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

// tellHeld logs that an entry is held: at Error if its cause is new to the log, else at
// Debug, unless a middleware has logged this delivery.
func (r *run) tellHeld(d *delivery, failure error) {
	report := r.window.noteCause(d.it, causeOf(failure))
	log := r.log()
	if !report.due {
		if !d.entry.logged && log.Enabled(context.Background(), slog.LevelDebug) {
			log.Debug(heldText, "entry_id", d.it.id, "attempt", d.entry.Deliveries, "err", failure)
		}
		return
	}
	if panicked, is := contain.As[*PanicError](failure); is {
		log = log.With("stack", string(panicked.Stack))
	}
	if report.first {
		log.Error(heldText, "entry_id", d.it.id, "attempt", d.entry.Deliveries, "err", failure)
		return
	}
	log.Error("entries held: they fail, and will be delivered again", "held", report.held, "oldest", report.oldest,
		"failures", report.failures, "entries", report.entries, "lasts", report.lasts, "err", failure)
}

const heldText = "entry held: it failed and will be delivered again"

// logEndedCauses logs the causes because of which no entry is held any more.
func (r *run) logEndedCauses() {
	if !r.window.causesEnded.Load() {
		return
	}
	for _, c := range r.window.takeEndedCauses() {
		r.log().Info("delivery works again", "failures", c.Failures, "entries", c.entries, "lasted", time.Since(c.Since))
	}
}

func (w *window) takeEndedCauses() []cause {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.endedCauses
	w.endedCauses = nil
	w.causesEnded.Store(false)
	return list
}
