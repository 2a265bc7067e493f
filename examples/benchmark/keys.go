package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"millrace/offset"
	"millrace/stream"
)

const (
	workers  = 64
	accounts = 200
	workTime = 5 * time.Millisecond
)

// keys compares many handlers at once, which keep the order of each account, with
// one after the other. The order is checked.
func (b *bench) keys(ctx context.Context) ([]line, error) {
	// A round of the sequential one takes as long as one of the others.
	many, few := b.entries/10, b.entries/500
	trades, short := b.key("trades"), b.key("short")
	if err := fill(ctx, b.client, trades, many, accounts); err != nil {
		return nil, err
	}
	if err := fill(ctx, b.client, short, few, accounts); err != nil {
		return nil, err
	}
	var lines []line
	for _, mode := range []string{"log", "group"} {
		var sequential, parallel, ratios series
		for round := range b.rounds {
			b.tell("%s mode, round %d of %d", mode, round+1, b.rounds)
			one, err := b.keyed(ctx, mode, short, fmt.Sprint(mode, "-one-", round), few, 1)
			if err != nil {
				return nil, err
			}
			all, err := b.keyed(ctx, mode, trades, fmt.Sprint(mode, "-all-", round), many, workers)
			if err != nil {
				return nil, err
			}
			sequential, parallel, ratios = append(sequential, one), append(parallel, all), append(ratios, all/one)
		}
		lines = append(lines,
			line{what: mode + " mode: one handler of 5 ms", measured: formatRate(sequential.median()), ratio: "1.00"},
			line{what: mode + " mode: 64 handlers, 200 keys in order", measured: formatRate(parallel.median()), ratio: ratios.String(), target: ">= 50"})
	}
	return lines, b.drop(ctx, b.prefix)
}

// keyed handles a stream of trades 0 to n-1, and returns how many in a second.
func (b *bench) keyed(ctx context.Context, mode, key, name string, n, concurrency int) (rate float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, stallLimit)
	defer cancel()
	begun, took := time.Now(), time.Duration(0)
	check := orderCheck{last: map[string]string{}, working: map[string]bool{}}
	handle := func(_ context.Context, msg *stream.Message[trade]) error {
		if !check.begin(msg) {
			cancel() // the order is broken for good
		}
		time.Sleep(workTime)
		if check.end(msg) == n {
			took = time.Since(begun)
			cancel()
		}
		return nil
	}
	options := usual(stream.WithConcurrency(concurrency), stream.WithOrderKey(stream.Field("account")),
		stream.WithDrainTimeout(10*workTime)) // what one finishes last must not end what others began
	var consumer *stream.Consumer[trade]
	if mode == "group" {
		consumer, err = stream.NewGroupConsumer(b.client, topic(key), name, handle, options...)
	} else {
		var store *offset.Redis
		if store, err = offset.NewRedis(b.client, b.prefix+"offsets"); err != nil {
			return 0, err
		}
		consumer, err = stream.NewConsumer(b.client, topic(key), store, handle, append(options, stream.WithLabel(name))...)
	}
	if err != nil {
		return 0, err
	}
	if err := consumer.Run(ctx); err != nil {
		return 0, err
	}
	if err := check.result(n); err != nil {
		return 0, err
	}
	return float64(n) / took.Seconds(), nil
}

// orderCheck notes what handlers do at once. It is its own lock, because the engine
// that it checks must not be what keeps it in order.
type orderCheck struct {
	mu      sync.Mutex
	handled tally
	last    map[string]string // by account, the trade that was begun last
	working map[string]bool   // by account
	broken  error             // the first violation
}

func (c *orderCheck) begin(msg *stream.Message[trade]) (inOrder bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	account, id := msg.Value.Account, msg.Value.TradeID
	switch {
	case c.broken != nil:
	case c.working[account]:
		c.broken = fmt.Errorf("ORDER VIOLATED: trade %s of %s was begun while %s was at work", id, account, c.last[account])
	case id <= c.last[account]: // numbers of equal width
		c.broken = fmt.Errorf("ORDER VIOLATED: trade %s of %s came after %s", id, account, c.last[account])
	}
	c.last[account], c.working[account] = id, true
	return c.broken == nil
}

// end returns how many trades have been handled.
func (c *orderCheck) end(msg *stream.Message[trade]) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.working[msg.Value.Account] = false
	c.handled.add(msg.Value.Quantity)
	return c.handled.trades
}

// result says what is wrong. A trade that was left out is missing in the tally: all
// of an account came once, in ascending order.
func (c *orderCheck) result(n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return c.broken
	}
	return c.handled.check(n)
}
