package feed

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
)

// The last member that leaves a hub waits for the hub's command that is on its way. No
// other consumer of the Runner does: it may be as long as a hook of the user's takes.
func TestAHubThatEndsHoldsUpNobody(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer func() { _ = client.Close() }()
	entered, held := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	defer release()
	var once atomic.Bool
	client.AddHook(conn.Inner{Process: func(redis.ProcessHook) redis.ProcessHook {
		return func(context.Context, redis.Cmder) error {
			if once.CompareAndSwap(false, true) {
				close(entered)
			}
			<-held
			return redis.ErrClosed
		}
	}})
	s := &Shared{hubs: make(map[hubKey]*hub), conns: conn.NewClients(maxCommands)}
	defer s.conns.Close()
	commands, err := s.conns.Of(client)
	if err != nil {
		t.Fatal(err)
	}
	join := func(group string) Feed {
		joined, err := s.join(client, commands, asker{group: group, consumer: "c", count: 1, block: time.Second, inspect: time.Hour},
			&member{stream: "s", scheduled: scheduled{every: intervals{renew: time.Millisecond, check: time.Hour}}})
		if err != nil {
			t.Fatal(err)
		}
		return joined
	}
	leaving := join("g")
	<-entered
	left := make(chan struct{})
	go func() {
		defer close(left)
		_ = leaving.Close()
	}()
	deadline := time.After(10 * time.Second)
	for gone := false; !gone; time.Sleep(time.Millisecond) { // it has no hub any more
		if s.mu.TryLock() {
			gone = len(s.hubs) == 0
			s.mu.Unlock()
		}
		select {
		case <-left:
			t.Fatal("it has waited for nothing")
		case <-deadline:
			release()
			t.Fatal("the lock is held while the hub ends")
		default:
		}
	}
	other := join("another")
	release()
	<-left
	_ = other.Close()
}
