package stream_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// Two consumers, one of each kind, the group's with entries that fail at first,
// work through a stream that is trimmed all the time.
func TestTrimmerLosesNothing(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendfsync", "no").Client()
	const entries, round = 10_000, 1000
	newCount := func() (handle stream.Handler[order], complete func(n int) bool) {
		var mu sync.Mutex
		seen := map[string]int{}
		return func(_ context.Context, msg *stream.Message[order]) error {
				mu.Lock()
				defer mu.Unlock()
				if seen[msg.Value.ID]++; msg.Deliveries == 1 && strings.HasSuffix(msg.Value.ID, "77") {
					seen[msg.Value.ID]--
					return io.ErrUnexpectedEOF
				}
				return nil
			}, func(n int) bool {
				mu.Lock()
				defer mu.Unlock()
				for i := 1; i <= n; i++ {
					if seen[fmt.Sprint(i)] == 0 {
						return false
					}
				}
				return true
			}
	}
	logHandle, logComplete := newCount()
	groupHandle, groupComplete := newCount()
	options := []stream.Option{stream.WithReadCount(50), stream.WithCheckpoint(20, 20*time.Millisecond), stream.WithBackoff(stream.Backoff{Min: time.Millisecond, Max: 2 * time.Millisecond})}
	var mu sync.Mutex
	var trimmed, longest int64
	var losses []stream.TrimLoss
	var out logs
	trimmer := newTrimmer(t, client, stream.WithTrimInterval(2*time.Millisecond), stream.WithLogger(out.Logger()), stream.WithTrimReport(func(result stream.TrimResult) {
		mu.Lock()
		defer mu.Unlock()
		trimmed += result.Trimmed
		longest = max(longest, result.Remaining)
		losses = append(losses, result.Losses...)
	}))
	makeGroup(t, client, "billing", "0") // that of newGroup, before the first entry is trimmed
	var all stream.Runner
	all.Add(
		newConsumer(t, client, newMirror(t, client, &offset.Memory{}), logHandle, options...),
		newGroup(t, client, groupHandle, append(options, stream.WithConcurrency(8))...),
		trimmer,
	)
	stop := start(t, &all)
	streamtest.Await(t, "the log consumer is shown", func() bool { return shown(t, client, orders.Name) != "" })
	for from := 0; from < entries; from += round {
		pipe := client.Pipeline()
		for i := from + 1; i <= from+round; i++ {
			pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, Values: []string{"id", fmt.Sprint(i), "amount", "1"}})
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		streamtest.Await(t, fmt.Sprintf("all up to %d are handled", from+round), func() bool { return logComplete(from+round) && groupComplete(from+round) })
		streamtest.Await(t, "all but one are trimmed", func() bool { return client.XLen(t.Context(), orders.Name).Val() == 1 })
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if trimmed != entries-1 || longest > round+1 || losses != nil {
		t.Errorf("%d were trimmed, the stream was as long as %d, losses are %v", trimmed, longest, losses)
	}
	if lines := out.lines("stream trimmed"); len(lines) == 0 || len(lines) > 3 {
		t.Errorf("the log says %d times that the stream was trimmed:\n%s", len(lines), out.String())
	}
}

func TestTrimmerOutlastsARestart(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	client := server.Client()
	addUpTo(t, client, 9)
	makeGroup(t, client, "billing", "5-0")
	var out logs
	stop := start(t, newTrimmer(t, client, stream.WithTrimInterval(time.Millisecond), stream.WithHardMaxLen(100), stream.WithLogger(out.Logger())))
	streamtest.Await(t, "it has trimmed", func() bool { return client.XLen(t.Context(), orders.Name).Val() == 5 })
	server.Kill()
	streamtest.Await(t, "it has noticed", func() bool { return len(out.lines("trimming failed")) > 0 })
	server.Start()
	if err := client.XGroupSetID(t.Context(), orders.Name, "billing", "8-0").Err(); err != nil {
		t.Fatal(err)
	}
	streamtest.Await(t, "it trims again", func() bool { return client.XLen(t.Context(), orders.Name).Val() == 2 })
	if err := stop(); err != nil {
		t.Error(err)
	}
	if failed, works := out.lines("trimming failed"), out.lines("trimming works again"); len(failed) != 1 || len(works) != 1 {
		t.Errorf("the log is\n%s", out.String())
	}
}

func TestTrimmerEndsWithWhatNoWaitingCanMend(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t, "--user", "limited", "on", ">any", "~orders", "-@all", "+eval", "+evalsha")
	client := server.Client()
	client.Set(t.Context(), orders.Name, "x", 0)
	limited := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "limited", Password: "any", DisableIdentity: true, Protocol: 2})
	defer func() { _ = limited.Close() }()
	for want, trimmer := range map[string]*stream.Trimmer{
		"check the topic's name": newTrimmer(t, client),
		"grant it":               newTrimmer(t, limited),
		"correct or remove it":   newTrimmer(t, client, stream.WithOffsets(constStore{err: offset.ErrCorrupt}, "a")),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := trimmer.Run(ctx); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), orders.Name) {
			t.Errorf("Run returned %v, want %q", err, want)
		}
	}
	if err := newTrimmer(t, client).Run(nil); err == nil { //nolint:staticcheck // the mistake is what is tested
		t.Error("no context was accepted")
	}
	if name := newTrimmer(t, client).String(); name != "trimmer of orders" {
		t.Error(name)
	}
}

// scripted is a client's hook that answers in place of the server's script.
type scripted struct {
	inert
	reply func() ([]any, error)
}

func (s scripted) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		reply, err := s.reply()
		if err == nil {
			cmd.(interface{ SetVal(any) }).SetVal(reply)
		}
		cmd.SetErr(err)
		return err
	}
}

// runScripted runs a trimmer for a time that passes at once, with those answers.
func runScripted(t *testing.T, d time.Duration, reply func() ([]any, error), opts ...stream.TrimmerOption) *logs {
	t.Helper()
	var out logs
	synctest.Test(t, func(t *testing.T) {
		client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
		defer func() { _ = client.Close() }()
		client.AddHook(scripted{reply: reply})
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		if err := newTrimmer(t, client, append(opts, stream.WithLogger(out.Logger()))...).Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return &out
}

func replyOf(trimmed, capped, remaining int64, floor string, positions ...any) []any {
	return []any{trimmed, capped, remaining, int64(0), floor, positions}
}

func TestTrimmerTellsOfLossesWithoutAFlood(t *testing.T) {
	t.Parallel()
	n := 0
	out := runScripted(t, 100500*time.Millisecond, func() ([]any, error) {
		n++
		return replyOf(3, 2, 10, "1-0", []any{"group", "billing", "1-0", "passed", int64(2), fmt.Sprintf("%d-0", n), fmt.Sprintf("%d-5", n)}), nil
	}, stream.WithTrimInterval(time.Second), stream.WithHardMaxLen(5))
	// At once, after 30, 60 and 90 seconds, and the rest at the end, after 101 trims.
	lost := out.lines("level=ERROR", "entries lost", "group=billing", "stream=orders")
	if len(lost) != 5 || !strings.Contains(lost[0], "entries=2 from=1-0 to=1-5") || !strings.Contains(lost[1], "entries=60 from=2-0 to=31-5") || !strings.Contains(lost[4], "to=101-5") {
		t.Errorf("got\n%s", strings.Join(lost, ""))
	}
	trimmed := out.lines("level=INFO", "stream trimmed", "remaining=10")
	if len(trimmed) != 5 || !strings.Contains(trimmed[1], "entries=90") {
		t.Errorf("got\n%s", strings.Join(trimmed, ""))
	}
}

func TestTrimmerWarnsOfWhoHoldsBack(t *testing.T) {
	t.Parallel()
	for state, advice := range map[string]string{"pending": "is pending", "passed": "was passed", "missing": "no offset", "ahead": "beyond the end"} {
		out := runScripted(t, 16*time.Minute, func() ([]any, error) {
			return replyOf(0, 0, 10, "4-0",
				[]any{"label", "fast", "9-0", "passed", int64(0), "", ""},
				[]any{"group", stream.PositionGroup("mail"), "4-0", state, int64(0), "", ""}), nil
		}, stream.WithHeldWarning(5*time.Minute))
		if held := out.lines("level=WARN", "held back", "label=mail", "entry_id=4-0", "remaining=10", advice); len(held) != 3 || len(out.lines("level=WARN")) != 3 {
			t.Errorf("%s: the log is\n%s", state, out.String())
		}
	}
	// One that moves, and one that has nothing behind it, hold back nobody.
	n := 0
	moving := runScripted(t, time.Hour, func() ([]any, error) {
		n++
		return replyOf(0, 0, 10, "4-0", []any{"group", "g", fmt.Sprintf("%d-0", n), "passed", int64(0), "", ""}), nil
	})
	idle := runScripted(t, time.Hour, func() ([]any, error) {
		return replyOf(0, 0, 1, "4-0", []any{"group", "g", "4-0", "passed", int64(0), "", ""}), nil
	})
	if moving.String()+idle.String() != "" {
		t.Errorf("the log is\n%s%s", moving, idle)
	}
}

func TestTrimmerSaysThatNobodyIsKnown(t *testing.T) {
	t.Parallel()
	out := runScripted(t, 25*time.Minute, func() ([]any, error) { return replyOf(0, 0, 10, ""), nil })
	if lines := out.lines("level=WARN", "is not trimmed", "no group"); len(lines) != 3 || strings.Count(out.String(), "\n") != 3 {
		t.Errorf("the log is\n%s", out.String())
	}
}

func TestTrimmerOutageIsNoFlood(t *testing.T) {
	t.Parallel()
	calls := 0
	out := runScripted(t, 5*time.Minute, func() ([]any, error) {
		calls++
		if calls > 400 {
			return replyOf(0, 0, 0, ""), nil
		}
		return nil, io.EOF
	}, stream.WithTrimInterval(time.Minute), stream.WithHardMaxLen(5))
	failed := out.lines("level=WARN", "trimming failed", "no result reports")
	if len(failed) < 4 || len(failed) > 8 || len(out.lines("works again")) != 1 {
		t.Errorf("the log is\n%s", out.String())
	}
	// Without a limit nothing can be lost.
	out = runScripted(t, time.Minute, func() ([]any, error) { return nil, io.EOF })
	if len(out.lines("no result reports")) > 0 {
		t.Errorf("the log is\n%s", out.String())
	}
}

// A lost reply is not asked for again by the client: the second run would find
// nothing to do, and the loss would be in no report.
func TestTrimIsSentOnce(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	direct := server.Client()
	addUpTo(t, direct, 9)
	makeGroup(t, direct, "billing", "0")
	p := startFates(t, server)
	client := p.client(t, redis.Options{MaxRetries: 3})
	trimmer := newTrimmer(t, client, stream.WithHardMaxLen(7))
	if result, err := trimmer.Trim(t.Context()); err != nil || result.Capped != 2 {
		t.Fatalf("%+v, %v", result, err)
	}
	addIDs(t, direct, "10-0", "11-0")
	p.next(scripts, lose, deliver)
	result, err := trimmer.Trim(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no result reports") || result.Trimmed != 0 || p.left() != 1 {
		t.Errorf("%+v, %v, and %d fates are left", result, err, p.left())
	}
	wantIDs(t, direct, "5-0", "6-0", "7-0", "8-0", "9-0", "10-0", "11-0")
}
