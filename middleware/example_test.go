package middleware_test

import (
	"context"
	"errors"
	"fmt"

	"millrace/middleware"
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
