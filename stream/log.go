package stream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
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

	mu   sync.Mutex // because a shared reader takes, while this one looks around
	from place      // behind the last entry that was read
	// ordinal is which entry of all that were ever added that was, -1 if that is
	// not known.
	ordinal int64
	// known are some of the last entries that were read, the newest last, at the end
	// of a batch each.
	known []place
	// lost is what was found, until the reader has gone on behind it.
	lost *LossError
}

// maxKnown is how many entries are remembered to find the common part of a stream's
// histories, before and after a failover.
const maxKnown = 64

func openLog(store offset.Store) func(context.Context, *run) (source, error) {
	return func(ctx context.Context, r *run) (source, error) {
		feed, err := r.newFeed(ctx, "", "")
		if err != nil {
			return nil, err
		}
		s := &logSource{run: r, store: store, feed: feed, ordinal: -1}
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
		parsed, err := offset.Parse(id)
		if err != nil {
			return fmt.Errorf("%w: the store's offset %q is no entry ID: %w", offset.ErrCorrupt, s.label, err)
		}
		// What FromTime has stored is no entry's.
		s.setPlace(place{id: id, witnessed: parsed != offset.ID{} && parsed.Seq != math.MaxUint64})
		s.log().Info("consumer started", "offset", id)
		return s.count(ctx)
	}
	from, err := s.config.start.resolve(ctx, s.client, s.stream)
	if err != nil {
		return err
	}
	if from.id != beginning || s.config.start.end {
		if err := s.store.Save(ctx, s.label, from.id); err != nil {
			return fmt.Errorf("saving the offset %q to start at: %w", s.label, err)
		}
	}
	s.setPlace(from)
	s.log().Info("consumer started", "offset", from.id)
	return s.count(ctx)
}

func (s *logSource) setPlace(from place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.from, s.ordinal = from, -1
	s.window.startAt(from.id)
}

func (s *logSource) place() place {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.from
}

func (s *logSource) fetch(ctx context.Context) error {
	if s.lost != nil {
		if err := s.goOn(ctx); err != nil {
			return err
		}
	}
	if !s.awaitRoom(ctx) {
		return ctx.Err()
	}
	err := s.feed.fetch(ctx, s.place(), s.take, s.lookAround)
	if errors.Is(err, errNoWitness) {
		return s.inspect(ctx)
	}
	return err
}

// take puts entries that were read into the window.
func (s *logSource) take(entries []Entry, at time.Time) (more bool) {
	s.mu.Lock()
	s.from = placeAfter("", entries)
	if s.ordinal >= 0 {
		s.ordinal += int64(len(entries))
	}
	if len(s.known) == maxKnown {
		s.known = slices.Delete(s.known, 0, maxKnown/2)
	}
	s.known = append(s.known, s.from)
	s.mu.Unlock()
	return s.run.take(entries, at)
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
