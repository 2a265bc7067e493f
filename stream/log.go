package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
)

// logSource is log mode: XREAD from an offset that the store keeps, one entry at
// a time.
type logSource struct {
	engine *engine
	store  offset.Store
	reader *reader
	forget func() bool // that the end of the run's context closes the reader

	// position is the ID of the last entry that was read; the reading
	// goroutine's own once it has begun.
	position string

	// completed is the ID of the last entry whose processing has ended, saved
	// the one that the store has; the processing goroutine's own.
	completed, saved string
}

// saveInterval is how old a completed entry may get before the offset is saved,
// when handlers are too slow to finish a batch in that time.
const saveInterval = time.Second

func openLog(store offset.Store) func(context.Context, *engine) (source, error) {
	return func(ctx context.Context, e *engine) (source, error) {
		reader, err := newReader(ctx, e.client, false)
		if err != nil {
			return nil, err
		}
		return &logSource{
			engine: e, store: store, reader: reader,
			forget: context.AfterFunc(ctx, reader.sockets.close),
		}, nil
	}
}

// start loads the offset, or finds the configured start if there is none. A
// start that is not the same at every look is saved at once: a consumer that
// is restarted before its first entry must not find another one.
func (s *logSource) start(ctx context.Context) error {
	e := s.engine
	id, found, err := s.store.Load(ctx, e.label)
	if err != nil {
		return fmt.Errorf("loading the offset %q: %w", e.label, err)
	}
	if found {
		if _, err := offset.Parse(id); err != nil {
			return fmt.Errorf("%w: the store's offset %q is no entry ID: %w", offset.ErrCorrupt, e.label, err)
		}
	} else {
		if id, err = e.start.resolve(ctx, s.reader, e.stream); err != nil {
			return err
		}
		if id != beginning || e.start.end {
			if err := s.store.Save(ctx, e.label, id); err != nil {
				return fmt.Errorf("saving the offset %q to start at: %w", e.label, err)
			}
		}
	}
	s.position, s.completed, s.saved = id, id, id
	e.log().Info("consumer started", "offset", id)
	return nil
}

func (s *logSource) fetch(ctx context.Context) ([]Entry, error) {
	reply, err := s.reader.XRead(ctx, &redis.XReadArgs{
		Streams: []string{s.engine.stream, s.position},
		Count:   int64(s.engine.batchSize),
		Block:   s.engine.block,
	}).Result()
	batch, err := entriesOf(reply, err, 0)
	if len(batch) > 0 {
		s.position = batch[len(batch)-1].ID
	}
	return batch, err
}

func (s *logSource) process(ctx, handling context.Context, batches <-chan []Entry) error {
	for batch := range batches {
		saved := time.Now()
		for i := range batch {
			id := batch[i].ID // the handler may change its entry
			if err := s.handle(ctx, handling, &batch[i]); err != nil {
				return err
			}
			s.completed = id
			if time.Since(saved) < saveInterval {
				continue
			}
			if err := s.save(ctx); err != nil {
				return err
			}
			saved = time.Now()
		}
		if err := s.save(ctx); err != nil {
			return err
		}
	}
	return nil
}

// handle delivers an entry until its processing has ended. An error means that
// it has not: ctx is done, or the offset store is beyond mending.
func (s *logSource) handle(ctx, handling context.Context, entry *Entry) error {
	e := s.engine
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		entry.Deliveries++
		failure := e.chain(handling, entry)
		if failure == nil {
			return nil
		}
		outcome, err := e.conclude(handling, entry, failure, func(dead *DeadLetterError) error {
			return e.writeDeadLetter(handling, entry, dead, DeadLetterLabel, e.label, e.move)
		})
		switch {
		case err != nil:
			return err
		case outcome == passed:
			return nil
		case outcome == interrupted:
			return ctx.Err()
		}
		// What is done is recorded before the wait: nobody knows how long the
		// entry stays, and what has been finished should not be run again.
		if err := s.save(ctx); err != nil {
			return err
		}
		if !sleep(ctx, e.backoff.Delay(entry.Deliveries)) {
			return ctx.Err()
		}
	}
}

// save saves the offset, and tries until that has succeeded.
func (s *logSource) save(ctx context.Context) error {
	if s.completed == s.saved {
		return nil
	}
	return s.engine.persist(ctx, "saving the offset", s.saveOnce, false)
}

func (s *logSource) saveOnce(ctx context.Context) error {
	if s.completed == s.saved {
		return nil
	}
	if err := s.store.Save(ctx, s.engine.label, s.completed); err != nil {
		return fmt.Errorf("saving the offset %q: %w", s.engine.label, err)
	}
	s.saved = s.completed
	return nil
}

func (s *logSource) stop(ctx context.Context) error {
	if err := s.saveOnce(ctx); err != nil {
		return fmt.Errorf("stream: stopped, but the last offset of %s could not be saved; the entries since the one before will be delivered again: %w", s.engine.stream, err)
	}
	return nil
}

func (s *logSource) interrupt() { s.reader.sockets.close() }

func (s *logSource) close() error {
	s.forget()
	return s.reader.Close()
}
