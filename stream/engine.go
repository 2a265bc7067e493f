package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// engine runs one consumer, whatever its type: one goroutine reads ahead, and a
// source, which is what log mode and group mode differ in, processes and settles.
// An engine holds nothing that changes; all of that is in a run's source.
type engine struct {
	config
	name   string // for people
	stream string
	client redis.UniversalClient
	chain  EntryHandler
	// open makes the source of a run, whose reading ends with the context.
	open func(ctx context.Context, e *engine) (source, error)
	// attrs say in the log whose line it is.
	attrs []any
}

// source is the one seam between log mode and group mode: where entries come
// from, what order they are processed in, and how it is recorded that they were.
type source interface {
	// start finds the place to begin at. It comes before everything else.
	start(ctx context.Context) error
	// fetch waits for new entries, for at most the block time. No entries and
	// no error is the normal outcome of an idle stream. It is called by the
	// reading goroutine.
	fetch(ctx context.Context) ([]Entry, error)
	// process handles what was fetched, and settles it, until batches is closed
	// or ctx is done. What it takes in hand it brings to an end under the
	// context of handling, which outlasts ctx by the drain timeout.
	process(ctx, handling context.Context, batches <-chan []Entry) error
	// stop settles what process has left, when reading and processing are over.
	stop(ctx context.Context) error
	// interrupt ends a fetch that waits, and keeps another one from waiting. It
	// may be called at any time, and more than once.
	interrupt()
	// close comes after everything else, and ends the source's connection.
	close() error
}

// stopTimeout is how long the last settling may take when Run returns.
const stopTimeout = time.Second

// recovery is how long to wait before Redis or a store is tried again. Its Max
// is what a consumer can add to an outage.
var recovery = Backoff{Min: 50 * time.Millisecond, Max: time.Second}

func (e *engine) run(ctx context.Context) error {
	src, err := e.open(ctx, e)
	if err != nil {
		return err
	}
	defer func() { _ = src.close() }() // it was only read with: nothing can be lost in it

	if err := e.persist(ctx, "finding the place to start", src.start, true); err != nil {
		return unlessDone(ctx, err)
	}
	defer e.log().Info("consumer stopped")

	reading, stopReading := context.WithCancel(ctx)
	batches := make(chan []Entry)
	read := make(chan error, 1)
	go func() {
		defer close(batches)
		read <- e.read(reading, src, batches)
	}()
	// Deferred, so that the reader also ends when a handler ends this goroutine
	// (runtime.Goexit, as testing's FailNow does).
	awaitReader := sync.OnceFunc(func() {
		stopReading()
		src.interrupt()
		for range batches {
			// Waits for the reader. What it had read ahead is not lost: the
			// offset is behind it, or it is pending.
		}
	})
	defer awaitReader()

	handling, cancel := e.handling(ctx)
	defer cancel()
	if err := unlessDone(ctx, src.process(ctx, handling, batches)); err != nil {
		return err
	}
	if ctx.Err() == nil {
		return <-read // the reader gave up, which is why there are no more batches
	}
	awaitReader()
	// What stopped the consumer must not stop this too.
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return src.stop(stopping)
}

// handling returns the context of handlers: it ends the drain timeout after ctx.
func (e *engine) handling(ctx context.Context) (context.Context, context.CancelFunc) {
	if e.drain <= 0 {
		return context.WithCancel(ctx)
	}
	handling, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	forget := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(e.drain, func() { cancel(context.Cause(ctx)) })
		context.AfterFunc(handling, func() { timer.Stop() })
	})
	return handling, func() {
		forget()
		cancel(context.Canceled)
	}
}

// read fetches batch after batch, at most one ahead of what is processed. It
// returns nil when ctx is done, and an error only if the first read shows what
// no waiting can mend.
func (e *engine) read(ctx context.Context, src source, batches chan<- []Entry) error {
	first := true
	for {
		var batch []Entry
		err := e.persist(ctx, "reading", func(ctx context.Context) (err error) {
			batch, err = src.fetch(ctx)
			return err
		}, first)
		if err != nil {
			return unlessDone(ctx, err)
		}
		first = false
		if len(batch) == 0 {
			continue
		}
		select {
		case batches <- batch:
		case <-ctx.Done():
			return nil
		}
	}
}

// verdict is what is to become of an entry whose processing came back.
type verdict int

const (
	passed      verdict = iota // its processing has ended
	failed                     // it is to be delivered again, later
	interrupted                // it was broken off by a stop, which is no failure
)

// conclude decides what a failure of the chain means, logs it, and carries it
// out if it is a dead letter: dead settles that. The order matters: a dead
// letter's cause is often one of the others. ctx is the handler's; an error means
// that it ended before the dead letter was written.
func (e *engine) conclude(ctx context.Context, entry *Entry, failure error, dead func(*DeadLetterError) error) (verdict, error) {
	log := e.log().With("entry_id", entry.ID, "attempt", entry.Deliveries)
	var panicked *PanicError
	if errors.As(failure, &panicked) {
		log = log.With("stack", string(panicked.Stack))
	}
	var (
		letter    *DeadLetterError
		skip      *SkipError
		wrong     *DecodeError
		exhausted *MaxDeliveriesError
	)
	switch {
	case errors.As(failure, &letter) && ctx.Err() == nil:
		if err := dead(letter); err != nil {
			return failed, err
		}
		log.Warn("entry passed: it is in the dead letters now", "dead_letter_stream", letter.target(e.stream), "err", letter.Err)
		return passed, nil
	case errors.As(failure, &letter):
		// What failed may have failed because of the stop.
	case errors.As(failure, &skip):
		log.Info("entry passed: skipped", "reason", skip.Reason)
		return passed, nil
	case errors.As(failure, &wrong):
		log.Warn("entry passed: it cannot be decoded", "err", wrong.Err)
		return passed, nil
	}
	if ctx.Err() != nil {
		log.Info("entry left: stopped while it was processed")
		return interrupted, nil
	}
	if !errors.As(failure, &exhausted) { // group mode tells what becomes of those
		log.Error("entry held: it failed and will be delivered again", "err", failure)
	}
	return failed, nil
}

// persist does something until it works. It gives up when ctx is done, and on
// what no waiting can mend; of the server's answers only those at the start
// count as such, because later the same words may come from an operator's
// mistake or a failover, and a consumer that has worked once should outlast it.
func (e *engine) persist(ctx context.Context, what string, do func(context.Context) error, starting bool) error {
	var trouble incident
	for {
		err := do(ctx)
		if err == nil {
			if trouble.failures > 0 {
				trouble.over(e.log(), what)
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if advice := beyondMending(err, starting); advice != "" {
			return fmt.Errorf("stream: %s failed for %s: %s: %w", what, e.stream, advice, err)
		}
		trouble.add(e.log(), what, err)
		if !sleep(ctx, recovery.Delay(trouble.failures)) {
			return ctx.Err()
		}
	}
}

func (e *engine) log() *slog.Logger {
	return e.logger.With(e.attrs...)
}

// unlessDone drops an error that only says that ctx is done.
func unlessDone(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return nil
	}
	return err
}
