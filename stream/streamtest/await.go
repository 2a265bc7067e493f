package streamtest

import (
	"fmt"
	"testing"
	"time"
)

// awaitTimeout is the limit of a wait. It is long because only a failing test waits for so
// long, and because the machines that run tests can be busy.
const awaitTimeout = 30 * time.Second

// Await waits until holds returns true, and calls holds every 5 milliseconds. After 30 seconds
// it fails the test, with the given text in the message. In a [Bubble] the time is virtual.
// Await is for the test's own goroutine.
func Await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	awaitNil(t, what, func() error {
		if holds() {
			return nil
		}
		return fmt.Errorf("not yet")
	})
}

// awaitNil is like Await, with a condition that returns an error as long as it does not hold.
// The last error is in the message of the failed test.
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

// awaitClosed is like Await, and waits until a channel is closed.
func awaitClosed(t testing.TB, what string, closed <-chan struct{}) {
	t.Helper()
	select {
	case <-closed:
	case <-time.After(awaitTimeout):
		t.Fatalf("not after %v: %s", awaitTimeout, what)
	}
}
