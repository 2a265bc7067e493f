package stream

import (
	"context"
	"errors"
)

// ErrStopping is the error of a middleware that has waited before it handed an entry on,
// and has given up because the consumer is being stopped (see [Stopping]). It is no
// failure: the entry is left for the next run or another consumer, and no attempt is
// used up. At any other time it is an error like others.
var ErrStopping = errors.New("stream: not processed, because the consumer is being stopped")

// Stopping returns a channel that is closed when the consumer is being stopped. ctx is
// the context that the consumer has given to a handler or middleware, or one that was
// made from that; it ends at the same time, or with [WithDrainTimeout] later. For
// any other context it is that context's Done channel.
func Stopping(ctx context.Context) <-chan struct{} {
	if stopping, ok := ctx.Value(stoppingKey{}).(<-chan struct{}); ok {
		return stopping
	}
	return ctx.Done()
}

type stoppingKey struct{}

// isStopping reports whether the consumer that gave the context is being stopped.
func isStopping(ctx context.Context) bool {
	select {
	case <-Stopping(ctx):
		return true
	default:
		return ctx.Err() != nil
	}
}
