package middleware

import (
	"context"
	"errors"

	"millrace/codec"
	"millrace/stream"
)

// SkipUnknownKinds skips entries of a kind that the [codec.OneOf] of the topic does not list: it
// makes a [stream.Skip] of a [stream.DecodeError] that wraps [codec.ErrUnknownKind]. Without
// it such an entry is malformed: it is told as a warning, and DeadLetter takes it.
//
// It is for topics whose producers may add kinds that are not for this consumer. It stands
// inside of [DeadLetter] and [Retry]. It is safe for concurrent use.
func SkipUnknownKinds() stream.Middleware {
	return func(next stream.EntryHandler) stream.EntryHandler {
		return func(ctx context.Context, entry *stream.Entry) error {
			err := next(ctx, entry)
			if _, malformed := errors.AsType[*stream.DecodeError](err); malformed && errors.Is(err, codec.ErrUnknownKind) {
				return stream.Skip("an event of a kind that is not listed")
			}
			return err
		}
	}
}
