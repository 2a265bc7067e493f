package app_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/stream/streamtest"
)

// first, pendingID and letterID are IDs of the seeded world.
var (
	first    = fmt.Sprintf("%d-0", ms(time.Hour))
	letterID = fmt.Sprintf("%d-0", ms(30*time.Minute))
)

// TestLooking compares all that looks, in each format, on a server whose state is fixed.
func TestLooking(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	for name, lines := range map[string][]string{
		"ls":      {"ls", "ls pay*", "ls nope*", "ls orders --max-behind 1m", "ls orders --max-lag 100", "ls payments --max-lag 100", "ls -o ndjson"},
		"ls-json": {"ls -o json"},
		"group":   {"group orders billing", "group orders label:search", "group payments ledger", "group orders billing -o json", "group orders billing -o ndjson"},
		"pending": {"pending orders billing", "pending orders billing --consumer web-1 --limit 1", "pending orders mail", "pending orders billing -o json", "pending orders billing -o ndjson"},
		"peek":    {"peek orders --last 2", "peek orders --where user_id=42", "peek orders --where cents~9 --limit 1", "peek orders --where user_id=nobody", "peek orders --since 56m", "peek orders --from 58m --to 57m", "peek orders --last 2 -o json", "peek orders --last 2 -o ndjson", "peek orders --where user_id=nobody -o json"},
		"get":     {"get orders " + first, "get orders 1-0", "get orders " + first + " -o json", "get orders " + first + " -o ndjson"},
		"dead": {
			"dead causes orders", "dead causes refunds", "dead causes orders --most 2", "dead causes orders -o json", "dead causes orders -o ndjson",
			"dead list orders", "dead list orders --reader label:search", "dead list orders --cause nope", "dead list orders --limit 1 -o json", "dead list orders --redrives 3 -o ndjson",
			"dead show orders " + letterID, "dead show orders 7-7", "dead show orders " + letterID + " -o json",
		},
		"export":  {"export orders --since 56m", "export refunds -o json"},
		"version": {"version", "version -o json"},
		"check":   {"check", "check -o ndjson"},
	} {
		var all strings.Builder
		for _, line := range lines {
			fmt.Fprintln(&all, w.run(strings.Fields(line)...))
		}
		golden(t, "out/"+name, all.String())
	}
}

// TestChanging compares the outputs of changes: the plan, the plan as JSON, and the result. Each
// change has a server of its own, as it was seeded.
func TestChanging(t *testing.T) {
	t.Parallel()
	done := " --apply --yes --why x"
	for name, line := range map[string]string{
		"redrive": "redrive orders --cause #", "drop": "drop orders --redrives 3",
		"seek": "seek orders mail --to 57m --unattended", "seek-label": "seek orders label:search --to begin --unattended",
		"trim": "trim invoices", "claim": "claim orders billing web-1 --unattended", "ack": "ack orders billing " + first + " 7-7",
		"forget-group": "forget orders billing --unattended", "forget-label": "forget orders label:search", "forget-topic": "forget refunds",
		"forget-consumer": "forget orders mail --consumer mail-1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).seed()
			var all strings.Builder
			for _, line := range []string{line, line + " -o json", line + done, line + done + " -o json"} {
				fmt.Fprintln(&all, w.run(strings.Fields(line)...))
			}
			golden(t, "out/"+name, all.String())
		})
	}
}

// TestChangingJSON compares results as JSON.
func TestChangingJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	var all strings.Builder
	for _, line := range []string{
		"redrive orders --cause dial", "drop orders", "ack orders billing " + first, "claim orders billing web-1 --unattended",
		"seek orders mail --to begin --unattended", "forget orders mail --unattended",
	} {
		fmt.Fprintln(&all, w.run(strings.Fields(line+" --apply --yes --why x -o ndjson")...))
	}
	golden(t, "out/results-ndjson", all.String())
}

// TestLettersElsewhere has the letters of a topic in a stream of another name, which each command
// on letters takes.
func TestLettersElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	w.do("rename", "{orders}:dead", "orders:failed")
	var all strings.Builder
	for _, line := range []string{
		"dead causes orders", "dead causes orders --dead-letters orders:failed", "dead causes orders --dead-letters none", "dead causes orders --dead-letters orders",
		"dead list orders --limit 1 --dead-letters orders:failed", "dead show orders " + letterID + " --dead-letters orders:failed",
		"get orders 2-0", "get orders 2-0 --dead-letters orders:failed",
		"redrive orders --cause dial --dead-letters orders:failed --apply --yes --why x", "drop orders --dead-letters orders:failed --apply --yes --why x",
	} {
		fmt.Fprintln(&all, w.run(strings.Fields(line)...))
	}
	golden(t, "out/elsewhere", all.String())
}

// TestPlansChangeNothing plans all changes, and finds the server as it was.
func TestPlansChangeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	before := w.dump()
	for _, line := range []string{
		"redrive orders", "drop orders", "seek orders billing --to begin", "trim invoices", "claim orders billing web-1",
		"ack orders billing " + first, "forget orders billing", "forget orders label:search", "forget refunds",
	} {
		w.run(strings.Fields(line)...).exits(t, 4, "Nothing was changed. Add --apply to do it.")
		if after := w.dump(); after != before {
			t.Fatalf("%s has changed the server:\n%s\nand before:\n%s", line, after, before)
		}
	}
}

// dump is all that there is on the server, counters of idle time apart.
func (w *world) dump() string {
	w.t.Helper()
	ctx := context.Background()
	var all strings.Builder
	for _, key := range slices.Sorted(slices.Values(w.client.Keys(ctx, "*").Val())) {
		fmt.Fprintln(&all, key, w.client.Type(ctx, key).Val(), w.client.HGetAll(ctx, key).Val(), w.client.Get(ctx, key).Val())
		fmt.Fprintln(&all, w.client.XRange(ctx, key, "-", "+").Val())
		for _, group := range w.client.XInfoGroups(ctx, key).Val() {
			fmt.Fprintln(&all, group)
		}
	}
	return all.String()
}

// TestCluster looks at a cluster, and changes it.
func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := streamtest.StartCluster(t)
	w := &world{t: t, now: func() time.Time { return now }, env: map[string]string{
		"MILLRACE_URL": "redis://" + strings.Join(cluster.Options().Addrs, ","), "USER": "ada",
	}}
	for _, topic := range []string{"orders", "payments", "refunds"} {
		w.run("publish", topic, "n=1").exits(t, 0)
		w.run("peek", topic).exits(t, 0, "n  1")
	}
	w.run("ls").exits(t, 0, "orders", "payments", "refunds", "3 topics")
	w.run("redrive", "orders").exits(t, 0, "There is nothing to do.")
	w.run("check").exits(t, 3, "nobody reads it")
}

// TestAudit: a change is written to the audit, with who has done it and why.
func TestAudit(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	w.run(strings.Fields("drop orders --cause dial --audit millrace:audit --apply --yes --why because")...).exits(t, 0, "4 of 4 deleted.")
	entries := w.client.XRange(t.Context(), "millrace:audit", "-", "+").Val()
	if len(entries) != 2 || entries[0].Values["by"] != "ada" || entries[0].Values["why"] != "because" || entries[1].Values["when"] != "end" {
		t.Errorf("the audit has %v", entries)
	}
}

// TestOffsets: labels in a hash of another name are found, and so are agents of another keyspace.
func TestOffsets(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	w.do("rename", "millrace:offsets", "team:offsets")
	w.do("rename", "{millrace}:topics", "{team}:topics")
	w.run(strings.Fields("group orders label:search --keyspace {team}")...).exits(t, 0, "label search of orders at an unknown place")
	w.run(strings.Fields("group orders label:search --keyspace {team} --offsets other,team:offsets")...).exits(t, 0, "label search of orders at 1795856640000-0")
}
