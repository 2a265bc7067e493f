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

// Run runs a test in virtual time, in a bubble of package testing/synctest, with
// an empty Redis in memory: waits of hours are over at once, and what happens
// after a wait does so at exactly that time. What the test has started must end
// with it; an [Instance] sees to that. In the test there are no sockets, no
// subtests and no t.Parallel; call that one before Run.
//
// The Redis is miniredis, which is right for how a handler and a consumer work together
// over time. Deliveries are counted as a server counts them. It differs from a server in
// these corners; test code that depends on them with [StartRedis]:
//
//   - A blocked read is not told that its stream was deleted.
//   - The lag of a group and much of XINFO are other numbers: losses are not found.
//   - XAUTOCLAIM and XCLAIM keep entries pending that the stream does not have, and
//     XAUTOCLAIM does not tell of them. (The engine uses XCLAIM, and acks them.)
//   - CLIENT UNBLOCK, XGROUP SETID, XSETID and FUNCTION are missing: a shared read of a
//     [stream.Runner] in group mode ends by itself only.
//   - Users have no rights of their own (ACL); memory has no limit; nothing is evicted.
//   - Claims in a MULTI count a delivery with JUSTID, too.
func Run(t *testing.T, test func(t *testing.T, b *Bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := miniredis.NewMiniRedis()
		// There is a server to tell with the first connection only.
		count := sync.OnceFunc(func() { CountAsRedis(server) })
		client := redis.NewClient(&redis.Options{
			// An IP literal: go-redis looks up a name with the help of a goroutine
			// that outlives the bubble, and the next bubble is dead.
			Addr: "127.0.0.1:1",
			Dialer: func(context.Context, string, string) (net.Conn, error) {
				conn, err := server.Dial()
				count()
				return conn, err
			},
			// So many that nobody waits for one: go-redis waits with timers that it keeps
			// for all clients, and one of a bubble ends the process when it is used outside.
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

// Advance lets time pass, with all that happens in it, and then waits until
// everything is done that can be done without more time passing; Advance(0) only
// does the latter. Keys with an expiry go at hundredths of the time, not in
// between. An hour of a consumer in group mode takes about a second, as it looks
// for entries to claim once a second.
func (b *Bubble) Advance(d time.Duration) {
	const steps = 100
	for n := range time.Duration(steps) {
		step := d*(n+1)/steps - d*n/steps // so that what a division leaves over is not lost
		time.Sleep(step)
		b.server.FastForward(step)
	}
	synctest.Wait()
}
