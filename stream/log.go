package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
)

// logSource is log mode: XREAD from an offset that the store keeps.
type logSource struct {
	*run
	store  offset.Store
	reader *reader
	forget func() bool // that the end of the run's context closes the reader

	// position is the ID of the last entry that was read; the reading
	// goroutine's own once it has begun.
	position string
}

func openLog(store offset.Store) func(context.Context, *run) (source, error) {
	return func(ctx context.Context, r *run) (source, error) {
		reader, err := newReader(ctx, r.client, false)
		if err != nil {
			return nil, err
		}
		return &logSource{
			run: r, store: store, reader: reader,
			forget: context.AfterFunc(ctx, reader.sockets.close),
		}, nil
	}
}

// start loads the offset, or finds the configured start if there is none. A
// start that is not the same at every look is saved at once: a consumer that
// is restarted before its first entry must not find another one.
func (s *logSource) start(ctx context.Context) error {
	id, found, err := s.store.Load(ctx, s.label)
	if err != nil {
		return fmt.Errorf("loading the offset %q: %w", s.label, err)
	}
	if found {
		if _, err := offset.Parse(id); err != nil {
			return fmt.Errorf("%w: the store's offset %q is no entry ID: %w", offset.ErrCorrupt, s.label, err)
		}
	} else {
		if id, err = s.config.start.resolve(ctx, s.reader, s.stream); err != nil {
			return err
		}
		if id != beginning || s.config.start.end {
			if err := s.store.Save(ctx, s.label, id); err != nil {
				return fmt.Errorf("saving the offset %q to start at: %w", s.label, err)
			}
		}
	}
	s.position = id
	s.log().Info("consumer started", "offset", id)
	return nil
}

func (s *logSource) fetch(ctx context.Context) error {
	n := s.awaitRoom(ctx)
	if n == 0 {
		return ctx.Err()
	}
	entries, err := entriesOf(s.reader.read(ctx, &redis.XReadArgs{
		Streams: []string{s.stream, s.position},
		Count:   int64(n),
		Block:   s.block,
	}))
	if len(entries) > 0 {
		s.position = entries[len(entries)-1].ID
		s.window.addRead(entries, time.Time{})
	}
	return err
}

func (s *logSource) begin(_ context.Context, one *held) bool {
	one.entry.Deliveries++
	return true
}

func (s *logSource) bury(ctx context.Context, one *held, dead *DeadLetterError) (settled bool, err error) {
	return false, s.writeDeadLetter(ctx, one.entry, dead, DeadLetterLabel, s.label, s.move)
}

// settle saves the offset of the last of entries that follow each other.
func (s *logSource) settle(ctx context.Context, ended []*held) error {
	if err := s.store.Save(ctx, s.label, ended[len(ended)-1].id); err != nil {
		return fmt.Errorf("saving the offset %q: %w", s.label, err)
	}
	return nil
}

func (s *logSource) tend(context.Context) {}

func (s *logSource) stop(ctx context.Context) error {
	if err := s.settleLast(ctx); err != nil {
		return fmt.Errorf("stream: stopped, but the last offset of %s could not be saved; the entries since the one before will be delivered again: %w", s.stream, err)
	}
	return nil
}

func (s *logSource) interrupt() { s.reader.sockets.close() }

func (s *logSource) close() error {
	s.forget()
	return s.reader.Close()
}
