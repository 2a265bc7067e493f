package streamtest_test

import "testing"

// The examples that are tests themselves are run here: where an example stands, a
// test function would hide the rest of its file.

func TestExampleRun(t *testing.T) { crashWithPayment(t) }

func TestExampleVerify(t *testing.T) { readThroughFaults(t) }
