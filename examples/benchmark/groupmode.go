package main

import (
	"context"
	"fmt"
)

// groupMode compares consumers of a group, of one member.
func (b *bench) groupMode(ctx context.Context) ([]line, error) {
	trades, short, fewer := b.key("trades"), b.key("short"), b.entries/10
	b.tell("adding %d entries", b.entries+fewer)
	if err := fill(ctx, b.client, trades, b.entries, 1000); err != nil {
		return nil, err
	}
	if err := fill(ctx, b.client, short, fewer, 1000); err != nil {
		return nil, err
	}
	lines, err := b.compare(ctx,
		variant{
			name: "bare XREADGROUP COUNT 500, XACK per batch", entries: b.entries,
			run: func(ctx context.Context, round int) error {
				return bareGroup(ctx, b.client, trades, fmt.Sprint("bare-", round), b.entries)
			},
		},
		variant{
			name: "Millrace", entries: b.entries, target: ">= 0.9",
			run: func(ctx context.Context, round int) error {
				return b.consumeGroup(ctx, topic(trades), fmt.Sprint("millrace-", round), b.entries)
			},
		},
		variant{
			name: "watermill-redisstream, decodes nothing", entries: fewer,
			run: func(ctx context.Context, round int) error {
				return b.watermillConsume(ctx, short, fmt.Sprint("watermill-", round), fewer)
			},
		},
	)
	if err != nil {
		return nil, err
	}
	return lines, b.drop(ctx, b.prefix)
}
