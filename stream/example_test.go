package stream_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
)

type Signup struct {
	UserID string `mapstructure:"user_id" validate:"required"`
	Plan   string `mapstructure:"plan" validate:"oneof=free paid"`
}

var Signups = stream.Topic[Signup]{Name: "signups"}

// exampleClient returns a client of a Redis in memory, which stands for yours.
func exampleClient() (client *redis.Client, closeClient func()) {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	client = redis.NewClient(&redis.Options{Addr: server.Addr()})
	return client, func() {
		_ = client.Close()
		server.Close()
	}
}

func ExampleNewConsumer() {
	client, closeClient := exampleClient()
	defer closeClient()
	for _, user := range []string{"ada", "grace"} {
		client.XAdd(context.Background(), &redis.XAddArgs{Stream: Signups.Name, Values: []string{"user_id", user, "plan", "free"}})
	}

	ctx, cancel := context.WithCancel(context.Background())
	consumer, err := stream.NewConsumer(client, Signups, &offset.Memory{},
		func(_ context.Context, msg *stream.Message[Signup]) error {
			fmt.Println("welcome,", msg.Value.UserID)
			if msg.Value.UserID == "grace" {
				cancel()
			}
			return nil
		},
		stream.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	if err := consumer.Run(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// welcome, ada
	// welcome, grace
}

// A sink that takes all of a batch or nothing, and one signup that it does not take.
func ExampleNewBatchConsumer() {
	client, closeClient := exampleClient()
	defer closeClient()
	for _, user := range []string{"ada", "bobby", "grace", "edsger"} {
		client.XAdd(context.Background(), &redis.XAddArgs{Stream: Signups.Name, Values: []string{"user_id", user, "plan", "free"}})
	}

	ctx, cancel := context.WithCancel(context.Background())
	insert := func(_ context.Context, batch []*stream.Message[Signup]) error {
		var users []string
		for _, msg := range batch {
			users = append(users, msg.Value.UserID)
		}
		if len(batch) > 2 {
			return errors.New("too many at once")
		}
		fmt.Println("inserted", users)
		if users[len(users)-1] == "edsger" {
			cancel()
		}
		return nil
	}
	consumer, err := stream.NewBatchConsumer(client, Signups, &offset.Memory{}, stream.Bisect(insert),
		stream.WithBatch(4, time.Second), stream.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	if err := consumer.Run(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// inserted [ada bobby]
	// inserted [grace edsger]
}

func ExampleProducer() {
	client, closeClient := exampleClient()
	defer closeClient()

	ctx := context.Background()
	producer, err := stream.NewProducer(client, Signups, stream.WithMaxLen(1_000_000))
	if err != nil {
		log.Fatal(err)
	}
	// A value that breaks the rules of its tags never gets into the stream.
	_, err = producer.Publish(ctx, Signup{UserID: "ada", Plan: "gold"})
	fmt.Println(err)

	// Under one key, however often it is tried, one entry is added.
	first, err := producer.PublishOnce(ctx, "signup-of-ada", Signup{UserID: "ada", Plan: "paid"})
	if err != nil {
		log.Fatal(err)
	}
	again, err := producer.PublishOnce(ctx, "signup-of-ada", Signup{UserID: "ada", Plan: "paid"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(again == first, client.XLen(ctx, Signups.Name).Val())
	// Output:
	// stream: cannot encode a value for signups: field "plan" (string) fails "oneof=free paid"
	// true 1
}

// Each value has a result of its own.
func ExampleProducer_PublishAll() {
	client, closeClient := exampleClient()
	defer closeClient()
	producer, err := stream.NewProducer(client, Signups)
	if err != nil {
		log.Fatal(err)
	}

	signups := []Signup{{UserID: "ada", Plan: "paid"}, {Plan: "free"}, {UserID: "grace", Plan: "free"}}
	results, err := producer.PublishAll(context.Background(), signups)
	if err != nil {
		for i, result := range results {
			if unknown := new(stream.UnknownWriteError); errors.As(result.Err, &unknown) {
				fmt.Println(i, "may be there: look before it is published again")
			} else if result.Err != nil {
				fmt.Println(i, "is not there:", result.Err)
			}
		}
	}
	fmt.Println(client.XLen(context.Background(), Signups.Name).Val(), "were published")
	// Output:
	// 1 is not there: stream: cannot encode a value for signups: field "user_id" (string) fails "required"
	// 2 were published
}

// A handler is a function, and a Message can be written down: no Redis is
// needed to test one.
func ExampleHandler() {
	welcome := func(_ context.Context, msg *stream.Message[Signup]) error {
		if msg.Value.Plan == "" {
			return stream.Permanent(fmt.Errorf("entry %s has no plan", msg.ID))
		}
		return nil
	}
	err := welcome(context.Background(), &stream.Message[Signup]{
		Entry: stream.Entry{ID: "1-0"},
		Value: Signup{UserID: "ada"},
	})
	fmt.Println(err)
	// Output:
	// entry 1-0 has no plan
}
