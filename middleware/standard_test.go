package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// byHand is the list that the documentation of Standard shows.
func byHand(logger *slog.Logger) []stream.Middleware {
	return []stream.Middleware{
		middleware.Logging(logger),
		middleware.DeadLetter(middleware.DeadLetterConfig{}),
		middleware.Retry(middleware.RetryConfig{}),
		middleware.Breaker(middleware.BreakerConfig{Logger: logger}),
	}
}

func standard(logger *slog.Logger) []stream.Middleware {
	return []stream.Middleware{middleware.Standard(logger)}
}

func debugLogger(out *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func addPayments(t *testing.T, client redis.UniversalClient, ids ...string) {
	t.Helper()
	for i, id := range ids {
		entryID := fmt.Sprintf("%d-0", i+1)
		if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "payments", ID: entryID, Values: []string{"id", id}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// deadPayments returns the payment, the attempts and the error of each dead letter.
func deadPayments(t *testing.T, client redis.UniversalClient) []string {
	t.Helper()
	letters, err := client.XRange(t.Context(), stream.DeadLetterStream("payments"), "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	var dead []string
	for _, letter := range letters {
		dead = append(dead, fmt.Sprintf("%s, %s: %s", letter.Values["id"], letter.Values[stream.DeadLetterAttempts], letter.Values[stream.DeadLetterCause]))
	}
	return dead
}

// runPayments consumes in log mode for the given time.
func runPayments(t *testing.T, client redis.UniversalClient, logger *slog.Logger, stack []stream.Middleware, during time.Duration, handle stream.Handler[payment]) {
	t.Helper()
	consumer, err := stream.NewConsumer(client, stream.Topic[payment]{Name: "payments"}, &offset.Memory{}, handle,
		stream.WithLogger(logger), stream.WithMiddleware(stack...))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), during)
	defer cancel()
	if err := consumer.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// The stack and the list make the same of each kind of outcome: calls of the handler,
// dead letters, and lines in the log.
func TestStandardIsTheList(t *testing.T) {
	t.Parallel()
	varies := regexp.MustCompile(`(time|duration|lasted)=\S+|goroutine .*|0x[0-9a-f]+`)
	outcome := func(stack func(*slog.Logger) []stream.Middleware) (calls map[string]int, dead []string, log string) {
		calls = make(map[string]int)
		streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
			addPayments(t, b.Client, "good", "flaky", "hopeless", "fine", "skipped", "permanent", "", "panics", "hopeless too", "last")
			var out bytes.Buffer
			logger := debugLogger(&out)
			runPayments(t, b.Client, logger, stack(logger), time.Minute, func(_ context.Context, msg *stream.Message[payment]) error {
				id := msg.Value.ID
				calls[id]++
				switch id {
				case "flaky":
					if calls[id] < 3 {
						return errors.New("not yet")
					}
				case "hopeless", "hopeless too":
					return errors.New("never")
				case "skipped":
					return stream.Skip("of no concern")
				case "permanent":
					return stream.Permanent(errors.New("refused"))
				case "panics":
					panic("a bug")
				}
				return nil
			})
			dead, log = deadPayments(t, b.Client), varies.ReplaceAllString(out.String(), "")
		})
		return calls, dead, log
	}
	calls, dead, log := outcome(standard)
	listCalls, listDead, listLog := outcome(byHand)
	if !maps.Equal(calls, listCalls) || !slices.Equal(dead, listDead) || log != listLog {
		t.Errorf("Standard: %v\n%q\n%s\nthe list: %v\n%q\n%s", calls, dead, log, listCalls, listDead, listLog)
	}
	want := map[string]int{"good": 1, "flaky": 3, "hopeless": 3, "fine": 1, "skipped": 1, "permanent": 1, "panics": 3, "hopeless too": 3, "last": 1}
	if !maps.Equal(calls, want) {
		t.Errorf("calls %v, want %v", calls, want)
	}
	for i, start := range []string{"hopeless, 3: ", "permanent, 1: refused", ", 1: ", "panics, 3: ", "hopeless too, 3: "} {
		if len(dead) != 5 || !strings.HasPrefix(dead[i], start) {
			t.Errorf("dead letters %q, want number %d to begin with %q", dead, i, start)
		}
	}
	// The attempts of one entry do not open the breaker; those of two in a row do.
	paused := strings.Index(log, "processing paused")
	if strings.Count(log, "processing paused") != 1 || strings.Count(log, "processing goes on") != 1 || paused < strings.Index(log, "entry_id=7-0") {
		t.Errorf("the breaker is to open once, after entry 7-0:\n%s", log)
	}
	for _, line := range []string{
		`level=DEBUG msg="entry handled" stream=payments entry_id=2-0 attempt=1`,
		`level=INFO msg="entry skipped" stream=payments entry_id=5-0 attempt=1`,
	} {
		if strings.Count(log, line) != 1 {
			t.Errorf("%q is to be in the log once:\n%s", line, log)
		}
	}
}

// While a sink is away, entries wait in the breaker instead of becoming dead letters one
// after the other, as they would without it.
func TestStandardSparesEntriesWhileASinkIsAway(t *testing.T) {
	t.Parallel()
	const entries = 400
	deadOf := func(stack []stream.Middleware) (dead, handled int) {
		streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
			ids := make([]string, entries)
			for i := range ids {
				ids[i] = fmt.Sprint(i)
			}
			addPayments(t, b.Client, ids...)
			back := time.Now().Add(5 * time.Minute)
			runPayments(t, b.Client, slog.New(slog.DiscardHandler), stack, time.Hour, func(context.Context, *stream.Message[payment]) error {
				if time.Now().Before(back) {
					return errBroken
				}
				handled++
				return nil
			})
			dead = len(deadPayments(t, b.Client))
		})
		return dead, handled
	}
	discard := slog.New(slog.DiscardHandler)
	dead, handled := deadOf(standard(discard))
	if dead > 100 || dead+handled != entries {
		t.Errorf("%d dead letters and %d handled, want at most 100 of %d dead", dead, handled, entries)
	}
	if without, _ := deadOf(byHand(discard)[:3]); without < 360 {
		t.Errorf("%d dead letters without the breaker: the sentence in the documentation is not true", without)
	}
}

// Middleware after Standard sees each attempt, middleware before it each delivery.
func TestStandardBesideOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		counting := func(n *int) stream.Middleware {
			return func(next stream.EntryHandler) stream.EntryHandler {
				return func(ctx context.Context, entry *stream.Entry) error { *n++; return next(ctx, entry) }
			}
		}
		var deliveries, attempts int
		next, calls := failing(repeated(errBroken, 2)...)
		handler := counting(&deliveries)(middleware.Standard(slog.New(slog.DiscardHandler))(counting(&attempts)(next)))
		if err := handler(t.Context(), entry()); err != nil || deliveries != 1 || attempts != 3 || *calls != 3 {
			t.Errorf("%v after %d deliveries, %d attempts and %d calls", err, deliveries, attempts, *calls)
		}
	})
}

// One value serves many consumers, and the breaker of each is its own.
func TestStandardHasABreakerForEachConsumer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		both := middleware.Standard(slog.New(slog.DiscardHandler))
		broken := func(context.Context, *stream.Entry) error { return errBroken } // called by two at once
		sound, _ := failing()
		away, fine := both(broken), both(sound)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range 2 {
			go func() { _ = away(ctx, entry()) }() // six attempts: the last waits in the open breaker
		}
		time.Sleep(400 * time.Millisecond)
		begun := time.Now()
		if err := fine(ctx, entry()); err != nil || time.Since(begun) != 0 {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

// A nil logger is slog's default, as it is for Logging and Breaker.
func TestStandardWithoutALogger(t *testing.T) {
	t.Parallel()
	next, calls := failing()
	if err := middleware.Standard(nil)(next)(t.Context(), entry()); err != nil || *calls != 1 {
		t.Errorf("%v after %d calls", err, *calls)
	}
}
