package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
)

// engine runs one consumer, whatever its type: it reads ahead in one goroutine
// and processes and settles in another, the caller's. It holds nothing that
// changes; all of that is in a run's source.
type engine struct {
	config
	stream string
	client redis.UniversalClient
	store  offset.Store
	chain  EntryHandler
}

// source is where entries come from and where the end of their processing is
// recorded: the one seam between log mode and group mode. fetch is called by
// the reading goroutine, complete and settle by the processing one; start comes
// before all of them.
type source interface {
	// start finds the place to begin at.
	start(ctx context.Context) error
	// fetch waits for new entries, for at most the block time. No entries and
	// no error is the normal outcome of an idle stream.
	fetch(ctx context.Context) ([]Entry, error)
	// complete notes that the processing of an entry has ended.
	complete(id string)
	// settle records what is complete since it last succeeded.
	settle(ctx context.Context) error
	// close ends the source's connection.
	close() error
}

const (
	// settleInterval is how old a completed entry may get before it is
	// settled, when handlers are too slow to finish a batch in that time.
	settleInterval = time.Second
	// stopTimeout is how long the last settling may take when Run returns.
	stopTimeout = time.Second
)

// recovery is how long to wait before Redis or a store is tried again. Its Max
// is what a consumer can add to an outage.
var recovery = Backoff{Min: 50 * time.Millisecond, Max: time.Second}

func (e *engine) run(ctx context.Context) error {
	src, err := newLogSource(ctx, e)
	if err != nil {
		return err
	}
	defer func() { _ = src.close() }() // it was only read with: nothing can be lost in it

	log := e.log()
	if err := e.persist(ctx, "finding the place to start", src.start, true); err != nil {
		return unlessDone(ctx, err)
	}
	defer log.Info("consumer stopped")

	reading, stopReading := context.WithCancel(ctx)
	batches := make(chan []Entry)
	read := make(chan error, 1)
	go func() {
		defer close(batches)
		read <- e.read(reading, src, batches)
	}()
	// Deferred, so that the reader also ends when a handler ends this goroutine
	// (runtime.Goexit, as testing's FailNow does).
	defer func() {
		stopReading()
		_ = src.close()
		for range batches {
			// Waits for the reader. What it had read ahead, the next Run reads again.
		}
	}()

	if err := unlessDone(ctx, e.process(ctx, src, batches)); err != nil {
		return err
	}
	if ctx.Err() == nil {
		return <-read // the reader gave up, which is why there are no more batches
	}
	return e.settleLast(ctx, src)
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

// process handles the entries of all batches in order. It returns nil when
// there are no more, which is when the reader has ended, or when ctx is done.
func (e *engine) process(ctx context.Context, src source, batches <-chan []Entry) error {
	for batch := range batches {
		settled := time.Now()
		for i := range batch {
			id := batch[i].ID // the handler may change its entry
			if err := e.handle(ctx, src, &batch[i]); err != nil {
				return err
			}
			src.complete(id)
			if time.Since(settled) < settleInterval {
				continue
			}
			if err := e.settle(ctx, src); err != nil {
				return err
			}
			settled = time.Now()
		}
		if err := e.settle(ctx, src); err != nil {
			return err
		}
	}
	return nil
}

// handle delivers an entry until its processing has ended. An error means that
// it has not: ctx is done, or the offset store is beyond mending.
func (e *engine) handle(ctx context.Context, src source, entry *Entry) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		entry.Deliveries++
		failure := e.chain(ctx, entry)
		if failure == nil {
			return nil
		}
		ended, err := e.conclude(ctx, entry, failure)
		if ended || err != nil {
			return err
		}
		// What is done is recorded before the wait: nobody knows how long the
		// entry stays, and what has been finished should not be run again.
		if err := e.settle(ctx, src); err != nil {
			return err
		}
		if !sleep(ctx, e.backoff.Delay(entry.Deliveries)) {
			return ctx.Err()
		}
	}
}

// conclude decides what a failure means for an entry, and reports whether the
// entry's processing has ended with it. The order matters: a dead letter's
// cause is often one of the others.
func (e *engine) conclude(ctx context.Context, entry *Entry, failure error) (ended bool, err error) {
	log := e.log().With("entry_id", entry.ID, "attempt", entry.Deliveries)
	var panicked *PanicError
	if errors.As(failure, &panicked) {
		log = log.With("stack", string(panicked.Stack))
	}
	var (
		dead  *DeadLetterError
		skip  *SkipError
		wrong *DecodeError
	)
	switch {
	case errors.As(failure, &dead) && ctx.Err() == nil:
		if err := e.writeDeadLetter(ctx, entry, dead); err != nil {
			return false, err
		}
		log.Warn("entry passed: it is in the dead letters now", "dead_letter_stream", dead.target(e.stream), "err", dead.Err)
		return true, nil
	case errors.As(failure, &dead):
		// What failed may have failed because of the stop.
	case errors.As(failure, &skip):
		log.Info("entry passed: skipped", "reason", skip.Reason)
		return true, nil
	case errors.As(failure, &wrong):
		log.Warn("entry passed: it cannot be decoded", "err", wrong.Err)
		return true, nil
	}
	if err := ctx.Err(); err != nil {
		log.Info("entry left for the next run: stopped while it was processed")
		return false, err
	}
	log.Error("entry held: it failed and will be delivered again", "err", failure)
	return false, nil
}

func (e *engine) settle(ctx context.Context, src source) error {
	return e.persist(ctx, "saving the offset", src.settle, false)
}

// settleLast records what was completed before the stop. The context that
// stopped the consumer must not stop this too.
func (e *engine) settleLast(ctx context.Context, src source) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := src.settle(ctx); err != nil {
		return fmt.Errorf("stream: stopped, but the last offset of %s could not be saved; the entries since the one before will be delivered again: %w", e.stream, err)
	}
	return nil
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
	return e.logger.With("stream", e.stream, "label", e.label)
}

// unlessDone drops an error that only says that ctx is done.
func unlessDone(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}
