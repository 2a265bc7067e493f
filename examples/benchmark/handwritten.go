package main

import (
	"context"
	"fmt"
	"time"

	"github.com/go-playground/validator/v10"
	"github.com/mitchellh/mapstructure"
	"github.com/redis/go-redis/v9"
)

// handTrade is the trade for those who decode by hand: mapstructure knows no time
// in milliseconds.
type handTrade struct {
	TradeID  string  `mapstructure:"trade_id" validate:"required"`
	Account  string  `mapstructure:"account" validate:"required,max=64"`
	Symbol   string  `mapstructure:"symbol" validate:"required"`
	Side     string  `mapstructure:"side" validate:"oneof=buy sell"`
	Quantity int64   `mapstructure:"quantity" validate:"gt=0"`
	Price    float64 `mapstructure:"price" validate:"gt=0"`
	Margin   bool    `mapstructure:"margin"`
	AtMilli  int64   `mapstructure:"at_ms" validate:"required"`
}

func (t *handTrade) at() time.Time { return time.UnixMilli(t.AtMilli) }

// handLoop is the loop that one writes by hand: it decodes and validates trades 0 to
// n-1, and sets the offset once per read of so many entries. With one at a time it
// is the consumer that this project came from.
func handLoop(ctx context.Context, client *redis.Client, key, offsetKey string, n, count int) error {
	validate := validator.New(validator.WithRequiredStructEnabled())
	var handled tally
	last := "0-0"
	for handled.trades < n {
		reply, err := client.XRead(ctx, &redis.XReadArgs{Streams: []string{key, last}, Count: int64(count), Block: time.Second}).Result()
		if err != nil {
			return fmt.Errorf("after %d of %d entries: %w", handled.trades, n, err)
		}
		for _, message := range reply[0].Messages {
			var t handTrade
			if err := mapstructure.WeakDecode(message.Values, &t); err != nil {
				return err
			}
			if err := validate.Struct(&t); err != nil {
				return err
			}
			handled.add(t.Quantity)
			last = message.ID
		}
		if err := client.Set(ctx, offsetKey, last, 0).Err(); err != nil {
			return err
		}
	}
	return handled.check(n)
}
