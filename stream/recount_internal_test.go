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
	all, mark, leased := entriesOf(w)
	for id, it := range leased {
		if it.id != id {
			problems = append(problems, fmt.Errorf("%s is held as %s", it.id, id))
		}
	}
	queued := make(map[*item]bool)
	for _, q := range []*queue{&w.order.redeliver, &w.order.unblocked, &w.order.fresh} {
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
		if it.state == done && (leased != nil || ended == i) {
			ended++
		}
		if it.entry != nil && it.entry.Fields == nil && it.bytes != 0 {
			problems = append(problems, fmt.Errorf("%s has no fields, and counts %d bytes", it.id, it.bytes))
		}
		if it.keyed && (it.state == done || it.state == parked) {
			problems = append(problems, fmt.Errorf("%s has ended, and keeps its key", it.id))
		}
		if last := w.order.last[it.key]; it.keyed && it.behind == nil && last != it {
			problems = append(problems, fmt.Errorf("%s is in the line of its key, which does not end there", it.id))
		}
		if it.state == unread && it.owner != taken && !queued[it] && !behind[it] && !w.stopped {
			problems = append(problems, fmt.Errorf("%s is not begun, and will never be", it.id))
		}
	}
	for key, last := range w.order.last {
		if !last.keyed || last.key != key || last.behind != nil {
			problems = append(problems, fmt.Errorf("the line of a key ends with %s, which is not in it", last.id))
		}
	}
	want("bytes", w.budget.loaded, bytes)
	want("at work", int64(w.workers.working), states[working])
	want("parked", int64(w.budget.parked), states[parked])
	want("to be delivered again", int64(len(w.order.waiting)), states[waiting])
	settleable := len(w.ledger.settleable())
	want("ended", int64(settleable), int64(ended))
	if mark != nil {
		want("in the line", int64(w.ledger.len()), int64(len(all)))
	}
	if w.checkpoint.inFlight > settleable {
		problems = append(problems, fmt.Errorf("%d are being settled, of %d", w.checkpoint.inFlight, settleable))
	}
	return errors.Join(problems...)
}

// entriesOf returns the entries of a window, and its ledger.
func entriesOf(w *window) (all []*item, mark *lowMark, leased map[string]*item) {
	switch l := w.ledger.(type) {
	case *lowMark:
		return l.line, l, nil
	case *leases:
		for _, it := range l.byID {
			all = append(all, it)
		}
		return all, nil, l.byID
	}
	return nil, nil, nil
}

// noHooks are hooks that do nothing.
func noHooks() hooks {
	return hooks{settle: func() {}, startWorker: func() {}, letterTaken: func() {}}
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
	for name, spoil := range map[string]func(*window, *leases){
		"bytes":       func(w *window, _ *leases) { w.budget.loaded++ },
		"parked":      func(w *window, _ *leases) { w.budget.parked++ },
		"at work":     func(w *window, _ *leases) { w.workers.working-- },
		"done":        func(_ *window, l *leases) { l.done = nil },
		"key":         func(_ *window, l *leases) { l.byID["1-0"].keyed = true },
		"never begun": func(w *window, _ *leases) { w.order.fresh = queue{} },
		"begun twice": func(w *window, _ *leases) { w.order.fresh.push(w.order.fresh.list[w.order.fresh.head]) },
		"not in line": func(w *window, l *leases) { w.order.last["x"] = l.byID["3-0"] },
		"not by its ID": func(_ *window, l *leases) {
			l.byID["9-0"] = l.byID["3-0"]
			delete(l.byID, "3-0")
		},
	} {
		w, l := newLeased(limits{size: 10, batch: 10, every: 10, interval: 1, key: testKeys(func(*resp.Entry) string { return "k" })}, noHooks())
		defer w.close()
		w.addRead(resp.Batch{Entries: []resp.Entry{{ID: "1-0"}, {ID: "2-0"}, {ID: "3-0"}, {ID: "4-0"}}}, w.checkpoint.movedAt)
		w.end(w.next(nil), done)
		w.next(nil)
		w.key, w.order.key = nil, nil
		w.addRead(resp.Batch{Entries: []resp.Entry{{ID: "5-0"}}}, w.checkpoint.movedAt)
		if err := w.recount(); err != nil {
			t.Errorf("%s: nothing is wrong yet: %v", name, err)
		}
		spoil(w, l)
		if w.recount() == nil {
			t.Errorf("%s: the recount finds nothing wrong", name)
		}
	}
}
