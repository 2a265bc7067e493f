package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/offset"
)

// logSource is log mode: XREAD from an offset that the store keeps.
type logSource struct {
	engine *engine
	reader *reader

	// position is the ID of the last entry that was read; the reading
	// goroutine's own once it has begun.
	position string

	// completed is the ID of the last entry whose processing has ended, saved
	// the one that the store has; the processing goroutine's own.
	completed, saved string
}

func newLogSource(ctx context.Context, e *engine) (*logSource, error) {
	reader, err := newReader(ctx, e.client)
	if err != nil {
		return nil, err
	}
	return &logSource{engine: e, reader: reader}, nil
}

// start loads the offset, or finds the configured start if there is none. A
// start that is not the same at every look is saved at once: a consumer that
// is restarted before its first entry must not find another one.
func (s *logSource) start(ctx context.Context) error {
	e := s.engine
	id, found, err := e.store.Load(ctx, e.label)
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
			if err := e.store.Save(ctx, e.label, id); err != nil {
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
	if errors.Is(err, redis.Nil) || (err == nil && len(reply) == 0) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	messages := reply[0].Messages
	batch := make([]Entry, len(messages))
	for i, message := range messages {
		batch[i] = Entry{Stream: s.engine.stream, ID: message.ID, Fields: codec.Fields(message.Values)}
		s.position = message.ID
	}
	return batch, nil
}

func (s *logSource) complete(id string) { s.completed = id }

func (s *logSource) settle(ctx context.Context) error {
	if s.completed == s.saved {
		return nil
	}
	if err := s.engine.store.Save(ctx, s.engine.label, s.completed); err != nil {
		return fmt.Errorf("saving the offset %q: %w", s.engine.label, err)
	}
	s.saved = s.completed
	return nil
}

func (s *logSource) close() error { return s.reader.Close() }
