package offset_test

import (
	"context"
	"errors"
	"testing"

	"millrace/offset"
	"millrace/offset/offsettest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	offsettest.Run(t, offsettest.Harness{
		New: func(*testing.T) offset.Store { return new(offset.Memory) },
	})
}

func TestMemoryHonoursContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var store offset.Memory
	if err := store.Save(ctx, "label", "1-1"); !errors.Is(err, context.Canceled) {
		t.Errorf("Save = %v, want context.Canceled", err)
	}
	if _, _, err := store.Load(ctx, "label"); !errors.Is(err, context.Canceled) {
		t.Errorf("Load = %v, want context.Canceled", err)
	}
}
