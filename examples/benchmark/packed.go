package main

import (
	"context"
	"fmt"

	"millrace/codec"
	"millrace/stream"
)

// packedTopic has the trades in one field each.
func packedTopic(key string) stream.Topic[trade] {
	return stream.Topic[trade]{Name: key, Codec: codec.Packed[trade]()}
}

// packed compares consumers of trades that are packed into one field with the bare loop over
// the same trades in eight fields.
func (b *bench) packed(ctx context.Context) ([]line, error) {
	plain, packed := b.key("trades"), b.key("packed")
	b.tell("adding %d entries", 2*b.entries)
	if err := fill(ctx, b.client, plain, b.entries, 1000); err != nil {
		return nil, err
	}
	if err := fillWith(ctx, b.client, packed, b.entries, 1000, codec.Packed[trade]().Encode); err != nil {
		return nil, err
	}
	bare := variant{
		name: "bare XREAD COUNT 500 of 8 fields, decodes nothing", entries: b.entries,
		run: func(ctx context.Context, _ int) error { return bareLog(ctx, b.client, plain, b.entries) },
	}
	log := func(t stream.Topic[trade], label string) func(context.Context, int) error {
		return func(ctx context.Context, round int) error {
			return b.consumeLog(ctx, t, fmt.Sprint(label, round), b.entries)
		}
	}
	lines, err := b.compare(ctx, bare,
		variant{name: "Millrace, codec.Struct, 8 fields", entries: b.entries, run: log(topic(plain), "plain-")},
		variant{name: "Millrace, codec.Packed, 1 field", entries: b.entries, target: ">= 3", run: log(packedTopic(packed), "packed-")},
		variant{
			name: "bare XREAD COUNT 500 of 1 field, decodes nothing", entries: b.entries,
			run: func(ctx context.Context, _ int) error { return bareLog(ctx, b.client, packed, b.entries) },
		},
	)
	if err != nil {
		return nil, err
	}
	grouped, err := b.compare(ctx,
		variant{
			name: "bare XREADGROUP and XACK of 8 fields, decodes nothing", entries: b.entries,
			run: func(ctx context.Context, round int) error {
				return bareGroup(ctx, b.client, plain, fmt.Sprint("bare-", round), b.entries)
			},
		},
		variant{
			name: "Millrace, codec.Packed, 1 field, in a group", entries: b.entries,
			run: func(ctx context.Context, round int) error {
				return b.consumeGroup(ctx, packedTopic(packed), fmt.Sprint("packed-", round), b.entries)
			},
		},
	)
	if err != nil {
		return nil, err
	}
	memory, err := b.memoryOf(ctx, plain, packed)
	if err != nil {
		return nil, err
	}
	return append(append(lines, grouped...), memory), b.drop(ctx, b.prefix)
}

// memoryOf compares the memory of the server that two streams of the same trades take.
func (b *bench) memoryOf(ctx context.Context, plain, packed string) (line, error) {
	var sizes [2]float64
	for i, key := range []string{plain, packed} {
		size, err := b.client.MemoryUsage(ctx, key).Result()
		if err != nil {
			return line{}, err
		}
		sizes[i] = float64(size) / float64(b.entries)
	}
	return line{
		what:     "memory of the server for an entry: 8 fields, packed",
		measured: fmt.Sprintf("%.0f, %.0f bytes", sizes[0], sizes[1]),
		ratio:    formatRatio(sizes[1] / sizes[0]),
	}, nil
}
