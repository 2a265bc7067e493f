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
		h := newHoldings()
		h.addTaken([]string{"1-0", "2-0"}, false, time.Now())
		reading := make(chan bool, 1)
		go func() { reading <- h.awaitRoom(t.Context(), 1, 10) }()
		synctest.Wait()
		if len(reading) > 0 {
			t.Fatal("the reader did not wait for what was taken over")
		}
		h.lose([]string{"1-0", "2-0"}, ErrClaimed)
		synctest.Wait()
		if one := h.next(false, nil); one != nil {
			t.Fatalf("%s was lost, and is to be processed", one.id)
		}
		synctest.Wait()
		if len(reading) == 0 {
			t.Fatal("the reader waits for what was lost")
		}
	})
}
