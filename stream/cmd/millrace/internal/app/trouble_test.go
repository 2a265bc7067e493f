package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Each command that asks a server, with arguments.
var asking = []string{
	"ls", "top", "group orders billing", "pending orders billing", "peek orders", "tail orders", "get orders 1-1", "check",
	"dead causes orders", "dead list orders", "dead show orders 1-1",
	"redrive orders", "drop orders", "seek orders billing --to begin", "trim orders", "claim orders billing web-1",
	"ack orders billing 1-1", "forget orders billing", "forget orders", "pause orders billing --for 1m --why x", "resume orders billing --why x",
	"publish orders a=b", "export orders",
}

// TestNoServer: each command says that there is no server, and where, at once.
func TestNoServer(t *testing.T) {
	t.Parallel()
	// Nobody listens there. The port of a server that was killed could be that of another test's.
	w := &world{t: t, env: map[string]string{"MILLRACE_URL": "redis://127.0.0.1:1", "USER": "ada"}, in: strings.NewReader(""), now: time.Now}
	for _, line := range asking {
		w.run(strings.Fields(line)...).exits(t, 1, "millrace: ", "connect: connection refused", "127.0.0.1:1")
	}
}

// TestWrongPassword: each command tells the error of the server, and not the password.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "--requirepass", "right")
	w.env["MILLRACE_URL"] = "redis://default:topsecret@" + w.server.Addr
	for _, line := range asking {
		got := w.run(strings.Fields(line)...)
		got.exits(t, 1, "WRONGPASS")
		if strings.Contains(got.String(), "topsecret") {
			t.Errorf("the password is shown:\n%s", got)
		}
	}
}

// TestMissingRight: each command says which right is missing.
func TestMissingRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do("acl", "setuser", "nobody", "on", ">pass", "~*", "-@all")
	w.env["MILLRACE_URL"] = "redis://nobody:pass@" + w.server.Addr
	for _, line := range asking {
		w.run(strings.Fields(line)...).exits(t, 1, "NOPERM")
	}
}

// TestRightsOfHelps: the rights that a help names are enough to do it.
func TestRightsOfHelps(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	open := w.env["MILLRACE_URL"]
	for _, line := range []string{
		"ls --scan --bytes", "group orders billing", "pending orders billing", "peek orders --since 2h", "peek orders --last 1",
		"get orders " + first, "check --scan", "dead causes orders", "dead list orders --older-than 1s", "dead show orders " + letterID,
		"redrive orders --older-than 1s --apply --yes --why x", "drop orders --older-than 1s --apply --yes --why x",
		"seek orders mail --to begin --unattended --apply --yes --why x", "seek orders label:search --to begin --unattended --apply --yes --why x",
		"trim invoices --apply --yes --why x", "claim orders billing web-1 --unattended --apply --yes --why x",
		"ack orders billing " + first + " --apply --yes --why x", "pause orders mail --for 1m --why x", "resume orders mail --why x",
		"publish orders a=b", "publish orders a=b --once k", "export orders --since 2h", "import copy --why x", "tail orders", "top --scan",
		"forget orders mail --consumer mail-1 --apply --yes --why x", "forget invoices archive --apply --yes --why x",
		"forget orders label:search --apply --yes --why x", "forget refunds --apply --yes --why x",
	} {
		code := map[string]int{"check": 3, "pause": 1, "tail": 130, "top": 130}[strings.Fields(line)[0]]
		w.in = strings.NewReader(`{"fields":[["a","b"]]}`)
		args := strings.Fields(line)
		command := args[:1]
		if args[0] == "dead" {
			command = args[:2]
		}
		w.env["MILLRACE_URL"] = open
		_, rights, _ := strings.Cut(w.run(append(command[:len(command):len(command)], "--help")...).out, "\nRights:\n")
		acl := []any{"acl", "setuser", "user", "reset", "on", ">pass", "~*"}
		for _, word := range strings.Fields(rights) {
			if strings.HasPrefix(word, "+") {
				acl = append(acl, strings.TrimRight(word, ";,"))
			}
		}
		w.do(acl...)
		w.env["MILLRACE_URL"] = "redis://user:pass@" + w.server.Addr
		ctx, cancel := context.WithCancel(t.Context())
		if code == 130 {
			time.AfterFunc(100*time.Millisecond, cancel)
		}
		got := w.runCtx(ctx, args...)
		cancel()
		got.exits(t, code)
		if strings.Contains(got.String(), "NOPERM") {
			t.Errorf("the rights in the help are not enough: %v\n%s", acl[7:], got)
		}
	}
}

// TestKeyOfAnotherType: a command says that the key is no stream.
func TestKeyOfAnotherType(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do("set", "orders", "text")
	w.do("set", "{orders}:dead", "text")
	for _, line := range []string{
		"group orders billing", "pending orders billing", "peek orders", "tail orders", "get orders 1-1", "dead list orders", "dead causes orders",
		"redrive orders", "drop orders", "seek orders billing --to begin", "trim orders", "publish orders a=b", "export orders",
	} {
		w.run(strings.Fields(line)...).exits(t, 1, "WRONGTYPE")
	}
	w.do("hset", "{millrace}:topics", "orders", `{}`)
	w.run("ls").exits(t, 1, "WRONGTYPE", "orders ")
	w.run("check").exits(t, 3, "FAIL", "WRONGTYPE")
}

// TestNoSuchThing: a topic, a reader, an entry or a letter that is not there is said to be so.
func TestNoSuchThing(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	for _, line := range []string{
		"group nope billing", "pending nope billing", "peek nope", "get nope 1-1", "seek nope billing --to begin", "trim nope",
		"claim nope billing web-1", "forget nope", "pause nope billing --for 1m --why x", "export nope",
	} {
		w.run(strings.Fields(line)...).exits(t, 1, "there is no such", "nope")
	}
	for _, line := range []string{
		"group orders nope", "pending orders nope", "seek orders nope --to begin", "claim orders nope web-1", "claim orders billing nope",
		"forget orders nope", "pause orders nope --for 1m --why x", "ack orders nope 1-1",
	} {
		w.run(strings.Fields(line)...).exits(t, 1, "nope")
	}
	w.run("group", "orders", "nope").exits(t, 1, "it is read by group:billing, group:mail, label:search")
	w.run("redrive", "nope").exits(t, 0, "There is nothing to do.")
}

// TestBadPlaces: a time in the future, an ID that is none, and an end that is over.
func TestBadPlaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	for line, text := range map[string]string{
		"peek orders --from 2027-01-01":                  "is in the future",
		"export orders --to 2027-01-01":                  "is in the future",
		"seek orders billing --to 2027-01-01":            "is in the future",
		"seek orders billing --to yesterday":             "write an entry ID such as",
		"seek orders billing --to 9999999999999-0":       "behind the end of orders",
		"seek orders billing":                            "--to",
		"get orders noid":                                "no place in a stream",
		"ack orders billing noid":                        "no place in a stream",
		"dead show orders noid":                          "noid",
		"redrive orders --id noid":                       "noid",
		"peek orders --since -1h":                        "--since is negative",
		"peek orders --since 1h --from begin":            "not both",
		"peek orders --where user_id":                    "name=value",
		"peek orders --last 1 --limit 1":                 "--last or --limit",
		"pause orders billing --why x":                   "--for or --until",
		"pause orders billing --why x --for -1m":         "--for is negative",
		"pause orders billing --why x --until 09:59":     "is over",
		"pause orders billing --why x --until tomorrow":  "is no time",
		"pause orders billing --for 1m":                  "--why",
		"redrive orders --apply":                         "--why",
		"redrive orders --yes":                           "--apply",
		"redrive orders --rate -1":                       "--rate",
		"redrive orders --max-redrives -1":               "MaxRedrives",
		"redrive orders --everybody --to-group mail":     "give one of them",
		"pending orders label:search":                    "",
		"claim orders label:search web-1":                "",
		"import orders --why x --rate -1":                "--rate",
		"publish orders nofield":                         "NAME=VALUE",
		"publish orders --once key":                      "--once",
		"ls --output xml":                                "table, json, ndjson",
		"ls --keyspace millrace":                         "hash tag",
		"ls a b":                                         "one argument too many",
		"peek":                                           "give TOPIC",
		"nope":                                           "unknown command",
		"peek orders --nope":                             "unknown flag",
		"dead":                                           "causes, list, show",
		"completion nosh":                                "bash, zsh, fish, powershell",
		"forget orders --consumer web-1":                 "--consumer needs the group",
		"--url redis://x --context y ls":                 "not both",
		"--context nope ls":                              "there is no context",
		"--url http://topsecret@x ls":                    "redis:// or rediss://",
		"--url redis://:topsecret@x:port/ ls":            "not written as in a URL",
		"--url redis://:topsecret@x/name ls":             "redis://user:password@host:6379/0",
		"--url redis://x:1,y:2/1 ls":                     "database 0",
		"--url redis://x:1,,y:2 ls":                      "a host is missing",
		"--url redis://x:1?master= ls":                   "?master=",
		"--url redis://:topsecret@x:1?nope=topsecret ls": "nope",
		"--url redis://x:1?master=m&cluster=true ls":     "two different things",
	} {
		want := 2
		if strings.HasPrefix(line, "pending orders label") || strings.HasPrefix(line, "claim orders label") {
			want = 1 // there is no group of this name
		}
		got := w.run(strings.Fields(line)...)
		got.exits(t, want, text)
		if strings.Contains(got.err, "topsecret") {
			t.Errorf("a secret is shown:\n%s", got)
		}
		if got.out != "" {
			t.Errorf("it prints data:\n%s", got)
		}
	}
}

// answering is an input that does something when it is read, and then answers.
type answering struct {
	do     func()
	answer io.Reader
}

func (a *answering) Read(p []byte) (int, error) {
	if a.do != nil {
		a.do()
		a.do = nil
	}
	return a.answer.Read(p)
}

// TestGroupVanishesDuringAPlan: while the person thinks, the group is destroyed. Nothing is
// changed.
func TestGroupVanishesDuringAPlan(t *testing.T) {
	t.Parallel()
	for line, typed := range map[string]string{
		"redrive orders --cause dial": "4", "seek orders billing --to begin --unattended": "3", "forget orders billing --unattended": "1",
	} {
		w := newWorld(t).seed()
		w.ask = true
		w.in = &answering{func() { w.do("xgroup", "destroy", "orders", "billing") }, strings.NewReader(typed + "\n")}
		w.run(strings.Fields(line+" --apply --why x")...).exits(t, 4, "group billing of orders", "make a new plan")
		if n := w.client.XLen(t.Context(), "{orders}:dead").Val(); n != 6 {
			t.Errorf("%s has moved letters: %d are left", line, n)
		}
	}
}

// TestConfirmation: the typed text decides, and without a terminal there is no question.
func TestConfirmation(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	line := strings.Fields("drop orders --cause dial --apply --why x")
	w.run(line...).exits(t, 4, "the input is no terminal", "nothing was changed")
	w.ask = true
	for _, typed := range []string{"", "\n", "3\n", "yes\n", "44\n", "4"[:0] + "four\n"} {
		w.in = strings.NewReader(typed)
		w.run(line...).exits(t, 4, "Type the number of what is affected to go on (4): ", "that is not 4; nothing was changed")
	}
	if n := w.client.XLen(t.Context(), "{orders}:dead").Val(); n != 6 {
		t.Fatalf("%d letters are left, want 6", n)
	}
	w.in = strings.NewReader(" 4 \n")
	w.run(line...).exits(t, 0, "4 of 4 deleted.")
}

// TestContexts: a context has its address, refuses changes, or wants a text typed.
func TestContexts(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	path := filepath.Join(w.env["XDG_CONFIG_HOME"], "millrace", "contexts.json")
	url := w.env["MILLRACE_URL"]
	delete(w.env, "MILLRACE_URL")
	write := func(text string) {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write(fmt.Sprintf(`[{"name":"look","url":%q,"readonly":true},{"name":"prod","url":%q,"confirm":"production"}]`, url, url))
	w.run("-c", "look", "ls").exits(t, 0, "orders")
	change := strings.Fields("drop orders --cause dial")
	apply := append(change, strings.Fields("--apply --yes --why x")...)
	w.run(append([]string{"-c", "look"}, change...)...).exits(t, 4, "4 of 6", "Add --apply")
	for _, line := range []string{"pause orders billing --for 1m --why x", "resume orders billing --why x", "publish orders a=b", "import orders --why x"} {
		w.run(append([]string{"-c", "look"}, strings.Fields(line)...)...).exits(t, 4, "the context look is read-only")
	}
	w.run(append([]string{"-c", "look"}, apply...)...).exits(t, 4, "the context look is read-only")
	w.run(append([]string{"-c", "prod"}, apply...)...).exits(t, 4, "the context prod wants its name typed")
	w.ask = true
	w.in = strings.NewReader("4\n")
	w.run(append([]string{"-c", "prod"}, apply...)...).exits(t, 4, "Type the name of this server to go on (production): ")
	w.in = strings.NewReader("production\n")
	w.run(append([]string{"-c", "prod"}, apply...)...).exits(t, 0, "4 of 4 deleted.")
	write(`[{"name":"look","uri":"redis://x"}]`)
	w.run("-c", "look", "ls").exits(t, 1, "is not a list of contexts", `unknown field "uri"`)
}

// TestImportOfABrokenLine: the line is told, those before it are there, and the mended import
// adds none of them twice.
func TestImportOfABrokenLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	lines := strings.SplitAfter(strings.TrimSpace(w.run("export", "orders").out), "\n")
	w.in = strings.NewReader(lines[0] + lines[1] + `{"id":"secret` + "\n" + lines[2])
	w.run("import", "copy", "--why", "x").exits(t, 1, "3 lines read, 2 entries of them in copy.", "line 3 is not one of an export")
	if n := w.client.XLen(t.Context(), "copy").Val(); n != 2 {
		t.Errorf("there are %d entries, want 2", n)
	}
	for range 2 {
		w.in = strings.NewReader(strings.Join(lines, ""))
		w.run("import", "copy", "--why", "x").exits(t, 0, "6 lines read, 6 entries of them in copy.")
	}
	path := filepath.Join(t.TempDir(), "orders.ndjson")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	w.run("import", "copy", path, "--why", "x", "-o", "json").exits(t, 0, `"entries": 6`)
	if n := w.client.XLen(t.Context(), "copy").Val(); n != 6 {
		t.Errorf("there are %d entries, want 6", n)
	}
	w.run("import", "copy", path+".nope", "--why", "x").exits(t, 1, "no such file")
}

// TestPublish adds entries, from arguments and from lines.
func TestPublish(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	once := []string{"publish", "orders", "user_id=42", "note=a=b", "--once", "k"}
	first, again := w.run(once...), w.run(once...)
	if first.exits(t, 0); first.out != again.out {
		t.Errorf("published twice: %s%s", first, again)
	}
	w.in = strings.NewReader(`{"user_id": 43, "tags": ["a"], "note": "x"}` + "\n\n" + `{"user_id": "44"}`)
	w.run("publish", "orders", "-o", "ndjson").exits(t, 0, `{"id":"`)
	w.in = strings.NewReader(`{"user_id": "45"}` + "\n" + `{"secret": ` + "\n")
	got := w.run("publish", "orders")
	got.exits(t, 1, "line 2: it is no JSON object")
	if strings.Contains(got.err, "secret") {
		t.Errorf("a value is shown: %s", got)
	}
	var all []string
	for _, e := range w.client.XRange(t.Context(), "orders", "-", "+").Val() {
		all = append(all, fmt.Sprint(e.Values))
	}
	if got, want := strings.Join(all, " "), `map[note:a=b user_id:42] map[note:x tags:["a"] user_id:43] map[user_id:44] map[user_id:45]`; got != want {
		t.Errorf("the stream has %s, want %s", got, want)
	}
}

// TestInterrupted stops a redrive in its middle, and goes on with the same command.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	for i := range 1000 {
		w.letter(fmt.Sprintf("%d-%d", ms(0), i), "group:billing", fmt.Sprintf("%d-%d", ms(time.Hour), i+1), "dial tcp", 0)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w.columns = 100
	w.err = &seeing{text: "25 of 1004", do: cancel}
	line := strings.Fields("redrive orders --cause dial --apply --yes --why x --rate 100")
	w.runCtx(ctx, line...).exits(t, 130, "Same command again goes on.", "millrace: interrupted; the same command goes on")
	moved := w.client.XLen(t.Context(), "orders").Val() - 6
	if moved < 25 || moved > 500 {
		t.Errorf("%d letters were moved before the stop", moved)
	}
	w.err = nil
	w.run(line[:len(line)-2]...).exits(t, 0, fmt.Sprintf("%d of %d moved.", 1004-moved, 1004-moved))
	if n := w.client.XLen(t.Context(), "orders").Val(); n != 1010 {
		t.Errorf("orders has %d entries, want 1010", n)
	}
}

// TestInterruptedWhileAsked: Ctrl-C at the question changes nothing.
func TestInterruptedWhileAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	w.ask = true
	in, keep := io.Pipe()
	defer func() { _ = keep.Close() }()
	w.in = in
	ctx, cancel := context.WithCancel(t.Context())
	w.err = &seeing{text: "Type the number", do: cancel}
	w.runCtx(ctx, strings.Fields("drop orders --apply --why x")...).exits(t, 130, "interrupted; nothing was changed")
	w.err = nil
	// While the input is awaited, and before anything is asked.
	for _, line := range []string{"import orders --why x", "publish orders"} {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		w.runCtx(ctx, strings.Fields(line)...).exits(t, 130, "interrupted")
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	for _, line := range asking {
		w.runCtx(ctx, strings.Fields(line)...).exits(t, 130)
	}
}

// closing is a pipe whose reader goes after so many bytes.
type closing struct{ left int }

func (c *closing) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

// TestClosedPipe: a reader that has enough ends a command, which says nothing.
func TestClosedPipe(t *testing.T) {
	t.Parallel()
	w := newWorld(t).seed()
	for i := range 2000 {
		w.do("xadd", "big", fmt.Sprintf("%d-1", i+1), "n", i)
	}
	for _, line := range []string{"export big", "peek big --from begin", "peek big --from begin -o json", "ls", "ls -w 10ms -o ndjson", "check", "dead list orders", "redrive orders"} {
		w.out = &closing{100}
		got := w.run(strings.Fields(line)...)
		got.exits(t, 0)
		if strings.Contains(got.err, "millrace: ") {
			t.Errorf("it complains:\n%s", got.err)
		}
	}
	w.out = &closing{100}
	w.err = &seeing{text: "Waiting", do: func() {
		go func() {
			for w.client.XAdd(context.Background(), &redis.XAddArgs{Stream: "big", Values: []string{"n", "1"}}).Err() == nil {
				time.Sleep(5 * time.Millisecond)
			}
		}()
	}}
	w.run("tail", "big").exits(t, 0)
}
