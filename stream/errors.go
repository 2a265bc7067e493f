package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/commit"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/contain"
)

// ErrInvalidOption is wrapped by every problem that a constructor finds in its arguments and
// options, [Consumer.Pause] and [Consumer.Seek] in theirs, and a [Runner] in its members. All of them are reported at once; nothing was
// started, and the call is to be corrected.
var ErrInvalidOption = errors.New("invalid option")

// ErrRunning is returned by Run while another Run of the same consumer, or the
// same Runner, has not returned. Construct a second one instead; a consumer,
// with a label of its own.
var ErrRunning = errors.New("stream: running already; construct another one to run twice")

// ErrClaimed is the cause (context.Cause) with which the context of a handler ends when its
// entry has become another consumer's: it was claimed, by hand or after this process had stood
// still for longer than the claim idle time. The handler's result does not count then.
var ErrClaimed = commit.ErrClaimed

// ErrFenced is wrapped by the error with which Run returns in log mode with [WithEffects] when
// another consumer has begun to commit under the same label: the one that was started last goes on.
// Nothing was written by this one since. Give each consumer a label of its own, or run one at a
// time.
var ErrFenced = conn.ErrFenced

// DecodeError says that an entry's fields could not be decoded into the topic's type. It comes
// out of the chain like a handler's error, so that every middleware sees it; if none turns it
// into something else, the engine logs the entry and passes it. Its text names fields and
// types, never values.
type DecodeError struct {
	// Stream and ID say which entry it was.
	Stream, ID string
	// Err is the codec's error, with the codecs of this module
	// [millrace/codec.FieldErrors]; or, of an entry that never got to the codec, an
	// [*EntrySizeError].
	Err error
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("cannot decode entry %s of %s: %v", e.ID, e.Stream, e.Err)
}

// Unwrap returns Err.
func (e *DecodeError) Unwrap() error { return e.Err }

// EntrySizeError is the Err of the [DecodeError] of an entry that is larger than
// [WithMaxEntryBytes] allows. Its fields were not kept, and [Entry.Fields] is empty:
// have middleware.DeadLetter move it out of the way, whole, or allow more.
type EntrySizeError struct {
	// Size is that of the entry's field names and values together, in bytes, and Limit the one
	// that is allowed.
	Size, Limit int64
}

func (e *EntrySizeError) Error() string {
	return fmt.Sprintf("its names and values have %d bytes, and no more than %d are allowed (WithMaxEntryBytes)", e.Size, e.Limit)
}

// EncodeError says that a value cannot be published: it does not keep the rules
// of its type, or has a form that cannot be written. It comes from the methods of
// [Producer]; nothing was sent. Correct the value. Its text names fields and
// types, never values.
type EncodeError struct {
	// Stream is the topic's name.
	Stream string
	// Err is the codec's error; with the codecs of this module
	// [millrace/codec.FieldErrors].
	Err error
}

func (e *EncodeError) Error() string {
	return fmt.Sprintf("stream: cannot encode a value for %s: %v", e.Stream, e.Err)
}

// Unwrap returns the codec's error.
func (e *EncodeError) Unwrap() error { return e.Err }

// UnknownWriteError says that a value was sent, but not whether it arrived: the
// connection broke, or time ran out, before the reply came. It comes from the
// methods of [Producer]. After [Producer.PublishOnce], call it again with the
// same key; there it also stands for a refusal, such as READONLY, that the client
// got when it tried again. After [Producer.Publish], choose: publishing again may
// add a second entry, and leaving it may lose the value.
type UnknownWriteError struct {
	// Stream is the topic's name.
	Stream string
	// Err is why there is no reply.
	Err error
}

func (e *UnknownWriteError) Error() string {
	return fmt.Sprintf("stream: unknown whether written to %s; to publish again adds a second entry if it was, unless both go through PublishOnce with one key: %v", e.Stream, e.Err)
}

// Unwrap returns why there is no reply.
func (e *UnknownWriteError) Unwrap() error { return e.Err }

// SkipError is the error that [Skip] returns.
type SkipError struct {
	// Reason is logged with the entry's ID. It must not hold field values.
	Reason string
}

func (e *SkipError) Error() string { return "skipped: " + e.Reason }

// Skip returns an error with which a handler or middleware says that the entry
// is of no concern, such as an event of an unknown kind: it is logged with the
// reason at level Info and passed. The reason must not hold field values.
func Skip(reason string) error { return &SkipError{Reason: reason} }

// PermanentError is the error that [Permanent] returns.
type PermanentError struct {
	// Err is why trying again is of no use.
	Err error
}

func (e *PermanentError) Error() string { return e.Err.Error() }

// Unwrap returns the error that was marked.
func (e *PermanentError) Unwrap() error { return e.Err }

// Permanent marks err as one that trying again cannot mend: middleware.Retry
// does not try again in place, and middleware.DeadLetter takes the entry at
// once. Without a dead-letter middleware the entry is held like after any
// other error. Permanent of nil is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &PermanentError{Err: err}
}

// RetryAfterError is the error that [RetryAfter] returns.
type RetryAfterError struct {
	// After is how long the entry waits, less than zero counts as zero.
	After time.Duration
	// Err is why; it may be nil.
	Err error
}

func (e *RetryAfterError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("to be tried again in %v", e.After)
	}
	return fmt.Sprintf("%v (to be tried again in %v)", e.Err, e.After)
}

// Unwrap returns the error that was marked.
func (e *RetryAfterError) Unwrap() error { return e.Err }

// RetryAfter returns an error with which a handler or middleware says that an entry is to be tried
// again, and not before the given time has passed: a service says when it takes requests again, or
// something is not there yet that the entry needs. err is why, and may be nil.
//
// In group mode the entry leaves the window and the pending entries of the group, so that it holds
// up nothing however long it waits, and comes back as itself: with its ID, its stream, and
// [Entry.Deliveries] counting on, to any consumer of the group that has room, soon
// after its time by the server's clock: within a second as a rule. See the package documentation, "Later". In log mode it is an
// error like any other: the entry is held, and delivered again after the back-off ([WithBackoff]).
//
// middleware.Retry does not try it again in place, middleware.Breaker does not count it, and
// middleware.DeadLetter leaves it alone, but for an err that it takes, such as one of [Permanent].
// [WithMaxDeliveries] counts each delivery, so that an entry that is put off again and again comes to
// an end.
//
// The client's user needs the Redis rights
//
//	~{<topic>}:due:<group> ~{<topic>}:later:<group> +hexists +hget +hset +hdel +zscore +zadd +zrem
//	+zrange +zrangebyscore +xadd +time
//
// besides those of [NewGroupConsumer]; see [RetryDueKey]. The consumers of a group look for entries
// that have to come back whether their handlers put any off or not: one whose user has no right to
// these keys logs that once (Info), and goes on without.
func RetryAfter(after time.Duration, err error) error {
	return &RetryAfterError{After: after, Err: err}
}

// DeadLetterError asks the engine to write the entry to a dead-letter stream
// and, once that is done, to pass it. Middleware returns it; the engine does
// the writing, and holds the entry for as long as the write fails, without processing
// it again and without a handler. In log mode without [WithOrderKey] nothing behind it is
// begun meanwhile. A stop ends that: the entry is delivered again.
type DeadLetterError struct {
	// Stream is the key of the dead-letter stream.
	// Empty means [DeadLetterStream] of the entry's stream.
	Stream string
	// Client is the client to write with, for a dead-letter stream on another
	// Redis. Nil means the consumer's own. It is not closed.
	Client redis.UniversalClient
	// Attempts is how often processing was tried.
	Attempts int64
	// Err is why the entry is given up. Its text becomes part of the dead
	// letter and of the log: it must not hold field values.
	Err error
}

func (e *DeadLetterError) Error() string { return fmt.Sprintf("dead letter: %v", e.Err) }

// Unwrap returns why the entry was given up.
func (e *DeadLetterError) Unwrap() error { return e.Err }

// MaxDeliveriesError comes out of the chain, in place of the handler's result, for an entry
// that has been delivered as often as [WithMaxDeliveries] allows: it made its consumers crash,
// say. middleware.DeadLetter takes it.
type MaxDeliveriesError struct {
	// Deliveries is how often the entry has been delivered, this time included.
	Deliveries int64
}

func (e *MaxDeliveriesError) Error() string {
	return fmt.Sprintf("delivered %d times without an end, over the limit", e.Deliveries-1)
}

// PanicError is a panic of a handler, a middleware or a codec. It is treated like any other
// error: the entry is held, unless a middleware decides otherwise.
type PanicError struct {
	// Err is the panic's value, made into an error if it was none.
	Err error
	// Stack is the stack of the goroutine at the panic.
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Err) }

// Unwrap returns the panic's value if that was an error.
func (e *PanicError) Unwrap() error { return e.Err }

func newPanicError(value any) *PanicError {
	e := PanicError(*contain.NewPanicError(value))
	return &e
}

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
