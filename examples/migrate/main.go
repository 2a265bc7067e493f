// Command migrate moves a topic over from Watermill: consumers of both libraries share the
// entries of one group for a while, then Watermill's is stopped, and then its producer. No
// payment is lost, and none is booked twice. It needs no server; it brings one in memory along.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"millrace/codec/compat"
	"millrace/stream"
)

const group = "billing"

// Payment is the event. Its JSON is the payload of Watermill's messages.
type Payment struct {
	ID string `json:"id" validate:"required"`
}

// Its codec reads what Watermill's publisher writes, and writes what its subscriber reads.
var payments = stream.Topic[compat.WatermillMessage[Payment]]{Name: "payments", Codec: compat.Watermill[Payment]{}}

func main() {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, &redis.Options{Addr: server.Addr()}, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, options *redis.Options, out io.Writer) error {
	client := redis.NewClient(options)
	defer client.Close()
	var books ledger
	old, err := startOld(ctx, redis.NewClient(options), &books)
	if err != nil {
		return err
	}
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: redis.NewClient(options)}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	publish := func(from, to int) error {
		for i := from; i < to; i++ {
			payload := fmt.Appendf(nil, `{"id":"p-%d"}`, i)
			if err := publisher.Publish(payments.Name, message.NewMessage(watermill.NewUUID(), payload)); err != nil {
				return err
			}
		}
		return nil
	}

	// 1. As it was.
	if err := publish(0, 100); err != nil {
		return err
	}
	if err := books.wait(ctx, 100); err != nil {
		return err
	}
	fmt.Fprintln(out, "Watermill alone:", books.text())

	// 2. A consumer of the same group beside it: each entry goes to one of the two.
	consumer, err := stream.NewGroupConsumer(client, payments, group, func(_ context.Context, msg *stream.Message[compat.WatermillMessage[Payment]]) error {
		books.book("millrace", msg.Value.Payload.ID)
		return nil
	})
	if err != nil {
		return err
	}
	runCtx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- consumer.Run(runCtx) }()
	for next := 100; !books.both(); next++ { // until each has had some
		if err := publish(next, next+1); err != nil {
			return err
		}
		if err := books.wait(ctx, next+1); err != nil {
			return err
		}
	}
	before := books.count()
	fmt.Fprintln(out, "Both have booked:", books.both())

	// 3. Watermill's consumer stops. Its producers may stay for as long as they like.
	if err := old.Close(); err != nil {
		return err
	}
	if err := publish(before, before+100); err != nil {
		return err
	}
	if err := books.wait(ctx, before+100); err != nil {
		return err
	}

	// 4. A producer of Millrace, whose entries Watermill could read as well.
	producer, err := stream.NewProducer(client, payments)
	if err != nil {
		return err
	}
	for i := range 100 {
		payment := compat.WatermillMessage[Payment]{Payload: Payment{ID: fmt.Sprint("p-", before+100+i)}}
		if _, err := producer.Publish(ctx, payment); err != nil {
			return err
		}
	}
	if err := books.wait(ctx, before+200); err != nil {
		return err
	}
	stop()
	if err := <-done; err != nil {
		return err
	}
	pending, err := client.XPending(ctx, payments.Name, group).Result()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Twice: %d. Missing: %d. Pending: %d.\n", books.twice(), before+200-books.count(), pending.Count)
	return nil
}
