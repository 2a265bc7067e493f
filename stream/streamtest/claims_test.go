package streamtest_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

// deliveries runs a consumer that crashes while it handles an entry, and another consumer that
// claims the entry, keeps it for longer than the claim idle time, fails and succeeds. It
// returns the delivery counts that the handlers got.
func deliveries(t *testing.T, client redis.UniversalClient) []int64 {
	t.Helper()
	const claimIdle = 300 * time.Millisecond
	var mu sync.Mutex
	var counts []int64
	told := func() []int64 {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(counts)
	}
	start := func(name string, handle func(ctx context.Context, delivery int64) error) *streamtest.Instance {
		instance := streamtest.NewInstance(t, client)
		instance.Start(must[*stream.Consumer[order]](t)(stream.NewGroupConsumer(instance.Client, orders, "billing",
			func(ctx context.Context, msg *stream.Message[order]) error {
				mu.Lock()
				counts = append(counts, msg.Deliveries)
				mu.Unlock()
				return handle(ctx, msg.Deliveries)
			}, quietly, stream.WithConsumerName(name), stream.WithClaimIdle(claimIdle), stream.WithMaxDeliveries(3))))
		return instance
	}
	add(t, client, "a")
	first := start("first", func(ctx context.Context, _ int64) error {
		<-ctx.Done()
		return ctx.Err()
	})
	streamtest.Await(t, "the entry is delivered", func() bool { return len(told()) == 1 })
	first.Crash()
	start("second", func(ctx context.Context, delivery int64) error {
		if delivery > 2 {
			return nil
		}
		select { // while the lease is renewed, several times
		case <-time.After(4 * claimIdle):
			return errors.New("not yet")
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	streamtest.Await(t, "the entry is handled", func() bool {
		pending, err := client.XPending(t.Context(), "orders", "billing").Result()
		return err == nil && pending.Count == 0 && len(told()) > 1
	})
	return told()
}

// Deliveries are counted in a bubble as a server counts them: the renewal of a lease is none,
// and neither is a claim.
func TestDeliveriesAreCountedAsByAServer(t *testing.T) {
	t.Parallel()
	want := []int64{1, 2, 3}
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		client := redis.NewClient(&redis.Options{Addr: streamtest.StartRedis(t).Addr})
		t.Cleanup(func() { _ = client.Close() })
		if got := deliveries(t, client); !slices.Equal(got, want) {
			t.Errorf("deliveries %v, want %v", got, want)
		}
	})
	t.Run("bubble", func(t *testing.T) {
		t.Parallel()
		streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
			if got := deliveries(t, b.Client); !slices.Equal(got, want) {
				t.Errorf("deliveries %v, want %v", got, want)
			}
		})
	})
}

// Claims with JUSTID count no delivery, in any form, also in a script. Claims without JUSTID
// count one.
func TestClaimsCount(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
		client := b.Client
		id, other := add(t, client, "a"), add(t, client, "b")
		if err := client.XGroupCreate(t.Context(), "orders", "billing", "0").Err(); err != nil {
			t.Fatal(err)
		}
		if err := client.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "billing", Consumer: "one", Streams: []string{"orders", ">"}}).Err(); err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			command []any
			want    int64
		}{
			{[]any{"XCLAIM", "orders", "billing", "two", 0, id, other, "JUSTID"}, 1},
			{[]any{"xclaim", "orders", "billing", "two", 0, id, "idle", 5, "justid"}, 1},
			{[]any{"XAUTOCLAIM", "orders", "billing", "two", 0, "0", "COUNT", 10, "JUSTID"}, 1},
			{[]any{"EVAL", `return redis.call('XCLAIM', KEYS[1], 'billing', 'two', 0, ARGV[1], 'JUSTID')`, 1, "orders", id}, 1},
			{[]any{"XCLAIM", "orders", "billing", "two", 0, id}, 2},
			{[]any{"XCLAIM", "orders", "billing", "two", 0, id, "RETRYCOUNT", 7, "JUSTID"}, 7},
			{[]any{"XCLAIM", "orders", "billing", "two", 100000, id, "JUSTID"}, 7},
			{[]any{"XAUTOCLAIM", "orders", "billing", "two", 0, "0"}, 8},
		} {
			if err := client.Do(t.Context(), step.command...).Err(); err != nil {
				t.Fatalf("%v: %v", step.command, err)
			}
			pending, err := client.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: "orders", Group: "billing", Start: id, End: id, Count: 1}).Result()
			if err != nil || len(pending) != 1 || pending[0].RetryCount != step.want {
				t.Errorf("after %v: %+v, %v, want %d deliveries", step.command, pending, err, step.want)
			}
		}
		if err := client.Do(t.Context(), "XCLAIM", "none", "billing", "two", 0, id, "JUSTID").Err(); err == nil {
			t.Error("a claim in a group that is not there had no error")
		}
	})
}
