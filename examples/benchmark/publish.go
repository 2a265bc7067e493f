package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"

	"millrace/stream"
)

// maxLen is to what all publishers trim, so that the rounds do not fill the memory.
const maxLen = 100_000

// publish compares producers: a thousand values at a time, several times in a round.
func (b *bench) publish(ctx context.Context) (lines []line, err error) {
	const each = 1000
	turns := max(1, b.entries/10/each)
	values, ready, payloads := make([]trade, each), make([][]string, each), make([][]byte, each)
	for i := range values {
		values[i] = makeTrade(i, 1000)
		ready[i] = values[i].pairs()
		if payloads[i], err = json.Marshal(values[i]); err != nil {
			return nil, err
		}
	}
	bareKey, oursKey, watermillKey := b.key("bare"), b.key("millrace"), b.key("watermill")
	producer, err := stream.NewProducer(b.client, topic(oursKey), stream.WithMaxLen(maxLen))
	if err != nil {
		return nil, err
	}
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{
		Client: b.newClient(), DefaultMaxlen: maxLen, // the client is closed by Close
	}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, publisher.Close()) }()

	// repeated makes a round of one turn, and checks that the entries are there.
	repeated := func(key string, turns int, turn func(ctx context.Context) error) func(context.Context, int) error {
		return func(ctx context.Context, round int) error {
			for range turns {
				if err := turn(ctx); err != nil {
					return err
				}
			}
			info, err := b.client.XInfoStream(ctx, key).Result()
			if want := int64(each * turns * (round + 1)); err == nil && info.EntriesAdded != want {
				err = fmt.Errorf("%d entries were added, want %d", info.EntriesAdded, want)
			}
			return err
		}
	}
	lines, err = b.compare(ctx,
		variant{
			name: "bare pipelined XADD of ready texts", entries: each * turns,
			run: repeated(bareKey, turns, func(ctx context.Context) error { return barePublish(ctx, b.client, bareKey, ready) }),
		},
		variant{
			name: "Millrace: PublishAll of 1,000, validated", entries: each * turns, target: ">= 0.85",
			run: repeated(oursKey, turns, func(ctx context.Context) error {
				_, err := producer.PublishAll(ctx, values)
				return err
			}),
		},
		variant{
			name: "watermill-redisstream, ready payloads", entries: each,
			run: repeated(watermillKey, 1, func(context.Context) error { return watermillPublish(publisher, watermillKey, payloads) }),
		},
	)
	if err != nil {
		return nil, err
	}
	return lines, b.drop(ctx, b.prefix)
}
