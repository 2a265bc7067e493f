package main

import (
	"bytes"
	"context"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace/stream/streamtest"
)

// totals returns the numbers of the summary's last row: carried, published,
// handled, skipped, dead letters, not reached.
func totals(t *testing.T, output string) (numbers [6]int) {
	t.Helper()
	row := regexp.MustCompile(`(?m)^all +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+)$`).FindStringSubmatch(output)
	if row == nil {
		t.Fatalf("there is no summary in the output:\n%s", output)
	}
	for i := range numbers {
		numbers[i], _ = strconv.Atoi(row[i+1])
	}
	return numbers
}

func TestSummaryAddsUp(t *testing.T) {
	var out, log bytes.Buffer
	if err := run(t.Context(), settings{events: 113, verbose: true}, &out, &log); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if got, want := totals(t, out.String()), [6]int{0, 113, 100, 4, 9, 0}; got != want {
		t.Errorf("the totals are %v, want %v:\n%s", got, want, out.String())
	}
	for _, text := range []string{"113 of 113 events settled", "handled", "skipped: unknown event type", "dead letter: cannot decode", "dead letter: gave up after 3 attempts"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("%q is not in the output:\n%s", text, out.String())
		}
	}
	if strings.Contains(log.String(), "user-") || strings.Contains(log.String(), "yesterday") {
		t.Errorf("a field's value is in the log:\n%s", log.String())
	}
}

func TestStoppedRunIsContinued(t *testing.T) {
	for _, where := range []string{"in memory", "on a server"} {
		t.Run(where, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			set := settings{events: 5000, keep: true}
			if where == "on a server" {
				set.redisURL = "redis://" + streamtest.StartRedis(t, "--appendonly", "no").Addr
			}
			ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
			defer cancel()
			var first, second bytes.Buffer
			if err := run(ctx, set, &first, &first); err != nil {
				t.Fatalf("%v\n%s", err, first.String())
			}
			before := totals(t, first.String())
			set.events = 10
			if err := run(t.Context(), set, &second, &second); err != nil {
				t.Fatalf("%v\n%s", err, second.String())
			}
			after := totals(t, second.String())
			if after[0] != before[5] || after[1] != 10 || after[5] != 0 {
				t.Errorf("the first run left %d, the second carried %d and left %d:\n%s%s", before[5], after[0], after[5], first.String(), second.String())
			}
		})
	}
}

func TestWrongURLIsRefusedWithoutItsPassword(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), settings{redisURL: "redis://user:s3cr3t@host:badport/0"}, &out, &out)
	if err == nil || strings.Contains(err.Error()+out.String(), "s3cr3t") {
		t.Errorf("got %v", err)
	}
}
