package logmode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"millrace/stream/internal/mode"
	"millrace/stream/internal/task"
)

// deaf is a store that does not look at its context.
type deaf struct {
	busy   bool
	lasts  time.Duration
	stored string
}

func (d *deaf) Load(context.Context, string) (id string, found bool, err error) {
	err = d.do()
	return d.stored, d.stored != "", err
}

func (d *deaf) Save(_ context.Context, _, id string) error {
	err := d.do()
	d.stored = id
	return err
}

func (d *deaf) do() error {
	if d.busy {
		return errors.New("two calls at once")
	}
	d.busy = true
	time.Sleep(d.lasts)
	d.busy = false
	return nil
}

// A call of a store that does not look at its context is given up soon after that has ended, and
// the next call waits for the one that was left behind. The offset that was tried counts as
// ours: it is stored in the end.
func TestAStoreThatDoesNotLookAtItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &deaf{lasts: time.Minute}
		s := stored{store: store, label: "me", storing: task.NewLock()}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		if _, err := s.save(ctx, "5-0"); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 2*time.Second {
			t.Errorf("saving returned %v after %v", err, time.Since(begun))
		}
		if !s.isOurs("5-0") {
			t.Error("the offset that was tried counts as another writer's")
		}
		if _, _, err := s.load(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("loading did not wait for the call before: %v", err)
		}
		if id, found, err := s.load(t.Context()); id != "5-0" || !found || err != nil {
			t.Errorf("loaded %q, %t, %v", id, found, err)
		}
	})
}

// rivals is a host that counts rivals.
type rivals struct {
	mode.Host
	told int
}

func (r *rivals) NoteRival(*slog.Logger, string, time.Duration) { r.told++ }

// An offset that was found at a save tells of another writer, if it is ahead of the last one that
// this consumer knows of, and this run has saved one before.
func TestWhoHasMovedTheOffset(t *testing.T) {
	t.Parallel()
	for i, test := range []struct {
		known  stored
		before string
		rival  bool
	}{
		{stored{id: "5-0", saved: true}, "5-0", false},
		{stored{id: "5-0", saved: true, tried: []string{"7-0"}}, "7-0", false},
		{stored{id: "5-0", saved: true}, "3-0", false}, // a failover, or a reset
		{stored{id: "5-0"}, "6-0", false},              // the last save of the consumer before
		{stored{id: "5-0", saved: true}, "6-0", true},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			host := new(rivals)
			s := &source{host: host, log: slog.New(slog.DiscardHandler), stored: test.known}
			if s.lookAt(test.before); (host.told > 0) != test.rival {
				t.Errorf("%+v, found %s: another writer is told %d times", test.known, test.before, host.told)
			}
		})
	}
}
