package stream

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
)

// A read that waits on a server which is no master is ended, unless the server is dialled
// again and again: then it may be a master by another name.
func TestOthersThanMastersAreLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &sockets{open: make(map[*socket]struct{}), drops: make(map[string]drops)}
		connect := func(addr string, reading bool) *socket {
			here, there := net.Pipe()
			t.Cleanup(func() { _, _ = here.Close(), there.Close() })
			conn, err := s.keep(here, addr)
			if err != nil {
				t.Fatal(err)
			}
			kept := conn.(*socket)
			kept.armed.Store(reading)
			return kept
		}
		isOpen := func(kept *socket) bool {
			_, open := s.open[kept]
			return open
		}

		// drops reports whether a read is ended that waits on the old master.
		drops := func() bool {
			old := connect("old:1", true)
			s.dropOthers([]string{"new:1", "third:1"})
			return !isOpen(old)
		}

		idle, master := connect("old:1", false), connect("new:1", true)
		if !drops() || !isOpen(idle) || !isOpen(master) {
			t.Errorf("what is open still: without a read %t, the new master's %t", isOpen(idle), isOpen(master))
		}
		for range 10 { // other failovers, later
			time.Sleep(inARow + 1)
			if !drops() {
				t.Error("it is not dropped though it was not for a while")
			}
		}
		time.Sleep(inARow + 1)
		for range mostDrops {
			if !drops() {
				t.Error("it is not dropped")
			}
			time.Sleep(followInterval)
		}
		if drops() {
			t.Error("it is dropped again and again")
		}
		time.Sleep(vain)
		if !drops() {
			t.Error("it is never dropped again")
		}
	})
}

// A store is told to look where its server is when one has not answered, and only then.
func TestTheStoreIsToldOfAServerThatIsGone(t *testing.T) {
	t.Parallel()
	store := &relocated{Store: &offset.Memory{}}
	r := &run{engine: &engine{}, store: store}
	for _, err := range []error{nil, redis.Nil, saidBy(t, "READONLY You can't write against a read only replica.")} {
		if r.relocate(err); store.times != 0 {
			t.Fatalf("it was told after %v", err)
		}
	}
	if r.relocate(io.EOF); store.times != 1 {
		t.Errorf("it was told %d times, want once", store.times)
	}
	(&run{engine: &engine{}}).relocate(io.EOF) // in group mode there is none
}

type relocated struct {
	offset.Store
	times int
}

func (r *relocated) Relocate() { r.times++ }
