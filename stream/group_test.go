package stream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// newGroup makes a consumer of orders in the group "billing" that fails the test
// if it cannot.
func newGroup(t testing.TB, client redis.UniversalClient, handle stream.Handler[order], opts ...stream.Option) *stream.Consumer[order] {
	t.Helper()
	consumer, err := stream.NewGroupConsumer(client, orders, "billing", handle, append([]stream.Option{stream.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return consumer
}

// pending returns the IDs that are pending in the group, on anybody.
func pending(t testing.TB, client redis.UniversalClient) (ids []string) {
	t.Helper()
	list, err := client.XPendingExt(context.Background(), &redis.XPendingExtArgs{Stream: "orders", Group: "billing", Start: "-", End: "+", Count: 100000}).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range list {
		ids = append(ids, entry.ID)
	}
	return ids
}

// consumers returns the names in the group.
func consumers(t testing.TB, client redis.UniversalClient) (names []string) {
	t.Helper()
	list, err := client.XInfoConsumers(context.Background(), "orders", "billing").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, consumer := range list {
		names = append(names, consumer.Name)
	}
	return names
}

// settled waits until nothing is pending.
func settled(t testing.TB, client redis.UniversalClient) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("pending:", client.XPendingExt(context.Background(), &redis.XPendingExtArgs{Stream: "orders", Group: "billing", Start: "-", End: "+", Count: 10}))
		}
	})
	streamtest.Await(t, "nothing is pending", func() bool {
		groups, err := client.XInfoGroups(context.Background(), "orders").Result()
		return err == nil && len(groups) == 1 && groups[0].Pending == 0
	})
}

func TestGroupHandlesAllOnce(t *testing.T) {
	t.Parallel()
	for _, concurrency := range []int{1, 8} {
		t.Run(fmt.Sprint(concurrency), func(t *testing.T) {
			t.Parallel()
			client := streamtest.StartRedis(t).Client()
			var want []string
			for i := range 500 {
				want = append(want, fmt.Sprintf("%03d", i))
				add(t, client, want[i])
			}
			recs := []*recorder{newRecorder(), newRecorder(), newRecorder()}
			stops := make([]func() error, len(recs))
			for i, rec := range recs {
				stops[i] = start(t, newGroup(t, client, rec.Handle, stream.WithConcurrency(concurrency), stream.WithReadCount(10)))
			}
			streamtest.Await(t, "all are handled", func() bool {
				return len(recs[0].Seen())+len(recs[1].Seen())+len(recs[2].Seen()) >= len(want)
			})
			settled(t, client)
			for _, stop := range stops {
				if err := stop(); err != nil {
					t.Error(err)
				}
			}
			seen := slices.Concat(recs[0].Seen(), recs[1].Seen(), recs[2].Seen())
			slices.Sort(seen)
			if !slices.Equal(seen, want) {
				t.Errorf("%d deliveries, want each of %d once", len(seen), len(want))
			}
			if names := consumers(t, client); len(names) != 0 {
				t.Errorf("after the stop there are consumers %q", names)
			}
		})
	}
}

// At concurrency n, n handlers are at work at once, and no more.
func TestGroupConcurrency(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		for i := range 64 {
			add(t, client, fmt.Sprint(i))
		}
		var now, most atomic.Int64
		rec := newRecorder()
		rec.handle = func(context.Context, *stream.Message[order]) error {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Second)
			now.Add(-1)
			return nil
		}
		begun := time.Now()
		start(t, newGroup(t, client, rec.Handle, stream.WithConcurrency(16)))
		rec.await(t, 64)
		if took := time.Since(begun); most.Load() != 16 || took > 4*time.Second {
			t.Errorf("at most %d at once, the last was begun after %v", most.Load(), took)
		}
	})
}

// A handler that fails is called again after a wait that grows; others go on in
// the meantime; Redis counts the deliveries.
func TestGroupFailureDoesNotBlockOthers(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	add(t, client, "bad")
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		add(t, client, id)
	}
	var mu sync.Mutex
	var deliveries []int64
	var times []time.Time
	rec := newRecorder()
	rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
		if msg.Value.ID != "bad" {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		deliveries = append(deliveries, msg.Deliveries)
		times = append(times, time.Now())
		if len(deliveries) < 5 {
			return errors.New("not yet")
		}
		return nil
	}
	start(t, newGroup(t, client, rec.Handle, stream.WithBackoff(stream.Backoff{Min: 20 * time.Millisecond, Max: 80 * time.Millisecond})))
	seen := rec.await(t, 10)
	settled(t, client)
	if !slices.Equal(seen[:6], []string{"bad", "a", "b", "c", "d", "e"}) {
		t.Errorf("delivered %v: the failed one held up the others", seen)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(deliveries, []int64{1, 2, 3, 4, 5}) {
		t.Errorf("delivery counts %v", deliveries)
	}
	for i, least := range []time.Duration{10, 20, 40, 40} {
		if wait := times[i+1].Sub(times[i]); wait < least*time.Millisecond {
			t.Errorf("wait %d was %v, want at least %vms", i, wait, int(least))
		}
	}
}

func TestGroupUndecodableAndSkipped(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	for i := range 6 {
		add(t, client, fmt.Sprint(i))
		if i == 2 {
			addFields(t, client, "id", "x", "amount", "s3cr3t")
		}
	}
	var out logs
	rec := newRecorder()
	rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
		if msg.Value.ID == "4" {
			return stream.Skip("of no concern")
		}
		return nil
	}
	start(t, newGroup(t, client, rec.Handle, stream.WithLogger(out.Logger())))
	if seen := rec.await(t, 6); len(seen) != 6 {
		t.Errorf("delivered %v", seen)
	}
	settled(t, client)
	if len(out.lines("WARN", "cannot be decoded", "group=billing", "entry_id=")) != 1 || len(out.lines("INFO", "skipped")) != 1 || len(out.lines("s3cr3t")) != 0 {
		t.Errorf("the log is\n%s", out.String())
	}
}

// Two consumers, a handler that takes longer than the claim idle time: its entry
// is renewed, and run once.
func TestGroupLongHandlerKeepsItsEntry(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	add(t, client, "long")
	var runs atomic.Int64
	var handled atomic.Bool
	rec := newRecorder()
	rec.handle = func(ctx context.Context, _ *stream.Message[order]) error {
		runs.Add(1)
		select {
		case <-time.After(4 * time.Second):
			handled.Store(true)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	const claimIdle = 3 * time.Second
	for range 2 {
		start(t, newGroup(t, client, rec.Handle, stream.WithClaimIdle(claimIdle)))
	}
	// A consumer claims from itself, too: the lease is not to get as old as that.
	eventually(t, "it is handled", func() bool {
		for _, entry := range client.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: "orders", Group: "billing", Start: "-", End: "+", Count: 1}).Val() {
			if entry.Idle >= claimIdle*9/10 {
				t.Fatalf("it has been idle for %v", entry.Idle)
			}
		}
		return handled.Load()
	})
	settled(t, client)
	if runs.Load() != 1 {
		t.Errorf("the handler ran %d times", runs.Load())
	}
}

// When an entry is claimed away nevertheless, its handler is told, and its result
// does not count.
func TestGroupLostEntry(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	id := add(t, client, "x")
	var out logs
	told := make(chan error, 1)
	var second atomic.Bool
	rec := newRecorder()
	rec.handle = func(ctx context.Context, _ *stream.Message[order]) error {
		if second.Swap(true) {
			return nil
		}
		<-ctx.Done()
		told <- context.Cause(ctx)
		return nil // done in spite of it
	}
	start(t, newGroup(t, client, rec.Handle, stream.WithClaimIdle(400*time.Millisecond), stream.WithLogger(out.Logger())))
	rec.await(t, 1)
	if err := client.XClaim(t.Context(), &redis.XClaimArgs{Stream: "orders", Group: "billing", Consumer: "thief", Messages: []string{id}}).Err(); err != nil {
		t.Fatal(err)
	}
	select {
	case cause := <-told:
		if !errors.Is(cause, stream.ErrClaimed) {
			t.Errorf("the handler's context ended with %v", cause)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the handler was not told")
	}
	add(t, client, "next")
	rec.await(t, 2)
	streamtest.Await(t, "it is in the log", func() bool { return len(out.lines("WARN", "its result does not count")) == 1 })
	// The thief is dead, too: the entry is claimed back and handled.
	if seen := rec.await(t, 3); !slices.Contains(seen[1:], "x") {
		t.Errorf("delivered %v", seen)
	}
	settled(t, client)
}

// Entries of a consumer that died are claimed; one that the stream no longer has
// is reported, and reaches no codec.
func TestGroupClaimsFromTheDead(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	if err := client.XGroupCreateMkStream(t.Context(), "orders", "billing", "0").Err(); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 300 {
		want = append(want, fmt.Sprintf("%03d", i))
		add(t, client, want[i])
	}
	reply, err := client.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "billing", Consumer: "dead", Streams: []string{"orders", ">"}, Count: 300}).Result()
	if err != nil {
		t.Fatal(err)
	}
	gone := reply[0].Messages[17].ID
	if err := client.XDel(t.Context(), "orders", gone).Err(); err != nil {
		t.Fatal(err)
	}
	want = slices.Delete(want, 17, 18)
	var out logs
	rec := newRecorder()
	rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
		if msg.Deliveries != 2 {
			t.Errorf("delivery %d of %s, want 2", msg.Deliveries, msg.Value.ID)
		}
		return nil
	}
	start(t, newGroup(t, client, rec.Handle, stream.WithClaimIdle(50*time.Millisecond), stream.WithReadCount(10), stream.WithLogger(out.Logger())))
	seen := rec.await(t, len(want))
	slices.Sort(seen)
	if !slices.Equal(seen, want) {
		t.Errorf("%d deliveries, want %d, each once", len(seen), len(want))
	}
	settled(t, client)
	if len(out.lines("WARN", "entry lost", gone)) != 1 {
		t.Errorf("the lost entry is not in the log:\n%s", out.String())
	}
}

// What a process of the same name left behind is handled first, before anything
// new.
func TestGroupOwnPendingFirst(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	if err := client.XGroupCreateMkStream(t.Context(), "orders", "billing", "0").Err(); err != nil {
		t.Fatal(err)
	}
	add(t, client, "old1")
	add(t, client, "old2")
	if err := client.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "billing", Consumer: "me", Streams: []string{"orders", ">"}}).Err(); err != nil {
		t.Fatal(err)
	}
	add(t, client, "new")
	rec := newRecorder()
	start(t, newGroup(t, client, rec.Handle, stream.WithConsumerName("me"), stream.WithClaimIdle(time.Hour)))
	if seen := rec.await(t, 3); !slices.Equal(seen, []string{"old1", "old2", "new"}) {
		t.Errorf("delivered %v", seen)
	}
	settled(t, client)
}

func TestGroupMaxDeliveries(t *testing.T) {
	t.Parallel()
	deadLetter := stream.WithMiddleware(middleware.DeadLetter(middleware.DeadLetterConfig{}), middleware.Retry(middleware.RetryConfig{Attempts: 1, If: func(error) bool { return false }}))
	for _, test := range []struct {
		name          string
		opts          []stream.Option
		dead, pending int
		says          string
	}{
		{"to the dead letters", []stream.Option{deadLetter}, 1, 0, "in the dead letters now"},
		{"discarded", []stream.Option{stream.WithDiscard()}, 0, 0, "entry discarded"},
		{"left pending", nil, 0, 1, "entry left pending"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			client := streamtest.StartRedis(t).Client()
			add(t, client, "bad")
			var out logs
			rec := newRecorder()
			rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
				if msg.Value.ID == "bad" {
					return errors.New("no")
				}
				return nil
			}
			start(t, newGroup(t, client, rec.Handle, append(test.opts,
				stream.WithMaxDeliveries(3), stream.WithBackoff(stream.Backoff{Min: time.Millisecond, Max: time.Millisecond}),
				stream.WithClaimIdle(50*time.Millisecond), stream.WithReadCount(1), stream.WithLogger(out.Logger()))...))
			streamtest.Await(t, "the limit is reached", func() bool { return len(out.lines(test.says)) > 0 })
			for i := range 5 { // a parked entry takes no room
				add(t, client, fmt.Sprint(i))
			}
			if seen := rec.await(t, 8); slices.Index(seen, "0") != 3 {
				t.Errorf("delivered %v, want the bad one three times", seen)
			}
			streamtest.Await(t, "the rest is settled", func() bool { return len(pending(t, client)) == test.pending })
			if n := client.XLen(t.Context(), "{orders}:dead").Val(); int(n) != test.dead {
				t.Errorf("%d dead letters", n)
			}
			if len(out.lines("ERROR", "will be delivered again")) != 1 || len(out.lines("DEBUG", "will be delivered again")) != 2 {
				t.Errorf("three failures are not what the log tells of:\n%s", out.String())
			}
			if len(out.lines(test.says)) != 1 {
				t.Errorf("said %d times:\n%s", len(out.lines(test.says)), out.String())
			}
		})
	}
}

func TestGroupDeadLetterIsMovedAndAcked(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]string{"in one step": "", "elsewhere": "far"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := streamtest.StartRedis(t).Client()
			pairs := []string{"id", "x", "z", "1", "a", "\x00", "a", "2"}
			id := addFields(t, client, pairs...)
			rec := giveUp(stream.DeadLetterError{Stream: target})
			start(t, newGroup(t, client, rec.Handle))
			rec.await(t, 1)
			settled(t, client)
			if target == "" {
				target = "{orders}:dead"
			}
			letters := deadLetters(t, client, target)
			if len(letters) != 1 || !slices.Equal(letters[0][:8], pairs) || !slices.Equal(letters[0][8:16], []string{
				stream.DeadLetterOrigin, "orders", stream.DeadLetterID, id, stream.DeadLetterGroup, "billing", stream.DeadLetterAttempts, "7",
			}) {
				t.Errorf("dead letters %q", letters)
			}
		})
	}
}

func TestNewGroupConsumerReportsEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	_, err := stream.NewGroupConsumer[order](nil, stream.Topic[order]{}, " ", nil,
		stream.WithConcurrency(0), stream.WithClaimIdle(time.Millisecond), stream.WithMaxDeliveries(0), stream.WithDrainTimeout(-1),
		stream.WithConsumerName("millrace/handed-back"), stream.WithLabel("x"), stream.WithBlock(0))
	if !errors.Is(err, stream.ErrInvalidOption) {
		t.Fatalf("got %v, want ErrInvalidOption", err)
	}
	for _, name := range []string{
		"client", "Topic.Name", "handler", `group " "`, "WithConcurrency(0)", "WithClaimIdle(1ms)", "WithMaxDeliveries", "WithDrainTimeout",
		"WithConsumerName", "WithLabel is for a consumer in log mode, not for a consumer in group mode", "WithBlock(0s)",
	} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not in the error:\n%v", name, err)
		}
	}
	client := redis.NewClient(&redis.Options{})
	defer func() { _ = client.Close() }()
	if _, err := stream.NewGroupConsumer(client, orders, "billing", newRecorder().Handle, stream.WithDiscard()); !errors.Is(err, stream.ErrInvalidOption) {
		t.Errorf("WithDiscard without a limit: %v", err)
	}
	_, err = stream.NewConsumer(client, orders, &flakyStore{}, newRecorder().Handle, stream.WithClaimIdle(time.Minute), stream.WithConsumerName("x"))
	if !errors.Is(err, stream.ErrInvalidOption) || !strings.Contains(err.Error(), "WithClaimIdle is for a consumer in group mode") {
		t.Errorf("group options in log mode: %v", err)
	}
}

// The pool of the user's client may be of one connection.
func TestGroupLeavesTheClientToItsOwner(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr, PoolSize: 1, MaxActiveConns: 1, PipelinePoolSize: -1})
	defer func() { _ = client.Close() }()
	rec := newRecorder()
	stop := start(t, newGroup(t, client, rec.Handle, stream.WithConcurrency(4), stream.WithClaimIdle(20*time.Millisecond)))
	for i := range 50 {
		add(t, client, fmt.Sprint(i))
	}
	rec.await(t, 50)
	settled(t, client)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("after Run the client does not work: %v", err)
	}
}

// Where a group starts, when it is made.
func TestGroupStart(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		start stream.Start
		want  []string
	}{
		"beginning": {stream.FromBeginning(), []string{"1000-0", "2000-0", "after"}},
		"end":       {stream.FromEnd(), []string{"after"}},
		"ID":        {stream.FromID("1000-0"), []string{"2000-0", "after"}},
		"time":      {stream.FromTime(time.UnixMilli(2000)), []string{"2000-0", "after"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := streamtest.StartRedis(t).Client()
			addWithID(t, client, "1000-0", "1000-0")
			addWithID(t, client, "2000-0", "2000-0")
			rec := newRecorder()
			start(t, newGroup(t, client, rec.Handle, stream.WithStart(test.start)))
			streamtest.Await(t, "the group is there", func() bool {
				groups, err := client.XInfoGroups(t.Context(), "orders").Result()
				return err == nil && len(groups) == 1
			})
			add(t, client, "after")
			if seen := rec.await(t, len(test.want)); !slices.Equal(seen, test.want) {
				t.Errorf("delivered %v, want %v", seen, test.want)
			}
		})
	}
}

// Names of consumers that were killed are removed when nothing is pending on
// them; names that are not ours are not.
func TestGroupRemovesTheNamesOfTheDead(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	if err := client.XGroupCreateMkStream(t.Context(), "orders", "billing", "0").Err(); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"millrace:host:1", "millrace:host:2", "somebody"} {
		add(t, client, fmt.Sprint(i))
		if err := client.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "billing", Consumer: name, Streams: []string{"orders", ">"}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	rec := newRecorder()
	start(t, newGroup(t, client, rec.Handle, stream.WithConsumerName("me"), stream.WithClaimIdle(20*time.Millisecond)))
	rec.await(t, 3)
	settled(t, client)
	streamtest.Await(t, "their names are gone", func() bool {
		names := consumers(t, client)
		slices.Sort(names)
		return slices.Equal(names, []string{"me", "somebody"})
	})
}

// Behind more entries than a claim looks at at a time, none of which is idle, there
// is one that is: an empty page is not the end.
func TestGroupClaimsBehindAnEmptyPage(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	if err := client.XGroupCreateMkStream(t.Context(), "orders", "billing", "0").Err(); err != nil {
		t.Fatal(err)
	}
	for range 1500 {
		add(t, client, "young")
	}
	last := add(t, client, "old")
	read := &redis.XReadGroupArgs{Group: "billing", Consumer: "other", Streams: []string{"orders", ">"}, Count: 2000}
	if err := client.XReadGroup(t.Context(), read).Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.Do(t.Context(), "XCLAIM", "orders", "billing", "other", 0, last, "IDLE", 7_200_000, "JUSTID").Err(); err != nil {
		t.Fatal(err)
	}
	rec := newRecorder()
	start(t, newGroup(t, client, rec.Handle, stream.WithClaimIdle(time.Hour)))
	if seen := rec.await(t, 1); !slices.Equal(seen, []string{"old"}) {
		t.Errorf("delivered %v", seen)
	}
}

// However many entries are left pending over the limit, there is room to read.
func TestGroupExhaustedEntriesTakeNoRoom(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	for range 10 {
		add(t, client, "bad")
	}
	add(t, client, "good")
	rec := newRecorder()
	rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
		if msg.Value.ID == "bad" {
			return errors.New("no")
		}
		return nil
	}
	start(t, newGroup(t, client, rec.Handle, stream.WithMaxDeliveries(1), stream.WithReadCount(1),
		stream.WithBackoff(stream.Backoff{Min: time.Millisecond, Max: time.Millisecond})))
	if seen := rec.await(t, 11); seen[10] != "good" {
		t.Errorf("delivered %v", seen)
	}
	streamtest.Await(t, "only the bad ones are pending", func() bool { return len(pending(t, client)) == 10 })
}

// A slow handler stops the reading in group mode too: what a consumer has taken
// from the others is two batches.
func TestGroupReadsNoMoreThanTheWindow(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		for range 100 {
			add(t, client, "x")
		}
		rec := newRecorder()
		release := make(chan struct{})
		rec.handle = func(context.Context, *stream.Message[order]) error { <-release; return nil }
		start(t, newGroup(t, client, rec.Handle, stream.WithReadCount(10)))
		time.Sleep(time.Hour)
		if n := len(pending(t, client)); n != 20 {
			t.Errorf("%d entries are pending while the first is processed, want 20", n)
		}
		close(release)
		time.Sleep(time.Minute)
		if n := len(rec.Seen()); n != 100 || len(pending(t, client)) != 0 {
			t.Errorf("%d deliveries in the end, %d pending", n, len(pending(t, client)))
		}
	})
}
