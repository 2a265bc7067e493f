package main

import (
	"bytes"
	"context"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

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

func TestLinesFitTheTerminal(t *testing.T) {
	for _, width := range []int{20, 40, 80, 200} {
		var out bytes.Buffer
		if err := run(t.Context(), settings{events: 60, width: func() int { return width }}, &out, &out); err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
		text := strings.ReplaceAll(out.String(), clearLine, "\n")
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
				t.Errorf("a line of %d columns on a terminal of %d: %q", n, width, line)
			}
		}
		if !strings.Contains(text, "100%  60 of 60") {
			t.Errorf("no bar at its end on a terminal of %d columns:\n%s", width, text)
		}
	}
}

func TestBar(t *testing.T) {
	for want, got := range map[string]string{
		"[==========          ]  50%  50 of 100  25/s  2s left": bar(53, 50, 100, 2*time.Second),
		"[                  ]   0%  0 of 100  0/s  - left":      bar(48, 0, 100, 2*time.Second),
		"[=====] 100%  7 of 7  7/s  0s left":                    bar(34, 7, 7, time.Second),
		"50%  50 of 100  25/s  2s left":                         bar(30, 50, 100, 2*time.Second),
		"50%  50 ...":                                           bar(11, 50, 100, 2*time.Second),
		"100%  0 of 0  0/s  0s left":                            bar(27, 0, 0, time.Second),
	} {
		if got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}
