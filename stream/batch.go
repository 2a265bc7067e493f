package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
)

// BatchHandler processes several messages at once, in the order of the stream: a
// bulk insert, say. Nil means that all of them are done. A [*BatchError], which
// [Partial] makes, tells of each message what became of it. After any other error
// all have failed with it. What becomes of a message with an error is as with a
// [Handler]; the slice and the messages are the handler's own.
//
// The context ends when that of all its messages has.
type BatchHandler[T any] func(ctx context.Context, batch []*Message[T]) error

// NewBatchConsumer is [NewConsumer] for a handler that takes several messages at a
// time; see [WithBatch] for how many.
//
// Middleware, decoding and settling work on each entry, as ever: a batch is made
// of entries that are being processed at the same time, each in a chain of its own,
// and that have got as far as the handler. So an entry that cannot be decoded is in
// no batch, and one that fails is tried again by middleware.Retry, in another batch,
// or held, or dead-lettered, without the others. That is why batches are in order
// one after the other only as long as nothing fails; with [WithOrderKey] no batch
// holds two entries of one key.
func NewBatchConsumer[T any](client redis.UniversalClient, topic Topic[T], store offset.Store, handle BatchHandler[T], opts ...Option) (*Consumer[T], error) {
	return newLogConsumer(logConsumer|batchConsumer, client, topic, store, handle, batched(handle), opts)
}

// NewGroupBatchConsumer is [NewGroupConsumer] as [NewBatchConsumer] is
// [NewConsumer].
func NewGroupBatchConsumer[T any](client redis.UniversalClient, topic Topic[T], group string, handle BatchHandler[T], opts ...Option) (*Consumer[T], error) {
	return newGroupConsumer(groupConsumer|batchConsumer, client, topic, group, handle, batched(handle), opts)
}

// WithBatch sets how many messages a batch handler gets at the most, and how long
// it waits, from the first on, for as many to come. Default: 100 messages and 100
// milliseconds. Less than 1, and no or a negative wait, are refused. [WithConcurrency]
// is the number of batches that are handled at once then; while as many are, a batch
// whose time has come grows on, up to the size.
//
// It has nothing to do with [WithBatchSize], which is how much is read at a time,
// but for this: no batch is larger than the window ([WithWindow]), nor than what that
// may have in bytes ([WithWindowBytes]).
func WithBatch(size int, wait time.Duration) Option {
	return option{"WithBatch", batchConsumer, func(c *config) { c.bulk, c.bulkWait = size, wait }}
}

// BatchError tells of each message of a batch what became of it.
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

// Partial returns an error with which a [BatchHandler] tells of each message what
// became of it: errs has one error for each, at its place in the batch, nil for
// those that are done. It returns nil if all are nil.
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

// batched returns what makes, for a configuration, a handler of one message that
// puts it into a batch, and waits for what becomes of that.
func batched[T any](handle BatchHandler[T]) func(*config) Handler[T] {
	return func(c *config) Handler[T] {
		b := &batcher[T]{handle: handle, size: c.bulk, wait: c.bulkWait, limit: c.batches}
		return b.add
	}
}

// batcher gathers the messages of handlers that run at the same time.
type batcher[T any] struct {
	handle BatchHandler[T]
	size   int
	wait   time.Duration
	limit  int // batches that are handled at once

	mu      sync.Mutex
	open    []*gathering[T] // to be handled, the last one may grow
	running int
}

// gathering is a batch from its first message to its end.
type gathering[T any] struct {
	messages []*Message[T]
	ctxs     []context.Context
	ripe     bool // its time has come
	begun    bool
	timer    *time.Timer
	done     chan struct{} // closed when err says what became of it
	err      error
}

// add puts a message into a batch, and returns what became of it.
func (b *batcher[T]) add(ctx context.Context, msg *Message[T]) error {
	b.mu.Lock()
	g := b.growingLocked()
	g.messages = append(g.messages, msg)
	g.ctxs = append(g.ctxs, ctx)
	b.beginLocked()
	b.mu.Unlock()
	select {
	case <-g.done:
	case <-ctx.Done():
		if b.leave(g, msg) {
			return context.Cause(ctx)
		}
		<-g.done
	}
	if g.err == nil {
		return nil
	}
	if of := perMessage(g.err, len(g.messages)); of != nil {
		for i := range g.messages {
			if g.messages[i] == msg {
				return of[i]
			}
		}
	}
	return g.err
}

// growingLocked returns the batch that the next message belongs to.
func (b *batcher[T]) growingLocked() *gathering[T] {
	if n := len(b.open); n > 0 && len(b.open[n-1].messages) < b.size {
		return b.open[n-1]
	}
	g := &gathering[T]{done: make(chan struct{})}
	g.timer = time.AfterFunc(b.wait, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		g.ripe = true
		b.beginLocked()
	})
	b.open = append(b.open, g)
	return g
}

// beginLocked begins with the batches that are full, or whose time has come.
func (b *batcher[T]) beginLocked() {
	for b.running < b.limit && len(b.open) > 0 {
		g := b.open[0]
		if len(g.messages) < b.size && !g.ripe {
			return
		}
		b.open = b.open[1:]
		g.timer.Stop()
		if len(g.messages) == 0 { // all have left
			continue
		}
		g.begun = true
		b.running++
		go b.run(g)
	}
}

// leave takes a message out of a batch that has not begun; it reports whether it
// could.
func (b *batcher[T]) leave(g *gathering[T], msg *Message[T]) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if g.begun {
		return false
	}
	for i := range g.messages {
		if g.messages[i] == msg {
			g.messages = slices.Delete(g.messages, i, i+1)
			g.ctxs = slices.Delete(g.ctxs, i, i+1)
			break
		}
	}
	return true
}

// run has a batch handled. Whatever the handler does, panic or end its goroutine,
// the messages come back.
func (b *batcher[T]) run(g *gathering[T]) {
	ctx, end := whileAny(g.ctxs)
	g.err = errGoexit
	defer func() {
		if value := recover(); value != nil {
			g.err = newPanicError(value)
		}
		end()
		close(g.done)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.running--
		b.beginLocked()
	}()
	sortMessages(g.messages)
	batch := make([]*Message[T], len(g.messages))
	copy(batch, g.messages)
	g.err = harmless(b.handle(ctx, batch))
	var partial *BatchError
	if errors.As(g.err, &partial) && len(partial.Errs) != len(batch) {
		g.err = fmt.Errorf("the batch handler told of %d messages, of a batch of %d; give Partial one error for each", len(partial.Errs), len(batch))
	}
}

// whileAny returns a context that is done when all of ctxs are, with the cause of
// the last.
func whileAny(ctxs []context.Context) (context.Context, func()) {
	all, cancel := context.WithCancelCause(context.WithoutCancel(ctxs[0]))
	var left atomic.Int64
	left.Store(int64(len(ctxs)))
	forget := make([]func() bool, len(ctxs))
	for i, ctx := range ctxs {
		forget[i] = context.AfterFunc(ctx, func() {
			if left.Add(-1) == 0 {
				cancel(context.Cause(ctx))
			}
		})
	}
	return all, func() {
		for _, f := range forget {
			f()
		}
		cancel(nil)
	}
}

// sortMessages puts messages into the order of the stream.
func sortMessages[T any](messages []*Message[T]) {
	ids := make(map[*Message[T]]offset.ID, len(messages))
	for _, msg := range messages {
		ids[msg], _ = offset.Parse(msg.ID)
	}
	slices.SortFunc(messages, func(a, b *Message[T]) int { return ids[a].Compare(ids[b]) })
}
