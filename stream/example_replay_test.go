package stream_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"strings"
	"time"

	"millrace/offset"
	"millrace/stream"
)

// A bounded replay: a label of its own begins anywhere, and Run returns at the end.
func ExampleWithUntil() {
	client, closeClient := exampleClient()
	defer closeClient()
	addSignups(client, "ada", "grace")

	rebuild, err := stream.NewConsumer(client, Signups, &offset.Memory{},
		func(_ context.Context, msg *stream.Message[Signup]) error {
			fmt.Println("a row for", msg.Value.UserID)
			addSignups(client, "alan")
			return nil
		},
		stream.WithLabel("rebuild"), stream.WithUntil(stream.FromEnd()),
		stream.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(rebuild.Run(context.Background()))
	// Output:
	// a row for ada
	// a row for grace
	// <nil>
}

// A seek while no Run is at work: the next Run begins there.
func ExampleConsumer_Seek() {
	client, closeClient := exampleClient()
	defer closeClient()
	addSignups(client, "ada", "grace")

	ctx, cancel := context.WithCancel(context.Background())
	consumer, err := stream.NewConsumer(client, Signups, &offset.Memory{},
		func(_ context.Context, msg *stream.Message[Signup]) error {
			fmt.Println("welcome", msg.Value.UserID)
			cancel()
			return nil
		}, stream.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	if err := consumer.Seek(ctx, stream.FromEnd()); err != nil {
		log.Fatal(err)
	}
	addSignups(client, "alan")
	if err := consumer.Run(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// welcome alan
}

// A pause has a reason, and always an end.
func ExampleConsumer_Pause() {
	client, closeClient := exampleClient()
	defer closeClient()
	consumer, err := stream.NewConsumer(client, Signups, &offset.Memory{},
		func(context.Context, *stream.Message[Signup]) error { return nil }, stream.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	if err := consumer.Pause("bad deploy", time.Now().Add(30*time.Minute)); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- consumer.Run(ctx) }()
	for !consumer.Health().Ready {
		time.Sleep(time.Millisecond)
	}
	fmt.Println(strings.HasPrefix(consumer.Health().Reason, "paused until "), strings.HasSuffix(consumer.Health().Reason, ": bad deploy"))
	consumer.Resume()
	cancel()
	fmt.Println(<-ended)
	// Output:
	// true true
	// <nil>
}
