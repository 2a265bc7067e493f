package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"millrace/offset"
	"millrace/stream"
)

// batchWait is the wait of a batch handler, which the batches of a backlog do not need.
const batchWait = 100 * time.Millisecond

// effects compares what consumers write to an output together with the settling with what they
// publish by other means: at least once, in batches or one by one.
func (b *bench) effects(ctx context.Context) ([]line, error) {
	e := effectsBench{bench: b, trades: b.key("trades"), short: b.key("short"), out: b.key("out"), counters: b.key("counters")}
	fewer := b.entries / 10
	b.tell("adding %d entries", b.entries+fewer)
	if err := fill(ctx, b.client, e.trades, b.entries, 1000); err != nil {
		return nil, err
	}
	if err := fill(ctx, b.client, e.short, fewer, 1000); err != nil {
		return nil, err
	}
	var err error
	if e.output, err = stream.NewOutput(topic(e.out), stream.WithMaxLen(maxLen)); err != nil {
		return nil, err
	}
	if e.totals, err = stream.NewCounters(e.counters); err != nil {
		return nil, err
	}
	if e.producer, err = stream.NewProducer(b.client, topic(e.out), stream.WithMaxLen(maxLen)); err != nil {
		return nil, err
	}
	published, err := b.compare(ctx,
		variant{name: "group, batches of 500 and PublishAll: at least once", entries: b.entries, run: e.inBatches},
		variant{name: "group, an output with the settling", entries: b.entries, target: ">= 0.85", run: e.with(e.trades, b.entries, e.publish)},
		variant{name: "group, an output and a counter with the settling", entries: b.entries, run: e.with(e.trades, b.entries, e.publishAndCount)},
		variant{name: "group, a handler that publishes by itself", entries: fewer, run: e.with(e.short, fewer, e.byItself)},
	)
	if err != nil {
		return nil, err
	}
	idle, err := b.compare(ctx,
		variant{
			name: "group without WithEffects", entries: b.entries,
			run: func(ctx context.Context, round int) error {
				return b.consumeGroup(ctx, topic(e.trades), fmt.Sprint("none-", round), b.entries)
			},
		},
		variant{name: "group, WithEffects and no effect", entries: b.entries, target: ">= 0.95", run: e.with(e.trades, b.entries, nothing)},
	)
	if err != nil {
		return nil, err
	}
	inLog, err := b.compare(ctx,
		variant{name: "log, batches of 500 and PublishAll: at least once", entries: b.entries, run: e.inBatchesOfLog},
		variant{name: "log, an output with the settling", entries: b.entries, target: ">= 0.95", run: e.withInLog(e.publish)},
		variant{name: "log, an output and a counter with the settling", entries: b.entries, run: e.withInLog(e.publishAndCount)},
	)
	if err != nil {
		return nil, err
	}
	idleInLog, err := b.compare(ctx,
		variant{
			name: "log without WithEffects", entries: b.entries,
			run: func(ctx context.Context, round int) error {
				return b.consumeLog(ctx, e.trades, fmt.Sprint("none-", round), b.entries)
			},
		},
		variant{name: "log, WithEffects and no effect", entries: b.entries, target: ">= 0.95", run: e.withInLog(nothing)},
	)
	if err != nil {
		return nil, err
	}
	return slices.Concat(published, idle, inLog, idleInLog), b.drop(ctx, b.prefix)
}

// effectsBench is what the variants of the row have in common.
type effectsBench struct {
	*bench
	trades, short, out, counters string
	output                       *stream.Output[trade]
	totals                       *stream.Counters
	producer                     *stream.Producer[trade]
	groups                       int
}

func (e *effectsBench) publish(ctx context.Context, msg *stream.Message[trade]) error {
	return e.output.Publish(ctx, msg, msg.Value)
}

func (e *effectsBench) publishAndCount(ctx context.Context, msg *stream.Message[trade]) error {
	return errors.Join(e.output.Publish(ctx, msg, msg.Value), e.totals.Add(ctx, msg, msg.Value.Symbol, msg.Value.Quantity))
}

func (e *effectsBench) byItself(ctx context.Context, msg *stream.Message[trade]) error {
	_, err := e.producer.Publish(ctx, msg.Value)
	return err
}

func nothing(context.Context, *stream.Message[trade]) error { return nil }

// with returns a variant whose handler does something with each trade of a stream.
func (e *effectsBench) with(key string, n int, do stream.Handler[trade]) func(context.Context, int) error {
	return func(ctx context.Context, _ int) error {
		e.groups++
		group := fmt.Sprint("effects-", e.groups)
		err := handleAll(ctx, n, func(handle stream.Handler[trade]) (*stream.Consumer[trade], error) {
			return stream.NewGroupConsumer(e.client, topic(key), group, both(do, handle), usual(stream.WithEffects(e.output, e.totals))...)
		})
		if err != nil {
			return err
		}
		return allAcked(ctx, e.client, key, group)
	}
}

// inBatches publishes what it was given with PublishAll.
func (e *effectsBench) inBatches(ctx context.Context, _ int) error {
	e.groups++
	group := fmt.Sprint("effects-", e.groups)
	err := handleAll(ctx, e.entries, func(handle stream.Handler[trade]) (*stream.Consumer[trade], error) {
		return stream.NewGroupBatchConsumer(e.client, topic(e.trades), group, e.publishAll(handle), usual(stream.WithBatch(batch, batchWait))...)
	})
	if err != nil {
		return err
	}
	return allAcked(ctx, e.client, e.trades, group)
}

// both returns a handler that does two things with each trade.
func both(first, second stream.Handler[trade]) stream.Handler[trade] {
	return func(ctx context.Context, msg *stream.Message[trade]) error {
		if err := first(ctx, msg); err != nil {
			return err
		}
		return second(ctx, msg)
	}
}

// publishAll returns a batch handler that publishes a batch, and then does something with each trade.
func (e *effectsBench) publishAll(handle stream.Handler[trade]) stream.BatchHandler[trade] {
	return func(ctx context.Context, batch []*stream.Message[trade]) error {
		values := make([]trade, len(batch))
		for i, msg := range batch {
			values[i] = msg.Value
		}
		if _, err := e.producer.PublishAll(ctx, values); err != nil {
			return err
		}
		for _, msg := range batch {
			if err := handle(ctx, msg); err != nil {
				return err
			}
		}
		return nil
	}
}

// withInLog is with, in log mode.
func (e *effectsBench) withInLog(do stream.Handler[trade]) func(context.Context, int) error {
	return func(ctx context.Context, _ int) error {
		return handleAll(ctx, e.entries, func(handle stream.Handler[trade]) (*stream.Consumer[trade], error) {
			store, label, err := e.place()
			if err != nil {
				return nil, err
			}
			return stream.NewConsumer(e.client, topic(e.trades), store, both(do, handle), usual(label, stream.WithEffects(e.output, e.totals))...)
		})
	}
}

// inBatchesOfLog is inBatches, in log mode.
func (e *effectsBench) inBatchesOfLog(ctx context.Context, _ int) error {
	return handleAll(ctx, e.entries, func(handle stream.Handler[trade]) (*stream.Consumer[trade], error) {
		store, label, err := e.place()
		if err != nil {
			return nil, err
		}
		return stream.NewBatchConsumer(e.client, topic(e.trades), store, e.publishAll(handle), usual(label, stream.WithBatch(batch, batchWait))...)
	})
}

// place returns a store of offsets, and a label that none had before.
func (e *effectsBench) place() (*offset.Redis, stream.Option, error) {
	e.groups++
	store, err := offset.NewRedis(e.client, e.prefix+"offsets")
	return store, stream.WithLabel(fmt.Sprint("effects-", e.groups)), err
}
