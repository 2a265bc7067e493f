// Package offsettest checks that a store keeps the contract of [offset.Store].
// The stores of package offset pass it; run it on your own:
//
//	func TestStore(t *testing.T) {
//		offsettest.Run(t, offsettest.Harness{
//			New: func(t *testing.T) offset.Store { return newStore(t, emptyDatabase(t)) },
//		})
//	}
//
// Run the test with -race: one of the checks saves from many goroutines at once.
package offsettest

import (
	"testing"

	"millrace/offset"
)

// Harness tells [Run] how to get at a store. New is required. A function may
// fail the test and register cleanups; it is never called concurrently.
type Harness struct {
	// New returns a fresh, empty store. It is called for each check, and the
	// checks run one after another, so New may empty one database and use it
	// again.
	New func(t *testing.T) offset.Store

	// Reopen returns a store that sees what a restarted program would see of the
	// content of store, which is not used afterwards. Nil: the store does not
	// outlive its program, and that check is skipped.
	Reopen func(t *testing.T, store offset.Store) offset.Store

	// Corrupt replaces what store holds under label by something that is no
	// entry ID, behind the back of the store. Nil: the store cannot hold such a
	// thing, in typed columns for example, and that check is skipped.
	Corrupt func(t *testing.T, store offset.Store, label string)
}

// Run runs every check as a subtest of t. It is not safe for concurrent use with
// one [Harness].
func Run(t *testing.T, h Harness) {
	t.Helper()
	if h.New == nil {
		t.Fatal("offsettest: set Harness.New to a function that returns a fresh, empty store")
	}
	for _, check := range []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"nothing stored", nothingStored},
		{"save then load", saveThenLoad},
		{"advance", advance},
		{"never back", neverBack},
		{"order of numbers", orderOfNumbers},
		{"same ID twice", sameIDTwice},
		{"labels are independent", labelsAreIndependent},
		{"odd labels", oddLabels},
		{"refused IDs", refusedIDs},
		{"concurrent saves", concurrentSaves},
		{"cancelled context", cancelledContext},
		{"reopen", reopen},
		{"corrupt content", corruptContent},
		{"reset", reset},
		{"tells what it found", tellsFound},
	} {
		t.Run(check.name, func(t *testing.T) { check.run(t, h) })
	}
}

func save(t *testing.T, store offset.Store, label, id string) {
	t.Helper()
	if err := store.Save(t.Context(), label, id); err != nil {
		t.Fatalf("Save(%q, %q) = %v, want nil", label, id, err)
	}
}

func wantOffset(t *testing.T, store offset.Store, label, want string) {
	t.Helper()
	id, found, err := store.Load(t.Context(), label)
	if err != nil || !found || id != want {
		t.Fatalf("Load(%q) = %q, %t, %v; want %q, true, nil", label, id, found, err, want)
	}
}

func wantNothing(t *testing.T, store offset.Store, label string) {
	t.Helper()
	id, found, err := store.Load(t.Context(), label)
	if err != nil || found {
		t.Fatalf("Load(%q) = %q, %t, %v; want found = false and no error", label, id, found, err)
	}
}
