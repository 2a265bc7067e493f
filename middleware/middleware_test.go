package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/stream"
)

func TestRecover(t *testing.T) {
	t.Parallel()
	err := middleware.Recover()(func(context.Context, *stream.Entry) error { panic(errBroken) })(t.Context(), entry())
	var panicked *stream.PanicError
	if !errors.As(err, &panicked) || !errors.Is(err, errBroken) || !strings.Contains(string(panicked.Stack), "TestRecover") {
		t.Errorf("got %v", err)
	}
	next, _ := failing(errBroken)
	if err := middleware.Recover()(next)(t.Context(), entry()); !errors.Is(err, errBroken) || errors.As(err, &panicked) {
		t.Errorf("an ordinary error became %v", err)
	}
}

// Inside of Retry, Recover makes a panic worth another attempt.
func TestRecoverInsideRetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		next := func(context.Context, *stream.Entry) error {
			if calls++; calls < 3 {
				panic("not yet")
			}
			return nil
		}
		err := middleware.Retry(middleware.RetryConfig{})(middleware.Recover()(next))(t.Context(), entry())
		if err != nil || calls != 3 {
			t.Errorf("got %v after %d attempts", err, calls)
		}
	})
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	heeds := func(ctx context.Context, _ *stream.Entry) error {
		<-ctx.Done()
		return fmt.Errorf("query: %w", ctx.Err())
	}
	ignores := func(context.Context, *stream.Entry) error { time.Sleep(time.Hour); return nil }
	own := func(context.Context, *stream.Entry) error { return context.DeadlineExceeded }
	for _, test := range []struct {
		name    string
		timeout time.Duration
		next    stream.EntryHandler
		takes   time.Duration
		says    string
	}{
		{"a handler that heeds it", time.Minute, heeds, time.Minute, "the handler took longer than 1m0s: query: context deadline exceeded"},
		{"a handler that ignores it", time.Minute, ignores, time.Hour, ""},
		{"no limit", 0, ignores, time.Hour, ""},
		{"a negative limit is none", -time.Second, ignores, time.Hour, ""},
		{"a deadline that is not ours", time.Minute, own, 0, "context deadline exceeded"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				err := middleware.Timeout(test.timeout)(test.next)(t.Context(), entry())
				got := ""
				if err != nil {
					got = err.Error()
				}
				if got != test.says || time.Since(begun) != test.takes {
					t.Errorf("got %q after %v, want %q after %v", got, time.Since(begun), test.says, test.takes)
				}
			})
		})
	}
	t.Run("a stop is not a timeout", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := middleware.Timeout(time.Minute)(heeds)(ctx, entry())
			if err == nil || strings.Contains(err.Error(), "took longer") {
				t.Errorf("got %v", err)
			}
		})
	})
}

func TestDeadLetterTakes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		config   middleware.DeadLetterConfig
		failure  error
		takes    bool
		attempts int64
	}{
		{"nothing", middleware.DeadLetterConfig{}, nil, false, 0},
		{"an ordinary error", middleware.DeadLetterConfig{}, errBroken, false, 0},
		{"what Retry gave up", middleware.DeadLetterConfig{}, &middleware.RetryError{Attempts: 5, Err: errBroken}, true, 5},
		{"a permanent error", middleware.DeadLetterConfig{}, stream.Permanent(errBroken), true, 1},
		{"a decode error", middleware.DeadLetterConfig{}, &stream.DecodeError{Err: errBroken}, true, 1},
		{"a skip", middleware.DeadLetterConfig{If: func(error) bool { return true }}, stream.Skip("x"), false, 0},
		{"what its config says", middleware.DeadLetterConfig{If: func(error) bool { return true }}, errBroken, true, 1},
		{"only what its config says", middleware.DeadLetterConfig{If: func(error) bool { return false }}, stream.Permanent(errBroken), false, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			config := test.config
			config.Stream, config.Client = "far", redis.UniversalClient(nil)
			err := middleware.DeadLetter(config)(func(context.Context, *stream.Entry) error { return test.failure })(t.Context(), entry())
			var dead *stream.DeadLetterError
			if taken := errors.As(err, &dead); taken != test.takes {
				t.Fatalf("got %v", err)
			}
			if !errors.Is(err, test.failure) {
				t.Errorf("%v does not wrap the failure", err)
			}
			if test.takes && (dead.Stream != "far" || dead.Attempts != test.attempts) {
				t.Errorf("got %+v", dead)
			}
		})
	}
}

func TestDeadLetterLeavesWhatIsDecided(t *testing.T) {
	t.Parallel()
	decided := &stream.DeadLetterError{Stream: "elsewhere", Err: errBroken}
	err := middleware.DeadLetter(middleware.DeadLetterConfig{})(func(context.Context, *stream.Entry) error { return decided })(t.Context(), entry())
	if err != error(decided) { //nolint:errorlint // the very same, not a wrapped one
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = middleware.DeadLetter(middleware.DeadLetterConfig{})(func(context.Context, *stream.Entry) error { return stream.Permanent(errBroken) })(ctx, entry())
	var dead *stream.DeadLetterError
	if errors.As(err, &dead) {
		t.Errorf("a stop made a dead letter: %v", err)
	}
}

func TestLoggingLevels(t *testing.T) {
	t.Parallel()
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		ctx   context.Context //nolint:containedctx // a row of a table
		err   error
		want  string
		extra string
	}{
		{t.Context(), nil, `level=DEBUG msg="entry handled"`, ""},
		{t.Context(), errBroken, `level=DEBUG msg="entry failed"`, "err=broken"},
		{t.Context(), &stream.DecodeError{Stream: "orders", ID: "1-0", Err: errBroken}, `level=WARN msg="entry not decoded"`, "broken"},
		{t.Context(), stream.Skip("no concern"), `level=INFO msg="entry skipped"`, "no concern"},
		{stopped, errBroken, `level=INFO msg="entry interrupted"`, "broken"},
		{stopped, &stream.DeadLetterError{Err: errBroken}, `level=INFO msg="entry interrupted"`, "broken"},
		{stopped, stream.Skip("no concern"), `level=INFO msg="entry skipped"`, "no concern"},
		{stopped, nil, `level=DEBUG msg="entry handled"`, ""},
	} {
		var out bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		err := middleware.Logging(logger)(func(context.Context, *stream.Entry) error { return test.err })(test.ctx, entry())
		if !errors.Is(err, test.err) {
			t.Errorf("Logging changed %v to %v", test.err, err)
		}
		line := out.String()
		for _, want := range []string{test.want, "stream=orders", "entry_id=1-0", "attempt=1", "duration=", test.extra} {
			if !strings.Contains(line, want) {
				t.Errorf("%q is not in the line %s", want, line)
			}
		}
		if strings.Contains(line, "s3cr3t") || strings.Count(line, "\n") != 1 {
			t.Errorf("the line is %s", line)
		}
	}
}

// A dead letter is logged by the engine, once it is written.
func TestLoggingLeavesDeadLettersToTheEngine(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	dead := &stream.DeadLetterError{Err: errBroken}
	err := middleware.Logging(logger)(func(context.Context, *stream.Entry) error { return dead })(t.Context(), entry())
	if !errors.Is(err, dead) || out.Len() > 0 {
		t.Errorf("got %v, and the log has %s", err, out.String())
	}
}

// An If that panics decides nothing, and the error tells of it.
func TestAnIfThatPanics(t *testing.T) {
	t.Parallel()
	ask := func(error) bool { panic("no answer") }
	for _, test := range []struct {
		err   error
		taken bool
	}{{errBroken, false}, {stream.Permanent(errBroken), true}} {
		err := middleware.DeadLetter(middleware.DeadLetterConfig{If: ask})(func(context.Context, *stream.Entry) error { return test.err })(t.Context(), entry())
		var dead *stream.DeadLetterError
		if errors.As(err, &dead) != test.taken || !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "no answer") {
			t.Errorf("DeadLetter made %v of %v", err, test.err)
		}
	}
	calls := 0
	config := middleware.RetryConfig{If: ask, Attempts: 2, Backoff: stream.Backoff{Min: time.Nanosecond, Max: time.Nanosecond}}
	err := middleware.Retry(config)(func(context.Context, *stream.Entry) error { calls++; return errBroken })(t.Context(), entry())
	if calls != 2 || !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("Retry made %v, after %d calls", err, calls)
	}
}

func TestLoggingWithoutALogger(t *testing.T) {
	t.Parallel()
	next, _ := failing()
	if err := middleware.Logging(nil)(next)(t.Context(), entry()); err != nil {
		t.Error(err)
	}
}
