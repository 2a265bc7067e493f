package logmode

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"millrace/offset"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/contain"
	"millrace/stream/internal/task"
)

// stored is the offset of a consumer as it was last seen in the store. It has no lock: it is
// used at the start, by one settling at a time, and by the reading goroutine while nothing
// is left to be settled.
type stored struct {
	store offset.Store
	label string
	chain *chain // moves the offset in place of the store, for a consumer with effects; nil without
	// storing is held while a store is at work that may not look at its context.
	storing task.Lock

	id    string   // stored last, as far as this consumer knows; empty if nothing was
	tried []string // since then, by saves whose outcome is not known
	saved bool     // this run has saved an offset
}

// is notes that an offset is stored.
func (s *stored) is(id string) { s.id, s.tried = id, nil }

// isOurs reports whether an offset that was found is one that this consumer knows of.
func (s *stored) isOurs(found string) bool {
	return found == s.id || slices.Contains(s.tried, found)
}

func (s *stored) load(ctx context.Context) (id string, found bool, err error) {
	if s.chain != nil {
		return s.chain.begin(ctx) // first, or the consumer before could commit behind what is loaded
	}
	type loaded struct {
		id    string
		found bool
	}
	result := make(chan loaded, 1)
	err = s.inTime(ctx, func() error {
		id, found, err := s.store.Load(ctx, s.label)
		result <- loaded{id, found}
		return err
	})
	if err != nil {
		return "", false, err
	}
	one := <-result
	return one.id, one.found, nil
}

// save saves an offset. It returns the one that was stored before, empty if the store does not
// tell.
func (s *stored) save(ctx context.Context, id string) (before string, err error) {
	if s.chain != nil {
		before, err = s.chain.save(ctx, id, false)
		if err != nil {
			s.tried = append(s.tried, id)
		}
		return before, err
	}
	var found atomic.Pointer[string] // the store may have a goroutine that comes too late
	if err := s.inTime(ctx, func() error {
		return s.store.Save(offset.WithFound(ctx, func(before string) { found.Store(&before) }), s.label, id)
	}); err != nil {
		s.tried = append(s.tried, id)
		return "", err
	}
	if one := found.Load(); one != nil {
		before = *one
	}
	return before, nil
}

// inTime has the store do something, and no longer than until ctx is done: a store of the
// user's may not look at that, and a stop would wait for it. A call that is left behind is
// waited for before the store is asked for anything else.
func (s *stored) inTime(ctx context.Context, do func() error) error {
	if _, ours := s.store.(offset.Rebinder); ours {
		return contain.Isolated(do)
	}
	if err := s.storing.Lock(ctx); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		err := contain.Isolated(do)
		s.storing.Unlock()
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	grace := time.NewTimer(conn.AnswerGrace)
	defer grace.Stop()
	select {
	case err := <-done:
		return err
	case <-grace.C:
		return ctx.Err()
	}
}
