package streamtest_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/streamtest"
)

// loop publishes to a stream and reads it, with nothing but go-redis.
type loop struct {
	t     *testing.T
	reads atomic.Int64
}

// readInBackground starts a loop that ends with the test. The loop goes on after errors.
func readInBackground(t *testing.T, client redis.UniversalClient) *loop {
	t.Helper()
	l := &loop{t: t}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		work.Wait()
	})
	work.Go(func() {
		// The reads do not block, because the client would give up a blocking read only ten
		// seconds after a freeze.
		last := "0"
		for n := 0; ctx.Err() == nil; n++ {
			_ = client.XAdd(ctx, &redis.XAddArgs{Stream: "loop", Values: []string{"n", strconv.Itoa(n)}}).Err()
			reply, err := client.XRead(ctx, &redis.XReadArgs{Streams: []string{"loop", last}, Block: -1}).Result()
			if err == nil {
				messages := reply[0].Messages
				last = messages[len(messages)-1].ID
				l.reads.Add(int64(len(messages)))
			}
			select {
			case <-ctx.Done():
			case <-time.After(2 * time.Millisecond):
			}
		}
	})
	return l
}

// awaitMore waits until some more entries were read.
func (l *loop) awaitMore() {
	l.t.Helper()
	want := l.reads.Load() + 10
	streamtest.Await(l.t, "more entries are read", func() bool { return l.reads.Load() >= want })
}
