package stream

import (
	"slices"
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
		if one := h.next(nil); one != nil {
			t.Fatalf("%s was lost, and is to be processed", one.id)
		}
		synctest.Wait()
		if len(reading) == 0 {
			t.Fatal("the reader waits for what was lost")
		}
	})
}

// What is pending on nobody, and was ours a moment ago, is taken back; but not what is
// being moved to the dead letters, which acks it, nor what somebody may have claimed.
func TestWindowTakesBackWhatIsPendingOnNobody(t *testing.T) {
	t.Parallel()
	w := newWindow(limits{size: 10, batch: 10, every: 10, interval: time.Second}, true)
	defer w.close()
	now := time.Now()
	limit := now.Add(-time.Minute)
	w.addTaken([]string{"1-0"}, false, now.Add(-time.Hour))
	w.addRead(batch{entries: []Entry{{ID: "2-0"}, {ID: "3-0"}, {ID: "5-0"}}}, now)
	w.setMoving(w.byID["3-0"], true)
	w.suspectGone([]string{"5-0"})
	all := []string{"1-0", "2-0", "3-0", "4-0", "5-0"}
	if list := w.claimable(all, limit); !slices.Equal(list, []string{"1-0"}) {
		t.Errorf("another consumer may have %v", list)
	}
	removed, ended := w.orphans(all, time.Time{}, limit)
	if !slices.Equal(removed, []orphan{{id: "2-0"}}) || !slices.Equal(ended, []string{"1-0"}) {
		t.Errorf("to be taken back are %v, somebody else's are %v", removed, ended)
	}
	if ended := w.loseAll(ended, ErrClaimed); !slices.Equal(ended, []string{"1-0"}) {
		t.Errorf("given up are %v", ended)
	}
}

// A list of what is pending names an entry that is settled before the list is taken
// in: it is not to be processed again.
func TestWindowTakesNothingThatWasSettledMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWindow(limits{size: 10, batch: 10, every: 10, interval: time.Second}, true)
	defer w.close()
	w.addRead(batch{entries: []Entry{{ID: "1-0"}, {ID: "2-0"}, {ID: "3-0"}}}, time.Now())
	over := w.watch()
	w.end(w.next(nil), done)
	w.settled(len(w.settleable()))
	w.forget(w.next(nil)) // settled in another way
	if n := w.addTaken([]string{"1-0", "2-0", "3-0", "4-0"}, true, time.Now()); n != 1 {
		t.Errorf("%d entries were taken in, want the one that is new", n)
	}
	over()
	if n := w.addTaken([]string{"1-0"}, false, time.Now()); n != 1 {
		t.Error("what was settled long ago is not taken in, though Redis says that it is ours again")
	}
}

// Who takes over is told once everything that was taken over has been begun and there is
// room for half of what it may take, also if that comes from entries that end later.
func TestRoomToTakeIsTold(t *testing.T) {
	t.Parallel()
	w := newWindow(limits{size: 2, batch: 2, every: 10, interval: time.Hour}, true)
	defer w.close()
	ids := []string{"1-0", "2-0", "3-0", "4-0"} // two are beyond the size
	w.addTaken(ids, false, time.Now())
	told := 0
	w.whenRoomToTake(2, func() { told++ })
	var begun []*held
	for range ids {
		begun = append(begun, w.next(nil))
	}
	if told != 0 || w.roomToTake(2) != 0 {
		t.Fatalf("told %d times, with room for %d", told, w.roomToTake(2))
	}
	w.forget(begun[0])
	if told != 1 || w.roomToTake(2) != 1 {
		t.Errorf("told %d times, with room for %d", told, w.roomToTake(2))
	}
}
