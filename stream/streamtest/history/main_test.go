package history_test

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// The example that is a test is run here: where it stands, a test function would
// hide the rest of its file from the documentation.
func TestExampleVerify(t *testing.T) { readThroughFaults(t) }
