package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"millrace/middleware"
	"millrace/stream"
)

// entryOf is the entry of these examples.
var entryOf = &stream.Entry{Stream: "orders", ID: "1-0", Deliveries: 1}

// Permanent errors are not tried again, nor are those that If leaves out.
func ExampleRetry() {
	errBusy := errors.New("the bank is busy")
	retry := middleware.Retry(middleware.RetryConfig{
		Attempts: 3,
		Backoff:  stream.Backoff{Min: time.Millisecond, Max: time.Millisecond},
		If:       func(err error) bool { return errors.Is(err, errBusy) },
	})
	attempts := 0
	handle := retry(func(context.Context, *stream.Entry) error {
		attempts++
		return errBusy
	})
	err := handle(context.Background(), entryOf)
	fmt.Println(attempts, "attempts:", errors.Is(err, errBusy))
	// Output:
	// 3 attempts: true
}

// A handler that looks at its context gets back to the consumer in time.
func ExampleTimeout() {
	handle := middleware.Timeout(time.Millisecond)(func(ctx context.Context, _ *stream.Entry) error {
		<-ctx.Done()
		return ctx.Err()
	})
	fmt.Println(handle(context.Background(), entryOf))
	// Output:
	// the handler took longer than 1ms: context deadline exceeded
}

// Each delivery is a line, at Debug where it was handled.
func ExampleLogging() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, attr slog.Attr) slog.Attr {
			if attr.Key == slog.TimeKey || attr.Key == "duration" {
				return slog.Attr{}
			}
			return attr
		},
	}))
	handle := middleware.Logging(logger)(func(context.Context, *stream.Entry) error { return nil })
	_ = handle(context.Background(), entryOf)
	// Output:
	// level=DEBUG msg="entry handled" stream=orders entry_id=1-0 attempt=1
}

// The errors of one service make dead letters, besides those that always do. The consumer
// writes the letter, and settles the entry with it.
func ExampleDeadLetter() {
	errClosed := errors.New("the account is closed")
	deadLetter := middleware.DeadLetter(middleware.DeadLetterConfig{
		Stream: "orders:rejected",
		If:     func(err error) bool { return errors.Is(err, errClosed) },
	})
	for _, failure := range []error{errClosed, errors.New("the bank is busy")} {
		handle := deadLetter(func(context.Context, *stream.Entry) error { return failure })
		fmt.Println(handle(context.Background(), entryOf))
	}
	// Output:
	// dead letter: the account is closed
	// the bank is busy
}
