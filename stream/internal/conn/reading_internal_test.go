package conn

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/resp"
	"millrace/stream/internal/resp/resptest"
)

// cannedReader returns a reader of a canned server.
func cannedReader(t testing.TB, c *resptest.Server) *Reader {
	t.Helper()
	r, err := NewReader(context.Background(), c.Client(t), time.Second, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// readOnce is a read of the stream s.
func readOnce(r *Reader) ([]resp.Batch, error) {
	batches, err := r.Read(context.Background(), &redis.XReadArgs{Streams: []string{"s", "0"}, Count: 10}, resp.NoLimit)
	return unmeasured(batches), err
}

// barely is what go-redis reads, in our form.
func barely(client *redis.Client) ([]resp.Batch, error) {
	reply, err := client.XRead(context.Background(), &redis.XReadArgs{Streams: []string{"s", "0"}, Count: 10}).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return unmeasured(resp.BatchesOf(reply, resp.NoLimit)), nil
}

// unmeasured returns batches without what is known of their size.
func unmeasured(batches []resp.Batch) []resp.Batch {
	if batches == nil {
		return nil
	}
	plain := make([]resp.Batch, len(batches))
	for i, b := range batches {
		b.Bytes, b.Entries = 0, slices.Clone(b.Entries)
		for j := range b.Entries {
			b.Entries[j].Size = 0
		}
		plain[i] = b
	}
	return plain
}
