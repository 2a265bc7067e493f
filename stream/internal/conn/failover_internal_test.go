package conn

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
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
