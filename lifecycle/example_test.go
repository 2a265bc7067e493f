package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"millrace/lifecycle"
	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
)

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

func publishExample(client *redis.Client, users ...string) {
	producer, err := lifecycle.NewProducer(lifecycle.ProducerConfig{Client: client, Stream: lifecycle.DefaultStream})
	if err != nil {
		log.Fatal(err)
	}
	for _, user := range users {
		event := lifecycle.Event{EventType: lifecycle.TypeDeleted, UserID: user, OccurredAt: time.UnixMilli(1_700_000_000_123)}
		if _, err := producer.Publish(context.Background(), event); err != nil {
			log.Fatal(err)
		}
	}
}

// The handler is registered after the consumer was made. After a stop, Run returns the
// error of its context.
func ExampleNewConsumer() {
	client, closeClient := exampleClient()
	defer closeClient()
	publishExample(client, "ada", "grace")

	logger := slog.New(slog.DiscardHandler)
	consumer, err := lifecycle.NewConsumer(lifecycle.Config{
		Client:       client,
		Stream:       lifecycle.DefaultStream,
		BlockTimeout: 2 * time.Second,
		OffsetStore:  &offset.Memory{},
		Logger:       logger,
		Middleware:   []stream.Middleware{middleware.Standard(logger)},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	consumer.OnEvent(func(_ context.Context, event lifecycle.Event) error {
		fmt.Println("delete the files of", event.UserID)
		if event.UserID == "grace" {
			cancel()
		}
		return nil
	})
	if err := consumer.Run(ctx); !errors.Is(err, context.Canceled) {
		log.Fatal(err)
	}
	// Output:
	// delete the files of ada
	// delete the files of grace
}

func ExampleNewGroupConsumer() {
	client, closeClient := exampleClient()
	defer closeClient()
	publishExample(client, "ada", "grace")

	logger := slog.New(slog.DiscardHandler)
	consumer, err := lifecycle.NewGroupConsumer(lifecycle.Config{
		Client:       client,
		Stream:       lifecycle.DefaultStream,
		BlockTimeout: 2 * time.Second,
		Logger:       logger,
		Middleware:   []stream.Middleware{middleware.Standard(logger)},
	}, "files", stream.WithMaxDeliveries(5))
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	consumer.OnEvent(func(_ context.Context, event lifecycle.Event) error {
		fmt.Println("delete the files of", event.UserID)
		if event.UserID == "grace" {
			cancel()
		}
		return nil
	})
	if err := consumer.Run(ctx); !errors.Is(err, context.Canceled) {
		log.Fatal(err)
	}
	// Unordered output:
	// delete the files of ada
	// delete the files of grace
}

// An event of a type that no consumer would handle is refused.
func ExampleNewProducer() {
	client, closeClient := exampleClient()
	defer closeClient()
	producer, err := lifecycle.NewProducer(lifecycle.ProducerConfig{
		Client:     client,
		Stream:     lifecycle.DefaultStream,
		EventTypes: []string{"user.lifecycle.created"},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, eventType := range []string{"user.lifecycle.created", "user.lifecycle.renamed"} {
		_, err := producer.Publish(context.Background(), lifecycle.Event{EventType: eventType, UserID: "ada", OccurredAt: time.UnixMilli(1_700_000_000_123)})
		fmt.Println(eventType, "-", err)
	}
	// Output:
	// user.lifecycle.created - <nil>
	// user.lifecycle.renamed - lifecycle: unknown event type; use a known one or add it to ProducerConfig.EventTypes
}
