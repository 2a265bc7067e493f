package conn

import (
	"context"
	"net"
	"sync"
	"time"

	"millrace/stream/internal/contain"
)

// refusals keeps the failed dials of one client. It replaces a mechanism of go-redis:
// after as many failures as a client has connections, go-redis gives the last failure to
// every command, without a try, until a dial of its own works. Those dials come once a
// second, so that a server that is back would be away for that long. Here a failed dial
// yields a connection that fails at its first use, which go-redis does not count. Of many
// commands that fail at once, few dial.
//
// The mutex guards byAddr. The methods are safe for concurrent use.
type refusals struct {
	dial dialFunc

	mu     sync.Mutex
	byAddr map[string]refusal
}

// refusal is the last failure to dial an address, and the number of them in a row.
type refusal struct {
	err error
	at  time.Time
	n   int
}

const (
	// freeDials is the number of dials in a row that may fail without a pause.
	freeDials = 10
	// dialPause is how long the failure of a dial counts for others, then.
	dialPause = 50 * time.Millisecond
)

// failsLater returns dial, whose connections fail at their first use instead.
func failsLater(dial dialFunc) dialFunc {
	r := &refusals{dial: dial, byAddr: make(map[string]refusal)}
	return r.connect
}

func (r *refusals) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	if err := r.recent(addr); err != nil {
		return newUndialled(err), nil
	}
	var conn net.Conn
	err := contain.Isolated(func() (err error) { // the dialer may be the user's
		conn, err = r.dial(ctx, network, addr)
		return err
	})
	r.note(ctx, addr, err)
	if err != nil {
		return newUndialled(err), nil
	}
	return conn, nil
}

// recent returns the failure of a dial that is too recent for another one.
func (r *refusals) recent(addr string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last := r.byAddr[addr]; last.n >= freeDials && time.Since(last.at) < dialPause {
		return last.err
	}
	return nil
}

// note notes how a dial has ended, unless its context has.
func (r *refusals) note(ctx context.Context, addr string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		delete(r.byAddr, addr)
	case ctx.Err() == nil:
		r.byAddr[addr] = refusal{err, time.Now(), r.byAddr[addr].n + 1}
	}
}

// undialled is a connection that could not be made.
type undialled struct {
	net.Conn // a pipe of which nothing is used
	err      error
}

func newUndialled(err error) *undialled {
	nowhere, _ := net.Pipe()
	return &undialled{nowhere, err}
}

func (c *undialled) Read([]byte) (int, error)  { return 0, c.err }
func (c *undialled) Write([]byte) (int, error) { return 0, c.err }
