package streamtest

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// Bubble is a test in virtual time, see [Run]. Its methods are for the test's own
// goroutine.
type Bubble struct {
	// Client is the test's own client of the Redis in memory.
	Client *redis.Client

	t      *testing.T
	server *miniredis.Miniredis
}

// Run runs a test in virtual time, in a bubble of package testing/synctest, with an empty Redis
// in memory. A wait of hours is over at once, and an event after a wait happens at exactly its
// time. All goroutines that the test starts have to end with the test; an [Instance] ends its
// own goroutines. The test can have no sockets, no subtests and no t.Parallel. Call t.Parallel
// before Run.
//
// The Redis in memory is miniredis, which is good enough to test how a handler and a consumer
// work together over time. It counts deliveries as a server does, see [CountAsRedis]. Miniredis
// differs from a server in the following points. A test that depends on one of them needs
// [StartRedis]:
//
//   - A blocked read does not notice that its stream was deleted.
//   - The lag of a group and many other numbers of XINFO differ, so that a consumer finds no
//     losses.
//   - XAUTOCLAIM and XCLAIM leave entries pending that the stream no longer has, and
//     XAUTOCLAIM does not list such entries. (A consumer of Millrace uses XCLAIM, and acks
//     them.)
//   - CLIENT UNBLOCK, XGROUP SETID, XSETID and FUNCTION are missing, so that no command can
//     end the shared read of a [millrace/stream.Runner] in group mode early.
//   - Users have no rights of their own (ACL), memory has no limit, and no key is evicted.
//   - A claim with JUSTID in a MULTI counts as a delivery.
func Run(t *testing.T, test func(t *testing.T, b *Bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := miniredis.NewMiniRedis()
		// CountAsRedis needs the server of the miniredis, which exists from the first
		// connection on.
		count := sync.OnceFunc(func() { CountAsRedis(server) })
		client := redis.NewClient(&redis.Options{
			// An IP literal: for a name, go-redis starts a look-up whose goroutine outlives the
			// bubble, and the next bubble cannot run.
			Addr: "127.0.0.1:1",
			Dialer: func(context.Context, string, string) (net.Conn, error) {
				conn, err := server.Dial()
				count()
				return conn, err
			},
			// The pool is so large that no command waits for a connection. For such a wait
			// go-redis uses a timer from a pool of all clients, and the process ends when the
			// timer of a bubble is used outside that bubble.
			PoolSize: 1 << 12,
		})
		t.Cleanup(server.Close)
		t.Cleanup(func() { _ = client.Close() })
		test(t, &Bubble{Client: client, t: t, server: server})
	})
}

// NewInstance returns an instance of a program that consumes from the bubble's
// Redis.
func (b *Bubble) NewInstance() *Instance {
	b.t.Helper()
	return NewInstance(b.t, b.Client)
}

// Advance lets the time d pass in the bubble. It then waits until all goroutines of the bubble
// are blocked, so that only more time can wake them; Advance(0) does nothing else. Keys with an
// expiry are removed at multiples of d/100, not in between. An hour with a consumer in group
// mode takes about a second of real time, because the consumer looks for entries to claim once
// a second.
func (b *Bubble) Advance(d time.Duration) {
	const steps = 100
	for n := range time.Duration(steps) {
		step := d*(n+1)/steps - d*n/steps // all steps together are exactly d
		time.Sleep(step)
		b.server.FastForward(step)
	}
	synctest.Wait()
}
