package logmode

import (
	"context"
	"errors"
	"fmt"

	"millrace/offset"
	"millrace/stream/internal/mode"
)

// errNoReset is the error of a store that cannot set an offset back.
var errNoReset = errors.New("the offset store has no method Reset")

// seek stores an offset, wherever the stored one is. The store can do that.
func (s *source) seek(ctx context.Context, to mode.Start) (from, at string, err error) {
	from, _, err = s.stored.load(ctx)
	if err != nil && !errors.Is(err, offset.ErrCorrupt) { // of that, a seek is the remedy
		return "", "", fmt.Errorf("loading the offset %q: %w", s.stored.label, err)
	}
	place, err := to.Locate(ctx, s.of.Client, s.of.Name)
	if err != nil {
		return from, "", err
	}
	if err := s.stored.reset(ctx, place.ID); err != nil {
		return from, "", fmt.Errorf("setting the offset %q: %w", s.stored.label, err)
	}
	return from, place.ID, nil
}

// reset stores an offset that may be below the one that is stored.
func (s *stored) reset(ctx context.Context, id string) error {
	set := func() error {
		_, err := s.chain.save(ctx, id, true)
		return err
	}
	if s.chain == nil {
		resetter, ok := s.store.(offset.Resetter)
		if !ok {
			return errNoReset
		}
		set = func() error {
			return s.inTime(ctx, func() error { return resetter.Reset(ctx, s.label, id) })
		}
	}
	if err := set(); err != nil {
		s.tried = append(s.tried, id)
		return err
	}
	s.is(id)
	return nil
}
