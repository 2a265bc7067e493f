package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"millrace/codec"
	"millrace/middleware"
	"millrace/stream"
)

func TestSkipUnknownKinds(t *testing.T) {
	t.Parallel()
	kinds := codec.OneOf("kind", codec.Kind("payment", codec.Struct[payment](), func(p payment) any { return p }))
	_, unknown := kinds.Decode(codec.FieldsOf("kind", "S3CR3T"))
	_, missing := kinds.Decode(codec.FieldsOf("id", "S3CR3T"))
	for name, row := range map[string]struct {
		err     error
		skipped bool
	}{
		"an unknown kind":             {&stream.DecodeError{Stream: "s", ID: "1-0", Err: unknown}, true},
		"one that is wrapped":         {fmt.Errorf("around it: %w", &stream.DecodeError{Err: unknown}), true},
		"no kind":                     {&stream.DecodeError{Err: missing}, false},
		"the error of a handler":      {errBroken, false},
		"a handler that decodes more": {unknown, false}, // its own business
		"success":                     {nil, false},
	} {
		handle := middleware.SkipUnknownKinds()(func(context.Context, *stream.Entry) error { return row.err })
		err := handle(t.Context(), &stream.Entry{})
		skip, skipped := errors.AsType[*stream.SkipError](err)
		if skipped != row.skipped || !skipped && !errors.Is(err, row.err) {
			t.Errorf("%s: got %v", name, err)
		}
		if skipped && skip.Reason != "an event of a kind that is not listed" {
			t.Errorf("%s: the reason is %q", name, skip.Reason)
		}
	}
}
