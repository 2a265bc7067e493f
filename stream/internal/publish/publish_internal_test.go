package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
)

// server is a hook in place of a server: it answers each command with the next ID, or
// with what the test says.
type server struct {
	sent   [][]any // the arguments of the commands, as they are on the wire
	chunks []int
	answer func(n int) error // of the n-th command, counted from 0; may be nil
}

func (s *server) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *server) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error { return s.process(cmd) }
}

func (s *server) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(_ context.Context, cmds []redis.Cmder) error {
		s.chunks = append(s.chunks, len(cmds))
		var first error
		for _, cmd := range cmds {
			if err := s.process(cmd); err != nil && first == nil {
				first = err
			}
		}
		return first
	}
}

func (s *server) process(cmd redis.Cmder) error {
	var words []any
	for _, arg := range cmd.Args() {
		switch arg := arg.(type) {
		case *autoID:
			text, _ := arg.MarshalBinary()
			words = append(words, string(text))
		case *string:
			words = append(words, *arg)
		default:
			words = append(words, arg)
		}
	}
	n := len(s.sent)
	s.sent = append(s.sent, words)
	if s.answer != nil {
		if err := s.answer(n); err != nil {
			cmd.SetErr(err)
			return err
		}
	}
	cmd.(*command).SetVal(fmt.Sprintf("%d-0", n+1))
	return nil
}

func newPublisher(t *testing.T, s *server, settings Settings) *Publisher {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = client.Close() })
	client.AddHook(s)
	settings.Stream, settings.Keys, settings.KeyWindow = "orders", "{orders}:once:", time.Minute
	return New(client, settings)
}

func TestTheCommandOfAnEntry(t *testing.T) {
	t.Parallel()
	byHash, bySource := redis.NewScript(script.PublishOnce).Hash(), script.PublishOnce
	for name, test := range map[string]struct {
		entry   Entry
		headers []string
		rule    Retention
		answer  error // of the first command
		want    [][]any
	}{
		"plain":         {entry: Entry{Pairs: []string{"id", "a"}}, want: [][]any{{"xadd", "orders", "*", "id", "a"}}},
		"trimming":      {entry: Entry{Pairs: []string{"id", "a"}}, rule: Retention{MaxLen: 5}, want: [][]any{{"xadd", "orders", "maxlen", "~", int64(5), "*", "id", "a"}}},
		"with a header": {entry: Entry{Pairs: []string{"id", "a"}}, headers: []string{"tenant", "7"}, want: [][]any{{"xadd", "orders", "*", "id", "a", "tenant", "7"}}},
		"with a key":    {entry: Entry{Pairs: []string{"id", "a"}, Key: "k"}, rule: Retention{ExactMaxLen: 5}, want: [][]any{{"evalsha", byHash, 2, "orders", "{orders}:once:k", int64(60_000), "maxlen", "=", int64(5), "*", "id", "a"}}},
		"with a key, the script is not there": {entry: Entry{Pairs: []string{"id", "a"}, Key: "k"}, answer: resp.AnswerError("NOSCRIPT No matching script."), want: [][]any{
			{"evalsha", byHash, 2, "orders", "{orders}:once:k", int64(60_000), "*", "id", "a"},
			{"eval", bySource, 2, "orders", "{orders}:once:k", int64(60_000), "*", "id", "a"},
		}},
	} {
		s := &server{answer: func(n int) error {
			if n == 0 {
				return test.answer
			}
			return nil
		}}
		got := newPublisher(t, s, Settings{Retention: test.rule}).Publish(t.Context(), test.headers, test.entry)
		if want := (Outcome{Fate: Written, ID: fmt.Sprintf("%d-0", len(test.want))}); got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
		if !slices.EqualFunc(s.sent, test.want, slices.Equal) {
			t.Errorf("%s: sent %v, want %v", name, s.sent, test.want)
		}
	}
}

// What is known of an entry follows from how often its command was sent, and from the
// last answer.
func TestTheFateOfAnEntry(t *testing.T) {
	t.Parallel()
	refused := resp.AnswerError("OOM command not allowed")
	for name, test := range map[string]struct {
		command *command
		err     error
		want    Fate
	}{
		"never sent":                          {&command{sent: 0}, io.EOF, NotWritten},
		"no reply":                            {&command{sent: 1}, io.EOF, Unknown},
		"refused":                             {&command{sent: 1}, refused, NotWritten},
		"refused, sent again":                 {&command{sent: 2}, refused, NotWritten},
		"with a key, refused, sent again":     {&command{sent: 2, keyed: true}, refused, Unknown},
		"of a chunk, refused":                 {&command{sent: 1, piped: true}, refused, NotWritten},
		"of a chunk, redirected, and refused": {&command{sent: 2, piped: true}, refused, Unknown},
		"no reply and no error":               {&command{sent: 1}, nil, Unknown},
	} {
		got := newPublisher(t, &server{}, Settings{}).outcome(t.Context(), test.command, test.err)
		if got.Fate != test.want || got.ID != "" || got.Err == nil || test.err != nil && !errors.Is(got.Err, test.err) {
			t.Errorf("%s: got %+v, want the fate %d", name, got, test.want)
		}
	}
	expired, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	got := newPublisher(t, &server{}, Settings{}).outcome(expired, &command{sent: 1}, io.ErrUnexpectedEOF)
	if !errors.Is(got.Err, context.DeadlineExceeded) || !errors.Is(got.Err, io.ErrUnexpectedEOF) {
		t.Errorf("after the deadline: %v", got.Err)
	}
}

func TestChunks(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		count, bytes int
		headers      []string
		bad          func(i int) bool
		want         []int
	}{
		"none":             {count: 0},
		"one":              {count: 1, want: []int{1}},
		"many":             {count: 2500, want: []int{1000, 1000, 500}},
		"large":            {count: 6, bytes: 2 << 20, want: []int{2, 2, 2}},
		"large by header":  {count: 5, headers: []string{"h", strings.Repeat("x", 2<<20)}, want: []int{2, 2, 1}},
		"all bad":          {count: 2500, bad: func(int) bool { return true }},
		"half of them bad": {count: 2500, bad: func(i int) bool { return i%2 == 0 }, want: []int{1000, 250}},
	} {
		s := &server{}
		outcomes := make(map[int]Outcome)
		last := -1
		newPublisher(t, s, Settings{}).PublishAll(t.Context(), test.headers, test.count, func(i int) (Entry, bool) {
			return Entry{Pairs: []string{"id", strings.Repeat("x", test.bytes)}}, test.bad == nil || !test.bad(i)
		}, func(i int, outcome Outcome) {
			if i <= last {
				t.Errorf("%s: entry %d was told after %d", name, i, last)
			}
			outcomes[i], last = outcome, i
		})
		if !slices.Equal(s.chunks, test.want) {
			t.Errorf("%s: sent in chunks of %v, want %v", name, s.chunks, test.want)
		}
		for i := range test.count {
			outcome, told := outcomes[i]
			if bad := test.bad != nil && test.bad(i); told == bad || told && outcome.Fate != Written {
				t.Errorf("%s: of entry %d: %+v, %t", name, i, outcome, told)
			}
		}
	}
}

func TestAfterAFailedChunkNothingIsSent(t *testing.T) {
	t.Parallel()
	s := &server{answer: func(n int) error {
		if n == 1200 {
			return io.EOF
		}
		return nil
	}}
	fates := make(map[Fate]int)
	encoded := 0
	newPublisher(t, s, Settings{}).PublishAll(t.Context(), nil, 5000, func(int) (Entry, bool) {
		encoded++
		return Entry{Pairs: []string{"id", "a"}, Key: "k"}, true
	}, func(i int, outcome Outcome) {
		fates[outcome.Fate]++
		if outcome.Fate != Written && !errors.Is(outcome.Err, io.EOF) {
			t.Errorf("of entry %d: %+v", i, outcome)
		}
	})
	if fates[Written] != 1999 || fates[Unknown] != 1 || fates[NotSent] != 3000 || encoded != 2000 || len(s.chunks) != 2 {
		t.Errorf("the fates are %v, %d were encoded, %v sent", fates, encoded, s.chunks)
	}
	if s.sent[0][0] != "eval" || s.sent[1][0] != "evalsha" || s.sent[1000][0] != "eval" {
		t.Errorf("sent as %v, %v, %v", s.sent[0][0], s.sent[1][0], s.sent[1000][0])
	}
}

func TestWithoutAContextNothingIsSent(t *testing.T) {
	t.Parallel()
	s := &server{}
	p := newPublisher(t, s, Settings{})
	entry := Entry{Pairs: []string{"id", "a"}}
	if got := p.Publish(nil, nil, entry); got.Fate != NotWritten || got.Err == nil { //nolint:staticcheck // that is the test
		t.Errorf("got %+v", got)
	}
	fates := make(map[Fate]int)
	p.PublishAll(nil, nil, 1001, func(int) (Entry, bool) { return entry, true }, //nolint:staticcheck // that is the test
		func(_ int, outcome Outcome) { fates[outcome.Fate]++ })
	if fates[NotWritten] != 1000 || fates[NotSent] != 1 || len(s.sent) != 0 {
		t.Errorf("the fates are %v, sent %v", fates, s.sent)
	}
}
