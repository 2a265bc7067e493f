package commit_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/commit"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/task"
	"millrace/stream/internal/window"
)

// desk is a queue of letters with a window of group mode, and a settler that fails as it is
// told to.
type desk struct {
	letters *commit.Letters
	window  *window.Window
	leases  *window.Leases
	lose    context.CancelCauseFunc

	mu      sync.Mutex
	failing map[redis.UniversalClient]error
	tried   []string
	ended   map[string]commit.Ending
	told    []string // of the outages
}

func newDesk(handling context.Context, entries ...string) *desk {
	d := &desk{failing: make(map[redis.UniversalClient]error), ended: make(map[string]commit.Ending)}
	_, d.lose = context.WithCancelCause(handling)
	d.window, d.leases = window.NewLeased(
		window.Limits{Size: 100, Bytes: 1 << 20, Batch: 10, Every: 100, Interval: time.Hour, MaxWorkers: 1},
		window.Hooks{Settle: func() {}, StartWorker: func() {}, LetterTaken: func() { d.letters.Sweep() }},
	)
	var b resp.Batch
	for _, id := range entries {
		b.Entries = append(b.Entries, resp.Entry{ID: id})
	}
	d.window.AddRead(b, time.Now())
	d.letters = commit.NewLetters(handling, d.window, d, func(bool) task.Outage { return outage{d} })
	return d
}

// Settle is the settler's.
func (d *desk) Settle(_ context.Context, b *commit.Batch) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	letter := b.Letters[0]
	d.tried = append(d.tried, letter.Item.ID)
	letter.Err = d.failing[letter.Client]
	return nil
}

type outage struct{ *desk }

func (o outage) GoesOn(error) { o.tell("goes on") }
func (o outage) Ends()        { o.tell("ends") }
func (o outage) Abandon()     { o.tell("abandoned") }

func (d *desk) tell(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.told = append(d.told, what)
}

func (d *desk) fail(client redis.UniversalClient, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failing[client] = err
}

// post posts the letter of the next entry, for a server.
func (d *desk) post(t *testing.T, to redis.UniversalClient) {
	t.Helper()
	it, _ := d.window.Next(d.lose)
	if !d.window.Hold(it) {
		t.Fatal("the entry is not held")
	}
	d.letters.Post(&commit.Letter{Item: it, Client: to, Ended: func(how commit.Ending) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if _, twice := d.ended[it.ID]; twice {
			t.Errorf("%s has ended twice", it.ID)
		}
		d.ended[it.ID] = how
	}})
}

// ends reports how the letter of an entry has ended, and whether it has.
func (d *desk) ends(id string) (how commit.Ending, has bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	how, has = d.ended[id]
	return how, has
}

func (d *desk) finish() {
	d.letters.Stop()
	d.letters.Finish()
	d.window.Stop()
	d.window.Close()
}

// A server that takes no letters is in the way of no other server, and a letter that has failed
// is tried again until it is written. Its outage begins and ends once.
func TestLettersWaitForTheirServerAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t.Context(), "1-0", "2-0", "3-0")
		broken := new(redis.Client) // which sends nothing here
		d.fail(broken, errors.New("refused"))
		d.post(t, broken)
		d.post(t, nil)
		d.post(t, broken)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if how, has := d.ends("2-0"); !has || how != commit.Written {
			t.Errorf("the letter for the other server: %v, %t", how, has)
		}
		for _, id := range []string{"1-0", "3-0"} {
			if how, has := d.ends(id); has {
				t.Errorf("%s ended while its server was broken: %v", id, how)
			}
		}
		d.fail(broken, nil)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		for _, id := range []string{"1-0", "3-0"} {
			if how, has := d.ends(id); !has || how != commit.Written {
				t.Errorf("%s: %v, %t; want it written", id, how, has)
			}
		}
		d.finish()
		if n := slices.Index(d.told, "ends"); n < 1 || slices.Contains(d.told[n+1:], "ends") || slices.Contains(d.told[n+1:], "goes on") {
			t.Errorf("of the outage was told: %v", d.told)
		}
	})
}

// The letter of an entry that another consumer claims ends at once, and a stop ends those that
// cannot be written: one try each, and no more.
func TestLettersEndWithoutBeingWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t.Context(), "1-0", "2-0")
		d.fail(nil, errors.New("refused"))
		d.post(t, nil)
		d.post(t, nil)
		synctest.Wait()
		d.leases.GiveUp([]string{"1-0"}, commit.ErrClaimed)
		synctest.Wait()
		if how, has := d.ends("1-0"); !has || how != commit.Claimed {
			t.Errorf("claimed away: %v, %t", how, has)
		}
		if how, has := d.ends("2-0"); has {
			t.Errorf("the other one ended: %v", how)
		}
		d.finish()
		if how, has := d.ends("2-0"); !has || how != commit.Stopped {
			t.Errorf("at the stop: %v, %t", how, has)
		}
		if d.told[len(d.told)-1] != "abandoned" {
			t.Errorf("of the outage was told: %v", d.told)
		}
	})
}

// An entry that has gone has no letter, and is done.
func TestLetterOfAnEntryThatHasGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t.Context(), "1-0")
		d.fail(nil, commit.ErrGone)
		d.post(t, nil)
		synctest.Wait()
		if how, has := d.ends("1-0"); !has || how != commit.Gone {
			t.Errorf("gone: %v, %t", how, has)
		}
		if list := d.window.Settleable(); len(list) != 1 {
			t.Errorf("%d entries are to be settled, want 1", len(list))
		}
		d.finish()
		if slices.Contains(d.told, "goes on") {
			t.Errorf("of the outage was told: %v", d.told)
		}
	})
}
