package task_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"millrace/stream/internal/task"
)

// Any number of requests, at any time, make one run at a time, and a request that arrives
// during a run makes another one afterwards.
func TestTask(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var busy bool
		done := 0
		type key struct{}
		e := task.Task{Do: func(ctx context.Context) {
			if ctx.Value(key{}) == nil {
				t.Error("it has another context than that of Begin")
			}
			if busy {
				t.Error("two do it at once")
			}
			busy = true
			time.Sleep(time.Second)
			busy = false
			done++
		}}
		for range 5 {
			e.Request()
		}
		synctest.Wait()
		if busy {
			t.Error("it is done before Begin")
		}
		e.Begin(context.WithValue(t.Context(), key{}, true))
		synctest.Wait() // it has begun: nobody who asks now is among those five
		for range 5 {
			e.Request()
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if done != 2 {
			t.Errorf("it was done %d times, want twice", done)
		}
		e.Request()
		synctest.Wait()
		e.Request()
		if e.Stop(); busy || done != 3 {
			t.Errorf("at the end it was done %d times, want 3, and is being done: %v", done, busy)
		}
		e.Request()
		synctest.Wait()
		if busy || done != 3 {
			t.Error("it is done after the end")
		}
	})
}

func TestTaskAtAnInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		begun := time.Now()
		e := task.Task{Do: func(context.Context) { at = append(at, time.Since(begun)) }}
		e.Begin(t.Context())
		e.Every(time.Second)
		time.Sleep(3*time.Second + time.Millisecond)
		e.Stop()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(at) != 3 || at[0] != time.Second || at[2] != 3*time.Second {
			t.Errorf("it was done at %v, want at 1s, 2s and 3s", at)
		}
	})
}
