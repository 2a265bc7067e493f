package main

import (
	"context"
	"fmt"
)

// logMode compares consumers of one stream, in order.
func (b *bench) logMode(ctx context.Context) ([]line, error) {
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
			name: "bare XREAD COUNT 500, decodes nothing", entries: b.entries,
			run: func(ctx context.Context, _ int) error { return bareLog(ctx, b.client, trades, b.entries) },
		},
		variant{
			name: "Millrace", entries: b.entries, target: ">= 1.0, CPU <= 1.6",
			run: func(ctx context.Context, round int) error {
				return b.consumeLog(ctx, topic(trades), fmt.Sprint("log-", round), b.entries)
			},
		},
		variant{
			name: "by hand: COUNT 500, mapstructure, validator", entries: b.entries,
			run: func(ctx context.Context, _ int) error {
				return handLoop(ctx, b.client, trades, b.key("offset"), b.entries, batch)
			},
		},
		variant{
			name: "by hand: COUNT 1, SET per entry", entries: fewer,
			run: func(ctx context.Context, _ int) error {
				return handLoop(ctx, b.client, trades, b.key("offset"), fewer, 1)
			},
		},
		variant{
			name: "watermill-redisstream, fan-out, decodes nothing", entries: fewer,
			run: func(ctx context.Context, _ int) error { return b.watermillConsume(ctx, short, "", fewer) },
		},
	)
	if err != nil {
		return nil, err
	}
	return lines, b.drop(ctx, b.prefix)
}
