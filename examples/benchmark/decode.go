package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/mitchellh/mapstructure"

	"millrace/codec"
)

// uncheckedTrade is the trade without validation.
type uncheckedTrade struct {
	TradeID  string    `mapstructure:"trade_id"`
	Account  string    `mapstructure:"account"`
	Symbol   string    `mapstructure:"symbol"`
	Side     string    `mapstructure:"side"`
	Quantity int64     `mapstructure:"quantity"`
	Price    float64   `mapstructure:"price"`
	Margin   bool      `mapstructure:"margin"`
	At       time.Time `mapstructure:"at_ms,unixmilli"`
}

// decodedTrades is how many different trades are decoded, again and again.
const decodedTrades = 1000

// decode compares the codec with mapstructure by hand, neither of which validates.
func (b *bench) decode(context.Context) ([]line, error) {
	entries := make([]codec.Fields, decodedTrades)
	values := make([]map[string]any, decodedTrades) // the same, as go-redis hands them over
	for i := range entries {
		t := makeTrade(i, decodedTrades)
		entries[i] = codec.FieldsOf(t.pairs()...)
		values[i] = make(map[string]any)
		for name, value := range entries[i].All() {
			values[i][name] = value
		}
	}
	ours := codec.Struct[uncheckedTrade]()
	byCodec := func(i int) (int64, time.Time, error) {
		t, err := ours.Decode(entries[i])
		return t.Quantity, t.At, err
	}
	byHand := func(i int) (int64, time.Time, error) {
		var t handTrade
		err := mapstructure.WeakDecode(values[i], &t)
		return t.Quantity, t.at(), err
	}

	var times, oursNanos, handNanos series
	var oursAllocs, handAllocs uint64
	for round := range b.rounds {
		b.tell("round %d of %d", round+1, b.rounds)
		codecCost, codecAllocs, err := b.decodeAll(byCodec)
		if err != nil {
			return nil, err
		}
		handCost, allocs, err := b.decodeAll(byHand)
		if err != nil {
			return nil, err
		}
		times = append(times, handCost.wall.Seconds()/codecCost.wall.Seconds())
		oursNanos = append(oursNanos, float64(codecCost.wall)/float64(b.entries))
		handNanos = append(handNanos, float64(handCost.wall)/float64(b.entries))
		oursAllocs, handAllocs = max(oursAllocs, codecAllocs), max(handAllocs, allocs)
	}
	show := func(nanos series, allocs uint64) string {
		// Whole ones: what the rest of the program allocates meanwhile is a fraction.
		return fmt.Sprintf("%.0f ns, %d allocations", nanos.median(), allocs/uint64(b.entries))
	}
	return []line{
		{what: "mapstructure by hand, weak", measured: show(handNanos, handAllocs), ratio: "1.00"},
		{what: "codec.Struct: times faster", measured: show(oursNanos, oursAllocs), ratio: times.String(), target: ">= 10, <= 2 allocations"},
	}, nil
}

// decodeAll returns what it costs to decode as many entries as a round has, and how
// often that allocates.
func (b *bench) decodeAll(decode func(i int) (int64, time.Time, error)) (c cost, allocs uint64, err error) {
	var before, after runtime.MemStats
	var handled tally
	c, err = measure(func() error {
		runtime.ReadMemStats(&before)
		defer runtime.ReadMemStats(&after)
		for i := range b.entries {
			quantity, at, err := decode(i % decodedTrades)
			if err != nil {
				return err
			}
			if at.UnixMilli() != firstMilli+int64(i%decodedTrades) {
				return fmt.Errorf("trade %d is of %v", i, at)
			}
			handled.add(quantity)
		}
		return nil
	})
	if err != nil {
		return cost{}, 0, err
	}
	return c, after.Mallocs - before.Mallocs, handled.check(b.entries)
}
