package middleware_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"millrace/middleware"
	"millrace/stream"
)

func TestFilter(t *testing.T) {
	t.Parallel()
	var handled []string
	handle := func(_ context.Context, msg *stream.Message[payment]) error {
		handled = append(handled, msg.Value.ID)
		return errBroken
	}
	// No type argument: T comes from the handler.
	filtered := middleware.Filter(handle, func(p payment) bool { return p.ID != "test" })
	for id, want := range map[string]error{"real": errBroken, "test": nil} {
		err := filtered(t.Context(), &stream.Message[payment]{Value: payment{ID: id}})
		var skip *stream.SkipError
		if want != nil && !errors.Is(err, want) || want == nil && !errors.As(err, &skip) {
			t.Errorf("%s: got %v", id, err)
		}
	}
	if !slices.Equal(handled, []string{"real"}) {
		t.Errorf("handled %v", handled)
	}
}
