package stream_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
)

// addSignups publishes a signup of each user.
func addSignups(client *redis.Client, users ...string) {
	for _, user := range users {
		client.XAdd(context.Background(), &redis.XAddArgs{Stream: Signups.Name, Values: []string{"user_id", user, "plan", "free"}})
	}
}

// Any number of such consumers, in any number of processes, share the entries.
func ExampleNewGroupConsumer() {
	client, closeClient := exampleClient()
	defer closeClient()
	addSignups(client, "ada", "grace")

	ctx, cancel := context.WithCancel(context.Background())
	consumer, err := stream.NewGroupConsumer(client, Signups, "billing",
		func(_ context.Context, msg *stream.Message[Signup]) error {
			fmt.Println("an account for", msg.Value.UserID, "delivery", msg.Deliveries)
			if msg.Value.UserID == "grace" {
				cancel()
			}
			return nil
		},
		stream.WithMaxDeliveries(5), stream.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	if err := consumer.Run(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// an account for ada delivery 1
	// an account for grace delivery 1
}

// A sink that reports the result of each row: Partial gives each message its own error,
// and those without one are done.
func ExampleNewGroupBatchConsumer() {
	client, closeClient := exampleClient()
	defer closeClient()
	addSignups(client, "ada", "bobby", "grace")

	ctx, cancel := context.WithCancel(context.Background())
	insert := func(_ context.Context, batch []*stream.Message[Signup]) error {
		errs := make([]error, len(batch))
		for i, msg := range batch {
			if msg.Value.UserID == "bobby" {
				errs[i] = stream.Skip("no account for a test user")
				continue
			}
			fmt.Println("inserted", msg.Value.UserID)
		}
		cancel()
		return stream.Partial(errs)
	}
	consumer, err := stream.NewGroupBatchConsumer(client, Signups, "billing", insert,
		stream.WithBatch(3, time.Second), stream.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	if err := consumer.Run(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// inserted ada
	// inserted grace
}

// The errors of the messages of a batch, at their places in it; nil if there is none.
func ExamplePartial() {
	fmt.Println(stream.Partial([]error{nil, errors.New("the row is locked"), nil}))
	fmt.Println(stream.Partial([]error{nil, nil}))
	// Output:
	// 1 of 3 messages failed, the first with: the row is locked
	// <nil>
}

// Sixteen handlers at once, and the signups of one user in their order.
func ExampleWithOrderKey() {
	client, closeClient := exampleClient()
	defer closeClient()
	consumer, err := stream.NewConsumer(client, Signups, &offset.Memory{},
		func(context.Context, *stream.Message[Signup]) error { return nil },
		stream.WithConcurrency(16), stream.WithOrderKey(stream.Field("user_id")))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(consumer)
	// Output:
	// signups as "signups"
}

// A middleware of one's own wraps the processing of each entry, decoding included, and
// knows nothing of the topic's type: one stack serves all topics.
func ExampleMiddleware() {
	slow := func(limit time.Duration, logger *slog.Logger) stream.Middleware {
		return func(next stream.EntryHandler) stream.EntryHandler {
			return func(ctx context.Context, entry *stream.Entry) error {
				begun := time.Now()
				err := next(ctx, entry)
				if took := time.Since(begun); took > limit {
					logger.WarnContext(ctx, "slow entry", "stream", entry.Stream, "entry_id", entry.ID, "took", took)
				}
				return err // a middleware may change it; the engine acts on the outermost one
			}
		}
	}
	client, closeClient := exampleClient()
	defer closeClient()
	_, err := stream.NewConsumer(client, Signups, &offset.Memory{},
		func(context.Context, *stream.Message[Signup]) error { return nil },
		stream.WithMiddleware(slow(time.Second, slog.Default())))
	fmt.Println(err)
	// Output:
	// <nil>
}

// Dead letters are entries of a stream of their own: they are consumed like any other,
// with the same handler, or looked through.
func ExampleDeadLetterStream() {
	client, closeClient := exampleClient()
	defer closeClient()
	ctx := context.Background()
	dead := stream.DeadLetterStream(Signups.Name)
	// As the engine writes one: the original fields, and six about the failure.
	client.XAdd(ctx, &redis.XAddArgs{Stream: dead, Values: []string{
		"user_id", "ada", "plan", "free",
		stream.DeadLetterOrigin, Signups.Name, stream.DeadLetterID, "1700000000000-0", stream.DeadLetterLabel, "signups",
		stream.DeadLetterAttempts, "5", stream.DeadLetterCause, "the account service is away", stream.DeadLetterTime, "2023-11-14T22:13:20Z",
	}})

	ctx, cancel := context.WithCancel(ctx)
	again, err := stream.NewConsumer(client, stream.Topic[Signup]{Name: dead}, &offset.Memory{},
		func(_ context.Context, msg *stream.Message[Signup]) error {
			fmt.Println(msg.Value.UserID, "once more, after", msg.Header(stream.DeadLetterAttempts), "attempts")
			cancel()
			return nil
		}, stream.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	if err := again.Run(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// ada once more, after 5 attempts
}
