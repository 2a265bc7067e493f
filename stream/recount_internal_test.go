package stream

import (
	"testing"

	"millrace/stream/internal/resp"
)

// noHooks are hooks that do nothing.
func noHooks() hooks {
	return hooks{settle: func() {}, startWorker: func() {}, letterTaken: func() {}}
}

// recounted has a window recounted at the end of a test.
func recounted(t testing.TB, w *window) *window {
	t.Helper()
	t.Cleanup(func() {
		if err := w.check(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// testKeys makes order keys of a function.
type testKeys func(*resp.Entry) string

func (k testKeys) Of(entry *resp.Entry) string { return k(entry) }

func (k testKeys) OfAll(entries []resp.Entry, set func(i int, key string)) {
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
		if err := w.check(); err != nil {
			t.Errorf("%s: nothing is wrong yet: %v", name, err)
		}
		spoil(w, l)
		if w.check() == nil {
			t.Errorf("%s: the recount finds nothing wrong", name)
		}
	}
}
