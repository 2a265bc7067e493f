package groupmode

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/feed"
	"millrace/stream/internal/loss"
	"millrace/stream/internal/window"
)

// A list of names costs the server a microsecond for each: the next one waits for as long as
// the number of names says, and never for less than half of the time after which a consumer
// counts as dead. Names that could not be removed are not waited for.
func TestReaperPacesItsLists(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := reaper{idle: 10 * time.Minute}
	if !r.isDue(now) {
		t.Error("the first list is not due")
	}
	for _, test := range []struct {
		names int
		next  time.Duration
	}{{10, 5 * time.Minute}, {30_000, 5 * time.Minute}, {100_000, 1000 * time.Second}} {
		r.listed(test.names, now)
		if r.isDue(now.Add(test.next-time.Millisecond)) || !r.isDue(now.Add(test.next)) {
			t.Errorf("after a list of %d names the next is not due after %v", test.names, test.next)
		}
	}
	r.dead = []string{"left"}
	if !r.isDue(now) {
		t.Error("a name that is left is not due")
	}
}

// Two consumers of one group in one process have two names, those of two groups may have one,
// and a name is free again when its consumer has stopped.
func TestNamesAreTakenForAGroup(t *testing.T) {
	t.Parallel()
	first, release := takeName("names", "g")
	second, releaseSecond := takeName("names", "g")
	other, releaseOther := takeName("names", "h")
	defer releaseSecond()
	defer releaseOther()
	if first == second || first != other {
		t.Errorf("the names are %q, %q and, of another group, %q", first, second, other)
	}
	release()
	again, releaseAgain := takeName("names", "g")
	defer releaseAgain()
	if again != first {
		t.Errorf("the name is %q again, want %q", again, first)
	}
}

// An entry that is pending on this consumer and unknown to it was read, and not claimed, if
// nothing was claimed since, or if it is behind the last read at its first delivery.
func TestPendingEntriesOfALostRead(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		read, claimed bool
		id            string
		deliveries    int64
		want          bool
	}{
		{read: false, id: "9-0", deliveries: 1, want: false}, // those of an earlier process
		{read: true, id: "1-0", deliveries: 3, want: true},
		{read: true, claimed: true, id: "9-0", deliveries: 1, want: true},
		{read: true, claimed: true, id: "9-0", deliveries: 2, want: false},
		{read: true, claimed: true, id: "5-0", deliveries: 1, want: false},
	} {
		o := ownPending{read: test.read, claimed: test.claimed}
		if got := o.wasRead(test.id, test.deliveries, "5-0"); got != test.want {
			t.Errorf("%+v: it was read: %t", test, got)
		}
	}
}

// To begin anew keeps the note of a claim while pending entries are being taken up, and drops it
// otherwise.
func TestReopenKeepsTheNoteOfAClaim(t *testing.T) {
	t.Parallel()
	o := new(ownPending)
	o.reopen(true)
	o.from, o.paged = "7-0", true
	o.reopen(false)
	if !o.claimed || !o.paged || o.from != "-" {
		t.Errorf("while it is open: %+v", o)
	}
	o.open.Store(false)
	o.reopen(false)
	if o.claimed || o.paged || !o.open.Load() {
		t.Errorf("after it was closed: %+v", o)
	}
}

// dueOnce is a feed that says once that it is time to look around, as that of a Runner does.
type dueOnce struct {
	feed.Feed
	due bool
}

func (d *dueOnce) IsDue() (was bool) {
	was, d.due = d.due, false
	return was
}

// While pending entries are taken up, a look around that has failed is tried again in the next
// round: one that asked nothing would tell that it works again.
func TestFailedLookIsTriedAgain(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1}) // refused
	t.Cleanup(func() { _ = client.Close() })
	own := new(ownPending)
	own.open.Store(true)
	c := &claimer{
		consumer: &consumer{client: client}, own: own, feed: &dueOnce{due: true}, reaper: reaper{next: time.Now().Add(time.Hour)},
		losses: loss.NewGroupFinder(loss.Group{
			Stream: loss.Stream{Client: client, Name: "s"}, Group: "g", Consumer: "me", Position: func() string { return "0-0" },
		}),
	}
	for round := range 3 {
		if err := c.claimOrReap(t.Context()); err == nil || !c.asked {
			t.Errorf("round %d: %v, asked: %t", round, err, c.asked)
		}
	}
}

// The oldest lease that was kept leaves out the entries that are not ours any more.
func TestOldestOfARenewal(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	list := []window.Renewable{{ID: "1-0", At: begun}, {ID: "2-0", At: begun.Add(time.Second)}, {ID: "3-0", At: begun.Add(2 * time.Second)}}
	for _, test := range []struct {
		r    renewal
		want time.Time
	}{
		{renewal{}, begun},
		{renewal{lost: []string{"1-0"}}, begun.Add(time.Second)},
		{renewal{lost: []string{"1-0"}, dropped: []string{"2-0"}}, begun.Add(2 * time.Second)},
		{renewal{lost: []string{"1-0"}, dropped: []string{"2-0"}, gone: []string{"3-0"}}, time.Time{}},
	} {
		if got := test.r.oldest(list); !got.Equal(test.want) {
			t.Errorf("%+v: %v, want %v", test.r, got, test.want)
		}
	}
}
