package offsettest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"millrace/offset"
)

func nothingStored(t *testing.T, h Harness) {
	store := h.New(t)
	wantNothing(t, store, "label")
	wantNothing(t, store, "label") // looking does not make one
}

func saveThenLoad(t *testing.T, h Harness) {
	for _, id := range []string{"0-0", "0-1", "1700000000000-0", "18446744073709551615-18446744073709551615"} {
		store := h.New(t)
		save(t, store, "label", id)
		wantOffset(t, store, "label", id)
	}
}

func advance(t *testing.T, h Harness) {
	store := h.New(t)
	for _, id := range []string{"1-1", "1-2", "2-0", "1700000000000-0", "1700000000000-1"} {
		save(t, store, "label", id)
		wantOffset(t, store, "label", id)
	}
}

func neverBack(t *testing.T, h Harness) {
	store := h.New(t)
	save(t, store, "label", "5-5")
	for _, lower := range []string{"5-4", "5-0", "4-9", "0-0"} {
		save(t, store, "label", lower)
		wantOffset(t, store, "label", "5-5")
	}
}

// orderOfNumbers has the pairs that come out wrong when IDs are compared as
// texts, part by part as texts, as doubles, or as signed numbers.
func orderOfNumbers(t *testing.T, h Harness) {
	for _, pair := range [][2]string{
		{"9-0", "10-0"},
		{"5-9", "5-10"},
		{"9-10", "10-9"},
		{"999999999999-9", "1000000000000-0"},
		{"9007199254740992-0", "9007199254740993-0"}, // 2^53, 2^53+1
		{"1-9007199254740992", "1-9007199254740993"},
		{"9223372036854775807-0", "9223372036854775808-0"}, // 2^63-1, 2^63
		{"1-9223372036854775807", "1-9223372036854775808"},
		{"0-18446744073709551615", "1-0"},
		{"18446744073709551614-18446744073709551615", "18446744073709551615-0"},
		{"18446744073709551615-18446744073709551614", "18446744073709551615-18446744073709551615"},
	} {
		lower, higher := pair[0], pair[1]
		store := h.New(t)
		save(t, store, "up", lower)
		save(t, store, "up", higher)
		wantOffset(t, store, "up", higher)
		save(t, store, "down", higher)
		save(t, store, "down", lower)
		wantOffset(t, store, "down", higher)
	}
}

func sameIDTwice(t *testing.T, h Harness) {
	store := h.New(t)
	save(t, store, "label", "5-5")
	save(t, store, "label", "5-5")
	wantOffset(t, store, "label", "5-5")
}

func labelsAreIndependent(t *testing.T, h Harness) {
	store := h.New(t)
	save(t, store, "one", "5-5")
	wantNothing(t, store, "two")
	save(t, store, "two", "3-3")
	wantOffset(t, store, "one", "5-5")
	wantOffset(t, store, "two", "3-3")
	save(t, store, "one", "6-0")
	wantOffset(t, store, "two", "3-3")
}

// oddLabels has labels that meet each other in stores which fold case, pad or
// trim spaces, normalize Unicode, build paths or keys, or quote badly.
func oddLabels(t *testing.T, h Harness) {
	labels := []string{
		"", " ", "  ", "a", "A", "a ", " a", "a\t", "a\n", "a\nb", "a b", "a:b", "a::b", "a/b", "a//b", "../a", ".", `a\b`, `a\\b`,
		"'", `"`, `"a"`, "a'; --", "a,b", "a=b", "a%20b", "%s", "*", "a*", "?", "[a]", "{a}", "$1", "<a>", "&amp;",
		"\u00e9", "e\u0301", "\u00e8", "\u00c9", "\u00df", "ss", "\u65e5\u672c", "\U0001f409", "\ufffd", "\u2028", "null", "0", "00",
	}
	store := h.New(t)
	for i, label := range labels {
		wantNothing(t, store, label)
		save(t, store, label, fmt.Sprintf("%d-0", i+1))
	}
	for i, label := range labels {
		wantOffset(t, store, label, fmt.Sprintf("%d-0", i+1))
	}
}

func refusedIDs(t *testing.T, h Harness) {
	store := h.New(t)
	save(t, store, "full", "5-5")
	for _, id := range []string{
		"", "-", "9-", "-9", "9-9-9", "9--9", "-9-9", "+9-9", "9-+9", " 9-9", "9-9 ", "9 -9", "9-9\n", "9-9\x00",
		"9.0-9", "9-9.0", "9e1-9", "0x9-9", "9_9-9", "9,9-9", "9:9", "\u0669-9", "\uff19-9",
		"18446744073709551616-0", "9-18446744073709551616", "99999999999999999999-9", "$", "+", "*", "9-*", ">", "(9-9", "nine",
	} {
		for _, label := range []string{"empty", "full"} {
			if err := store.Save(t.Context(), label, id); err == nil {
				t.Errorf("Save(%q, %q) = nil, want an error: this is no entry ID", label, id)
			}
		}
		wantNothing(t, store, "empty")
		wantOffset(t, store, "full", "5-5")
	}
}

// concurrentSaves lets goroutines climb side by side: in each round every one of
// them saves another of the next IDs, so that each save meets others that move
// the offset as well.
func concurrentSaves(t *testing.T, h Harness) {
	const savers, rounds = 8, 25
	store := h.New(t)
	for round := range uint64(rounds) {
		var wg sync.WaitGroup
		for _, n := range rand.Perm(savers) {
			wg.Go(func() { saveAndLoad(t, store, offset.ID{Ms: round, Seq: uint64(n)}) })
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		wantOffset(t, store, "label", offset.ID{Ms: round, Seq: savers - 1}.String())
	}
}

// saveAndLoad reads again after its save: that finds an offset which another
// save moved back, before a third one covers it up.
func saveAndLoad(t *testing.T, store offset.Store, saved offset.ID) {
	if err := store.Save(t.Context(), "label", saved.String()); err != nil {
		t.Errorf("Save(%q) = %v, want nil", saved, err)
		return
	}
	id, found, err := store.Load(t.Context(), "label")
	if err != nil || !found {
		t.Errorf("Load after Save(%q) = %q, %t, %v; want an offset", saved, id, found, err)
		return
	}
	loaded, err := offset.Parse(id)
	if err != nil || loaded.Compare(saved) < 0 {
		t.Errorf("Load after Save(%q) = %q, want this ID or a higher one", saved, id)
	}
}

// cancelledContext lets a store choose between failing and doing its work, but
// not tell an untruth: an empty store starts the stream over.
func cancelledContext(t *testing.T, h Harness) {
	store := h.New(t)
	save(t, store, "label", "5-5")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	id, found, err := store.Load(ctx, "label")
	if err == nil && (!found || id != "5-5") {
		t.Errorf("Load with a cancelled context = %q, %t, nil; want an error or the offset", id, found)
	}

	want := "6-0"
	if err := store.Save(ctx, "label", "6-0"); err != nil {
		id, _, _ := store.Load(t.Context(), "label")
		if id != "6-0" {
			want = "5-5"
		}
	}
	wantOffset(t, store, "label", want)

	save(t, store, "label", "7-0")
	wantOffset(t, store, "label", "7-0")
}

func reopen(t *testing.T, h Harness) {
	if h.Reopen == nil {
		t.Skip("Harness.Reopen is nil: the store does not outlive its program")
	}
	store := h.New(t)
	save(t, store, "one", "5-5")
	save(t, store, "two", "3-3")
	save(t, store, "one", "6-0")

	store = h.Reopen(t, store)
	wantOffset(t, store, "one", "6-0")
	wantOffset(t, store, "two", "3-3")
	wantNothing(t, store, "three")
	save(t, store, "one", "5-9")
	wantOffset(t, store, "one", "6-0")
	save(t, store, "one", "6-1")
	wantOffset(t, store, "one", "6-1")
}

func corruptContent(t *testing.T, h Harness) {
	if h.Corrupt == nil {
		t.Skip("Harness.Corrupt is nil: the store cannot hold anything but an ID")
	}
	store := h.New(t)
	save(t, store, "label", "5-5")
	h.Corrupt(t, store, "label")

	wantCorrupt := func() {
		t.Helper()
		if id, found, err := store.Load(t.Context(), "label"); !errors.Is(err, offset.ErrCorrupt) {
			t.Fatalf("Load of corrupt content = %q, %t, %v; want an error that wraps offset.ErrCorrupt", id, found, err)
		}
	}
	wantCorrupt()
	for _, id := range []string{"0-0", "6-0", "18446744073709551615-0"} {
		if err := store.Save(t.Context(), "label", id); !errors.Is(err, offset.ErrCorrupt) {
			t.Errorf("Save(%q) over corrupt content = %v, want an error that wraps offset.ErrCorrupt", id, err)
		}
		wantCorrupt()
	}
}

func reset(t *testing.T, h Harness) {
	store := h.New(t)
	resetter, ok := store.(offset.Resetter)
	if !ok {
		t.Skip("the store is no offset.Resetter, which it need not be")
	}
	save(t, store, "a", "5-5")
	save(t, store, "b", "5-5")
	for _, id := range []string{"3-0", "3-0", "0-0", "9-0"} {
		if err := resetter.Reset(t.Context(), "a", id); err != nil {
			t.Fatalf("Reset(%q, %q) = %v, want nil", "a", id, err)
		}
		wantOffset(t, store, "a", id)
	}
	save(t, store, "a", "8-0")
	wantOffset(t, store, "a", "9-0")
	save(t, store, "a", "10-0")
	wantOffset(t, store, "a", "10-0")
	wantOffset(t, store, "b", "5-5")
	if err := resetter.Reset(t.Context(), "new", "1-0"); err != nil {
		t.Fatalf("Reset of a new label = %v, want nil", err)
	}
	wantOffset(t, store, "new", "1-0")
	if err := resetter.Reset(t.Context(), "a", "no ID"); err == nil {
		t.Fatal("Reset took what is no entry ID")
	}
	wantOffset(t, store, "a", "10-0")
}

// tellsFound saves with [offset.WithFound].
func tellsFound(t *testing.T, h Harness) {
	store := h.New(t)
	told := 0
	saveTelling := func(label, id string) (before string, err error) {
		told = 0
		err = store.Save(offset.WithFound(t.Context(), func(found string) { before, told = found, told+1 }), label, id)
		return before, err
	}
	wantFound := func(label, id, want string) {
		t.Helper()
		if before, err := saveTelling(label, id); err != nil || before != want || told != 1 {
			t.Errorf("Save(%q) = %v, and has found %q, told %d times; want nil, and %q, once", id, err, before, told, want)
		}
	}
	save(t, store, "other", "3-3")
	if _, err := saveTelling("other", "3-4"); err == nil && told == 0 {
		t.Skip("the store does not tell what a Save finds (offset.Found), which it need not")
	}
	for _, step := range []struct{ id, before, after string }{
		{"5-5", "", "5-5"},
		{"5-5", "5-5", "5-5"},
		{"5-10", "5-5", "5-10"},
		{"5-9", "5-10", "5-10"},
		{"4-11", "5-10", "5-10"},
		{"18446744073709551615-18446744073709551615", "5-10", "18446744073709551615-18446744073709551615"},
		{"6-0", "18446744073709551615-18446744073709551615", "18446744073709551615-18446744073709551615"},
	} {
		wantFound("label", step.id, step.before)
		wantOffset(t, store, "label", step.after)
	}
	save(t, store, "other", "3-5") // the caller does not want to know
	wantFound("other", "4-0", "3-5")
	if _, err := saveTelling("other", "no ID"); err == nil || told > 0 {
		t.Errorf("Save of what is no entry ID = %v, and has told %d times what it has found; want an error, and nothing told", err, told)
	}
	if h.Corrupt != nil {
		h.Corrupt(t, store, "other")
		if _, err := saveTelling("other", "5-0"); !errors.Is(err, offset.ErrCorrupt) || told > 0 {
			t.Errorf("Save over corrupt content = %v, and has told %d times what it has found; want an error that wraps offset.ErrCorrupt, and nothing told", err, told)
		}
	}
}
