package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"millrace/stream/internal/contain"
	"millrace/stream/internal/publish"
)

// Publishing is one call of a [Producer], as [PublishMiddleware] sees it. It is valid until
// the call returns.
type Publishing struct {
	// Stream is the topic's name, and Count the number of values: 1, or as many as
	// [Producer.PublishAll] was given. A change of them has no effect.
	Stream string
	Count  int
	// Headers are further fields of each entry of the call: name, value, and so on. They
	// begin with those that the caller gave ([WithHeader]). Middleware adds to them before it
	// calls the next handler. They are written behind the fields of the value, in this order.
	Headers []string
	// Results has the ID or the error of each value, at its index, once the next handler
	// has returned. The caller of PublishAll gets the same slice: it must not be changed.
	Results []Published

	call *publishCall
}

// PublishHandler publishes the values of one call. Encoding and writing them are the
// innermost PublishHandler, which [PublishMiddleware] wraps. Its error is that of the call.
type PublishHandler func(ctx context.Context, p *Publishing) error

// PublishMiddleware wraps the publishing of a [Producer], encoding included, as
// [Middleware] wraps the processing of an entry. It knows nothing of the topic's type. It is
// called once, when the producer is constructed; the PublishHandler that it returns is
// called once for each call of a method of the producer, on the caller's goroutine, and
// must be safe for concurrent use.
//
// It calls next once, with the Publishing that it was given, or returns an error instead, and
// nothing is written. A second call of next is refused: a value might be published twice. The
// context that it hands on is the one that the commands get.
type PublishMiddleware func(next PublishHandler) PublishHandler

// WithPublishMiddleware puts middleware around each call of [Producer.Publish],
// [Producer.PublishOnce], [Producer.PublishAll] and [Producer.PublishAllOnce], the first
// outermost. Default: none, which costs nothing. Nil middleware is left out. Given more
// than once, the later ones are further in.
//
// Middleware can add headers to the entries, such as a trace's, and time, count or refuse
// a call. It cannot hide the result of a write: an error of the write is always in the
// error that the caller gets, and an error of middleware is there beside it. If the values
// were written, and middleware fails afterwards, Publish returns the ID together with the
// error. A panic of middleware is such an error, a [*PanicError].
//
// A header takes memory in each entry, and more where only some entries of a stream have
// it: with eight small fields an entry takes 90 bytes, with a traceparent 153. A header
// that has a blank name, or that of a field of the value, is an [*EncodeError]. [WithHeader]
// says what codecs make of headers.
func WithPublishMiddleware(stack ...PublishMiddleware) ProducerOption {
	return producerOption(func(c *producerConfig) { c.middleware = append(c.middleware, stack...) })
}

// publishChain wraps the writing in the middleware, the first outermost. It returns nil if
// there is none.
func publishChain(stack []PublishMiddleware) (PublishHandler, error) {
	var outermost PublishHandler
	next := PublishHandler(writeValues)
	for i := len(stack) - 1; i >= 0; i-- {
		if stack[i] == nil {
			continue
		}
		handler := stack[i](next)
		if handler == nil {
			return nil, invalid("WithPublishMiddleware: number %d returned no handler; it has to return one that calls next", i+1)
		}
		outermost = func(ctx context.Context, p *Publishing) error {
			return caught(func() error { return handler(ctx, p) })
		}
		next = outermost
	}
	return outermost, nil
}

// writeValues is the innermost handler of a chain.
func writeValues(ctx context.Context, p *Publishing) error {
	if p == nil || p.call == nil {
		return errors.New("publish middleware handed on a Publishing of its own; hand on the one that it was given")
	}
	return p.call.do(ctx, p)
}

// publishCall is one call of a producer that has middleware.
type publishCall struct {
	stream string
	// write encodes and writes the values, and sets all results.
	write func(ctx context.Context, headers []string, results []Published)
	// failure returns the error of the call that has these results.
	failure func(results []Published) error

	state atomic.Int32 // callIdle, callBegun or callOver
	// done is closed when the writing has ended. The fields below are set before that, by
	// the goroutine on which middleware has called next.
	done    chan struct{}
	results []Published
	err     error // the error of the call, but for that of middleware
}

// The states of a call: it ends in one of the last two, and is written in callBegun alone.
const (
	callIdle int32 = iota
	callBegun
	callOver // nothing was written
)

// do writes the values, once.
func (c *publishCall) do(ctx context.Context, p *Publishing) error {
	if !c.state.CompareAndSwap(callIdle, callBegun) {
		if c.state.Load() == callOver {
			return errors.New("publish middleware called the next handler after it had returned; nothing was written")
		}
		return errors.New("publish middleware called the next handler a second time; nothing was written again")
	}
	defer close(c.done)
	c.run(ctx, p.Headers)
	p.Results = c.results
	return c.err
}

// run calls write, and sets err. It may be interrupted, by a panic of one of the client's
// hooks: results that are missing then are unknown.
func (c *publishCall) run(ctx context.Context, headers []string) {
	if n := len(headers); n%2 != 0 {
		c.refuse(fmt.Errorf("publish middleware gave %d texts as headers, which are no name-value pairs; append names and values", n))
		return
	}
	interrupt := contain.ErrGoexit
	defer func() {
		for i := range c.results {
			if result := &c.results[i]; result.ID == "" && result.Err == nil {
				result.Err = &UnknownWriteError{Stream: c.stream, Err: explain(interrupt)}
			}
		}
		c.err = c.failure(c.results)
	}()
	interrupt = caught(func() error { c.write(ctx, slices.Clone(headers), c.results); return nil })
}

// refuse sets the results and the error of a call that has written nothing.
func (c *publishCall) refuse(err error) {
	err = notWritten(c.stream, err)
	for i := range c.results {
		c.results[i] = Published{Err: err}
	}
	if c.err = c.failure(c.results); c.err == nil { // of no values
		c.err = err
	}
}

// end returns the error of the call, of which the middleware has returned err. It waits for
// a write that middleware has begun on another goroutine.
func (c *publishCall) end(err error) error {
	if c.state.CompareAndSwap(callIdle, callOver) {
		if err == nil {
			err = errors.New("publish middleware returned no error, and did not call the next handler; it has to do one of the two")
		}
		c.refuse(err)
		return c.err
	}
	<-c.done
	switch {
	case err == nil:
		return c.err
	case c.err == nil:
		return fmt.Errorf("stream: written to %s, but publish middleware failed: %w", c.stream, err)
	case contain.IsErr(err, c.err):
		return err
	default:
		return fmt.Errorf("%w (and publish middleware failed: %w)", c.err, err)
	}
}

// through has the middleware call write, and returns its results and the error of the call.
// The headers are those that the middleware begins with.
func (p *publisher) through(ctx context.Context, headers []string, count int, write func(ctx context.Context, headers []string, results []Published), failure func([]Published) error) ([]Published, error) {
	c := &publishCall{stream: p.stream, write: write, failure: failure, done: make(chan struct{}), results: make([]Published, count)}
	if ctx == nil { // middleware would panic over it
		c.write(ctx, headers, c.results)
		return c.results, failure(c.results)
	}
	err := p.chain(ctx, &Publishing{Stream: p.stream, Count: count, Headers: headers, call: c})
	return c.results, c.end(err)
}

// publishThrough is publish with middleware around it and the encoding.
func (p *publisher) publishThrough(ctx context.Context, headers []string, encode func(i int) (publish.Entry, error)) (string, error) {
	results, err := p.through(ctx, headers, 1, func(ctx context.Context, headers []string, results []Published) {
		entry, err := encode(0)
		if err == nil {
			results[0].ID, err = p.publish(ctx, headers, entry)
		}
		results[0].Err = err
	}, func(results []Published) error { return results[0].Err })
	return results[0].ID, err
}

// publishAllThrough is publishAll, likewise.
func (p *publisher) publishAllThrough(ctx context.Context, headers []string, count int, encode func(i int) (publish.Entry, error)) ([]Published, error) {
	return p.through(ctx, headers, count, func(ctx context.Context, headers []string, results []Published) {
		p.publishAll(ctx, headers, results, encode)
	}, summary)
}
