package main

import (
	"bytes"
	"log"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"millrace/stream"
)

// TestMain is also the program of the children: the rows start this very one.
func TestMain(m *testing.M) {
	if isChild() {
		if err := child(os.Stdin, os.Stdout); err != nil {
			log.Fatal("child: ", err)
		}
		return
	}
	os.Exit(m.Run())
}

// serverURL starts a redis-server for the test.
func serverURL(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("there is no redis-server on the PATH, and in CI no test may be left out: install it")
		}
		t.Skip("needs a redis-server on the PATH")
	}
	server, err := startServer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.stop)
	return server.url
}

// Each row in a tiny form: the figures mean nothing, but every entry is counted and
// every order checked.
func TestRows(t *testing.T) {
	t.Parallel()
	url := serverURL(t)
	tiny := settings{
		entries: 2000, rounds: 1, topics: 20, backlog: 10_000,
		latencies: 20, settle: 100 * time.Millisecond, idle: 200 * time.Millisecond, watch: time.Second,
	}
	for _, row := range rowNames() {
		t.Run(row, func(t *testing.T) {
			t.Parallel()
			var table, progress bytes.Buffer
			if err := run(t.Context(), url, row, tiny, &table, &progress); err != nil {
				t.Fatalf("%v\n%s", err, progress.String())
			}
			if !strings.Contains(table.String(), "| "+row) {
				t.Errorf("the row is not in the table:\n%s", table.String())
			}
			t.Log("\n" + table.String())
		})
	}
}

func TestRunLeavesNothingOnTheServer(t *testing.T) {
	t.Parallel()
	url := serverURL(t)
	b, err := newBench(t.Context(), url, settings{}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.client.Set(t.Context(), "of-somebody-else", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), url, "publish,decode", settings{entries: 1000, rounds: 1, topics: 1, backlog: 1000}, t.Output(), t.Output()); err != nil {
		t.Fatal(err)
	}
	if keys, err := b.client.Keys(t.Context(), "*").Result(); err != nil || len(keys) != 1 {
		t.Errorf("the keys afterwards are %v (error: %v), want that of somebody else", keys, err)
	}
}

func TestMistakesAreReported(t *testing.T) {
	t.Parallel()
	good := settings{entries: 1000, rounds: 1, topics: 1, backlog: 1000}
	for _, test := range []struct {
		name, url, only string
		settings        settings
		want            string
	}{
		{"unknown row", "", "log,logs", good, `there is no row "logs"`},
		{"no rounds", "", "", settings{entries: 1000, topics: 1, backlog: 1000}, "-rounds"},
		{"not a URL", "secret@127.0.0.1", "", good, "-redis: give a URL"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := run(t.Context(), test.url, test.only, test.settings, t.Output(), t.Output())
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("the error is %v, want one with %q", err, test.want)
			}
		})
	}
}

func tradeOf(id, account string) *stream.Message[trade] {
	return &stream.Message[trade]{Value: trade{TradeID: id, Account: account, Quantity: 1}}
}

func TestOrderCheckFindsViolations(t *testing.T) {
	t.Parallel()
	newCheck := func() *orderCheck {
		return &orderCheck{last: map[string]string{}, working: map[string]bool{}}
	}
	a1, a2, b1 := tradeOf("t-1", "a"), tradeOf("t-2", "a"), tradeOf("t-1", "b")

	good := newCheck()
	if !good.begin(a1) || !good.begin(b1) || good.end(a1) != 1 || !good.begin(a2) {
		t.Errorf("what is in order is refused: %v", good.result(0))
	}
	atOnce := newCheck()
	if atOnce.begin(a1); atOnce.begin(a2) || atOnce.result(1) == nil {
		t.Error("two of one account at once are not found")
	}
	backwards := newCheck()
	backwards.begin(a2)
	if backwards.end(a2); backwards.begin(a1) || backwards.result(1) == nil {
		t.Error("two of one account in the wrong order are not found")
	}
	twice := newCheck()
	twice.begin(a1)
	if twice.end(a1); twice.begin(a1) || twice.result(1) == nil {
		t.Error("one that comes twice is not found")
	}
}

func TestTallyFindsWhatIsMissing(t *testing.T) {
	t.Parallel()
	var all, one tally
	for i := range 3 {
		all.add(quantity(i))
		one.add(quantity(0))
	}
	if err := all.check(3); err != nil {
		t.Error(err)
	}
	if all.check(4) == nil || one.check(3) == nil {
		t.Error("a missing trade, or one for another, is not found")
	}
}
