package offset

import (
	"context"
	"fmt"
	"sync"
)

// Memory is a [Store] that forgets everything when the program ends. It is for
// tests and for programs that start over on purpose. The zero value is an empty
// store, ready for use. It must not be copied after first use. It is safe for
// concurrent use.
type Memory struct {
	mu      sync.Mutex
	offsets map[string]ID
}

// Load implements [Store]. Its only error is that of a ctx that is done.
func (m *Memory) Load(ctx context.Context, label string) (id string, found bool, err error) {
	// Memory has nothing to wait for. It fails all the same, so that a test sees the same
	// result as with a store behind a network.
	if err := ctx.Err(); err != nil {
		return "", false, fmt.Errorf("offset: load label %q from memory: %w", label, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()

	stored, found := m.offsets[label]
	if !found {
		return "", false, nil
	}
	return stored.String(), true, nil
}

// Save implements [Store]. Its errors are those of a ctx that is done and of an
// id that [Parse] refuses.
func (m *Memory) Save(ctx context.Context, label, id string) error {
	before, err := m.set(ctx, "save", label, id, false)
	if err == nil {
		Found(ctx, before)
	}
	return err
}

// Reset implements [Resetter]. Its errors are those of Save.
func (m *Memory) Reset(ctx context.Context, label, id string) error {
	_, err := m.set(ctx, "reset", label, id, true)
	return err
}

// set returns the offset that was stored before.
func (m *Memory) set(ctx context.Context, what, label, id string, back bool) (before string, err error) {
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("offset: %s label %q in memory: %w", what, label, err)
	}
	next, err := parse(id)
	if err != nil {
		return "", fmt.Errorf("offset: %s label %q in memory: %w", what, label, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()

	stored, found := m.offsets[label]
	if found {
		before = stored.String()
	}
	if found && !back && next.Compare(stored) <= 0 {
		return before, nil
	}
	if m.offsets == nil {
		m.offsets = make(map[string]ID)
	}
	m.offsets[label] = next
	return before, nil
}
