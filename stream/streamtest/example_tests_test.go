package streamtest_test

import "testing"

// The example that is a test is run here: where it stands, a test function would
// hide the rest of its file from the documentation.
func TestExampleRun(t *testing.T) { crashWithPayment(t) }
