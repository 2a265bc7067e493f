package stream_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
)

// A Runner's consumers in group mode that have nothing to do are looked after together:
// what that takes hardly depends on how many they are.
func TestIdleGroupsAreLookedAfterTogether(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		const idle, reap = 4 * time.Second, 20 * 4 * time.Second / 2
		var (
			commands commandCounter
			handled  Counts
			r        stream.Runner
			names    = topicNames(150)
			watched  = redis.NewClient(optionsOf(client))
		)
		watched.AddHook(&commands)
		for _, name := range names {
			r.Add(bothModes()[1].make(t, watched, name, handled.Handle, stream.WithClaimIdle(idle)))
		}
		stop := start(t, &r)
		time.Sleep(10 * time.Second)
		commands.reset()
		time.Sleep(reap)
		got := commands.reset()
		// Once a second for what was handed back; each half of the claim idle time, for
		// twenty at once, for what has moved; and each removes the names of dead
		// consumers, once.
		seconds := int(reap / time.Second)
		if most := seconds + seconds/2*(len(names)/20+1) + len(names) + 5; got["evalsha"] > most {
			t.Errorf("%d idle consumers have sent %v in %v, want %d scripts at the most", len(names), got, reap, most)
		}

		// What is left on a consumer that is no more is found all the same.
		addTo(t, client, names[7], 1)
		time.Sleep(5 * time.Second)
		id, err := client.XRevRangeN(t.Context(), names[7], "+", "-", 1).Result()
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Do(t.Context(), "xclaim", names[7], "billing", "dead", 0, id[0].ID, "force").Err(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(idle + idle/2 + 2*time.Second)
		if n := handled.times(names[7], id[0].ID); n != 2 {
			t.Errorf("it was handled %d times, want once more for its new owner", n)
		}
		if err := errors.Join(stop(), watched.Close()); err != nil {
			t.Error(err)
		}
	})
}

// commandCounter counts the commands of a client by their names.
type commandCounter struct {
	inert
	mu   sync.Mutex
	sent map[string]int
}

// reset returns what was counted since it was called before.
func (c *commandCounter) reset() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent := c.sent
	c.sent = make(map[string]int)
	return sent
}

func (c *commandCounter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.mu.Lock()
		if c.sent == nil {
			c.sent = make(map[string]int)
		}
		c.sent[cmd.Name()]++
		c.mu.Unlock()
		return next(ctx, cmd)
	}
}

// What a consumer holds is renewed, however long it takes to take over what others have
// left.
func TestRenewedWhileAClaimHangs(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		const idle = 10 * time.Second
		slow := redis.NewClient(optionsOf(client))
		claims := &hangingClaim{}
		slow.AddHook(claims)
		add(t, client, "a")
		rec := newRecorder()
		rec.handle = func(context.Context, *stream.Message[order]) error {
			time.Sleep(5 * idle)
			return nil
		}
		stop := start(t, newGroup(t, slow, rec.Handle, stream.WithClaimIdle(idle)))
		time.Sleep(time.Second)
		claims.hang.Store(true)
		for range 4 {
			time.Sleep(idle)
			pending, err := client.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: "orders", Group: "billing", Start: "-", End: "+", Count: 1}).Result()
			if err != nil || len(pending) != 1 || pending[0].Idle > idle/2 {
				t.Fatalf("what is held is %+v, %v", pending, err)
			}
		}
		time.Sleep(2 * idle)
		if err := errors.Join(stop(), slow.Close()); err != nil {
			t.Error(err)
		}
	})
}

// hangingClaim is a client to which, when it is to hang, the reply to one claim comes after a
// minute.
type hangingClaim struct {
	inert
	hang atomic.Bool
}

func (h *hangingClaim) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if stream.IsClaim(cmd) && h.hang.CompareAndSwap(true, false) {
			time.Sleep(time.Minute)
		}
		return next(ctx, cmd)
	}
}
