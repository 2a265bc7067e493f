package task_test

import (
	"testing"
	"testing/synctest"
	"time"

	"millrace/stream/internal/task"
)

// The end of one piece of work is the begin of the next, unless the worker has waited.
func TestStopwatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var watch task.Stopwatch
		check := func(what string, begin, want time.Duration) {
			t.Helper()
			began := time.Now().Add(-begin)
			if got := watch.Begun(); !got.Equal(began) {
				t.Errorf("%s: it began at %v, want %v", what, got, began)
			}
			if got := watch.Elapsed(); got != want {
				t.Errorf("%s: %v have passed, want %v", what, got, want)
			}
		}
		time.Sleep(time.Hour)
		watch.Waited()
		watch.Begin()
		time.Sleep(time.Second)
		check("the first", time.Second, time.Second)

		time.Sleep(3 * time.Second)
		watch.Begin()
		time.Sleep(time.Second)
		check("the next one", 4*time.Second, 4*time.Second)
		time.Sleep(time.Second)
		check("the same once more", 5*time.Second, 5*time.Second)

		time.Sleep(time.Minute)
		watch.Waited()
		watch.Begin()
		time.Sleep(time.Second)
		check("after a wait", time.Second, time.Second)

		watch.Begin() // and nobody asks how long that takes
		time.Sleep(time.Minute)
		watch.Begin()
		time.Sleep(time.Second)
		check("after one of which nobody asked", time.Second, time.Second)
	})
}
