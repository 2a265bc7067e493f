package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
)

// batch is how many entries all that read in batches fetch at once.
const batch = 500

// stallLimit is how long anything may take to handle all of its entries before the
// program gives up: without it, an entry that never comes would be waited for for
// ever.
const stallLimit = 5 * time.Minute

// usual returns the options that most consumers have: a logger at its default
// level, and the middleware that the README has.
func usual(more ...stream.Option) []stream.Option {
	logger := slog.New(slog.NewTextHandler(io.Discard, nil)) //nolint:sloglint // a DiscardHandler is enabled at no level, and would spare us what a user pays
	return append([]stream.Option{
		stream.WithReadCount(batch),
		stream.WithLogger(logger),
		stream.WithMiddleware(middleware.Standard(logger)),
	}, more...)
}

// consumeLog handles trades 0 to n-1 of a stream in log mode, with offsets in Redis.
func (b *bench) consumeLog(ctx context.Context, topic stream.Topic[trade], label string, n int) error {
	store, err := offset.NewRedis(b.client, b.prefix+"offsets")
	if err != nil {
		return err
	}
	return handleAll(ctx, n, func(handle stream.Handler[trade]) (*stream.Consumer[trade], error) {
		return stream.NewConsumer(b.client, topic, store, handle, usual(stream.WithLabel(label))...)
	})
}

// consumeGroup handles trades 0 to n-1 of a stream in group mode.
func (b *bench) consumeGroup(ctx context.Context, topic stream.Topic[trade], group string, n int) error {
	err := handleAll(ctx, n, func(handle stream.Handler[trade]) (*stream.Consumer[trade], error) {
		return stream.NewGroupConsumer(b.client, topic, group, handle, usual()...)
	})
	if err != nil {
		return err
	}
	return allAcked(ctx, b.client, topic.Name, group)
}

// handleAll runs a consumer until it has handled trades 0 to n-1.
func handleAll(ctx context.Context, n int, construct func(stream.Handler[trade]) (*stream.Consumer[trade], error)) error {
	ctx, cancel := context.WithTimeout(ctx, stallLimit)
	defer cancel()
	var handled tally
	consumer, err := construct(func(_ context.Context, msg *stream.Message[trade]) error {
		if handled.add(msg.Value.Quantity); handled.trades == n {
			cancel()
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := consumer.Run(ctx); err != nil {
		return err
	}
	return handled.check(n)
}

func allAcked(ctx context.Context, client *redis.Client, key, group string) error {
	pending, err := client.XPending(ctx, key, group).Result()
	if err == nil && pending.Count != 0 {
		err = fmt.Errorf("%d entries are pending afterwards", pending.Count)
	}
	return err
}
