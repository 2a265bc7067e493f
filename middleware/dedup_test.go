package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// secret is part of every event's key and is to appear nowhere.
const secret = "ada@example.org"

// event is an entry of the event with the given number.
func event(id string, number int) *stream.Entry {
	return &stream.Entry{Stream: "orders", ID: id, Deliveries: 1, Fields: codec.FieldsOf("event", fmt.Sprint(number))}
}

func eventKey(entry *stream.Entry) string {
	if number, _ := entry.Fields.Get("event"); number != "" {
		return secret + number
	}
	return ""
}

// dedupServer is a Redis in memory, whose time passes when told.
func dedupServer(t *testing.T) (*miniredis.Miniredis, *redis.Client) {
	t.Helper()
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	return server, client
}

// skipped returns the reason with which an entry was skipped, if it was.
func skipped(err error) string {
	var skip *stream.SkipError
	if errors.As(err, &skip) {
		return skip.Reason
	}
	return ""
}

// duplicate fails the test unless err says that an entry repeats the one with
// the given ID.
func duplicate(t *testing.T, err error, of string) {
	t.Helper()
	if got, want := skipped(err), "duplicate of entry "+of; got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func handled(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("got %v, want success", err)
	}
}

func TestDedupWithinTheWindow(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		config middleware.DedupConfig
		window time.Duration
	}{
		{"default", middleware.DedupConfig{}, 10 * time.Minute},
		{"negative is the default", middleware.DedupConfig{Window: -1, Lease: -1}, 10 * time.Minute},
		{"configured", middleware.DedupConfig{Window: 1500 * time.Millisecond}, 1500 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server, client := dedupServer(t)
			next, calls := failing()
			handle := middleware.Dedup(client, "billing", eventKey, test.config)(next)
			handled(t, handle(t.Context(), event("1-0", 1)))
			duplicate(t, handle(t.Context(), event("2-0", 1)), "1-0")
			handled(t, handle(t.Context(), event("3-0", 2)))
			server.FastForward(test.window - time.Millisecond)
			duplicate(t, handle(t.Context(), event("4-0", 1)), "1-0")
			if *calls != 2 {
				t.Errorf("%d were handled within the window, want 2", *calls)
			}
			server.FastForward(time.Millisecond)
			handled(t, handle(t.Context(), event("5-0", 1)))
			duplicate(t, handle(t.Context(), event("6-0", 1)), "5-0")
		})
	}
}

// Whatever it is that is not nil, the event does not count as handled: its
// outcome comes out as it went in, and the next entry with its key is handled.
func TestDedupCountsOnlySuccess(t *testing.T) {
	t.Parallel()
	_, client := dedupServer(t)
	for i, failure := range []error{
		errBroken,
		stream.Skip("no concern"),
		stream.Permanent(errBroken),
		&stream.DecodeError{Err: errBroken},
		&stream.DeadLetterError{Err: errBroken},
	} {
		next, calls := failing(failure, failure)
		handle := middleware.Dedup(client, "billing", eventKey, middleware.DedupConfig{})(next)
		for _, id := range []string{"1-0", "2-0"} { // a redelivery would have the same ID
			if err := handle(t.Context(), event(id, i)); err != failure { //nolint:errorlint // the very same
				t.Errorf("%v came out as %v", failure, err)
			}
		}
		handled(t, handle(t.Context(), event("1-0", i)))
		duplicate(t, handle(t.Context(), event("2-0", i)), "1-0")
		if *calls != 3 {
			t.Errorf("%v: handled %d times, want 3", failure, *calls)
		}
	}
}

func TestDedupReleasesAfterAPanic(t *testing.T) {
	t.Parallel()
	_, client := dedupServer(t)
	panics := true
	handle := middleware.Dedup(client, "billing", eventKey, middleware.DedupConfig{})(func(context.Context, *stream.Entry) error {
		if panics {
			panic(errBroken)
		}
		return nil
	})
	var panicked *stream.PanicError
	if err := handle(t.Context(), event("1-0", 1)); !errors.As(err, &panicked) || !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
	panics = false
	handled(t, handle(t.Context(), event("2-0", 1)))
}

// An entry that was handled, but not settled before a crash, is its own
// duplicate.
func TestDedupKnowsAnEntryAgain(t *testing.T) {
	t.Parallel()
	_, client := dedupServer(t)
	next, calls := failing()
	config := middleware.DedupConfig{}
	handled(t, middleware.Dedup(client, "billing", eventKey, config)(next)(t.Context(), event("1-0", 1)))
	restarted := middleware.Dedup(client, "billing", eventKey, config)(next)
	duplicate(t, restarted(t.Context(), event("1-0", 1)), "1-0")
	if *calls != 1 {
		t.Errorf("handled %d times", *calls)
	}
}

// inProcess starts the handling of an entry, and returns when it has begun; end
// makes it come to its end, and returns what came out.
func inProcess(t *testing.T, dedup stream.Middleware, entry *stream.Entry) (end func(error) error) {
	t.Helper()
	begun, outcome, out := make(chan struct{}), make(chan error), make(chan error)
	handle := dedup(func(context.Context, *stream.Entry) error {
		close(begun)
		return <-outcome
	})
	go func() { out <- handle(context.Background(), entry) }()
	<-begun
	return func(err error) error {
		outcome <- err
		return <-out
	}
}

// busy fails the test unless err is an ordinary error that names the entry.
func busy(t *testing.T, err error, with string) {
	t.Helper()
	var (
		permanent *stream.PermanentError
		dead      *stream.DeadLetterError
		decode    *stream.DecodeError
	)
	if err == nil || skipped(err) != "" || errors.As(err, &permanent) || errors.As(err, &dead) || errors.As(err, &decode) ||
		!strings.Contains(err.Error(), "entry "+with+" with the same key is being handled") {
		t.Errorf("got %v, want an ordinary error that names entry %s", err, with)
	}
}

func TestDedupHoldsTheTwinOfOneInProcess(t *testing.T) {
	t.Parallel()
	_, client := dedupServer(t)
	dedup := middleware.Dedup(client, "billing", eventKey, middleware.DedupConfig{})
	next, calls := failing()
	twin := dedup(next)

	end := inProcess(t, dedup, event("1-0", 1))
	busy(t, twin(t.Context(), event("2-0", 1)), "1-0")
	busy(t, twin(t.Context(), event("2-0", 1)), "1-0")
	handled(t, end(nil))
	duplicate(t, twin(t.Context(), event("2-0", 1)), "1-0")
	if *calls != 0 {
		t.Errorf("the twin was handled %d times", *calls)
	}

	end = inProcess(t, dedup, event("3-0", 2))
	busy(t, twin(t.Context(), event("4-0", 2)), "3-0")
	if err := end(errBroken); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
	handled(t, twin(t.Context(), event("4-0", 2)))
	duplicate(t, twin(t.Context(), event("3-0", 2)), "4-0")
}

// A crash while an entry is handled leaves its claim behind. The entry itself
// passes it, and its twin comes to its turn when the lease is over.
func TestDedupAfterACrashInProcess(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		lease, configured time.Duration
	}{{time.Minute, 0}, {time.Minute, -1}, {time.Hour, time.Hour}} {
		server, client := dedupServer(t)
		config := middleware.DedupConfig{Lease: test.configured}
		dedup := middleware.Dedup(client, "billing", eventKey, config)
		crashed := []func(error) error{inProcess(t, dedup, event("1-0", 1)), inProcess(t, dedup, event("3-0", 2))}
		next, _ := failing()
		restarted := middleware.Dedup(client, "billing", eventKey, config)(next)

		busy(t, restarted(t.Context(), event("2-0", 1)), "1-0")
		handled(t, restarted(t.Context(), event("1-0", 1)))
		duplicate(t, restarted(t.Context(), event("2-0", 1)), "1-0")

		server.FastForward(test.lease - time.Millisecond)
		busy(t, restarted(t.Context(), event("4-0", 2)), "3-0")
		server.FastForward(time.Millisecond)
		handled(t, restarted(t.Context(), event("4-0", 2)))
		duplicate(t, restarted(t.Context(), event("3-0", 2)), "4-0")

		for _, end := range crashed {
			_ = end(errBroken) // only so that no goroutine is left
		}
	}
}

// A delivery that has outlived its claim, because the lease was too short or
// the entry was given to another consumer, must not end the claim of another
// with its failure, nor a mark.
func TestDedupOfASlowDeliveryThatFails(t *testing.T) {
	t.Parallel()
	for _, other := range []string{"1-0", "2-0"} { // the same entry, and its twin
		server, client := dedupServer(t)
		dedup := middleware.Dedup(client, "billing", eventKey, middleware.DedupConfig{})
		next, _ := failing()
		third := dedup(next)

		slow := inProcess(t, dedup, event("1-0", 1))
		server.FastForward(time.Minute)
		second := inProcess(t, dedup, event(other, 1))
		_ = slow(errBroken)
		busy(t, third(t.Context(), event("3-0", 1)), other)
		handled(t, second(nil))
		duplicate(t, third(t.Context(), event("3-0", 1)), other)

		slow = inProcess(t, dedup, event("1-0", 2))
		server.FastForward(time.Minute)
		second = inProcess(t, dedup, event(other, 2))
		handled(t, second(nil))
		_ = slow(errBroken)
		duplicate(t, third(t.Context(), event("3-0", 2)), other)
	}
}

// What keeps two events apart: that they are handled both is the promise, that
// they could be taken for one another would be a loss.
func TestDedupKeepsApart(t *testing.T) {
	t.Parallel()
	_, client := dedupServer(t)
	for _, test := range []struct{ label, stream, key string }{
		{"billing", "orders", "1"},
		{"mailing", "orders", "1"},
		{"billing", "invoices", "1"},
		{"billing", "orders", "2"},
		{"a", "b:c", "d"},
		{"a:b", "c", "d"},
		{"a", "b", ":cd"},
		{"a", "b:", "cd"},
		{"a", "b:c", "1:d"},
		{"a1", "1:b", "c"},
	} {
		key := func(*stream.Entry) string { return test.key }
		next, calls := failing()
		handle := middleware.Dedup(client, test.label, key, middleware.DedupConfig{})(next)
		handled(t, handle(t.Context(), &stream.Entry{Stream: test.stream, ID: "1-0"}))
		duplicate(t, handle(t.Context(), &stream.Entry{Stream: test.stream, ID: "2-0"}), "1-0")
		if *calls != 1 {
			t.Errorf("%q handled %d times", test, *calls)
		}
	}
}

func TestDedupPrefix(t *testing.T) {
	t.Parallel()
	server, client := dedupServer(t)
	next, _ := failing()
	for _, prefix := range []string{"", "shop:"} {
		handled(t, middleware.Dedup(client, "billing", eventKey, middleware.DedupConfig{Prefix: prefix})(next)(t.Context(), event("1-0", 1)))
	}
	keys := server.Keys()
	if len(keys) != 2 || !strings.HasPrefix(keys[0], "millrace:dedup:billing:") || !strings.HasPrefix(keys[1], "shop:billing:") {
		t.Errorf("the keys are %q", keys)
	}
}

func TestDedupWithoutAKey(t *testing.T) {
	t.Parallel()
	server, client := dedupServer(t)
	next, calls := failing(errBroken)
	handle := middleware.Dedup(client, "billing", eventKey, middleware.DedupConfig{})(next)
	if err := handle(t.Context(), entry()); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
	server.SetError("away") // nobody asks
	handled(t, handle(t.Context(), entry()))
	handled(t, handle(t.Context(), entry()))
	if *calls != 3 || len(server.Keys()) != 0 {
		t.Errorf("handled %d times, the keys are %q", *calls, server.Keys())
	}
}

func TestDedupRefusesMistakes(t *testing.T) {
	t.Parallel()
	_, client := dedupServer(t)
	var none *redis.Client
	for _, test := range []struct {
		client redis.UniversalClient
		label  string
		key    func(*stream.Entry) string
		want   []string
	}{
		{nil, "billing", eventKey, []string{"client is nil"}},
		{none, "billing", eventKey, []string{"client is nil"}},
		{client, " ", eventKey, []string{`label is " "`}},
		{client, "billing", nil, []string{"key function is nil"}},
		{none, "", nil, []string{"client is nil", `label is ""`, "key function is nil"}},
	} {
		next, calls := failing()
		err := middleware.Dedup(test.client, test.label, test.key, middleware.DedupConfig{})(next)(t.Context(), entry())
		if !errors.Is(err, stream.ErrInvalidOption) || *calls != 0 {
			t.Errorf("got %v, handled %d times", err, *calls)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q is not in %v", want, err)
			}
		}
	}
}

// With Redis away nothing is handled unchecked, and nothing skipped; what was
// at work then is done, and told to the log.
func TestDedupWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = client.Close() })
	var out bytes.Buffer
	dedup := middleware.Dedup(client, "billing", eventKey, middleware.DedupConfig{Logger: slog.New(slog.NewTextHandler(&out, nil))})
	next, calls := failing()
	twin := dedup(next)

	succeeds, fails := inProcess(t, dedup, event("1-0", 1)), inProcess(t, dedup, event("2-0", 2))
	server.Kill()
	err := twin(t.Context(), event("3-0", 3))
	if err == nil || skipped(err) != "" || *calls != 0 || !strings.Contains(err.Error(), "asking whether entry 3-0 is a duplicate") {
		t.Errorf("got %v, handled %d times", err, *calls)
	}
	handled(t, succeeds(nil))
	if failure := fails(errBroken); failure != errBroken { //nolint:errorlint // the very same
		t.Errorf("got %v", failure)
	}
	line := out.String()
	for _, want := range []string{"level=WARN", "not marked", "stream=orders", "label=billing", "entry_id=1-0", "err="} {
		if strings.Count(line, "\n") != 1 || !strings.Contains(line, want) {
			t.Errorf("%q is not in the one line of the log:\n%s", want, line)
		}
	}
	server.Start()
	handled(t, twin(t.Context(), event("3-0", 3)))
	handled(t, twin(t.Context(), event("2-0", 2))) // passes the claim that was left
	for _, text := range []string{line, err.Error()} {
		if strings.Contains(text, secret) {
			t.Errorf("the key is in %s", text)
		}
	}
}

// The rights that the documentation names are enough.
func TestDedupNeedsNoMoreRightsThanItSays(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	acl := []any{"ACL", "SETUSER", "app", "on", ">pass", "~millrace:dedup:billing:*", "+set", "+get", "+del", "+eval", "+evalsha"}
	if err := server.Client().Do(t.Context(), acl...).Err(); err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "app", Password: "pass"})
	t.Cleanup(func() { _ = client.Close() })
	next, _ := failing(errBroken)
	handle := middleware.Dedup(client, "billing", eventKey, middleware.DedupConfig{})(next)
	if err := handle(t.Context(), event("1-0", 1)); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
	handled(t, handle(t.Context(), event("2-0", 1)))
	duplicate(t, handle(t.Context(), event("1-0", 1)), "2-0")
}

// A stop that comes while an entry is handled must not keep it from being
// marked.
func TestDedupMarksAfterAStop(t *testing.T) {
	t.Parallel()
	_, client := dedupServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	dedup := middleware.Dedup(client, "billing", eventKey, middleware.DedupConfig{})
	handled(t, dedup(func(context.Context, *stream.Entry) error { cancel(); return nil })(ctx, event("1-0", 1)))
	next, _ := failing()
	duplicate(t, dedup(next)(t.Context(), event("2-0", 1)), "1-0")

	ctx, cancel = context.WithCancel(t.Context())
	err := dedup(func(ctx context.Context, _ *stream.Entry) error { cancel(); return ctx.Err() })(ctx, event("3-0", 2))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	handled(t, dedup(next)(t.Context(), event("4-0", 2)))
	if err := dedup(next)(ctx, event("5-0", 3)); !errors.Is(err, context.Canceled) {
		t.Errorf("under a cancelled context: got %v", err)
	}
}

// Ten workers at three entries of each event, most of which fail at first:
// every event is handled with success exactly once, never twice at a time, and
// every entry comes to an end.
func TestDedupOfTwinsAtOnce(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	const events, twins, workers = 60, 3, 10
	var (
		mu        sync.Mutex
		attempts  [events]int
		successes [events]int
		at        [events]int
		skips     int
	)
	handle := middleware.Dedup(client, "billing", eventKey, middleware.DedupConfig{})(func(_ context.Context, entry *stream.Entry) error {
		var number int
		text, _ := entry.Fields.Get("event")
		_, _ = fmt.Sscan(text, &number)
		mu.Lock()
		defer mu.Unlock()
		if at[number]++; at[number] > 1 {
			t.Errorf("event %d is handled twice at a time", number)
		}
		attempts[number]++
		ok := attempts[number] > number%4
		mu.Unlock()
		client.Ping(context.Background()) // lets others in
		mu.Lock()
		at[number]--
		if !ok {
			return errBroken
		}
		successes[number]++
		return nil
	})
	queue := make(chan *stream.Entry, events*twins)
	for number := range events {
		for twin := range twins {
			queue <- event(fmt.Sprintf("%d-%d", number+1, twin), number)
		}
	}
	var open sync.WaitGroup
	open.Add(events * twins)
	for range workers {
		go func() {
			for entry := range queue {
				switch err := handle(context.Background(), entry); {
				case err == nil:
					open.Done()
				case skipped(err) != "":
					mu.Lock()
					skips++
					mu.Unlock()
					open.Done()
				default:
					queue <- entry // held, and delivered again
				}
			}
		}()
	}
	open.Wait()
	close(queue)
	for number, n := range successes {
		if n != 1 {
			t.Errorf("event %d was handled %d times", number, n)
		}
	}
	if skips != events*(twins-1) {
		t.Errorf("%d were skipped, want %d", skips, events*(twins-1))
	}
}

// The real thing: events sent twice, some of which fail at first, one of which
// ends in the dead letters, each time that it was sent.
func TestDedupInAConsumer(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	var ids []string
	for _, id := range []string{secret, secret, "flaky", "flaky", "dead", "dead", secret, "last"} {
		entryID, err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "payments", Values: []string{"id", id}}).Result()
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, entryID)
	}
	var out bytes.Buffer // written by the goroutine of Run alone
	logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []string
	consumer, err := stream.NewConsumer(client, stream.Topic[payment]{Name: "payments"}, &offset.Memory{},
		func(_ context.Context, msg *stream.Message[payment]) error {
			got = append(got, msg.Value.ID)
			switch msg.Value.ID {
			case "flaky":
				if msg.Deliveries == 1 {
					return errBroken
				}
			case "dead":
				return stream.Permanent(errBroken)
			case "last":
				cancel()
			}
			return nil
		},
		stream.WithLogger(logger),
		stream.WithBackoff(stream.Backoff{Min: time.Millisecond, Max: time.Millisecond}),
		stream.WithMiddleware(
			middleware.Logging(logger),
			middleware.Dedup(client, "payments", func(entry *stream.Entry) string { id, _ := entry.Fields.Get("id"); return id }, middleware.DedupConfig{Logger: logger}),
			middleware.DeadLetter(middleware.DeadLetterConfig{}),
		))
	if err != nil {
		t.Fatal(err)
	}
	if err := consumer.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if want := []string{secret, "flaky", "flaky", "dead", "dead", "last"}; !slices.Equal(got, want) {
		t.Errorf("handled %v, want %v", got, want)
	}
	if n := client.XLen(t.Context(), "{payments}:dead").Val(); n != 2 {
		t.Errorf("%d dead letters, want 2", n)
	}
	for _, want := range []string{"duplicate of entry " + ids[0], "duplicate of entry " + ids[2]} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in the log", want)
		}
	}
	keys := client.Keys(t.Context(), "millrace:dedup:payments:*").Val()
	if len(keys) != 3 {
		t.Errorf("the keys are %q, want one for each event that was handled", keys)
	}
	for _, key := range keys {
		if ttl := client.PTTL(t.Context(), key).Val(); ttl <= 9*time.Minute || ttl > 10*time.Minute {
			t.Errorf("%s lives for %v", key, ttl)
		}
		for _, text := range []string{key, client.Get(t.Context(), key).Val(), out.String()} {
			if strings.Contains(text, secret) {
				t.Errorf("the key of an event is in %s", text)
			}
		}
	}
}

func ExampleDedup() {
	server, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = client.Close() }()

	// A producer that is not sure whether an order has arrived sends it again,
	// with the same order_id.
	orderID := func(entry *stream.Entry) string {
		id, _ := entry.Fields.Get("order_id")
		return id
	}
	handle := middleware.Dedup(client, "billing", orderID, middleware.DedupConfig{Window: time.Hour})(
		func(_ context.Context, entry *stream.Entry) error {
			fmt.Println("charge for", orderID(entry))
			return nil
		})
	for _, id := range []string{"1-0", "2-0"} {
		err := handle(context.Background(), &stream.Entry{Stream: "orders", ID: id, Fields: codec.FieldsOf("order_id", "A17")})
		fmt.Println(id, err)
	}
	// Output:
	// charge for A17
	// 1-0 <nil>
	// 2-0 skipped: duplicate of entry 1-0
}
