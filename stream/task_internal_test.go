package stream

import (
	"testing"
	"testing/synctest"
	"time"
)

// However many ask, and whenever they do, one does it at a time, and what was asked
// for while it was being done is done afterwards.
func TestErrand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var busy bool
		done := 0
		e := task{do: func() {
			if busy {
				t.Error("two do it at once")
			}
			busy = true
			time.Sleep(time.Second)
			busy = false
			done++
		}}
		for range 5 {
			e.request()
		}
		synctest.Wait() // it has begun: nobody who asks now is among those five
		for range 5 {
			e.request()
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if done != 2 {
			t.Errorf("it was done %d times, want twice", done)
		}
		e.request()
		synctest.Wait()
		e.request()
		if e.stop(); busy || done != 3 {
			t.Errorf("at the end it was done %d times, want 3, and is being done: %v", done, busy)
		}
		e.request()
		synctest.Wait()
		if busy || done != 3 {
			t.Error("it is done after the end")
		}
	})
}

func TestErrandAtAnInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		begun := time.Now()
		e := task{do: func() { at = append(at, time.Since(begun)) }}
		e.every(time.Second)
		time.Sleep(3*time.Second + time.Millisecond)
		e.stop()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(at) != 3 || at[0] != time.Second || at[2] != 3*time.Second {
			t.Errorf("it was done at %v, want at 1s, 2s and 3s", at)
		}
	})
}
