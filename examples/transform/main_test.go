package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"millrace/stream/streamtest"
)

// TestMain is also the worker's program: run starts this very one for it.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "-worker") {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestTheBooksAddUp(t *testing.T) {
	for _, where := range []string{"in memory", "on a server"} {
		t.Run(where, func(t *testing.T) {
			set := settings{orders: 300}
			if where == "on a server" {
				set.url = "redis://" + streamtest.StartRedis(t, "--appendonly", "no").Addr
			}
			var out bytes.Buffer
			if err := run(t.Context(), set, &out); err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			if !strings.Contains(out.String(), "300 bills for 300 of 300 orders") || strings.Count(out.String(), "kill -9") != kills {
				t.Error(out.String())
			}
		})
	}
}

func TestANaiveHandlerIsFoundOut(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), settings{orders: 300, naive: true}, &out); err == nil || !strings.Contains(err.Error(), "do not add up") {
		t.Errorf("the error is %v\n%s", err, out.String())
	}
}
