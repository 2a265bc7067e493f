package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
)

// A middleware of your own is a function that wraps an EntryHandler.
func Example() {
	traced := func(next stream.EntryHandler) stream.EntryHandler {
		return func(ctx context.Context, entry *stream.Entry) error {
			fmt.Println("before", entry.ID)
			err := next(ctx, entry)
			fmt.Println("after:", err)
			return err
		}
	}
	handler := traced(middleware.DeadLetter(middleware.DeadLetterConfig{})(
		func(context.Context, *stream.Entry) error {
			return stream.Permanent(errors.New("the account is closed"))
		}))
	_ = handler(context.Background(), &stream.Entry{Stream: "orders", ID: "1-0", Deliveries: 1})
	// Output:
	// before 1-0
	// after: dead letter: the account is closed
}

func ExampleStandard() {
	server, err := miniredis.Run() // a Redis in memory, which stands for yours
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = client.Close() }()
	for _, id := range []string{"A1", "A2", "A3"} {
		client.XAdd(context.Background(), &redis.XAddArgs{Stream: "payments", Values: []string{"id", id}})
	}

	type Payment struct {
		ID string `mapstructure:"id" validate:"required"`
	}
	ctx, cancel := context.WithCancel(context.Background())
	attempts := 0
	handle := func(_ context.Context, msg *stream.Message[Payment]) error {
		switch msg.Value.ID {
		case "A1":
			if attempts++; attempts < 3 {
				return errors.New("the bank is busy")
			}
		case "A2":
			return stream.Permanent(errors.New("the account is closed"))
		case "A3":
			cancel() // the last one: Run returns
		}
		fmt.Println("paid", msg.Value.ID)
		return nil
	}
	logger := slog.New(slog.DiscardHandler)
	consumer, err := stream.NewConsumer(client, stream.Topic[Payment]{Name: "payments"}, &offset.Memory{}, handle,
		stream.WithLogger(logger),
		stream.WithMiddleware(middleware.Standard(logger), middleware.Timeout(10*time.Second)))
	if err != nil {
		log.Fatal(err)
	}
	if err := consumer.Run(ctx); err != nil {
		log.Fatal(err)
	}
	dead, err := client.XRange(context.Background(), stream.DeadLetterStream("payments"), "-", "+").Result()
	if err != nil {
		log.Fatal(err)
	}
	for _, letter := range dead {
		fmt.Println("dead letter:", letter.Values["id"], "-", letter.Values[stream.DeadLetterCause])
	}
	// Output:
	// paid A1
	// paid A3
	// dead letter: A2 - the account is closed
}

func ExampleFilter() {
	type Order struct {
		ID     string
		Amount int
	}
	bill := func(_ context.Context, msg *stream.Message[Order]) error {
		fmt.Println("bill", msg.Value.ID)
		return nil
	}
	handle := middleware.Filter(bill, func(order Order) bool { return order.Amount > 0 })
	for _, order := range []Order{{"A1", 20}, {"A2", 0}} {
		fmt.Println(handle(context.Background(), &stream.Message[Order]{Value: order}))
	}
	// Output:
	// bill A1
	// <nil>
	// skipped: filtered out
}

// The errors of a database count, those of an order do not.
func ExampleBreaker() {
	errDown := errors.New("the database is down")
	breaker := middleware.Breaker(middleware.BreakerConfig{
		Failures: 2,
		Backoff:  stream.Backoff{Min: time.Millisecond, Max: time.Millisecond},
		If:       func(err error) bool { return errors.Is(err, errDown) },
		OnChange: func(change middleware.BreakerChange) { fmt.Println(change.From, "->", change.To) },
		Logger:   slog.New(slog.DiscardHandler),
	})
	results := []error{errors.New("no such customer"), errDown, errDown, nil}
	handle := breaker(func(context.Context, *stream.Entry) error {
		result := results[0]
		results = results[1:]
		return result
	})
	for range 4 {
		fmt.Println(handle(context.Background(), &stream.Entry{Stream: "orders", ID: "1-0"}))
	}
	// Output:
	// no such customer
	// the database is down
	// closed -> open
	// the database is down
	// open -> half-open
	// half-open -> closed
	// <nil>
}
