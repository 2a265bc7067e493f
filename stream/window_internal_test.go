package stream

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"millrace/stream/internal/resp"
)

var errTaken = errors.New("taken")

// Everything that was taken over is lost before it was begun: the reader, which
// lets it go first, must not wait for it any more.
func TestReaderDoesNotWaitForWhatWasLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, leases := newLeased(limits{size: 10, batch: 1, every: 10, interval: time.Second}, noHooks())
		recounted(t, h)
		leases.addClaimed([]string{"1-0", "2-0"}, false, time.Now())
		reading := make(chan bool, 1)
		go func() { reading <- h.awaitRoom(t.Context(), nil) }()
		synctest.Wait()
		if len(reading) > 0 {
			t.Fatal("the reader did not wait for what was taken over")
		}
		leases.giveUp([]string{"1-0", "2-0"}, errTaken)
		synctest.Wait()
		if it := h.next(nil); it != nil {
			t.Fatalf("%s was lost, and is to be processed", it.id)
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
	w, leases := newLeased(limits{size: 10, batch: 10, every: 10, interval: time.Second}, noHooks())
	recounted(t, w)
	defer w.close()
	now := time.Now()
	limit := now.Add(-time.Minute)
	leases.addClaimed([]string{"1-0"}, false, now.Add(-time.Hour))
	w.addRead(resp.Batch{Entries: []resp.Entry{{ID: "2-0"}, {ID: "3-0"}, {ID: "5-0"}}}, now)
	leases.setMoving(leases.byID["3-0"], true)
	leases.doubtGone([]string{"5-0"})
	all := []string{"1-0", "2-0", "3-0", "4-0", "5-0"}
	if list := leases.claimable(all, limit); !slices.Equal(list, []string{"1-0"}) {
		t.Errorf("another consumer may have %v", list)
	}
	removed, ended := leases.orphans(all, time.Time{}, limit)
	if !slices.Equal(removed, []orphan{{id: "2-0"}}) || !slices.Equal(ended, []string{"1-0"}) {
		t.Errorf("to be taken back are %v, somebody else's are %v", removed, ended)
	}
	if ended := leases.giveUp(ended, errTaken); !slices.Equal(ended, []string{"1-0"}) {
		t.Errorf("given up are %v", ended)
	}
}

// A list of what is pending names an entry that is settled before the list is taken
// in: it is not to be processed again.
func TestWindowTakesNothingThatWasSettledMeanwhile(t *testing.T) {
	t.Parallel()
	w, leases := newLeased(limits{size: 10, batch: 10, every: 10, interval: time.Second}, noHooks())
	recounted(t, w)
	defer w.close()
	w.addRead(resp.Batch{Entries: []resp.Entry{{ID: "1-0"}, {ID: "2-0"}, {ID: "3-0"}}}, time.Now())
	over := leases.watchLeaving()
	w.end(w.next(nil), done)
	w.settled(len(w.settleable()))
	w.forget(w.next(nil)) // settled in another way
	if n := leases.addClaimed([]string{"1-0", "2-0", "3-0", "4-0"}, true, time.Now()); n != 1 {
		t.Errorf("%d entries were taken in, want the one that is new", n)
	}
	over()
	if n := leases.addClaimed([]string{"1-0"}, false, time.Now()); n != 1 {
		t.Error("what was settled long ago is not taken in, though Redis says that it is ours again")
	}
}

// A lost entry leaves nothing behind, wherever it stood: not its bytes, its place in the
// line of its key, nor one among the parked.
func TestWindowOfWhatWasLost(t *testing.T) {
	t.Parallel()
	w, leases := newLeased(limits{
		size: 10, batch: 10, every: 10, interval: time.Second, key: testKeys(func(e *resp.Entry) string { return e.ID[:1] }),
	}, noHooks())
	recounted(t, w)
	defer w.close()
	fields := map[string]any{"field": "value"}
	w.addRead(resp.Batch{Entries: []resp.Entry{
		{ID: "1-0", Fields: fields}, {ID: "1-1", Fields: fields}, // waits, and is behind it
		{ID: "2-0", Fields: fields}, {ID: "2-1", Fields: fields}, // is parked, and comes free
		{ID: "3-0", Fields: fields}, {ID: "3-1", Fields: fields}, // was not begun
		{ID: "4-0", Fields: fields}, // is at work
	}}, time.Now())
	it := w.next(nil)
	it.due = time.Now().Add(time.Hour)
	w.end(it, waiting)
	w.end(w.next(nil), parked)
	for range 2 {
		w.next(func(error) {})
	}
	leases.addClaimed([]string{"9-0"}, true, time.Now())
	check := func(when string) {
		t.Helper()
		if err := w.check(); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	check("before")
	lost := []string{"1-0", "2-0", "3-1", "9-0"}
	if given := leases.giveUp(lost, errTaken); !slices.Equal(given, lost) {
		t.Errorf("given up are %v", given)
	}
	check("after the loss")
	if w.budget.parked != 0 || len(w.order.waiting) != 0 {
		t.Errorf("%d are parked, %d wait", w.budget.parked, len(w.order.waiting))
	}
	var left []string
	for len(left) < 2 {
		next := w.next(func(error) {})
		if slices.Contains(lost, next.id) {
			t.Fatalf("%s was lost, and is to be processed", next.id)
		}
		left = append(left, next.id)
	}
	slices.Sort(left)
	if !slices.Equal(left, []string{"1-1", "4-0"}) && !slices.Equal(left, []string{"1-1", "2-1"}) {
		t.Errorf("begun are %v", left)
	}
	check("at the end")
}

// A lost entry that no worker has looked at yet is the first of its key: the next one of
// that key is begun as soon as a worker finds that out.
func TestWindowBeginsWhatIsBehindALostEntry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, leases := newLeased(limits{
			size: 10, batch: 10, every: 10, interval: time.Second, maxWorkers: 1, key: testKeys(func(e *resp.Entry) string { return e.ID[:1] }),
		}, noHooks())
		recounted(t, w)
		defer w.close()
		w.addRead(resp.Batch{Entries: []resp.Entry{{ID: "1-0"}, {ID: "2-0"}}}, time.Now())
		first := w.next(nil)
		leases.giveUp([]string{"2-0"}, errTaken)
		w.addRead(resp.Batch{Entries: []resp.Entry{{ID: "2-1"}}}, time.Now())
		w.end(first, done)
		begun := make(chan string, 1)
		go func() {
			if it := w.next(nil); it != nil {
				begun <- it.id
			}
		}()
		synctest.Wait()
		if len(begun) == 0 || <-begun != "2-1" {
			t.Error("2-1 is not begun, and nothing of its key is before it")
		}
		w.stop()
	})
}

// Entries that are due again come before new ones, the one that was due first before
// others.
func TestWindowDeliversWhatIsDueInItsOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _ := newLeased(limits{size: 10, batch: 10, every: 10, interval: time.Hour}, noHooks())
		recounted(t, w)
		defer w.close()
		w.addRead(resp.Batch{Entries: []resp.Entry{{ID: "1-0"}, {ID: "2-0"}, {ID: "3-0"}, {ID: "4-0"}}}, time.Now())
		for _, after := range []time.Duration{3, 1, 2} {
			it := w.next(nil)
			it.due = time.Now().Add(after * time.Second)
			w.end(it, waiting)
		}
		time.Sleep(time.Minute)
		var order []string
		for range 4 {
			order = append(order, w.next(nil).id)
		}
		if want := []string{"2-0", "3-0", "1-0", "4-0"}; !slices.Equal(order, want) {
			t.Errorf("begun in the order %v, want %v", order, want)
		}
	})
}

// roomToClaim's caller is told once every entry that was taken over has been begun and there
// is room for half of a take, also if that comes from entries that end later.
func TestRoomToTakeIsTold(t *testing.T) {
	t.Parallel()
	w, leases := newLeased(limits{size: 2, batch: 2, every: 10, interval: time.Hour}, noHooks())
	recounted(t, w)
	defer w.close()
	ids := []string{"1-0", "2-0", "3-0", "4-0"} // two are beyond the size
	leases.addClaimed(ids, false, time.Now())
	told := 0
	leases.whenRoomToClaim(2, func() { told++ })
	var begun []*item
	for range ids {
		begun = append(begun, w.next(nil))
	}
	if told != 0 || leases.roomToClaim(2) != 0 {
		t.Fatalf("told %d times, with room for %d", told, leases.roomToClaim(2))
	}
	w.forget(begun[0])
	if told != 1 || leases.roomToClaim(2) != 1 {
		t.Errorf("told %d times, with room for %d", told, leases.roomToClaim(2))
	}
}
