package resp

import (
	"context"
	"errors"
	"slices"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
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

// asGoRedis returns an entry without what go-redis loses of it: the order of its fields and,
// of a name that repeats, all values but the last.
func asGoRedis(one Entry) Entry {
	values := make(map[string]any)
	for name, value := range one.Fields.All() {
		values[name] = value
	}
	plain := Entry{ID: one.ID}
	plain.Take(values, Unlimited)
	plain.Size = one.Size
	return plain
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
			b.Entries[j].Size, b.Entries[j].Fields = 0, codec.FieldsOf(pairsOf(b.Entries[j].Fields)...)
		}
		plain[i] = b
	}
	return plain
}

// pairsOf returns the names and values of fields, however they are kept.
func pairsOf(fields codec.Fields) []string {
	pairs := make([]string, 0, 2*fields.Len())
	for name, value := range fields.All() {
		pairs = append(pairs, name, value)
	}
	return pairs
}
