package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/admin"
)

// TestNarrowTerminal: on 40 columns each row of a table is a block of short lines.
func TestNarrowTerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	w.columns = 40
	w.env["NO_COLOR"] = "1"
	var all strings.Builder
	w.columns = 80
	fmt.Fprintln(&all, w.run("ls"))
	w.columns = 40
	for _, line := range []string{"ls", "group orders billing", "pending orders billing --limit 1", "dead causes orders", "get orders " + first, "check"} {
		fmt.Fprintln(&all, w.run(strings.Fields(line)...))
	}
	golden(t, "out/narrow", all.String())
	for line := range strings.Lines(w.run("ls").out) {
		if len(line) > 41 {
			t.Errorf("a line is too long: %q", line)
		}
	}
}

// TestColours are there on a terminal alone, and not if somebody does not want them.
func TestColours(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	colours := func() bool { return strings.Contains(w.run("ls").out, "\x1b[") }
	if colours() {
		t.Error("there are colours without a terminal")
	}
	w.columns = 200
	if !colours() {
		t.Error("there are no colours on a terminal")
	}
	for name, value := range map[string]string{"NO_COLOR": "1", "TERM": "dumb"} {
		w.env[name] = value
		if colours() {
			t.Errorf("there are colours with %s=%s", name, value)
		}
		delete(w.env, name)
	}
}

// TestHarmlessOutput: texts of the server have no power over the terminal.
func TestHarmlessOutput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	evil := "\x1b[31mevil\u202e\r\n\x07\xff"
	w.do("xadd", evil, "1-0", evil, evil)
	w.do("xgroup", "create", evil, evil, "0")
	w.do("xreadgroup", "group", evil, evil, "streams", evil, ">")
	w.do("xadd", "{"+evil+"}:dead", "1-0", evil, evil, "millrace.stream", evil, "millrace.id", "1-0", "millrace.group", evil,
		"millrace.attempts", 1, "millrace.error", evil, "millrace.time", evil)
	for _, args := range [][]string{
		{"ls"}, {"group", evil, evil}, {"pending", evil, evil}, {"peek", evil}, {"get", evil, "1-0"}, {"check"}, {"dead", "causes", evil},
		{"dead", "list", evil}, {"dead", "show", evil, "1-0"}, {"redrive", evil}, {"seek", evil, evil, "--to", "begin"}, {"trim", evil},
		{"group", evil, evil + "x"}, {"peek", evil + "x"}, {evil}, {"peek", evil, "--where", evil}, {"-c", evil, "ls"},
	} {
		got := w.run(args...)
		if i := strings.IndexFunc(got.out+got.err, func(r rune) bool { return r < ' ' && r != '\n' || r == '\u202e' || r == '\ufffd' }); i >= 0 {
			t.Errorf("%q: it prints %q", args, got.out+got.err)
		}
		if !strings.Contains(got.out+got.err, "evil") && args[0] != "check" {
			t.Errorf("%q: it does not print what it is about: %q", args, got.out+got.err)
		}
	}
	w.run("peek", evil, "-o", "ndjson").exits(t, 0, `"base64":`)
}

// TestTop draws over its lines, on a screen of its own, which it leaves.
func TestTop(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	w.columns = 120
	w.env["NO_COLOR"] = "1"
	ctx, cancel := context.WithCancel(t.Context())
	draws := 0
	w.out = writerFunc(func(p []byte) {
		if draws += strings.Count(string(p), "\x1b[H"); draws == 3 {
			cancel()
		}
	})
	got := w.runCtx(ctx, "top", "--every", "20ms")
	got.exits(t, 130)
	if !strings.HasPrefix(got.out, "\x1b[?1049h") || !strings.HasSuffix(got.out, "\x1b[?1049l") {
		t.Errorf("it does not take a screen of its own, or leaves it: %q", got.out)
	}
	frames := strings.Split(got.out, "\x1b[H")
	golden(t, "out/top", strings.NewReplacer("\x1b[K", "", "\x1b[J", "").Replace(frames[1]))
	if orders, refunds := strings.Index(frames[1], "orders"), strings.Index(frames[1], "refunds"); orders > refunds {
		t.Errorf("the one that is furthest behind is not the first:\n%s", frames[1])
	}
}

type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

// TestTopOfMany is cut to the lines of the terminal.
func TestTopOfMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 50 {
		w.do("xadd", fmt.Sprint("topic-", i), "1-0", "n", 1)
	}
	w.columns = 100
	ctx, cancel := context.WithCancel(t.Context())
	w.out = &seeing{text: "\x1b[H", do: cancel}
	_, frame, _ := strings.Cut(w.runCtx(ctx, "top").out, "\x1b[H")
	if n := strings.Count(frame, "\n"); n != 23 || !strings.Contains(frame, "more than the terminal has lines for") {
		t.Errorf("it has %d lines:\n%s", n, frame)
	}
}

// TestWatch tells the rate between two looks, and goes on after a failure.
func TestWatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	at := now
	w.now = func() time.Time { at = at.Add(time.Second / 4); return at }
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w.out = &seeing{text: `"topic":"refunds"`, do: func() {
		w.do("xadd", "orders", "*", "n", 1)
		w.do("xadd", "orders", "*", "n", 2)
	}}
	w.err = writerFunc(func([]byte) {})
	lines := 0
	w.out = io.MultiWriter(w.out, writerFunc(func(p []byte) {
		if lines += strings.Count(string(p), "\n"); lines >= 8 {
			cancel()
		}
	}))
	got := w.runCtx(ctx, "ls", "-w", "20ms", "-o", "ndjson")
	got.exits(t, 130, `"topic":"orders","length":8`)
	all := strings.Split(got.out, "\n")
	if strings.Contains(all[1], "perSecond") || !regexp.MustCompile(`"perSecond":[1-9]`).MatchString(all[5]) {
		t.Errorf("the rates are not told: %s\n%s", all[1], all[5])
	}
}

// TestProgress shows a bar on a terminal, and nothing elsewhere.
func TestProgress(t *testing.T) {
	t.Parallel()
	for _, columns := range []int{0, 30, 100} {
		w := newWorld(t).seed()
		w.columns = columns
		got := w.run(strings.Fields("redrive orders --cause dial --apply --yes --why x")...)
		got.exits(t, 0, "4 of 4 moved.")
		if shown := strings.Contains(got.err, "] 4 of 4"); shown != (columns > 0) {
			t.Errorf("on %d columns: %q", columns, got.err)
		}
		if columns > 0 && !strings.HasSuffix(got.err, "\r\x1b[K") {
			t.Errorf("the bar stays: %q", got.err)
		}
	}
}

// TestTail prints entries as they come, in each format.
func TestTail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for format, want := range map[string]string{
		"table":  "orders  %s  2026-11-28 09:00:00.000\n  user_id  42\n",
		"ndjson": `{"topic":"orders","id":"%s","at":"2026-11-28T09:00:00.000Z","fields":{"user_id":"42"}}` + "\n",
		"json": `[
  {
    "topic": "orders",
    "id": "%s",
    "at": "2026-11-28T09:00:00.000Z",
    "fields": {
      "user_id": "42"
    }
  }
]
`,
	} {
		w.do("del", "orders")
		ctx, cancel := context.WithCancel(t.Context())
		w.out = &seeing{text: "42", do: cancel}
		id := fmt.Sprintf("%d-1", ms(time.Hour))
		// With its first read, the tail knows the ends of the streams. It says that it waits before.
		w.on("xread", func() bool {
			_, err := w.client.Pipelined(context.Background(), func(p redis.Pipeliner) error {
				p.Do(ctx, "xadd", "orders", fmt.Sprintf("%d-0", ms(time.Hour)), "user_id", "41")
				return p.Do(ctx, "xadd", "orders", id, "user_id", "42").Err()
			})
			if err != nil {
				t.Error(err)
			}
			return true
		})
		got := w.runCtx(ctx, "tail", "orders", "payments", "--where", "user_id=42", "-o", format)
		got.exits(t, 130, "Waiting for entries of orders, payments")
		if want := fmt.Sprintf(want, id); got.out != want {
			t.Errorf("it prints %q, want %q", got.out, want)
		}
	}
}

// TestPauseIsObeyed: a pause waits for the agents, and says how many obey.
func TestPauseIsObeyed(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	// The agent obeys at the second look behind the order.
	obey := func(paused bool) {
		looks := 0
		w.on("mget", func() bool {
			if w.client.HExists(context.Background(), "{millrace}:control", "orders group:billing").Val() == paused {
				looks++
			}
			if looks < 2 {
				return false
			}
			consumer := admin.ConsumerPresence{Stream: "orders", Group: "billing", Consumer: "web-1", Live: true, Ready: true}
			if paused {
				consumer.PausedUntil = admin.MillisOf(now.Add(30 * time.Minute))
			}
			w.present("web-1", consumer)
			return true
		})
	}
	obey(true)
	w.run(strings.Fields("pause orders billing --for 30m --why x")...).exits(t, 0, "paused: 1 of 1 consumer obeyed in ", "; goes on at 10:30 by itself")
	w.run("ls", "orders").exits(t, 0, "paused by ada until 10:30\n")
	obey(false)
	w.run(strings.Fields("resume orders billing --why x -o json")...).exits(t, 0, `"agents": 1`, `"obeying": 1`)
	// A consumer without an agent does not know of it, and one whose agent hangs does not obey.
	w.run(strings.Fields("pause orders mail --until 10:30 --why x")...).exits(t, 1, "goes on at 10:30", "has an agent, so that nobody obeys")
	// The last look comes after the limit, and may take long where much else runs.
	w.run(strings.Fields("pause orders billing --for 30m --why x")...).exits(t, 1, "paused: 0 of 1 consumer obeyed in ", "did not obey within 5s")
}

// TestSeekIsObeyed: a seek waits for the agents, and says how many obey.
func TestSeekIsObeyed(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	w.on("mget", func() bool {
		var control admin.Control
		text := w.client.HGet(context.Background(), "{millrace}:control", "orders group:billing").Val()
		if json.Unmarshal([]byte(text), &control) != nil || control.Seek == nil {
			return false
		}
		w.present("web-1", admin.ConsumerPresence{Stream: "orders", Group: "billing", Consumer: "web-1", Live: true, Ready: true, Seek: control.Seek.Op})
		return true
	})
	w.run(strings.Fields("seek orders billing --to begin --apply --yes --why x")...).exits(t, 0, "group billing of orders goes on behind 0-0; 1 of 1 consumer obeyed")
}

// TestCompletion completes commands, topics, readers and names of contexts.
func TestCompletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	w.do("xadd", "orders-eu", "*", "n", 1)
	for line, want := range map[string]string{
		"redr|": "redrive", "peek or|": "orders\norders-eu", "peek orders |": "", "tail orders re|": "refunds", "group orders |": "billing\nmail\nlabel:search",
		"group orders m|": "mail", "dead causes ref|": "refunds", "ls -o n|": "table\njson\nndjson", "completion f|": "fish", "group nope |": "",
	} {
		args := append([]string{"__complete"}, strings.Split(strings.TrimSuffix(line, "|"), " ")...)
		got := w.run(args...)
		var names []string
		for line := range strings.Lines(got.out) {
			if name, _, _ := strings.Cut(strings.TrimSpace(line), "\t"); !strings.HasPrefix(name, ":") {
				names = append(names, name)
			}
		}
		if all := strings.Join(names, "\n"); all != want {
			t.Errorf("%q is completed with %q, want %q\n%s", line, all, want, got.err)
		}
	}
	w.server.Kill()
	w.run("__complete", "peek", "or").exits(t, 0)
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		w.run("completion", shell).exits(t, 0, "millrace")
	}
}

// TestTimesAreLocal: times are shown and read in the location of the clock, or in UTC.
func TestTimesAreLocal(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	w.now = func() time.Time { return now.In(time.FixedZone("CET", 3600)) }
	w.run("peek", "orders", "--limit", "1").exits(t, 0, "2026-11-28 10:00:00.000")
	w.run("peek", "orders", "--limit", "1", "--utc").exits(t, 0, "2026-11-28 09:00:00.000")
	w.run("peek", "orders", "--from", "2026-11-28 10:05").exits(t, 0, "user_id      45")
	w.run("peek", "orders", "--utc", "--from", "2026-11-28 09:05").exits(t, 0, "user_id      45")
}
