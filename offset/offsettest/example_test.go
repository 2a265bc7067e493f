package offsettest_test

import (
	"testing"

	"millrace/offset"
	"millrace/offset/offsettest"
)

// In the tests of your own store, this is TestStore(t *testing.T).
func ExampleRun() {
	_ = func(t *testing.T) {
		t.Parallel()
		offsettest.Run(t, offsettest.Harness{
			New: func(*testing.T) offset.Store { return new(offset.Memory) },
		})
	}
}
