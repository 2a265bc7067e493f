package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream/internal/batch"
	"millrace/stream/internal/contain"
)

// BatchHandler processes several messages at once, in the order of the stream: a bulk insert,
// say. Nil means that all of them are done. A [*BatchError], which [Partial] makes, has the
// result of each message. After any other error all have failed with it. A message with an
// error ends as with a [Handler]; the slice and the messages are the handler's own.
//
// The context ends when that of all its messages has. Its values are those of the context that
// [Consumer.Run] was given; values that middleware has added belong to one message, and are not
// there.
type BatchHandler[T any] func(ctx context.Context, batch []*Message[T]) error

// NewBatchConsumer is [NewConsumer] for a handler that takes several messages at a
// time; see [WithBatch] for how many.
//
// Middleware, decoding and settling work on each entry: a batch is made of entries that
// are being processed at the same time, each in a chain of its own, and that have got as
// far as the handler. An entry that cannot be decoded is in no batch.
//
// A batch that fails is one unit: the same messages come back together, after one
// back-off, or when middleware.Retry has tried each of them again. [Partial] splits it:
// the entries that are done are done, and those that failed are the unit. An entry also
// leaves the unit when middleware passes it or makes a dead letter of it, and in group
// mode when it is over the limit of deliveries or another consumer claims it.
//
// Batches follow the stream: without [WithOrderKey], no entry behind a failed unit is
// delivered before all of that has been passed, dead letters included. With several
// batches at once ([WithConcurrency]), those at work when one fails may end, and no other
// is begun. With [WithOrderKey] that holds for each key: no batch has two entries of one
// key, and none of a key that a held entry has. So the position may be stored in the
// transaction of the batch.
//
// Middleware must not keep an entry from the handler until another one has come back
// from it, with a semaphore for instance: a batch waits for the entries before its own.
func NewBatchConsumer[T any](client redis.UniversalClient, topic Topic[T], store offset.Store, handle BatchHandler[T], opts ...Option) (*Consumer[T], error) {
	return newLogConsumer(logConsumer|batchConsumer, client, topic, store, handle, batched(handle), opts)
}

// NewGroupBatchConsumer is [NewGroupConsumer] as [NewBatchConsumer] is
// [NewConsumer]. A batch that fails comes back as one unit here, too, and others go on
// meanwhile.
func NewGroupBatchConsumer[T any](client redis.UniversalClient, topic Topic[T], group string, handle BatchHandler[T], opts ...Option) (*Consumer[T], error) {
	return newGroupConsumer(groupConsumer|batchConsumer, client, topic, group, handle, batched(handle), opts)
}

// WithBatch sets how many messages a batch handler gets at the most, and how long it waits,
// from the first on, for as many to come. Default: 100 messages and 100 milliseconds. Less than
// 1, and no or a negative wait, are refused. [WithConcurrency] is the number of batches that
// are handled at once then. While as many are, the next one grows on, up to the size; in log
// mode without [WithOrderKey] it is gathered afterwards. The wait counts for
// middleware.Timeout. A unit that failed comes back as it was, and does not grow.
//
// It has nothing to do with [WithReadCount], which is how much is read at a time, but for this:
// no batch is larger than the window, in entries ([WithWindow]) or in bytes
// ([WithWindowBytes]).
func WithBatch(size int, wait time.Duration) Option {
	return option{"WithBatch", batchConsumer, func(c *config) { c.bulk, c.bulkWait = size, wait }}
}

// BatchError has the result of each message of a batch.
type BatchError struct {
	// Errs has the error of each message at its place in the batch, nil for those
	// that are done.
	Errs []error
}

func (e *BatchError) Error() string {
	failed, first := 0, error(nil)
	for _, err := range e.Errs {
		if err == nil {
			continue
		}
		if failed++; first == nil {
			first = err
		}
	}
	return fmt.Sprintf("%d of %d messages failed, the first with: %v", failed, len(e.Errs), first)
}

// Unwrap returns the errors of the messages that failed.
func (e *BatchError) Unwrap() (errs []error) {
	for _, err := range e.Errs {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// Partial returns an error with which a [BatchHandler] tells the result of each message: errs
// has one error for each, at its place in the batch, nil for those that are done. It returns
// nil if all are nil.
func Partial(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return &BatchError{Errs: errs}
		}
	}
	return nil
}

// Bisect returns a handler that calls handle with the two halves of a batch that
// has failed, and with their halves, until it is known which messages it cannot do.
// It is for sinks that take all of a batch or nothing: one bad message costs about
// twice as many calls as there are halvings, and the others are done. An error that
// is a [*BatchError] tells that already, and after the end of the context nothing
// is tried again.
func Bisect[T any](handle BatchHandler[T]) BatchHandler[T] {
	var bisect func(ctx context.Context, batch []*Message[T], errs []error)
	bisect = func(ctx context.Context, batch []*Message[T], errs []error) {
		for _, msg := range batch {
			msg.startOver() // without the effects of a larger part that has failed
		}
		err := handle(ctx, batch)
		if err == nil {
			return
		}
		if of := perMessage(err, len(batch)); of != nil {
			copy(errs, of)
			return
		}
		if len(batch) == 1 || ctx.Err() != nil {
			for i := range errs {
				errs[i] = err
			}
			return
		}
		half := len(batch) / 2
		bisect(ctx, batch[:half:half], errs[:half])
		bisect(ctx, batch[half:], errs[half:])
	}
	return func(ctx context.Context, batch []*Message[T]) error {
		errs := make([]error, len(batch))
		bisect(ctx, batch, errs)
		return Partial(errs)
	}
}

// perMessage returns the errors of a [*BatchError], nil if err is none for so many.
func perMessage(err error, messages int) []error {
	var partial *BatchError
	if errors.As(err, &partial) && len(partial.Errs) == messages {
		return partial.Errs
	}
	return nil
}

// errStray is the failure of an entry whose middleware has lost its context.
var errStray = errors.New("the batch handler was called with a context that is not made from the one that the middleware was given; hand that on")

// memberKey is the key of an entry's [batch.Member] in its context.
type memberKey struct{}

// batched returns, for a configuration, a handler of one message that puts it into a
// batch, and waits for its result.
func batched[T any](handle BatchHandler[T]) func(*config) Handler[T] {
	return func(c *config) Handler[T] {
		c.handleBatch = func(ctx context.Context, messages []any) ([]error, error) {
			list := make([]*Message[T], len(messages))
			for i, msg := range messages {
				list[i] = msg.(*Message[T])
			}
			return resultOf(len(list), func() error { return handle(ctx, list) })
		}
		return func(ctx context.Context, msg *Message[T]) error {
			member, ok := ctx.Value(memberKey{}).(*batch.Member)
			if !ok {
				return errStray
			}
			return member.Add(ctx, msg)
		}
	}
}

// resultOf handles a batch of so many messages, and returns the error of each of them, or
// nil and one for all, also of a panic.
func resultOf(messages int, handle func() error) (each []error, failure error) {
	defer func() {
		if value := recover(); value != nil {
			each, failure = nil, newPanicError(value)
		}
	}()
	failure = contain.Harmless(handle())
	if each = perMessage(failure, messages); each != nil {
		return each, failure
	}
	var partial *BatchError
	if errors.As(failure, &partial) {
		failure = fmt.Errorf("the batch handler told of %d messages, of a batch of %d; give Partial one error for each", len(partial.Errs), messages)
	}
	return nil, failure
}
