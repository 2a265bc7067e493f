package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"millrace/offset"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/feed"
	"millrace/stream/internal/resp"
)

// lookAround finds out, now and then, whether the place has been lost, or entries have that
// were not read. It reports whether nothing is to be told.
func (s *logSource) lookAround(ctx context.Context) (sound bool, err error) {
	s.looked = time.Now()
	from := s.place()
	seen, err := s.survey(ctx, from, false)
	if err != nil || seen == nil {
		return true, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.missing != nil:
		return false, nil
	case from.Seen && s.from == from && !seen.witness && (seen.last != from.ID || seen.other): // or nothing has come
		return false, feed.ErrNoWitness
	}
	return true, nil
}

// survey looks at the stream, and at whether what it says agrees with what was
// counted. resumed says that the place is that of an earlier run. It returns nil
// without the right to look: then what can be found out without it is.
func (s *logSource) survey(ctx context.Context, from resp.Place, resumed bool) (*survey, error) {
	seen, err := surveyOf(ctx, s.client, s.stream, from, s.maxEntry)
	if classify(err).Withheld {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case seen.added == 0 && !seen.missing: // the server does not count
		s.count = count{ordinal: -1, sound: s.from.ID}
	case s.from == from:
		s.lack(s.count.compare(from, seen, resumed))
	default: // more was read meanwhile
		s.count.expect(s.from, seen)
	}
	return &seen, nil
}

// lack notes a loss, if it is one, for the reading goroutine to tell.
func (s *logSource) lack(loss *LossError) {
	if loss == nil {
		return
	}
	if loss.Cause == LossRecreated {
		// What was read of the other stream may be behind entries of it that were not.
		s.known.cut(loss.From)
	}
	s.missing = loss
}

// tellMissing tells a loss that was found.
func (s *logSource) tellMissing(ctx context.Context) error {
	s.mu.Lock()
	loss := s.missing
	s.missing = nil
	s.mu.Unlock()
	if loss == nil {
		return nil
	}
	return s.tell(ctx, loss)
}

// distrust forgets what the server has said of entries that were not read: another
// one may answer from now on.
func (s *logSource) distrust() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count.mark = mark{}
}

// inspect finds out what it means that the last entry that was read has gone.
func (s *logSource) inspect(ctx context.Context) error {
	from := s.place()
	seen, err := surveyOf(ctx, s.client, s.stream, from, s.maxEntry)
	if err != nil {
		return err
	}
	if seen.witness {
		return conn.ErrOtherServer
	}
	s.mu.Lock()
	loss := diagnose(from.ID, s.count.ordinal, seen)
	if loss == nil || loss.Cause == LossTrimmed {
		s.from.Seen = false // it is not looked for again
	}
	if loss != nil {
		s.missing = nil // it is part of this
		s.count = count{ordinal: -1, sound: from.ID}
		if loss.Cause == LossTrimmed && seen.added > 0 {
			s.count.ordinal = seen.added - seen.length
		}
	}
	s.mu.Unlock()
	if loss == nil {
		return nil // nothing that was not read has gone
	}
	return s.tell(ctx, loss)
}

// tell tells a loss, and goes on.
func (s *logSource) tell(ctx context.Context, loss *LossError) error {
	s.lost = loss
	s.reportLoss(s.log(), loss)
	return s.goOn(ctx)
}

// goOn puts the reader where the policy says, after a loss.
func (s *logSource) goOn(ctx context.Context) error {
	loss := s.lost
	var start Start
	err := isolated(func() (err error) {
		start, err = s.lossPolicy(ctx, loss)
		return err
	})
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
	if here := s.place(); to != here {
		// What was read before is settled first: its offsets are those of the stream as
		// it was, and must not come after the new one.
		s.reads.End() // handlers take as long as they take
		if err := s.window.drain(ctx); err != nil {
			return err
		}
		s.reads.Begin()
		if resp.CompareIDs(to.ID, here.ID) < 0 {
			if err := s.setBack(ctx, to.ID); err != nil {
				return err
			}
		}
		s.setPlace(to)
	}
	s.lost = nil
	s.log().Warn("reading goes on after a loss", "offset", to.ID)
	return nil
}

// resume finds the place that the policy means.
func (s *logSource) resume(ctx context.Context, start Start, loss *LossError) (resp.Place, error) {
	switch {
	case loss.Cause == LossTrimmed && (start.known || start == Start{}):
		// What there is behind it is the next, or was read already.
		return s.place(), nil
	case start.known:
		return s.lastKnown(ctx)
	case start.back != nil:
		from, err := offset.Parse(loss.From)
		if err != nil {
			return resp.Place{}, err
		}
		info, err := infoOf(ctx, s.client, s.stream)
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
func (s *logSource) lastKnown(ctx context.Context) (resp.Place, error) {
	s.mu.Lock()
	known := slices.Clone(s.known.places)
	s.mu.Unlock()
	for _, one := range slices.Backward(known) {
		there, err := conn.HasEntry(ctx, s.client, s.stream, one.Place, s.maxEntry)
		if err != nil {
			return resp.Place{}, err
		}
		if there {
			return one.Place, nil
		}
	}
	return resp.Place{ID: resp.Beginning}, nil
}

// setBack stores an offset below the one that is stored.
func (s *logSource) setBack(ctx context.Context, id string) error {
	resetter, ok := s.store.(offset.Resetter)
	if !ok {
		s.log().Warn("the offset store cannot set an offset back; until new entries pass it, a restart finds the loss again", "offset", id)
		return nil
	}
	if err := isolated(func() error { return resetter.Reset(ctx, s.label, id) }); err != nil {
		s.stored.tried = append(s.stored.tried, id)
		return fmt.Errorf("setting the offset %q back: %w", s.label, err)
	}
	s.stored.is(id)
	return nil
}
