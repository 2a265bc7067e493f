package middleware

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/stream"
)

// Timeout limits how long one attempt may take: the handler's context is
// cancelled after d, and the error that the handler then returns is an
// ordinary one, which can be tried again. Zero or less means no limit.
//
// Nothing can stop a handler that does not look at its context. Timeout waits
// for it, because to go on without it would be to run it twice at once; and if
// it then returns nil, the entry counts as processed, which it is.
func Timeout(d time.Duration) stream.Middleware {
	return func(next stream.EntryHandler) stream.EntryHandler {
		if d <= 0 {
			return next
		}
		return func(ctx context.Context, entry *stream.Entry) error {
			limited, cancel := context.WithTimeout(ctx, d)
			defer cancel()
			err := next(limited, entry)
			if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) && limited.Err() != nil {
				return fmt.Errorf("the handler took longer than %v: %w", d, err)
			}
			return err
		}
	}
}
