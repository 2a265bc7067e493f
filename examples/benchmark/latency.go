package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
)

// arrival is when a reader got a trade.
type arrival struct {
	tradeID string
	at      time.Time
}

// reader reads a stream that is empty at first, and tells of each trade at once,
// until ctx is done or n trades have come.
type reader func(ctx context.Context, key string, n int, arrived chan<- arrival) error

// latency compares how long an entry takes that comes alone, from before its XADD is
// sent until the handler begins, or until the bare loop's XREAD returns.
func (b *bench) latency(ctx context.Context) ([]line, error) {
	rounds := min(b.rounds, 5)
	var bare, ours, ratios [2]series // of p50 and p99
	for round := range rounds {
		b.tell("round %d of %d", round+1, rounds)
		theirs, err := b.delays(ctx, b.bareReader)
		if err != nil {
			return nil, fmt.Errorf("bare: %w", err)
		}
		own, err := b.delays(ctx, b.consumerReader)
		if err != nil {
			return nil, fmt.Errorf("millrace: %w", err)
		}
		for i, part := range []float64{0.50, 0.99} {
			bare[i] = append(bare[i], quantile(theirs, part))
			ours[i] = append(ours[i], quantile(own, part))
			ratios[i] = append(ratios[i], quantile(own, part)/quantile(theirs, part))
		}
	}
	var lines []line
	for i, name := range []string{"p50", "p99"} {
		lines = append(lines,
			line{what: name + ": bare blocking XREAD", measured: formatMicros(bare[i].median()), ratio: "1.00"},
			line{what: name + ": Millrace", measured: formatMicros(ours[i].median()), ratio: ratios[i].String(), target: "<= 1.15"})
	}
	return lines, b.drop(ctx, b.prefix)
}

func quantile(sorted []time.Duration, part float64) float64 {
	return float64(sorted[int(part*float64(len(sorted)-1))])
}

// delays publishes one trade after the other while the reader is at work, and
// returns how long each took, sorted.
func (b *bench) delays(ctx context.Context, read reader) (delays []time.Duration, err error) {
	const warmUp = 50 // connections are made, and code is paged in
	key, n := b.key("trades"), b.latencies+warmUp
	publisher := b.newClient()
	defer func() { err = errors.Join(err, publisher.Close()) }()

	ctx, cancel := context.WithCancel(ctx)
	arrived, ended := make(chan arrival, 1), make(chan error, 1)
	go func() { ended <- read(ctx, key, n, arrived) }()
	running := true
	defer func() {
		cancel()
		if running {
			err = errors.Join(err, <-ended)
		}
	}()
	for i := range n {
		// The reader has to be blocked again, and the next entry must not come in
		// step with whatever it does at intervals.
		time.Sleep(200*time.Microsecond + rand.N(1800*time.Microsecond))
		t := makeTrade(i, 1000)
		args := &redis.XAddArgs{Stream: key, Values: t.pairs()}
		sent := time.Now()
		if err := publisher.XAdd(ctx, args).Err(); err != nil {
			return nil, err
		}
		select {
		case got := <-arrived:
			if got.tradeID != t.TradeID {
				return nil, fmt.Errorf("got trade %s, want %s", got.tradeID, t.TradeID)
			}
			if i >= warmUp {
				delays = append(delays, got.at.Sub(sent))
			}
		case err := <-ended:
			running = false
			return nil, errors.Join(fmt.Errorf("the reader ended after %d of %d entries", i, n), err)
		case <-time.After(stallLimit):
			return nil, fmt.Errorf("nothing came after %d of %d entries", i, n)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	slices.Sort(delays)
	return delays, nil
}

func (b *bench) bareReader(ctx context.Context, key string, n int, arrived chan<- arrival) error {
	last := "0-0"
	for read := 0; read < n; {
		reply, err := b.client.XRead(ctx, &redis.XReadArgs{Streams: []string{key, last}, Count: batch, Block: time.Second}).Result()
		at := time.Now()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return err
		}
		for _, message := range reply[0].Messages {
			id, _ := message.Values["trade_id"].(string)
			arrived <- arrival{tradeID: id, at: at}
			last = message.ID
			read++
		}
	}
	<-ctx.Done() // an end before that would be taken for a failure
	return nil
}

func (b *bench) consumerReader(ctx context.Context, key string, n int, arrived chan<- arrival) error {
	store, err := offset.NewRedis(b.client, b.prefix+"offsets")
	if err != nil {
		return err
	}
	var handled tally
	consumer, err := stream.NewConsumer(b.client, topic(key), store, func(_ context.Context, msg *stream.Message[trade]) error {
		at := time.Now()
		handled.add(msg.Value.Quantity)
		arrived <- arrival{tradeID: msg.Value.TradeID, at: at}
		return nil
	}, usual()...)
	if err != nil {
		return err
	}
	if err := consumer.Run(ctx); err != nil {
		return err
	}
	return handled.check(n)
}
