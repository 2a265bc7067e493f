package middleware_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

type payment struct {
	ID string `mapstructure:"id" validate:"required"`
}

// The whole stack, in the order of the package documentation, over one of each
// kind of trouble: everything is handled, or in the dead letters with the right
// number of attempts, and nothing stands still.
func TestTheStackInItsOrder(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
		client := b.Client
		for _, id := range []string{"good", "flaky", "hopeless", "permanent", "panics", "slow", "", "last"} {
			err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "payments", Values: []string{"id", id}}).Err()
			if err != nil {
				t.Fatal(err)
			}
		}
		calls := make(map[string]int)
		handle := func(ctx context.Context, msg *stream.Message[payment]) error {
			calls[msg.Value.ID]++
			switch msg.Value.ID {
			case "flaky":
				if calls["flaky"] < 3 {
					return errors.New("not yet")
				}
			case "hopeless":
				return errors.New("never")
			case "permanent":
				return stream.Permanent(errors.New("never"))
			case "panics":
				panic("never")
			case "slow":
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		consumer, err := stream.NewConsumer(client, stream.Topic[payment]{Name: "payments"}, &offset.Memory{}, handle,
			stream.WithLogger(slog.New(slog.DiscardHandler)),
			stream.WithMiddleware(
				middleware.Logging(slog.New(slog.DiscardHandler)),
				middleware.DeadLetter(middleware.DeadLetterConfig{}),
				middleware.Retry(middleware.RetryConfig{Attempts: 5}),
				middleware.Timeout(time.Second),
			))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := consumer.Run(ctx); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[string]int{"good": 1, "flaky": 3, "hopeless": 5, "permanent": 1, "panics": 5, "slow": 5, "last": 1, "": 0} {
			if calls[id] != want {
				t.Errorf("%q was tried %d times, want %d", id, calls[id], want)
			}
		}
		letters, err := client.XRange(t.Context(), "{payments}:dead", "-", "+").Result()
		if err != nil {
			t.Fatal(err)
		}
		var got [][2]any
		for _, letter := range letters {
			got = append(got, [2]any{letter.Values["id"], letter.Values[stream.DeadLetterAttempts]})
		}
		want := [][2]any{{"hopeless", "5"}, {"permanent", "1"}, {"panics", "5"}, {"slow", "5"}, {"", "1"}}
		if len(got) != len(want) {
			t.Fatalf("dead letters %v, want %v", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("dead letter %d is %v, want %v", i, got[i], want[i])
			}
		}
	})
}
