package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
)

// trade is the event: eight fields, of the kinds that events have.
type trade struct {
	TradeID  string    `mapstructure:"trade_id" validate:"required"`
	Account  string    `mapstructure:"account" validate:"required,max=64"`
	Symbol   string    `mapstructure:"symbol" validate:"required"`
	Side     string    `mapstructure:"side" validate:"oneof=buy sell"`
	Quantity int64     `mapstructure:"quantity" validate:"gt=0"`
	Price    float64   `mapstructure:"price" validate:"gt=0"`
	Margin   bool      `mapstructure:"margin"`
	At       time.Time `mapstructure:"at_ms,unixmilli" validate:"required"`
}

func topic(key string) stream.Topic[trade] { return stream.Topic[trade]{Name: key} }

const firstMilli = 1_700_000_000_000

// makeTrade returns trade number i, of one of so many accounts.
func makeTrade(i, accounts int) trade {
	side := "buy"
	if i%3 == 0 {
		side = "sell"
	}
	return trade{
		TradeID: fmt.Sprintf("t-%08d", i),
		// The accounts come in no regular order, as in life, and in the same in each run.
		Account:  fmt.Sprintf("account-%04d", rand.New(rand.NewPCG(0, uint64(i))).IntN(accounts)),
		Symbol:   "MILL",
		Side:     side,
		Quantity: quantity(i),
		Price:    101.25,
		Margin:   i%2 == 0,
		At:       time.UnixMilli(firstMilli + int64(i)).UTC(),
	}
}

func quantity(i int) int64 { return int64(1 + i%500) }

// totalQuantity returns the quantity of trades 0 to n-1.
func totalQuantity(n int) (total int64) {
	for i := range n {
		total += quantity(i)
	}
	return total
}

// pairs returns the trade as an entry's field-value pairs.
func (t *trade) pairs() []string {
	return []string{
		"trade_id", t.TradeID, "account", t.Account, "symbol", t.Symbol, "side", t.Side,
		"quantity", strconv.FormatInt(t.Quantity, 10), "price", strconv.FormatFloat(t.Price, 'f', -1, 64),
		"margin", strconv.FormatBool(t.Margin), "at_ms", strconv.FormatInt(t.At.UnixMilli(), 10),
	}
}

// fill adds trades 0 to n-1 to a stream.
func fill(ctx context.Context, client *redis.Client, key string, n, accounts int) error {
	return fillWith(ctx, client, key, n, accounts, func(t trade) ([]string, error) { return t.pairs(), nil })
}

func fillWith(ctx context.Context, client *redis.Client, key string, n, accounts int, encode func(trade) ([]string, error)) error {
	for i := 0; i < n; {
		pipe := client.Pipeline()
		for range min(1000, n-i) {
			pairs, err := encode(makeTrade(i, accounts))
			if err != nil {
				return err
			}
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: key, Values: pairs})
			i++
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return fmt.Errorf("fill: %w", err)
		}
	}
	return nil
}

// tally is what a handler makes of the trades: it uses their values, and it proves
// that all of them came.
type tally struct {
	trades   int
	quantity int64
}

func (t *tally) add(quantity int64) {
	t.trades++
	t.quantity += quantity
}

// check says what is wrong when these were not exactly trades 0 to n-1.
func (t *tally) check(n int) error {
	if want := totalQuantity(n); t.trades != n || t.quantity != want {
		return fmt.Errorf("%d trades with a quantity of %d were handled, want %d with %d", t.trades, t.quantity, n, want)
	}
	return nil
}
