package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/offset"
	"millrace/stream/internal/loss"
	"millrace/stream/internal/resp"
)

// goOn puts the reader where the policy says, after a loss.
func (s *logSource) goOn(ctx context.Context) error {
	lost := s.lossError(s.lost)
	var start Start
	err := isolated(func() (err error) {
		start, err = s.lossPolicy(ctx, lost)
		return err
	})
	if err != nil {
		var told *LossError
		if !errors.As(err, &told) {
			err = fmt.Errorf("%w: %w", lost, err)
		}
		return err
	}
	to, err := s.resume(ctx, start, s.lost)
	if err != nil {
		return err
	}
	if here := s.losses.Place(); to != here {
		// What was read before is settled first: its offsets are those of the stream as
		// it was, and must not come after the new one.
		s.reads.End() // handlers take as long as they take
		if err := s.mark.Drain(ctx); err != nil {
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
	s.lost = loss.Finding{}
	s.log().Warn("reading goes on after a loss", "offset", to.ID)
	return nil
}

// resume finds the place that the policy means.
func (s *logSource) resume(ctx context.Context, start Start, found loss.Finding) (resp.Place, error) {
	switch {
	case found.Cause == loss.Trimmed && (start.known || start == Start{}):
		// What there is behind it is the next, or was read already.
		return s.losses.Place(), nil
	case start.known:
		return s.losses.LastKnown(ctx)
	case start.back != nil:
		from, err := offset.Parse(found.From)
		if err != nil {
			return resp.Place{}, err
		}
		info, err := loss.Stream{Client: s.client, Name: s.stream}.Info(ctx)
		if err == nil {
			if last, err := offset.Parse(info.LastGeneratedID); err == nil && last.Compare(from) < 0 {
				from = last
			}
		}
		start = FromTime(time.UnixMilli(int64(from.Ms)).Add(-*start.back))
	}
	return start.resolve(ctx, s.client, s.stream)
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
