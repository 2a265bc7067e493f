package stream

import (
	"context"
	"fmt"
	"time"

	"millrace/offset"
)

// logSource is log mode: XREAD from an offset that the store keeps.
type logSource struct {
	*run
	store offset.Store
	feed  feed
	// turns is what commands to the store share; nil is nothing, because a store
	// that is not Redis may be slow, and must not hold up those of others.
	turns *sharing

	// position is the ID of the last entry that was read; the reading
	// goroutine's own once it has begun.
	position string
}

func openLog(store offset.Store) func(context.Context, *run) (source, error) {
	return func(ctx context.Context, r *run) (source, error) {
		feed, err := r.newFeed(ctx, "", "")
		if err != nil {
			return nil, err
		}
		s := &logSource{run: r, store: store, feed: feed}
		if _, ok := store.(*offset.Redis); ok {
			s.turns = r.sharing
		}
		return s, nil
	}
}

// start loads the offset, or finds the configured start if there is none. A
// start that is not the same at every look is saved at once: a consumer that
// is restarted before its first entry must not find another one.
func (s *logSource) start(ctx context.Context) error { return s.turns.inTurn(s.find)(ctx) }

func (s *logSource) find(ctx context.Context) error {
	id, found, err := s.store.Load(ctx, s.label)
	if err != nil {
		return fmt.Errorf("loading the offset %q: %w", s.label, err)
	}
	if found {
		if _, err := offset.Parse(id); err != nil {
			return fmt.Errorf("%w: the store's offset %q is no entry ID: %w", offset.ErrCorrupt, s.label, err)
		}
	} else {
		if id, err = s.config.start.resolve(ctx, s.client, s.stream); err != nil {
			return err
		}
		if id != beginning || s.config.start.end {
			if err := s.store.Save(ctx, s.label, id); err != nil {
				return fmt.Errorf("saving the offset %q to start at: %w", s.label, err)
			}
		}
	}
	s.position = id
	s.window.startAt(id)
	s.log().Info("consumer started", "offset", id)
	return nil
}

func (s *logSource) fetch(ctx context.Context) error {
	if !s.awaitRoom(ctx) {
		return ctx.Err()
	}
	return s.feed.fetch(ctx, s.position, func(entries []Entry, at time.Time) (string, bool) {
		s.position = entries[len(entries)-1].ID
		return s.position, s.take(entries, at)
	})
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
	return s.turns.inTurn(func(ctx context.Context) error {
		if err := s.store.Save(ctx, s.label, ended[len(ended)-1].id); err != nil {
			return fmt.Errorf("saving the offset %q: %w", s.label, err)
		}
		return nil
	})(ctx)
}

func (s *logSource) tend(context.Context) {}

func (s *logSource) stop(ctx context.Context) error {
	if err := s.settleLast(ctx); err != nil {
		return fmt.Errorf("stream: stopped, but the last offset of %s could not be saved; the entries since the one before will be delivered again: %w", s.stream, err)
	}
	return nil
}

func (s *logSource) interrupt() { s.feed.interrupt() }

func (s *logSource) close() error { return s.feed.close() }
