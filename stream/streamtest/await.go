package streamtest

import (
	"fmt"
	"testing"
	"time"
)

// awaitTimeout is long, as it is only ever waited out by a test that fails:
// machines that run tests can be busy.
const awaitTimeout = 30 * time.Second

// Await waits until a condition holds, for which it looks every few
// milliseconds, and fails the test if that is not the case after 30 seconds,
// saying what was waited for. In a [Bubble] the time is virtual. It is for the
// test's own goroutine.
func Await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	awaitNil(t, what, func() error {
		if holds() {
			return nil
		}
		return fmt.Errorf("not yet")
	})
}

// awaitNil is Await for a condition that can say what it lacks.
func awaitNil(t testing.TB, what string, lacks func() error) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(awaitTimeout)
	for {
		err := lacks()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not after %v: %s: %v", awaitTimeout, what, err)
		}
	}
}

// awaitClosed is Await for a channel that is closed.
func awaitClosed(t testing.TB, what string, closed <-chan struct{}) {
	t.Helper()
	select {
	case <-closed:
	case <-time.After(awaitTimeout):
		t.Fatalf("not after %v: %s", awaitTimeout, what)
	}
}
