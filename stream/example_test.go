package stream_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"

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

func ExampleNewConsumer() {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = client.Close() }()
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
