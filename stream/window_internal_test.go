package stream

import (
	"testing"
	"testing/synctest"
	"time"
)

// Everything that was taken over is lost before it was begun: the reader, which
// lets it go first, must not wait for it any more.
func TestReaderDoesNotWaitForWhatWasLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newWindow(limits{size: 10, batch: 1, every: 10, interval: time.Second}, true)
		h.addTaken([]string{"1-0", "2-0"}, false, time.Now())
		reading := make(chan bool, 1)
		go func() { reading <- h.awaitRoom(t.Context(), nil) }()
		synctest.Wait()
		if len(reading) > 0 {
			t.Fatal("the reader did not wait for what was taken over")
		}
		h.loseAll([]string{"1-0", "2-0"}, ErrClaimed)
		synctest.Wait()
		next := make(chan *held, 1)
		go func() { next <- h.next(nil) }()
		synctest.Wait()
		if len(next) > 0 {
			t.Fatalf("%s was lost, and is to be processed", (<-next).id)
		}
		defer h.stop()
		synctest.Wait()
		if len(reading) == 0 {
			t.Fatal("the reader waits for what was lost")
		}
	})
}
