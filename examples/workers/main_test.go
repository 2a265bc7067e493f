package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"millrace/stream/streamtest"
)

// TestMain is also the workers' program: run starts this very one for them.
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
			url := ""
			if where == "on a server" {
				url = "redis://" + streamtest.StartRedis(t, "--appendonly", "no").Addr
			}
			var out bytes.Buffer
			if err := run(t.Context(), url, 300, &out); err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			for _, text := range []string{"kill -9 bert", "took over payment", "300 of 300 payments are booked"} {
				if !strings.Contains(out.String(), text) {
					t.Errorf("%q is not in the output:\n%s", text, out.String())
				}
			}
		})
	}
}
