package stream

import (
	"context"
	"time"

	"millrace/codec"
	"millrace/stream/internal/contain"
	"millrace/stream/internal/effect"
	"millrace/stream/internal/task"
)

// Topic names a Redis stream, the Go type of its events and the codec between the two. It is a
// plain value, made once per topic, usually as a package variable:
//
//	var Events = stream.Topic[Event]{Name: "user:lifecycle_events"}
//
// A Topic is safe for concurrent use as long as its fields are not changed.
type Topic[T any] struct {
	// Name is the key of the Redis stream. A blank name is refused when a
	// consumer is constructed.
	Name string
	// Codec converts between an entry's fields and T.
	// Nil means codec.Struct[T]().
	Codec codec.Codec[T]
}

// Entry is one stream entry as Redis holds it.
type Entry struct {
	// Stream is the key that the entry was read from.
	Stream string
	// ID is the entry's ID, "<milliseconds>-<sequence>".
	ID string
	// Fields are the entry's name-value pairs, in their order. There are none where
	// the entry is larger than [WithMaxEntryBytes] allows: only middleware, and the
	// function of [WithOrderKey], ever see such an entry. Tests make them with
	// [codec.FieldsOf].
	Fields codec.Fields
	// Deliveries counts how often the entry has been delivered, this time
	// included; the first delivery is 1. In group mode it is Redis' own count,
	// over all consumers; in log mode it starts anew when the consumer does.
	Deliveries int64

	// reader is the consumer that delivers it, nil where a test has made the entry.
	reader *reader
	// run is the number of the handler's run, of those of the reader's effects.
	run uint64
	// guarded has each part of the chain called on a goroutine of its own, because one
	// has ended its goroutine with this entry before.
	guarded bool
	// logged is set when a middleware has logged the delivery.
	logged bool
	// size is that of its field names and values together, repeated ones included,
	// also if they are not here. Redis takes no entry of a gigabyte or more.
	size uint32
}

// reader is the consumer that delivers an entry, as far as the entry has to know it, with the
// watch of the worker that does. Nothing else of it changes, and an entry that is kept pins no
// more than this.
type reader struct {
	Identity
	maxDeliveries int64 // 0 is no limit
	discard       bool
	inOrder       bool
	watch         task.Stopwatch
	// effects collects those of the entry that the worker has; nil without WithEffects.
	effects *effect.Buffer
}

// isExhausted reports whether an entry is over the limit of deliveries, and not to be
// handled any more.
func (r *reader) isExhausted(e *Entry) bool {
	return r != nil && r.maxDeliveries > 0 && e.Deliveries > r.maxDeliveries
}

// Reader returns the consumer that delivers the entry. It is zero for an entry that no consumer
// has read, such as that of a test. So one middleware can serve many consumers, and tell them
// apart.
func (e *Entry) Reader() Identity {
	if e.reader == nil {
		return Identity{}
	}
	return e.reader.Identity
}

// InOrder reports whether its consumer handles the entries of the stream in their order, one at a
// time: in log mode, without [WithConcurrency], [WithOrderKey] or batches. When such an entry is
// handled, all before it have been, or were passed. It is false for an entry that no consumer has
// read.
func (e *Entry) InOrder() bool { return e.reader != nil && e.reader.inOrder }

// Begun returns when the delivery began. It is zero for an entry that no consumer has read. With
// [Entry.Elapsed], it is for the goroutine of the delivery, until the outermost middleware
// returns.
func (e *Entry) Begun() time.Time {
	if e.reader == nil {
		return time.Time{}
	}
	return e.reader.watch.Begun()
}

// Elapsed returns how long the delivery has taken so far, with all that middleware has done. It
// takes one reading of a clock, where a middleware of its own takes two. It is 0 for an entry that
// no consumer has read.
func (e *Entry) Elapsed() time.Duration {
	if e.reader == nil {
		return 0
	}
	return e.reader.watch.Elapsed()
}

// Outcome returns the outcome of the delivery if err is the result of the outermost middleware.
// ctx is the context that the middleware was given. A dead letter has still to be written then:
// a stop, or a claim, can come before that. It is for the goroutine of the delivery.
func (e *Entry) Outcome(ctx context.Context, err error) Outcome {
	outcome, _ := e.decide(ctx, err)
	return outcome
}

// Header returns the value of a header, or "" if the entry has none of that name or the name
// is not reserved for headers ([codec.IsHeader]). Where the entry repeats the name, it is the
// last value. Headers are among the Fields, too; a type that declares a field of such a name
// has its value as well.
func (e *Entry) Header(name string) string {
	if !codec.IsHeader(name) {
		return ""
	}
	value, _ := e.Fields.Get(name)
	return value
}

// MarkLogged says that a middleware has logged the outcome of this delivery, as
// middleware.Logging does: the engine does not write another line about it. It is for
// the goroutine of the delivery.
func (e *Entry) MarkLogged() { e.logged = true }

// Message is an entry with its decoded value. The Entry is embedded by value,
// so that a test of a handler can write one as a literal.
type Message[T any] struct {
	Entry
	// Value is the event that the topic's codec made of the entry's fields.
	Value T
}

// Handler processes one message. Its result decides the fate of the entry; see the package
// documentation, "Delivery". The message is the handler's own: it may be kept and changed after
// the handler has returned.
//
// The context is cancelled when the consumer stops. An error that a handler returns after that
// is not counted as a failure.
type Handler[T any] func(ctx context.Context, msg *Message[T]) error

// EntryHandler processes one entry. A [Middleware] wraps it: decoding and the user's [Handler]
// are the innermost EntryHandler. The entry is only valid until the call returns.
type EntryHandler func(ctx context.Context, entry *Entry) error

// Middleware wraps the processing of an entry, decoding included. It knows
// nothing of the topic's type, so that one stack of middleware serves every
// topic. A Middleware is called once, when the consumer is constructed; the
// EntryHandler that it returns is called for every delivery, and must be safe
// for concurrent use.
//
// A middleware that calls next more than once, or not at all, decides the fate of the entry by
// that; the engine only sees the result of the outermost one.
type Middleware func(next EntryHandler) EntryHandler

// CatchPanic is the [Middleware] that turns a panic into a [*PanicError], so that the
// middleware outside treats it like any other error. The engine puts it around the
// handler and around each middleware. An error of which a method panics, such as a nil
// pointer that was returned as an error, is replaced by one that can be looked into.
// After a handler or middleware has ended its goroutine (runtime.Goexit), the next
// delivery of the same entry makes an error of that, too.
func CatchPanic(next EntryHandler) EntryHandler {
	return func(ctx context.Context, entry *Entry) (err error) {
		if entry.guarded {
			return isolated(func() error { return next(ctx, entry) })
		}
		defer func() {
			if value := recover(); value != nil {
				err = newPanicError(value)
			}
		}()
		if err = next(ctx, entry); err != nil {
			err = contain.Harmless(err)
		}
		return err
	}
}

// chain wraps innermost in the middleware, the first outermost.
func chain(innermost EntryHandler, stack []Middleware) (EntryHandler, error) {
	handler := CatchPanic(innermost)
	for i := len(stack) - 1; i >= 0; i-- {
		if stack[i] == nil {
			continue
		}
		if handler = stack[i](handler); handler == nil {
			return nil, invalid("WithMiddleware: number %d returned no handler; it has to return one that calls next", i+1)
		}
		handler = CatchPanic(handler)
	}
	return handler, nil
}
