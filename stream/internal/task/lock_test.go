package task_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"millrace/stream/internal/task"
)

func TestLockIsHeldByOneAndCanBeGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lock := task.NewLock()
		if err := lock.Lock(t.Context()); err != nil {
			t.Fatal(err)
		}
		if lock.TryLock() {
			t.Fatal("a lock that is held was taken")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := lock.Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a lock that is held, and a context that ends: %v", err)
		}
		taken := make(chan error, 1)
		go func() { taken <- lock.Lock(t.Context()) }()
		synctest.Wait()
		if len(taken) > 0 {
			t.Fatal("a lock that is held was taken")
		}
		lock.Unlock()
		if err := <-taken; err != nil {
			t.Error(err)
		}
		if lock.Unlock(); !lock.TryLock() {
			t.Error("a lock that is free was not taken")
		}
	})
}

func TestSleep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		if !task.Sleep(t.Context(), time.Hour) || time.Since(begun) != time.Hour {
			t.Errorf("slept for %v", time.Since(begun))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if task.Sleep(ctx, time.Hour) || time.Since(begun) != time.Hour+time.Minute {
			t.Error("the end of the context did not end the sleep")
		}
	})
}

// A try is stuck when nothing has moved: neither itself, nor the queue in which it waits,
// nor the try for which it waits.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var own, other task.Watchdog
		var queue task.Movement
		still := func(when string, want time.Duration) {
			t.Helper()
			if d := own.Still(time.Now()); d != want {
				t.Errorf("%s: nothing has moved for %v, want %v", when, d, want)
			}
		}
		still("no try", 0)
		own.Progress()
		still("progress of no try", 0)
		own.Begin()
		time.Sleep(time.Minute)
		still("a try", time.Minute)
		own.Progress()
		time.Sleep(time.Second)
		still("a try that makes progress", time.Second)
		own.Waits(&queue)
		time.Sleep(time.Hour)
		queue.Note()
		time.Sleep(time.Second)
		still("a try in a queue that moves", time.Second)
		own.Waits(&other)
		time.Sleep(time.Hour)
		still("a try that waits for one that does not run", time.Hour)
		other.Waits(&queue)
		time.Sleep(time.Minute)
		still("a try that waits for one that has just begun to wait", time.Minute)
		own.End()
		still("the end", 0)

		ctx := task.WithWatchdog(t.Context(), &own)
		if task.WatchdogOf(ctx) != &own || task.WatchdogOf(t.Context()) != nil {
			t.Error("a context does not have its watchdog")
		}
		task.WatchdogOf(t.Context()).Begin() // nil
	})
}
