package window

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"millrace/codec"
	"millrace/stream/internal/resp"
)

var errTaken = errors.New("taken")

// Everything that was taken over is lost before it was begun: the reader, which
// lets it go first, must not wait for it any more.
func TestReaderDoesNotWaitForWhatWasLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, leases := NewLeased(Limits{Size: 10, Batch: 1, Every: 10, Interval: time.Second}, noHooks())
		recounted(t, h)
		leases.AddClaimed([]string{"1-0", "2-0"}, false, time.Now())
		reading := make(chan bool, 1)
		go func() { reading <- h.AwaitRoom(t.Context(), nil) }()
		synctest.Wait()
		if len(reading) > 0 {
			t.Fatal("the reader did not wait for what was taken over")
		}
		leases.GiveUp([]string{"1-0", "2-0"}, errTaken)
		synctest.Wait()
		if it, _ := h.Next(nil); it != nil {
			t.Fatalf("%s was lost, and is to be processed", it.ID)
		}
		synctest.Wait()
		if len(reading) == 0 {
			t.Fatal("the reader waits for what was lost")
		}
	})
}

// next returns the next entry of a window.
func next(w *Window) *Item {
	it, _ := w.Next(nil)
	return it
}

// What is pending on nobody, and was ours a moment ago, is taken back; but not what is
// being moved to the dead letters, which acks it, nor what somebody may have claimed.
func TestWindowTakesBackWhatIsPendingOnNobody(t *testing.T) {
	t.Parallel()
	w, leases := NewLeased(Limits{Size: 10, Batch: 10, Every: 10, Interval: time.Second}, noHooks())
	recounted(t, w)
	defer w.Close()
	now := time.Now()
	limit := now.Add(-time.Minute)
	leases.AddClaimed([]string{"1-0"}, false, now.Add(-time.Hour))
	w.AddRead(resp.Batch{Entries: []resp.Entry{{ID: "2-0"}, {ID: "3-0"}, {ID: "5-0"}}}, now)
	leases.SetMoving(leases.byID["3-0"], true)
	leases.DoubtGone([]string{"5-0"})
	all := []string{"1-0", "2-0", "3-0", "4-0", "5-0"}
	if list := leases.Claimable(all, limit); !slices.Equal(list, []string{"1-0"}) {
		t.Errorf("another consumer may have %v", list)
	}
	removed, ended := leases.Orphans(all, time.Time{}, limit)
	if !slices.Equal(removed, []Orphan{{ID: "2-0"}}) || !slices.Equal(ended, []string{"1-0"}) {
		t.Errorf("to be taken back are %v, somebody else's are %v", removed, ended)
	}
	if ended := leases.GiveUp(ended, errTaken); !slices.Equal(ended, []string{"1-0"}) {
		t.Errorf("given up are %v", ended)
	}
}

// A list of what is pending names an entry that is settled before the list is taken
// in: it is not to be processed again.
func TestWindowTakesNothingThatWasSettledMeanwhile(t *testing.T) {
	t.Parallel()
	w, leases := NewLeased(Limits{Size: 10, Batch: 10, Every: 10, Interval: time.Second}, noHooks())
	recounted(t, w)
	defer w.Close()
	w.AddRead(resp.Batch{Entries: []resp.Entry{{ID: "1-0"}, {ID: "2-0"}, {ID: "3-0"}}}, time.Now())
	over := leases.WatchLeaving()
	w.End(next(w), Done)
	w.Settled(len(w.Settleable()))
	w.Forget(next(w)) // settled in another way
	if n := leases.AddClaimed([]string{"1-0", "2-0", "3-0", "4-0"}, true, time.Now()); n != 1 {
		t.Errorf("%d entries were taken in, want the one that is new", n)
	}
	over()
	if n := leases.AddClaimed([]string{"1-0"}, false, time.Now()); n != 1 {
		t.Error("what was settled long ago is not taken in, though Redis says that it is ours again")
	}
}

// A lost entry leaves nothing behind, wherever it stood: not its bytes, its place in the
// line of its key, nor one among the parked.
func TestWindowOfWhatWasLost(t *testing.T) {
	t.Parallel()
	w, leases := NewLeased(Limits{
		Size: 10, Batch: 10, Every: 10, Interval: time.Second, Key: testKeys(func(e *resp.Entry) string { return e.ID[:1] }),
	}, noHooks())
	recounted(t, w)
	defer w.Close()
	fields := codec.FieldsOf("field", "value")
	w.AddRead(resp.Batch{Entries: []resp.Entry{
		{ID: "1-0", Fields: fields}, {ID: "1-1", Fields: fields}, // waits, and is behind it
		{ID: "2-0", Fields: fields}, {ID: "2-1", Fields: fields}, // is parked, and comes free
		{ID: "3-0", Fields: fields}, {ID: "3-1", Fields: fields}, // was not begun
		{ID: "4-0", Fields: fields}, // is at work
	}}, time.Now())
	it := next(w)
	it.Due = time.Now().Add(time.Hour)
	w.End(it, Waiting)
	w.End(next(w), Parked)
	for range 2 {
		next(w)
	}
	leases.AddClaimed([]string{"9-0"}, true, time.Now())
	check := func(when string) {
		t.Helper()
		if err := w.Check(); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	check("before")
	lost := []string{"1-0", "2-0", "3-1", "9-0"}
	if given := leases.GiveUp(lost, errTaken); !slices.Equal(given, lost) {
		t.Errorf("given up are %v", given)
	}
	check("after the loss")
	if w.budget.parked != 0 || len(w.order.waiting) != 0 {
		t.Errorf("%d are parked, %d wait", w.budget.parked, len(w.order.waiting))
	}
	var left []string
	for len(left) < 2 {
		it := next(w)
		if slices.Contains(lost, it.ID) {
			t.Fatalf("%s was lost, and is to be processed", it.ID)
		}
		left = append(left, it.ID)
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
		w, leases := NewLeased(Limits{
			Size: 10, Batch: 10, Every: 10, Interval: time.Second, MaxWorkers: 1, Key: testKeys(func(e *resp.Entry) string { return e.ID[:1] }),
		}, noHooks())
		recounted(t, w)
		defer w.Close()
		w.AddRead(resp.Batch{Entries: []resp.Entry{{ID: "1-0"}, {ID: "2-0"}}}, time.Now())
		first := next(w)
		leases.GiveUp([]string{"2-0"}, errTaken)
		w.AddRead(resp.Batch{Entries: []resp.Entry{{ID: "2-1"}}}, time.Now())
		w.End(first, Done)
		begun := make(chan string, 1)
		go func() {
			if it := next(w); it != nil {
				begun <- it.ID
			}
		}()
		synctest.Wait()
		if len(begun) == 0 || <-begun != "2-1" {
			t.Error("2-1 is not begun, and nothing of its key is before it")
		}
		w.Stop()
	})
}

// Entries that are due again come before new ones, the one that was due first before
// others.
func TestWindowDeliversWhatIsDueInItsOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _ := NewLeased(Limits{Size: 10, Batch: 10, Every: 10, Interval: time.Hour}, noHooks())
		recounted(t, w)
		defer w.Close()
		w.AddRead(resp.Batch{Entries: []resp.Entry{{ID: "1-0"}, {ID: "2-0"}, {ID: "3-0"}, {ID: "4-0"}}}, time.Now())
		for _, after := range []time.Duration{3, 1, 2} {
			it := next(w)
			it.Due = time.Now().Add(after * time.Second)
			w.End(it, Waiting)
		}
		time.Sleep(time.Minute)
		var order []string
		for range 4 {
			order = append(order, next(w).ID)
		}
		if want := []string{"2-0", "3-0", "1-0", "4-0"}; !slices.Equal(order, want) {
			t.Errorf("begun in the order %v, want %v", order, want)
		}
	})
}

// RoomToClaim's caller is told once every entry that was taken over has been begun and there
// is room for half of a take, also if that comes from entries that end later.
func TestRoomToTakeIsTold(t *testing.T) {
	t.Parallel()
	w, leases := NewLeased(Limits{Size: 2, Batch: 2, Every: 10, Interval: time.Hour}, noHooks())
	recounted(t, w)
	defer w.Close()
	ids := []string{"1-0", "2-0", "3-0", "4-0"} // two are beyond the size
	leases.AddClaimed(ids, false, time.Now())
	told := 0
	leases.WhenRoomToClaim(2, func() { told++ })
	var begun []*Item
	for range ids {
		begun = append(begun, next(w))
	}
	if told != 0 || leases.RoomToClaim(2) != 0 {
		t.Fatalf("told %d times, with room for %d", told, leases.RoomToClaim(2))
	}
	w.Forget(begun[0])
	if told != 1 || leases.RoomToClaim(2) != 1 {
		t.Errorf("told %d times, with room for %d", told, leases.RoomToClaim(2))
	}
}

// The low mark does not stop at an entry that has left the line.
func TestLowMarkWithoutAnEntry(t *testing.T) {
	t.Parallel()
	w, m := NewMarked(Limits{Size: 10, Batch: 10, Every: 10, Interval: time.Hour}, noHooks())
	recounted(t, w)
	defer w.Close()
	w.AddRead(resp.Batch{Entries: []resp.Entry{{ID: "1-0"}, {ID: "2-0"}, {ID: "3-0"}}}, time.Now())
	first, second := next(w), next(w)
	w.End(next(w), Done)
	w.End(first, Done)
	w.Forget(second)
	if n := len(w.Settleable()); n != 2 || m.len() != 2 {
		t.Errorf("%d of %d entries may be settled, want all of 2", n, m.len())
	}
}
