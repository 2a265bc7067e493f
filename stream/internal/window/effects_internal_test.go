package window

import (
	"sync/atomic"
	"testing"
	"time"

	"millrace/stream/internal/effect"
	"millrace/stream/internal/resp"
)

// Effects count in the bytes of the window until their entries are settled, and nothing is begun
// while they fill it.
func TestEffectsCountInTheWindow(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	hooks := noHooks()
	hooks.Settle = func() { asked.Add(1) }
	w, _ := NewLeased(Limits{Size: 10, Bytes: 4000, Batch: 1, Every: 100, Interval: time.Hour}, hooks)
	defer w.Close()
	recounted(t, w)
	w.checkpoint.lastSettled = time.Now()
	w.AddRead(resp.Batch{Entries: []resp.Entry{{ID: "1-0"}, {ID: "2-0"}, {ID: "3-0"}}}, time.Now())
	target := &effect.Target{Key: "k", Kind: effect.Stream}
	end := func(it *Item, bytes int) {
		b := effect.NewBuffer(nil)
		run := b.Begin()
		_ = b.Put(run, effect.Add(target, []string{string(make([]byte, bytes))}))
		b.End(run, true)
		it.Effects = b.Take()
		w.End(it, Done)
	}
	end(next(w), 500)
	if asked.Load() != 0 {
		t.Error("few effects are settled at once")
	}
	end(next(w), 4000)
	if asked.Load() == 0 {
		t.Error("many effects wait for the interval")
	}
	if w.budget.loaded < 4500 || w.budget.effects != w.budget.loaded {
		t.Errorf("%d bytes are loaded, %d of effects", w.budget.loaded, w.budget.effects)
	}
	w.mu.Lock()
	it, room := w.takeLocked(), w.hasRoomLocked()
	w.mu.Unlock()
	if it != nil || room {
		t.Error("more is begun or read while effects fill the window")
	}
	w.Settled(len(w.Settleable()))
	if w.budget.loaded != 0 || w.budget.effects != 0 {
		t.Errorf("%d bytes are loaded after the settling, %d of effects", w.budget.loaded, w.budget.effects)
	}
	if next(w).ID != "3-0" {
		t.Error("nothing more is begun")
	}
}
