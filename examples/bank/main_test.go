package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestMain is also the consumer's program: run starts this very one for it.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "-database") {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestTheBalancesAreRight(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run(t.Context(), plan{}, 600, 3, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "600 transfers were made, all 20 balances are right, and there are 600 receipts") {
		t.Errorf("the output is:\n%s", out.String())
	}
}

func TestANaiveHandlerIsFoundOut(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := run(t.Context(), plan{naive: true}, 600, 3, &out)
	if err == nil || !strings.Contains(err.Error(), "were made more than once") || !strings.Contains(err.Error(), "balances are wrong") {
		t.Errorf("a naive handler ends with %v\n%s", err, out.String())
	}
}
