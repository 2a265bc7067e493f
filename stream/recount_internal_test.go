package stream

import (
	"errors"
	"fmt"
	"testing"

	"millrace/stream/internal/resp"
)

// recount counts anew, and compares with the counters of the window.
func (w *window) recount() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var problems []error
	want := func(what string, counted, is int64) {
		if counted != is {
			problems = append(problems, fmt.Errorf("%s: %d by the window's count, %d there are", what, counted, is))
		}
	}
	all := w.line
	for id, it := range w.byID {
		if it.id != id {
			problems = append(problems, fmt.Errorf("%s is held as %s", it.id, id))
		}
		all = append(all, it)
	}
	queued := make(map[*item]bool)
	for _, q := range []*queue{&w.redeliver, &w.unblocked, &w.fresh} {
		for _, it := range q.list[q.head:] {
			if queued[it] {
				problems = append(problems, fmt.Errorf("%s may be begun twice", it.id))
			}
			queued[it] = true
		}
	}
	behind := make(map[*item]bool)
	follow := func(it *item) {
		for next := it.behind; next != nil && !behind[next]; next = next.behind {
			behind[next] = true
		}
	}
	for it := range queued {
		follow(it) // also a lost one
	}
	for _, it := range all {
		follow(it)
	}
	bytes, states, ended := int64(0), make(map[state]int64), 0
	for i, it := range all {
		bytes += it.bytes
		states[it.state]++
		if w.byID == nil && it.state == done && ended == i {
			ended++
		}
		if it.entry != nil && it.entry.Fields == nil && it.bytes != 0 {
			problems = append(problems, fmt.Errorf("%s has no fields, and counts %d bytes", it.id, it.bytes))
		}
		if it.keyed && (it.state == done || it.state == parked) {
			problems = append(problems, fmt.Errorf("%s has ended, and keeps its key", it.id))
		}
		if last := w.last[it.key]; it.keyed && it.behind == nil && last != it {
			problems = append(problems, fmt.Errorf("%s is in the line of its key, which does not end there", it.id))
		}
		if it.state == unread && !it.taken && !queued[it] && !behind[it] && !w.stopped {
			problems = append(problems, fmt.Errorf("%s is not begun, and will never be", it.id))
		}
	}
	for key, last := range w.last {
		if !last.keyed || last.key != key || last.behind != nil {
			problems = append(problems, fmt.Errorf("the line of a key ends with %s, which is not in it", last.id))
		}
	}
	want("bytes", w.loaded, bytes)
	want("at work", int64(w.working), states[working])
	want("parked", int64(w.parked), states[parked])
	want("to be delivered again", int64(len(w.waiting)), states[waiting])
	want("ended", int64(w.ended), int64(ended))
	if w.byID != nil {
		want("done", int64(len(w.done)), states[done])
	}
	if w.inFlight > w.unsettledLocked() {
		problems = append(problems, fmt.Errorf("%d are being settled, of %d", w.inFlight, w.unsettledLocked()))
	}
	return errors.Join(problems...)
}

// recounted has a window recounted at the end of a test.
func recounted(t testing.TB, w *window) *window {
	t.Helper()
	t.Cleanup(func() {
		if err := w.recount(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// Recounter returns a function that recounts the window of the run that is at work, or
// was when it was called for the first time while there was one.
func Recounter[T any](c *Consumer[T]) func() error {
	var w *window
	return func() error {
		m := &c.engine.meter
		m.mu.Lock()
		if m.run != nil {
			w = m.run.window
		}
		m.mu.Unlock()
		if w == nil {
			return nil
		}
		return w.recount()
	}
}

// testKeys makes order keys of a function.
type testKeys func(*resp.Entry) string

func (k testKeys) of(entry *resp.Entry) string { return k(entry) }

func (k testKeys) ofAll(entries []resp.Entry, set func(i int, key string)) {
	for i := range entries {
		set(i, k(&entries[i]))
	}
}

// The recount finds a wrong counter.
func TestRecount(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*window){
		"bytes":       func(w *window) { w.loaded++ },
		"parked":      func(w *window) { w.parked++ },
		"at work":     func(w *window) { w.working-- },
		"done":        func(w *window) { w.done = nil },
		"key":         func(w *window) { w.byID["1-0"].keyed = true },
		"never begun": func(w *window) { w.fresh = queue{} },
		"begun twice": func(w *window) { w.fresh.push(w.fresh.list[w.fresh.head]) },
		"not in line": func(w *window) { w.last["x"] = w.byID["3-0"] },
		"not by its ID": func(w *window) {
			w.byID["9-0"] = w.byID["3-0"]
			delete(w.byID, "3-0")
		},
	} {
		w := newWindow(limits{size: 10, batch: 10, every: 10, interval: 1, key: testKeys(func(*resp.Entry) string { return "k" })}, true)
		defer w.close()
		w.addRead(resp.Batch{Entries: []resp.Entry{{ID: "1-0"}, {ID: "2-0"}, {ID: "3-0"}, {ID: "4-0"}}}, w.movedAt)
		w.end(w.next(nil), done)
		w.next(nil)
		w.key = nil
		w.addRead(resp.Batch{Entries: []resp.Entry{{ID: "5-0"}}}, w.movedAt)
		if err := w.recount(); err != nil {
			t.Errorf("%s: nothing is wrong yet: %v", name, err)
		}
		spoil(w)
		if w.recount() == nil {
			t.Errorf("%s: the recount finds nothing wrong", name)
		}
	}
}
