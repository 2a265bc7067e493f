package stream_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

// zombieAddr is set in the process of the consumer that stands still.
const zombieAddr = "MILLRACE_TEST_ZOMBIE_ADDR"

const zombieIdle = time.Second // less, and on a busy machine the heir itself is taken for dead

// A process stands still for longer than the claim idle time, and its entry is
// claimed. When it goes on and finishes, its result does not count: the entry
// stays pending on the consumer that is at work on it.
func TestGroupZombieSettlesNothing(t *testing.T) {
	t.Parallel()
	if addr := os.Getenv(zombieAddr); addr != "" {
		runZombie(t, redis.NewClient(&redis.Options{Addr: addr}))
		return
	}
	server := streamtest.StartRedis(t)
	client := server.Client()
	id := add(t, client, "x")
	zombie := streamtest.StartChild(t, zombieAddr+"="+server.Addr)
	zombie.AwaitOutput("begun")
	zombie.Freeze()
	release := make(chan struct{})
	rec := newRecorder()
	rec.handle = func(context.Context, *stream.Message[order]) error { <-release; return nil }
	start(t, newGroup(t, client, rec.Handle, stream.WithClaimIdle(zombieIdle), stream.WithConsumerName("heir")))
	rec.await(t, 1)
	if err := client.RPush(t.Context(), "finish", "").Err(); err != nil {
		t.Fatal(err)
	}
	zombie.Thaw()
	zombie.AwaitOutput("result does not count")
	list, err := client.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: "orders", Group: "billing", Start: "-", End: "+", Count: 10}).Result()
	if err != nil || len(list) != 1 || list[0].ID != id || list[0].Consumer != "heir" {
		t.Errorf("pending is %+v, %v, want the entry on its heir", list, err)
	}
	close(release)
	settled(t, client)
}

func runZombie(t *testing.T, client *redis.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	consumer := newGroup(t, client, func(context.Context, *stream.Message[order]) error {
		fmt.Println("begun")
		// Whatever becomes of the handler's context: it finishes.
		return client.BLPop(context.Background(), 20*time.Second, "finish").Err()
	}, stream.WithClaimIdle(zombieIdle), stream.WithLogger(slog.New(slog.NewTextHandler(os.Stdout, nil))))
	_ = consumer.Run(ctx)
}
