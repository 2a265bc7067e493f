package task_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"millrace/stream/internal/task"
)

// A try that waits in a queue is waited for as long as the queue is answered, and no longer
// than the limit after the last answer.
func TestPatienceWithAQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var queue task.Movement
		begun := time.Now()
		ctx, cancel := task.Patience(t.Context(), time.Second, begun)
		defer cancel()
		task.WatchdogOf(ctx).Waits(&queue)
		for range 10 {
			time.Sleep(900 * time.Millisecond)
			queue.NoteAnswer()
		}
		for range 3 { // turns that are given up
			time.Sleep(300 * time.Millisecond)
			queue.Note()
		}
		if ctx.Err() != nil {
			t.Fatalf("it ended after %v, though the queue was answered", time.Since(begun))
		}
		<-ctx.Done()
		if took := time.Since(begun); took != 10*time.Second || ctx.Err() != context.DeadlineExceeded {
			t.Errorf("it ended after %v with %v, want 10s and a passed deadline", took, ctx.Err())
		}
		child, end := context.WithCancel(ctx)
		defer end()
		if <-child.Done(); child.Err() != context.DeadlineExceeded {
			t.Errorf("a context made of it ended with %v", child.Err())
		}
	})
}

// A try has the limit from the last answer on, also if it is made again.
func TestPatienceWithTries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		ctx, cancel := task.Patience(t.Context(), time.Second, begun)
		defer cancel()
		var queue task.Movement
		watchdog := task.WatchdogOf(ctx)
		for range 3 {
			watchdog.Waits(&queue)
			watchdog.Begin()
			time.Sleep(900 * time.Millisecond)
			queue.NoteAnswer()
		}
		for range 5 { // without an answer
			watchdog.Waits(&queue)
			watchdog.Begin()
			time.Sleep(100 * time.Millisecond)
		}
		<-ctx.Done()
		if took := time.Since(begun); took != 3700*time.Millisecond {
			t.Errorf("it ended after %v, want 3.7s", took)
		}
	})
}

// The context ends with the one that it was made of, and when it is canceled; it leaves
// nothing behind.
func TestPatienceEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		parent, end := context.WithCancel(t.Context())
		one, cancelOne := task.Patience(parent, time.Second, time.Now())
		other, cancelOther := task.Patience(t.Context(), time.Second, time.Now())
		defer cancelOne()
		end()
		cancelOther()
		for _, ctx := range []context.Context{one, other} {
			if <-ctx.Done(); ctx.Err() != context.Canceled {
				t.Errorf("it ended with %v", ctx.Err())
			}
		}
	})
}
