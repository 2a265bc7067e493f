package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/admin"
	"millrace/stream/cmd/millrace/internal/app"
	"millrace/stream/streamtest"
)

var update = flag.Bool("update", false, "write the golden files")

// now is the time of all worlds, of the server and of the program.
var now = time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)

// ms is the ID's part of a time that is so long ago.
func ms(ago time.Duration) int64 { return now.Add(-ago).UnixMilli() }

// world is a server, and a program that looks at it.
type world struct {
	t      testing.TB
	server *streamtest.Redis
	client *redis.Client
	env    map[string]string
	in     io.Reader
	// columns is the width of the terminal; 0 is none.
	columns int
	ask     bool // the input is a terminal
	hooks   []redis.Hook
	now     func() time.Time
	// out and err get a copy of the output.
	out, err io.Writer
}

func newWorld(t testing.TB, args ...string) *world {
	t.Helper()
	w := &world{t: t, server: streamtest.StartRedis(t, args...), in: strings.NewReader("")}
	w.client = w.server.Client()
	w.env = map[string]string{"MILLRACE_URL": "redis://" + w.server.Addr, "USER": "ada", "XDG_CONFIG_HOME": t.TempDir()}
	w.hooks = []redis.Hook{clock{}}
	w.now = func() time.Time { return now }
	return w
}

// app returns the program, with the given outputs.
func (w *world) app(out, err io.Writer) *app.App {
	return &app.App{
		In: w.in, Out: out, Err: err, Env: func(name string) string { return w.env[name] },
		Now: w.now, Version: "v1.14.2", Hooks: w.hooks,
		Terminal: app.Terminal{
			In: w.ask, Out: w.columns > 0, Err: w.columns > 0,
			Size: func() (int, int, error) { return w.columns, 24, nil },
		},
	}
}

// ran is a run with its output.
type ran struct {
	args     []string
	out, err string
	code     int
}

// run runs the program.
func (w *world) run(args ...string) ran {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return w.runCtx(ctx, args...)
}

func (w *world) runCtx(ctx context.Context, args ...string) ran {
	var out, err locked
	code := w.app(both(&out, w.out), both(&err, w.err)).Run(ctx, args)
	return ran{args, w.plain(out.String()), w.plain(err.String()), code}
}

func both(all *locked, also io.Writer) io.Writer {
	if also == nil {
		return all
	}
	return io.MultiWriter(all, also)
}

// seeing is a writer that calls do once, when a text has been written.
type seeing struct {
	text string
	do   func()
	seen strings.Builder
}

func (s *seeing) Write(p []byte) (int, error) {
	s.seen.Write(p)
	if s.do != nil && strings.Contains(s.seen.String(), s.text) {
		s.do()
		s.do = nil
	}
	return len(p), nil
}

// plain returns a text with a fixed address of the server.
func (w *world) plain(text string) string {
	if w.server == nil {
		return text
	}
	return strings.ReplaceAll(text, w.server.Addr, "127.0.0.1:6379")
}

// String is the run as the golden files have it.
func (r ran) String() string {
	var b strings.Builder
	b.WriteString("$ millrace")
	for _, arg := range r.args {
		if strings.ContainsAny(arg, " *'\"{}") {
			arg = "'" + arg + "'"
		}
		b.WriteString(" " + arg)
	}
	fmt.Fprintf(&b, "\n%s", r.out)
	if r.err != "" {
		fmt.Fprintf(&b, "[stderr]\n%s", r.err)
	}
	fmt.Fprintf(&b, "[exit %d]\n", r.code)
	return b.String()
}

// exits fails the test if a run has not ended with the code, and said all the texts.
func (r ran) exits(t testing.TB, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d:\n%s", r.code, code, r)
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.err, text) {
			t.Errorf("it does not say %q:\n%s", text, r)
		}
	}
}

// golden compares a text with that of a file.
func golden(t testing.TB, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s is not as before; go test -update writes it. It was:\n%s\nand it is:\n%s", path, want, got)
	}
}

// locked is a buffer for several goroutines.
type locked struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// clock is a hook that answers for the server's clock: it is always now there, and consumers
// and pending entries are idle for a fixed time.
type clock struct{}

func (clock) DialHook(next redis.DialHook) redis.DialHook { return next }

func (clock) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		freeze(cmd)
		return err
	}
}

func (clock) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			freeze(cmd)
		}
		return err
	}
}

func freeze(cmd redis.Cmder) {
	if cmd.Err() != nil {
		return
	}
	switch cmd := cmd.(type) {
	case *redis.TimeCmd:
		cmd.SetVal(now)
	case *redis.XPendingExtCmd:
		pending := cmd.Val()
		for i := range pending {
			pending[i].Idle = 4*time.Minute + 12*time.Second
		}
	case *redis.XInfoConsumersCmd:
		consumers := cmd.Val()
		for i := range consumers {
			consumers[i].Idle, consumers[i].Inactive = 200*time.Millisecond, -1
			if strings.Contains(consumers[i].Name, "dead") {
				consumers[i].Idle = 2 * time.Hour
			}
		}
	}
}

// before is a hook that calls do before each command of a name, until do reports that it is done.
type before struct {
	command string
	do      func() (done bool)
	mu      sync.Mutex
	done    bool
}

func (b *before) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b *before) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == b.command {
			b.mu.Lock()
			b.done = b.done || b.do()
			b.mu.Unlock()
		}
		return next(ctx, cmd)
	}
}

func (b *before) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// on has do called before each command of a name that the program sends, until do reports that it
// is done. It is not the test's goroutine that calls it.
func (w *world) on(command string, do func() (done bool)) {
	w.hooks = []redis.Hook{clock{}, &before{command: command, do: do}}
}

// do sends a command to the server.
func (w *world) do(args ...any) any {
	w.t.Helper()
	reply, err := w.client.Do(context.Background(), args...).Result()
	if err != nil {
		w.t.Fatalf("%v: %v", args, err)
	}
	return reply
}

// record returns a record of an agent.
func (w *world) record(value any) string {
	w.t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// present writes the record of a process, as its agent does.
func (w *world) present(id string, consumers ...admin.ConsumerPresence) {
	w.t.Helper()
	w.do("set", "{millrace}:process:"+id, w.record(admin.Presence{
		Host: id, PID: 4711, Version: "v1.14.2", Started: admin.MillisOf(now.Add(-time.Hour)), Renewed: admin.MillisOf(now), Consumers: consumers,
	}))
	w.do("hset", "{millrace}:processes", id, now.UnixMilli())
}

// letter writes a dead letter of orders.
func (w *world) letter(id, reader, entry, cause string, redrives int) {
	w.t.Helper()
	kind, name, _ := strings.Cut(reader, ":")
	args := []any{"xadd", "{orders}:dead", id, "user_id", "42", "cents", "secret"}
	if redrives > 0 {
		args = append(args, stream.HeaderFor, reader, stream.HeaderOriginID, entry, stream.HeaderRedrives, redrives)
	}
	at := admin.TimeOf(id).UTC().Format(time.RFC3339Nano)
	w.do(append(args, stream.DeadLetterOrigin, "orders", stream.DeadLetterID, entry, "millrace."+kind, name,
		stream.DeadLetterAttempts, 3, stream.DeadLetterCause, cause, stream.DeadLetterTime, at)...)
}

// seed fills the server: orders with two groups and a label, payments that is paused,
// invoices whose group has no consumer, and refunds that nobody reads.
func (w *world) seed() *world {
	w.t.Helper()
	for i := range 6 {
		args := []any{"xadd", "orders", fmt.Sprintf("%d-0", ms(time.Hour)+int64(i)*60_000), "user_id", 40 + i, "cents", 900}
		if i == 5 {
			args = append(args, "traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
		}
		w.do(args...)
	}
	w.do("xgroup", "create", "orders", "billing", "0")
	w.do("xgroup", "create", "orders", "mail", "$")
	w.do("xgroup", "createconsumer", "orders", "mail", "mail-1")
	w.do("xreadgroup", "group", "billing", "web-1", "count", 2, "streams", "orders", ">")
	w.do("xreadgroup", "group", "billing", "web-0:99 (dead)", "count", 1, "streams", "orders", ">")
	w.do("xadd", "invoices", fmt.Sprintf("%d-0", ms(time.Minute)), "id", 1)
	w.do("xadd", "invoices", fmt.Sprintf("%d-1", ms(time.Minute)), "id", 2)
	w.do("xgroup", "create", "invoices", "archive", "$")
	w.do("hset", "millrace:offsets", "search", fmt.Sprintf("%d-0", ms(time.Hour)+4*60_000))
	w.do("hset", "{millrace}:topics",
		"orders", w.record(admin.Registered{Readers: []string{"group:billing", "group:mail", "label:search"}, Seen: admin.MillisOf(now)}),
		"payments", w.record(admin.Registered{Readers: []string{"group:ledger"}, Seen: admin.MillisOf(now)}),
		"invoices", w.record(admin.Registered{Readers: []string{"group:archive"}, Seen: admin.MillisOf(now)}),
		"refunds", w.record(admin.Registered{Seen: admin.MillisOf(now)}))
	w.present("web-1", admin.ConsumerPresence{Stream: "orders", Group: "billing", Consumer: "web-1", Live: true, Ready: true, Handled: 12_345, Failed: 31},
		admin.ConsumerPresence{Stream: "payments", Group: "ledger", Consumer: "ledger-1", Live: true, Ready: true, PausedUntil: admin.MillisOf(now.Add(2*time.Hour + 30*time.Minute))})
	w.do("xadd", "payments", fmt.Sprintf("%d-0", ms(0)), "id", 1)
	w.do("xgroup", "create", "payments", "ledger", "$")
	w.do("xgroup", "createconsumer", "payments", "ledger", "ledger-1")
	w.do("hset", "{millrace}:control", "payments group:ledger", w.record(admin.Control{Paused: &admin.Pause{
		By: "ada", Why: "bad deploy", Since: admin.MillisOf(now), Until: admin.MillisOf(now.Add(2*time.Hour + 30*time.Minute)),
	}}))
	w.do("xadd", "refunds", fmt.Sprintf("%d-0", ms(48*time.Hour)), "id", 1)
	for i := range 4 {
		w.letter(fmt.Sprintf("%d-%d", ms(30*time.Minute), i), "group:billing", fmt.Sprintf("%d-0", ms(time.Hour)-int64(i)), fmt.Sprintf("handler: dial tcp 10.0.0.%d:5432: connection refused", i), 0)
	}
	w.letter(fmt.Sprintf("%d-0", ms(20*time.Minute)), "group:billing", "1-0", `field "cents" is not a number`, 3)
	w.letter(fmt.Sprintf("%d-0", ms(26*time.Hour)+26*3600_000-600_000), "label:search", "2-0", "panic: nil map", 0)
	return w
}
