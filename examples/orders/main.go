// Command orders shows what a topic of one's own costs: a struct, a name and a
// handler. It needs no server; it brings one in memory along.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
)

// Order is the event. The tags name the fields and say what they must be.
type Order struct {
	ID     string  `mapstructure:"order_id" validate:"required"`
	Amount float64 `mapstructure:"amount" validate:"gt=0"`
}

var orders = stream.Topic[Order]{Name: "orders"}

func main() {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	ctx, cancel := context.WithCancel(context.Background())

	producer, err := stream.NewProducer(client, orders)
	if err != nil {
		log.Fatal(err)
	}
	results, err := producer.PublishAll(ctx, []Order{{ID: "A1", Amount: 9.90}, {ID: "A2", Amount: -1}, {ID: "A3", Amount: 20}})
	fmt.Println("published:", results[0].ID, "and", results[2].ID, "- but:", err)

	handle := func(_ context.Context, msg *stream.Message[Order]) error {
		fmt.Printf("order %s: %.2f\n", msg.Value.ID, msg.Value.Amount)
		if msg.Value.ID == "A3" {
			cancel() // the last one: Run returns
		}
		return nil
	}
	consumer, err := stream.NewConsumer(client, orders, &offset.Memory{}, handle)
	if err != nil {
		log.Fatal(err)
	}
	if err := consumer.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
