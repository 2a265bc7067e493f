package middleware_test

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"millrace/codec"
	"millrace/stream"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// entry is what the tests process; its field is to appear nowhere.
func entry() *stream.Entry {
	return &stream.Entry{Stream: "orders", ID: "1-0", Fields: codec.FieldsOf("card", "s3cr3t"), Deliveries: 1}
}

// failing returns a handler that fails with the given errors, one after the
// other, and then succeeds, and a count of its calls.
func failing(errs ...error) (stream.EntryHandler, *int) {
	calls := new(int)
	return func(context.Context, *stream.Entry) error {
		*calls++
		if *calls <= len(errs) {
			return errs[*calls-1]
		}
		return nil
	}, calls
}
