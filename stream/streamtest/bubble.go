package streamtest

import (
	"context"
	"net"
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
// The Redis is miniredis. It is right for how a handler and a consumer work
// together over time, and wrong in corners: blocked reads are not told of a
// deleted stream, the lag of a group and much of XINFO are not those of Redis,
// and claims do not tell of deleted entries. What depends on such things, test
// with [StartRedis].
func Run(t *testing.T, test func(t *testing.T, b *Bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := miniredis.NewMiniRedis()
		client := redis.NewClient(&redis.Options{
			// An IP literal: go-redis looks up a name with the help of a goroutine
			// that outlives the bubble, and the next bubble is dead.
			Addr:   "127.0.0.1:1",
			Dialer: func(context.Context, string, string) (net.Conn, error) { return server.Dial() },
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
