package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
)

// lookAround finds out, while nothing comes, whether that is because the place has
// been lost.
func (s *logSource) lookAround(ctx context.Context) error {
	from := s.place()
	seen, err := s.survey(ctx, from)
	if err != nil || seen == nil || !from.witnessed {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.from == from && !seen.witness && seen.last != from.id { // nothing has come
		return errNoWitness
	}
	return nil
}

// count finds out how many entries were ever added up to the place, if that can be
// told, so that a later loss can be counted.
func (s *logSource) count(ctx context.Context) error {
	_, err := s.survey(ctx, s.place())
	return err
}

// survey looks at the stream, and counts if that is possible: behind the last entry,
// and before the first. It returns nil without the right to look: then what can be
// found out without it is.
func (s *logSource) survey(ctx context.Context, from place) (*survey, error) {
	seen, err := surveyOf(ctx, s.client, s.stream, from)
	if redis.IsPermissionError(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.from != from || seen.added == 0 && !seen.missing:
	case from.id == beginning:
		s.ordinal = seen.added - seen.length
	case seen.last == from.id:
		s.ordinal = seen.added
	}
	return &seen, nil
}

// inspect finds out what it means that the last entry that was read has gone.
func (s *logSource) inspect(ctx context.Context) error {
	from := s.place()
	seen, err := surveyOf(ctx, s.client, s.stream, from)
	if err != nil {
		return err
	}
	if seen.witness {
		return nil // it was another server that did not have it, or not yet
	}
	s.mu.Lock()
	ordinal := s.ordinal
	s.mu.Unlock()
	loss := diagnose(from.id, ordinal, seen)
	if loss == nil {
		// Nothing that was not read has gone; and the entry is not looked for again.
		s.mu.Lock()
		s.from.witnessed = false
		s.mu.Unlock()
		return nil
	}
	loss.Stream, loss.Label = s.stream, s.label
	s.log().Error("entries lost", "cause", string(loss.Cause), "from", loss.From, "to", loss.To, "count", loss.Count, "exact", loss.Exact)
	s.lost = loss
	s.lose(max(1, loss.Count), loss)
	return s.goOn(ctx)
}

// goOn puts the reader where the policy says, after a loss.
func (s *logSource) goOn(ctx context.Context) error {
	loss := s.lost
	start, err := s.lossPolicy(ctx, loss)
	if err != nil {
		var told *LossError
		if !errors.As(err, &told) {
			err = fmt.Errorf("%w: %w", loss, err)
		}
		return err
	}
	to, err := s.resume(ctx, start, loss)
	if err != nil {
		return err
	}
	// What was read before is settled first: its offsets are those of the stream as
	// it was, and must not come after the new one.
	if err := s.window.drain(ctx); err != nil {
		return err
	}
	if compareIDs(to.id, loss.From) < 0 {
		if err := s.setBack(ctx, to.id); err != nil {
			return err
		}
	}
	s.setPlace(to)
	s.lost = nil
	s.log().Warn("reading goes on after a loss", "offset", to.id)
	return nil
}

// resume finds the place that the policy means.
func (s *logSource) resume(ctx context.Context, start Start, loss *LossError) (place, error) {
	switch {
	case loss.Cause == LossTrimmed && (start.known || start == Start{}):
		// Nothing that was read is left, so that the first entry is the next one.
		return place{id: loss.From}, nil
	case start.known:
		return s.lastKnown(ctx)
	case start.back != nil:
		from, err := offset.Parse(loss.From)
		if err != nil {
			return place{}, err
		}
		info, err := s.client.XInfoStream(ctx, s.stream).Result()
		if err == nil {
			if last, err := offset.Parse(info.LastGeneratedID); err == nil && last.Compare(from) < 0 {
				from = last
			}
		}
		start = FromTime(time.UnixMilli(int64(from.Ms)).Add(-*start.back))
	}
	return start.resolve(ctx, s.client, s.stream)
}

// lastKnown is behind the newest entry that was read and that the stream still has.
func (s *logSource) lastKnown(ctx context.Context) (place, error) {
	s.mu.Lock()
	known := s.known
	s.mu.Unlock()
	for _, one := range slices.Backward(known) {
		there, err := one.isIn(ctx, s.client, s.stream)
		if err != nil {
			return place{}, err
		}
		if there {
			return one, nil
		}
	}
	return place{id: beginning}, nil
}

// setBack stores an offset below the one that is stored.
func (s *logSource) setBack(ctx context.Context, id string) error {
	resetter, ok := s.store.(offset.Resetter)
	if !ok {
		s.log().Warn("the offset store cannot set an offset back; until new entries pass it, a restart finds the loss again", "offset", id)
		return nil
	}
	if err := resetter.Reset(ctx, s.label, id); err != nil {
		return fmt.Errorf("setting the offset %q back: %w", s.label, err)
	}
	return nil
}
