package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"millrace/stream"
)

// callers is how many goroutines publish at once: PublishAt has no batches.
const callers = 64

// later compares entries that are added to their stream at a later time with those that are added
// at once, and deliveries that are put off with others.
func (b *bench) later(ctx context.Context) ([]line, error) {
	n := max(1000, b.entries/10)
	values := make([]trade, n)
	for i := range values {
		values[i] = makeTrade(i, 1000)
	}
	atOnce, waiting := b.key("at-once"), b.key("waiting")
	producer, err := stream.NewProducer(b.client, topic(atOnce))
	if err != nil {
		return nil, err
	}
	scheduler, err := stream.NewProducer(b.client, topic(waiting))
	if err != nil {
		return nil, err
	}
	published, err := b.compare(ctx,
		variant{name: "Publish, 64 callers", entries: n, run: func(context.Context, int) error {
			return eachOf(values, func(v trade) error {
				_, err := producer.Publish(ctx, v)
				return err
			})
		}},
		variant{name: "PublishAt, 64 callers", entries: n, run: func(context.Context, int) error {
			return eachOf(values, func(v trade) error {
				_, err := scheduler.PublishAt(ctx, time.Now(), v)
				return err
			})
		}},
		// What the variant before has left.
		variant{name: "a Mover, of what is due", entries: n, run: func(ctx context.Context, round int) error {
			return b.move(ctx, waiting, int64(n*(round+1)))
		}},
	)
	if err != nil {
		return nil, err
	}
	trades := b.key("trades")
	if err := fill(ctx, b.client, trades, n, 1000); err != nil {
		return nil, err
	}
	putOff, err := b.compare(ctx,
		variant{name: "group, each entry handled once", entries: n, run: func(ctx context.Context, round int) error {
			return b.consumeGroup(ctx, trades, fmt.Sprint("at-once-", round), n)
		}},
		variant{name: "group, each entry put off once with RetryAfter", entries: n, run: func(ctx context.Context, round int) error {
			return b.putOffOnce(ctx, trades, fmt.Sprint("later-", round), n)
		}},
	)
	if err != nil {
		return nil, err
	}
	return append(published, putOff...), b.drop(ctx, b.prefix)
}

// eachOf does something with each of the values, in many goroutines.
func eachOf(values []trade, do func(trade) error) error {
	var all sync.WaitGroup
	errs := make([]error, callers)
	for i := range callers {
		all.Go(func() {
			for at := i; at < len(values) && errs[i] == nil; at += callers {
				errs[i] = do(values[at])
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// move runs a Mover until a stream has so many entries.
func (b *bench) move(ctx context.Context, key string, want int64) error {
	mover, err := stream.NewMover(b.client, []string{key}, stream.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, stallLimit)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- mover.Run(ctx) }()
	for have := int64(0); have < want; {
		select {
		case err := <-done:
			return errors.Join(err, fmt.Errorf("the mover has ended with %d of %d entries moved", have, want))
		case <-time.After(2 * time.Millisecond):
		}
		if have, err = b.client.XLen(ctx, key).Result(); err != nil {
			break
		}
	}
	stop()
	return errors.Join(err, <-done)
}

// putOffOnce handles all trades of a stream at their second delivery.
func (b *bench) putOffOnce(ctx context.Context, key, group string, n int) error {
	err := handleAll(ctx, n, func(handle stream.Handler[trade]) (*stream.Consumer[trade], error) {
		return stream.NewGroupConsumer(b.client, topic(key), group, func(ctx context.Context, msg *stream.Message[trade]) error {
			if msg.Deliveries == 1 {
				return stream.RetryAfter(0, nil)
			}
			return handle(ctx, msg)
		}, usual()...)
	})
	if err != nil {
		return err
	}
	return allAcked(ctx, b.client, key, group)
}
