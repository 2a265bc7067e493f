package resp

import (
	"context"
	"errors"
	"slices"

	"github.com/redis/go-redis/v9"
)

// goRedisBatches is what go-redis reads, in our form.
func goRedisBatches(client *redis.Client) ([]Batch, error) {
	reply, err := client.XRead(context.Background(), &redis.XReadArgs{Streams: []string{"s", "0"}, Count: 10}).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return sizeless(BatchesOf(reply, NoLimit)), nil
}

// sizeless returns batches without what is known of their size.
func sizeless(batches []Batch) []Batch {
	if batches == nil {
		return nil
	}
	plain := make([]Batch, len(batches))
	for i, b := range batches {
		b.Bytes, b.Entries = 0, slices.Clone(b.Entries)
		for j := range b.Entries {
			b.Entries[j].Size = 0
		}
		plain[i] = b
	}
	return plain
}
