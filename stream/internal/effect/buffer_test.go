package effect_test

import (
	"errors"
	"slices"
	"testing"

	"millrace/stream/internal/effect"
)

// A buffer takes effects of the run that is open, and of no other.
func TestBufferTakesEffectsOfTheOpenRun(t *testing.T) {
	t.Parallel()
	target := &effect.Target{Key: "k", Kind: effect.Hash}
	b := effect.NewBuffer(effect.NewTargets([]*effect.Target{target}))
	one := effect.Increment(target, "f", 1)
	if err := b.Put(0, one); !errors.Is(err, effect.ErrOver) {
		t.Errorf("before the first run: %v", err)
	}
	failed := b.Begin()
	if err := b.Put(failed, one); err != nil {
		t.Error(err)
	}
	b.End(failed, false)
	if b.Take().Len() != 0 {
		t.Error("a run that has failed has effects")
	}
	begun := b.Begin()
	_ = b.Put(begun, one)
	again := b.Again(begun)
	if err := b.Put(begun, one); !errors.Is(err, effect.ErrOver) {
		t.Errorf("under the number of the first start: %v", err)
	}
	if err := b.Put(again, one); err != nil {
		t.Error(err)
	}
	if err := b.Put(again, effect.Increment(&effect.Target{Key: "k"}, "f", 1)); !errors.Is(err, effect.ErrUndeclared) {
		t.Errorf("another target: %v", err)
	}
	if !b.End(begun, true) || b.Take().Len() != 1 || b.Take().Len() != 0 {
		t.Error("a run that has started over has not the effects since, once")
	}
	abandoned := b.Begin()
	next := b.Begin()
	if b.End(abandoned, true) {
		t.Error("a run behind which another one has begun counts")
	}
	if !b.End(next, true) || b.Again(next) != next {
		t.Error("the last run does not count")
	}
}

func TestWireForm(t *testing.T) {
	t.Parallel()
	hash, out := &effect.Target{Key: "h", Kind: effect.Hash}, &effect.Target{Key: "s", Kind: effect.Stream}
	targets := effect.NewTargets([]*effect.Target{hash, out})
	b := effect.NewBuffer(targets)
	run := b.Begin()
	_ = b.Put(run, effect.Add(out, []string{"*", "f", "v"}))
	_ = b.Put(run, effect.Increment(hash, "n", -3))
	b.End(run, true)
	list := b.Take()
	var got []any
	for _, arg := range list.AppendArgs(nil, targets, 2) {
		if text, is := arg.(*string); is {
			arg = *text
		}
		got = append(got, arg)
	}
	if want := []any{2, "a", 3, 3, "*", "f", "v", "i", 2, 2, "n", "-3"}; !slices.Equal(got, want) || list.ArgsLen() != len(want) {
		t.Errorf("wire form %v (%d), want %v", got, list.ArgsLen(), want)
	}
	if targets.Kinds() != "hash stream " || !slices.Equal(targets.Keys(), []string{"h", "s"}) {
		t.Errorf("keys %v, kinds %q", targets.Keys(), targets.Kinds())
	}
	var none *effect.List
	if got := none.AppendArgs(nil, targets, 2); !slices.Equal(got, []any{0}) || none.ArgsLen() != 1 || none.Bytes() != 0 || none.Len() != 0 {
		t.Errorf("no effects: %v", got)
	}
}
