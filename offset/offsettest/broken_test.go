package offsettest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"millrace/offset"
	"millrace/offset/offsettest"
)

// table is a correct store with its parts laid open, for the broken ones to get
// wrong.
type table struct {
	mu   sync.Mutex
	rows map[string]string
}

func (s *table) Load(_ context.Context, label string) (string, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, found := s.rows[label]
	if !found {
		return "", false, nil
	}
	if _, err := offset.Parse(id); err != nil {
		return "", false, fmt.Errorf("load: %w", offset.ErrCorrupt)
	}
	return id, true, nil
}

func (s *table) Save(_ context.Context, label, id string) error {
	next, err := offset.Parse(id)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if text, found := s.rows[label]; found {
		stored, err := offset.Parse(text)
		if err != nil {
			return fmt.Errorf("save: %w", offset.ErrCorrupt)
		}
		if next.Compare(stored) <= 0 {
			return nil
		}
	}
	s.set(label, id)
	return nil
}

func (s *table) set(label, id string) {
	if s.rows == nil {
		s.rows = make(map[string]string)
	}
	s.rows[label] = id
}

// put writes without asking.
func (s *table) put(label, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(label, id)
}

func (s *table) corrupt(label string) { s.put(label, "no ID") }

// broken puts single methods in the place of those of a correct store.
type broken struct {
	table
	load func(s *table, ctx context.Context, label string) (string, bool, error)
	save func(s *table, ctx context.Context, label, id string) error
}

func (s *broken) Load(ctx context.Context, label string) (string, bool, error) {
	if s.load == nil {
		return s.table.Load(ctx, label)
	}
	return s.load(&s.table, ctx, label)
}

func (s *broken) Save(ctx context.Context, label, id string) error {
	if s.save == nil {
		return s.table.Save(ctx, label, id)
	}
	return s.save(&s.table, ctx, label, id)
}

// saveAndTell is the Save of a correct store that tells what it has found.
var saveAndTell = func(s *table, ctx context.Context, label, id string) error {
	before, _, _ := s.Load(ctx, label)
	err := s.Save(ctx, label, id)
	if err == nil {
		offset.Found(ctx, before)
	}
	return err
}

// harnessOf also corrupts and reopens, so that no check is skipped.
func harnessOf(load func(*table, context.Context, string) (string, bool, error), save func(*table, context.Context, string, string) error) offsettest.Harness {
	return offsettest.Harness{
		New:     func(*testing.T) offset.Store { return &broken{load: load, save: save} },
		Reopen:  func(_ *testing.T, store offset.Store) offset.Store { return store },
		Corrupt: func(_ *testing.T, store offset.Store, label string) { store.(*broken).corrupt(label) },
	}
}

// folding is a store that changes labels before it uses them.
func folding(fold func(string) string) offsettest.Harness {
	h := harnessOf(
		func(s *table, ctx context.Context, label string) (string, bool, error) {
			return s.Load(ctx, fold(label))
		},
		func(s *table, ctx context.Context, label, id string) error { return s.Save(ctx, fold(label), id) },
	)
	h.Corrupt = func(_ *testing.T, store offset.Store, label string) { store.(*broken).corrupt(fold(label)) }
	return h
}

// comparing is a store with another opinion on when one ID is above another.
func comparing(above func(a, b string) bool) offsettest.Harness {
	return harnessOf(nil, func(s *table, _ context.Context, label, id string) error {
		if _, err := offset.Parse(id); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if stored, found := s.rows[label]; found {
			if _, err := offset.Parse(stored); err != nil {
				return offset.ErrCorrupt
			}
			if !above(id, stored) {
				return nil
			}
		}
		s.set(label, id)
		return nil
	})
}

func floats(id string) (ms, seq float64) {
	_, _ = fmt.Sscanf(id, "%g-%g", &ms, &seq)
	return ms, seq
}

// brokenStores has for each check at least one store that fails it.
var brokenStores = []struct {
	name    string
	harness offsettest.Harness
	fails   []string // of all checks, exactly these
}{
	{"finds what nobody stored", harnessOf(func(s *table, ctx context.Context, label string) (string, bool, error) {
		if id, found, err := s.Load(ctx, label); found || err != nil {
			return id, found, err
		}
		return "0-0", true, nil
	}, nil), []string{"nothing_stored", "labels_are_independent", "odd_labels", "refused_IDs", "reopen"}},

	{"stores nothing", harnessOf(nil, func(_ *table, _ context.Context, _, id string) error {
		_, err := offset.Parse(id)
		return err
	}), []string{
		"save_then_load", "advance", "never_back", "order_of_numbers", "same_ID_twice", "labels_are_independent",
		"odd_labels", "refused_IDs", "concurrent_saves", "cancelled_context", "reopen", "corrupt_content",
	}},

	{"stays at the first", comparing(func(_, _ string) bool { return false }), []string{
		"advance", "order_of_numbers", "concurrent_saves", "cancelled_context", "reopen",
	}},

	{"goes back", comparing(func(_, _ string) bool { return true }), []string{
		"never_back", "order_of_numbers", "concurrent_saves", "reopen",
	}},

	{"compares texts", comparing(func(a, b string) bool { return a > b }), []string{
		"advance", "order_of_numbers", "concurrent_saves",
	}},

	{"compares doubles", comparing(func(a, b string) bool {
		aMs, aSeq := floats(a)
		bMs, bSeq := floats(b)
		return aMs > bMs || aMs == bMs && aSeq > bSeq
	}), []string{"order_of_numbers"}},

	{"refuses the same ID", harnessOf(nil, func(s *table, ctx context.Context, label, id string) error {
		if stored, _, _ := s.Load(ctx, label); stored == id {
			return errors.New("already there")
		}
		return s.Save(ctx, label, id)
	}), []string{"same_ID_twice"}},

	{"has one offset for all labels", folding(func(string) string { return "" }), []string{
		"labels_are_independent", "odd_labels", "refused_IDs", "reopen",
	}},
	{"folds case", folding(strings.ToLower), []string{"odd_labels"}},
	{"trims spaces", folding(strings.TrimSpace), []string{"odd_labels"}},

	{"takes any ID", harnessOf(nil, func(s *table, ctx context.Context, label, id string) error {
		if _, err := offset.Parse(id); err != nil {
			s.put(label, id)
			return nil
		}
		return s.Save(ctx, label, id)
	}), []string{"refused_IDs"}},

	{"refuses an ID and drops the offset", harnessOf(nil, func(s *table, ctx context.Context, label, id string) error {
		err := s.Save(ctx, label, id)
		if err != nil && !errors.Is(err, offset.ErrCorrupt) {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.rows, label)
		}
		return err
	}), []string{"refused_IDs"}},

	{"compares and writes in two steps", harnessOf(nil, func(s *table, ctx context.Context, label, id string) error {
		next, err := offset.Parse(id)
		if err != nil {
			return err
		}
		text, found, err := s.Load(ctx, label)
		if err != nil {
			return err
		}
		for range 10 {
			runtime.Gosched()
		}
		if stored, _ := offset.Parse(text); !found || next.Compare(stored) > 0 {
			s.put(label, id)
		}
		return nil
	}), []string{"concurrent_saves"}},

	{"takes a cancelled context for an empty store", harnessOf(func(s *table, ctx context.Context, label string) (string, bool, error) {
		if ctx.Err() != nil {
			return "", false, nil
		}
		return s.Load(ctx, label)
	}, nil), []string{"cancelled_context"}},

	{"says nothing of a cancelled save", harnessOf(nil, func(s *table, ctx context.Context, label, id string) error {
		if ctx.Err() != nil {
			return nil
		}
		return s.Save(ctx, label, id)
	}), []string{"cancelled_context"}},

	{"forgets on reopen", func() offsettest.Harness {
		h := harnessOf(nil, nil)
		h.Reopen = func(*testing.T, offset.Store) offset.Store { return new(offset.Memory) }
		return h
	}(), []string{"reopen"}},

	{"takes corrupt content for an empty store", harnessOf(func(s *table, ctx context.Context, label string) (string, bool, error) {
		id, found, err := s.Load(ctx, label)
		if errors.Is(err, offset.ErrCorrupt) {
			return "", false, nil
		}
		return id, found, err
	}, nil), []string{"corrupt_content"}},

	{"overwrites corrupt content", harnessOf(nil, func(s *table, ctx context.Context, label, id string) error {
		err := s.Save(ctx, label, id)
		if errors.Is(err, offset.ErrCorrupt) {
			s.put(label, id)
		}
		return err
	}), []string{"corrupt_content"}},

	{"tells what is stored now", harnessOf(nil, func(s *table, ctx context.Context, label, id string) error {
		err := s.Save(ctx, label, id)
		if after, _, _ := s.Load(ctx, label); err == nil {
			offset.Found(ctx, after)
		}
		return err
	}), []string{"tells_what_it_found"}},

	{"tells nothing where it moves nothing", harnessOf(nil, func(s *table, ctx context.Context, label, id string) error {
		before, _, _ := s.Load(ctx, label)
		err := s.Save(ctx, label, id)
		if after, _, _ := s.Load(ctx, label); err == nil && before != after {
			offset.Found(ctx, before)
		}
		return err
	}), []string{"tells_what_it_found"}},

	{"tells twice", harnessOf(nil, func(s *table, ctx context.Context, label, id string) error {
		before, _, _ := s.Load(ctx, label)
		offset.Found(ctx, before)
		return saveAndTell(s, ctx, label, id)
	}), []string{"tells_what_it_found"}},

	{"tells of a save that fails", harnessOf(nil, func(s *table, ctx context.Context, label, id string) error {
		before, _, _ := s.Load(ctx, label)
		offset.Found(ctx, before)
		return s.Save(ctx, label, id)
	}), []string{"tells_what_it_found"}},

	{"is silent on a save over corrupt content", harnessOf(nil, func(s *table, ctx context.Context, label, id string) error {
		err := s.Save(ctx, label, id)
		if errors.Is(err, offset.ErrCorrupt) {
			return nil
		}
		return err
	}), []string{"corrupt_content"}},
}
