// Command versions shows a topic with several types of events, one of which has changed: OneOf
// tells them apart, Versions brings the old ones up, and the handler is a type switch. It needs
// no server; it brings one in memory along.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
)

// Event is an event of the ledger. Its method keeps the types in this package, so that a linter
// (gochecksumtype) can tell whether a type switch has all of them.
//
//sumtype:decl
type Event interface{ isEvent() }

// Order is the current version of an order.
type Order struct {
	ID       string `mapstructure:"id" validate:"required"`
	Cents    int64  `mapstructure:"cents" validate:"gt=0"`
	Currency string `mapstructure:"currency" validate:"len=3"`
}

// OrderV1 is an order as it was written before there were currencies and versions.
type OrderV1 struct {
	Number string  `mapstructure:"number" validate:"required"`
	Amount float64 `mapstructure:"amount"`
}

// Refund gives an order back.
type Refund struct {
	Order string `mapstructure:"order" validate:"required"`
}

func (Order) isEvent()  {}
func (Refund) isEvent() {}

var orders = codec.Versions("v", "2", codec.Struct[Order](),
	codec.Upcast("", codec.Struct[OrderV1](), func(o OrderV1) (Order, error) {
		return Order{ID: o.Number, Cents: int64(o.Amount*100 + 0.5), Currency: "EUR"}, nil
	}))

var ledger = stream.Topic[Event]{Name: "ledger", Codec: codec.OneOf("kind",
	codec.Kind("order", orders, func(o Order) Event { return o }),
	codec.Kind("refund", codec.Struct[Refund](), func(r Refund) Event { return r }))}

// book is the handler.
func book(out io.Writer) stream.Handler[Event] {
	return func(_ context.Context, msg *stream.Message[Event]) error {
		switch event := msg.Value.(type) {
		case Order:
			fmt.Fprintf(out, "order %s of %d.%02d %s\n", event.ID, event.Cents/100, event.Cents%100, event.Currency)
		case Refund:
			fmt.Fprintf(out, "refund of order %s\n", event.Order)
		}
		return nil
	}
}

func main() {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	if err := run(context.Background(), client, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, client redis.UniversalClient, out io.Writer) error {
	// An entry of before the change, and one that is for others.
	for _, fields := range [][]any{{"kind", "order", "number", "A1", "amount", "9.9"}, {"kind", "voucher", "code", "x"}} {
		if err := client.XAdd(ctx, &redis.XAddArgs{Stream: ledger.Name, Values: fields}).Err(); err != nil {
			return err
		}
	}
	producer, err := stream.NewProducer(client, ledger)
	if err != nil {
		return err
	}
	results, err := producer.PublishAll(ctx, []Event{Order{ID: "A2", Cents: 2050, Currency: "CHF"}, Refund{Order: "A1"}})
	if err != nil {
		return err
	}
	last := results[len(results)-1].ID
	consumer, err := stream.NewConsumer(client, ledger, &offset.Memory{}, book(out),
		stream.WithUntil(stream.FromID(last)), stream.WithMiddleware(middleware.Standard(nil), middleware.SkipUnknownKinds()))
	if err != nil {
		return err
	}
	if err := consumer.Run(ctx); err != nil {
		return err
	}
	stats := consumer.Stats()
	fmt.Fprintf(out, "%d booked, %d skipped\n", stats.Handled, stats.Skipped)
	return nil
}
