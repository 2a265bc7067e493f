package window

import (
	"testing"

	"millrace/stream/internal/resp"
)

// noHooks are hooks that do nothing.
func noHooks() Hooks {
	return Hooks{Settle: func() {}, StartWorker: func() {}, LetterTaken: func() {}}
}

// recounted has a window recounted at the end of a test.
func recounted(t testing.TB, w *Window) {
	t.Helper()
	t.Cleanup(func() {
		if err := w.Check(); err != nil {
			t.Error(err)
		}
	})
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
	for name, spoil := range map[string]func(*Window, *Leases){
		"bytes":       func(w *Window, _ *Leases) { w.budget.loaded++ },
		"parked":      func(w *Window, _ *Leases) { w.budget.parked++ },
		"at work":     func(w *Window, _ *Leases) { w.workers.working-- },
		"done":        func(_ *Window, l *Leases) { l.done = nil },
		"key":         func(_ *Window, l *Leases) { l.byID["1-0"].keyed = true },
		"never begun": func(w *Window, _ *Leases) { w.order.fresh = queue{} },
		"begun twice": func(w *Window, _ *Leases) { w.order.fresh.push(w.order.fresh.list[w.order.fresh.head]) },
		"not in line": func(w *Window, l *Leases) { w.order.last["x"] = l.byID["3-0"] },
		"not by its ID": func(_ *Window, l *Leases) {
			l.byID["9-0"] = l.byID["3-0"]
			delete(l.byID, "3-0")
		},
	} {
		w, l := NewLeased(Limits{Size: 10, Batch: 10, Every: 10, Interval: 1, Key: testKeys(func(*resp.Entry) string { return "k" })}, noHooks())
		defer w.Close()
		w.AddRead(resp.Batch{Entries: []resp.Entry{{ID: "1-0"}, {ID: "2-0"}, {ID: "3-0"}, {ID: "4-0"}}}, w.checkpoint.movedAt)
		w.End(next(w), Done)
		next(w)
		w.Key, w.order.key = nil, nil
		w.AddRead(resp.Batch{Entries: []resp.Entry{{ID: "5-0"}}}, w.checkpoint.movedAt)
		if err := w.Check(); err != nil {
			t.Errorf("%s: nothing is wrong yet: %v", name, err)
		}
		spoil(w, l)
		if w.Check() == nil {
			t.Errorf("%s: the recount finds nothing wrong", name)
		}
	}
}
