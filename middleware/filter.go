package middleware

import (
	"context"

	"millrace/stream"
)

// Filter returns a handler that hands to handle only the events that keep accepts,
// and skips the others (stream.Skip). It looks at the payload, and so is no
// middleware but a handler around a handler: T is known there. keep must be safe
// for concurrent use, like handle.
func Filter[T any](handle stream.Handler[T], keep func(T) bool) stream.Handler[T] {
	return func(ctx context.Context, msg *stream.Message[T]) error {
		if !keep(msg.Value) {
			return stream.Skip("filtered out")
		}
		return handle(ctx, msg)
	}
}
