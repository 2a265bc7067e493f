package stream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

// publishAt publishes orders with the IDs at a time.
func publishAt(t testing.TB, producer *stream.Producer[order], at time.Time, ids ...string) (tickets []stream.Ticket) {
	t.Helper()
	for _, id := range ids {
		ticket, err := producer.PublishAt(t.Context(), at, order{ID: id})
		if err != nil || ticket == "" {
			t.Fatalf("publishing %s: %q, %v", id, ticket, err)
		}
		tickets = append(tickets, ticket)
	}
	return tickets
}

func startMover(t testing.TB, client redis.UniversalClient, opts ...stream.MoverOption) (stop func() error) {
	t.Helper()
	mover, err := stream.NewMover(client, []string{orders.Name}, append([]stream.MoverOption{stream.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, mover)
}

// waiting returns how many times and contents are beside the topic.
func waiting(t testing.TB, client redis.UniversalClient) (times, contents int64) {
	t.Helper()
	times, err := client.ZCard(t.Context(), stream.DueKey(orders.Name)).Result()
	if err != nil {
		t.Fatal(err)
	}
	contents, err = client.HLen(t.Context(), stream.LaterKey(orders.Name)).Result()
	if err != nil {
		t.Fatal(err)
	}
	return times, contents
}

func awaitStored(t testing.TB, client redis.UniversalClient, n int) (ids []string) {
	t.Helper()
	streamtest.Await(t, fmt.Sprintf("%d are in the stream", n), func() bool {
		ids = stored(t, client)
		return len(ids) >= n
	})
	return ids
}

// Movers of two processes, with entries that are due at once, later, and never.
func TestPublishAtItsTime(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendfsync", "no").Client()
	now, err := client.Time(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	producer := newProducer(t, client, stream.WithExactMaxLen(605))
	past, at := now.Add(-time.Hour), now.Add(2*time.Second+300*time.Microsecond)
	var all []string
	for i := range 600 {
		all = append(all, strconv.Itoa(i))
	}
	first := publishAt(t, producer, past, all...)
	publishAt(t, producer, time.Time{}, "zero") // the oldest of all
	publishAt(t, producer, at, "later")
	tickets := publishAt(t, producer, now.Add(time.Hour), "cancelled", "kept")
	if was, err := producer.Cancel(t.Context(), tickets[0]); !was || err != nil {
		t.Errorf("cancelled: %t, %v", was, err)
	}
	stops := []func() error{startMover(t, client), startMover(t, client)}
	want := append(append([]string{"zero"}, all...), "later")
	if got := awaitStored(t, client, len(want)); !slices.Equal(got, want) {
		t.Errorf("stored are %v", got)
	}
	last := client.XRevRangeN(t.Context(), orders.Name, "+", "-", 1).Val()[0]
	if ms, _ := strconv.ParseInt(strings.Split(last.ID, "-")[0], 10, 64); !time.UnixMilli(ms).After(at) {
		t.Errorf("it was added at %d, before its time %v", ms, at)
	}
	for _, ticket := range []stream.Ticket{first[0], tickets[0], "unknown"} {
		if was, err := producer.Cancel(t.Context(), ticket); was || err != nil {
			t.Errorf("cancelled what is not there any more: %t, %v", was, err)
		}
	}
	if times, contents := waiting(t, client); times != 1 || contents != 1 {
		t.Errorf("%d times and %d contents are left, want those of one", times, contents)
	}
	publishAt(t, producer, past, "1", "2", "3", "4")
	awaitMoved(t, client)
	if n := client.XLen(t.Context(), orders.Name).Val(); n != 605 { // of 602 and 4
		t.Errorf("the stream has %d entries, want 605", n)
	}
	for _, stop := range stops {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}

// awaitMoved waits until nothing that is due waits.
func awaitMoved(t testing.TB, client redis.UniversalClient) {
	t.Helper()
	streamtest.Await(t, "all is moved", func() bool {
		due := client.ZCount(t.Context(), stream.DueKey(orders.Name), "-inf", strconv.FormatInt(time.Now().UnixMilli(), 10))
		return due.Err() == nil && due.Val() == 0
	})
}

// The entry has the headers, and the middleware is told of the ticket.
func TestPublishAtThroughMiddleware(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	told := ""
	producer := newProducer(t, client, stream.WithPublishMiddleware(func(next stream.PublishHandler) stream.PublishHandler {
		return func(ctx context.Context, p *stream.Publishing) error {
			p.Headers = append(p.Headers, "traceparent", "b")
			err := next(ctx, p)
			told = p.Results[0].ID
			return err
		}
	}))
	ticket, err := producer.PublishAt(t.Context(), time.Now(), order{ID: "a"}, stream.WithHeader("tenant", "\x00\xff"))
	if err != nil || told != string(ticket) {
		t.Fatalf("got the ticket %q, %v, and middleware %q", ticket, err, told)
	}
	startMover(t, client)
	awaitStored(t, client, 1)
	got := client.XRange(t.Context(), orders.Name, "-", "+").Val()[0].Values
	if got["tenant"] != "\x00\xff" || got["traceparent"] != "b" {
		t.Errorf("the entry has %q", got)
	}
	if _, err := producer.PublishAt(t.Context(), time.Now(), order{}); !isEncodeError(err) {
		t.Errorf("an order without an ID: %v", err)
	}
	if times, contents := waiting(t, client); times != 0 || contents != 0 {
		t.Errorf("%d times and %d contents are left", times, contents)
	}
}

func TestPublishAtRefuses(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	producer := newProducer(t, client)
	var many []stream.PublishOption
	for i := range 3950 {
		many = append(many, stream.WithHeader("h"+strconv.Itoa(i), ""))
	}
	if ticket, err := producer.PublishAt(t.Context(), time.Now(), order{ID: "a"}, many...); !isEncodeError(err) || ticket != "" {
		t.Errorf("7,904 names and values: %q, %v", ticket, err)
	}
	if _, err := producer.PublishAt(t.Context(), time.Now(), order{ID: "a"}, many[2:]...); err != nil {
		t.Errorf("7,900 names and values: %v", err)
	}
	startMover(t, client)
	awaitStored(t, client, 1)
	done, cancel := context.WithCancel(t.Context())
	cancel()
	for _, ctx := range []context.Context{nil, done} {
		if ticket, err := producer.PublishAt(ctx, time.Now(), order{ID: "a"}); !isNotWritten(err) || ticket != "" {
			t.Errorf("with the context %v: %q, %v", ctx, ticket, err)
		}
		if _, err := producer.Cancel(ctx, "a"); err == nil {
			t.Errorf("cancelled with the context %v", ctx)
		}
	}
	if _, err := producer.Cancel(t.Context(), ""); err == nil {
		t.Error("cancelled without a ticket")
	}
	if _, err := stream.NewMover(nil, []string{""}); !errors.Is(err, stream.ErrInvalidOption) || !strings.Contains(err.Error(), "client is nil") || !strings.Contains(err.Error(), `stream ""`) {
		t.Errorf("a mover of nothing: %v", err)
	}
	if _, err := stream.NewMover(client, nil); !errors.Is(err, stream.ErrInvalidOption) {
		t.Errorf("a mover without topics: %v", err)
	}
}

// The first reply is lost, and the entry is there once. Where its time has come meanwhile, it
// may have been moved: nothing is added again, and the caller is told.
func TestPublishAtWithoutAReply(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	admin := server.Client()
	proxy := startFates(t, server)
	producer := newProducer(t, proxy.client(t, redis.Options{}))
	tickets := publishAt(t, producer, time.Now().Add(time.Hour), "kept", "before")
	if was, err := producer.Cancel(t.Context(), tickets[1]); !was || err != nil { // now the server knows the scripts
		t.Errorf("cancelled: %t, %v", was, err)
	}
	proxy.next(scripts, lose)
	tickets = publishAt(t, producer, time.Now().Add(time.Hour), "a")
	if times, contents := waiting(t, admin); times != 2 || contents != 2 || proxy.left() != 0 {
		t.Errorf("%d times and %d contents, want 2", times, contents)
	}
	proxy.next(scripts, lose)
	if was, err := producer.Cancel(t.Context(), tickets[0]); was || err == nil || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("cancelled without a reply: %t, %v", was, err)
	}
	if times, contents := waiting(t, admin); times != 1 || contents != 1 {
		t.Errorf("%d times and %d contents, want 1", times, contents)
	}

	// The second try waits until the entry was moved.
	stop := startMover(t, admin)
	moved := make(chan struct{})
	goOn := sync.OnceFunc(func() { close(moved) })
	defer goOn()
	var requests atomic.Int64
	proxy.OnRequest(scripts, func() {
		if requests.Add(1) == 1 {
			proxy.CutReply(scripts, 0)
		} else {
			<-moved
		}
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticket, err := producer.PublishAt(context.Background(), time.Now().Add(-time.Hour), order{ID: "past"})
		if !isUnknown(err) || ticket == "" {
			t.Errorf("got %q, %v, want an UnknownWriteError and the ticket", ticket, err)
		}
	}()
	awaitStored(t, admin, 1)
	goOn()
	<-done
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := stored(t, admin); len(got) != 1 {
		t.Errorf("stored are %v, want one", got)
	}
	if times, contents := waiting(t, admin); times != 1 || contents != 1 {
		t.Errorf("%d times and %d contents, want 1: the entry was added again", times, contents)
	}
}

func TestPublishAtOutlastsAKill(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	client := server.Client()
	producer := newProducer(t, client)
	var out logs
	stop := startMover(t, client, stream.WithLogger(out.Logger()))
	publishAt(t, producer, time.Now().Add(-time.Hour), "a")
	awaitStored(t, client, 1)
	publishAt(t, producer, time.Now().Add(3*time.Second), "b")
	server.Kill()
	streamtest.Await(t, "it has noticed", func() bool { return len(out.lines("moving entries that are due failed")) > 0 })
	server.Start()
	if got := awaitStored(t, client, 2); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("stored are %v", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if len(out.lines("moving entries that are due works again")) != 1 {
		t.Errorf("the log is\n%s", out.String())
	}
}

// Times and contents that someone has touched by hand hold up no others.
func TestMoverWithoutContents(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	ctx := t.Context()
	client.ZAdd(ctx, stream.DueKey(orders.Name), redis.Z{Score: 1, Member: "gone"}, redis.Z{Score: 2, Member: "odd"})
	client.HSet(ctx, stream.LaterKey(orders.Name), "odd", "no contents of ours", "timeless", "x")
	publishAt(t, newProducer(t, client), time.Now(), "a")
	var out logs
	stop := startMover(t, client, stream.WithLogger(out.Logger()))
	awaitStored(t, client, 1)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if lost := out.lines("entries lost: they are due, but their contents are gone"); len(lost) != 1 || !strings.Contains(lost[0], "ticket=gone") {
		t.Errorf("the log is\n%s", out.String())
	}
	if kept := out.lines("the topic cannot take them"); len(kept) != 1 || !strings.Contains(kept[0], "ticket=odd") {
		t.Errorf("the log is\n%s", out.String())
	}
	left := client.ZRange(ctx, stream.DueKey(orders.Name), 0, -1).Val()
	if times, contents := waiting(t, client); times != 1 || contents != 2 || left[0] != "odd" {
		t.Errorf("left are %v and %d contents", left, contents)
	}
}

// Whatever the server refuses, nothing is there by half, and all is moved once it does not.
func TestPublishAtRefusedByTheServer(t *testing.T) {
	t.Parallel()
	admin := streamtest.StartRedis(t, "--user", "app", "on", ">right", "~*", "&*", "+@all").Client()
	opts := *admin.Options()
	opts.Username, opts.Password = "app", "right"
	client := redis.NewClient(&opts)
	t.Cleanup(func() { _ = client.Close() })
	producer := newProducer(t, client)
	var out logs
	stop := startMover(t, client, stream.WithLogger(out.Logger()))
	publishAt(t, producer, time.Now(), "0")
	awaitStored(t, client, 1)
	refused := func(what, says string, begin, end []any, add bool) {
		t.Helper()
		length := client.XLen(t.Context(), orders.Name).Val()
		far := publishAt(t, producer, time.Now().Add(time.Hour), "far")
		command(t, admin, begin...)
		defer func() {
			command(t, admin, end...)
			awaitMoved(t, admin)
		}()
		if add {
			ticket, err := producer.PublishAt(t.Context(), time.Now(), order{ID: "x"})
			if !isNotWritten(err) || ticket != "" || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %q, %v", what, ticket, err)
			}
		} else {
			if was, err := producer.Cancel(t.Context(), far[0]); was || err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: cancelled: %t, %v", what, was, err)
			}
			// The mover is at the same: it has moved nothing, or all.
			publishAt(t, producer, time.Now().Add(-time.Hour), "y")
			streamtest.Await(t, what+": the mover has said so", func() bool { return strings.Contains(out.String(), says) })
			if n := admin.XLen(t.Context(), orders.Name).Val(); n != length {
				t.Errorf("%s: the stream has %d entries, want %d", what, n, length)
			}
		}
		admin.ZRem(t.Context(), stream.DueKey(orders.Name), string(far[0]))
		admin.HDel(t.Context(), stream.LaterKey(orders.Name), string(far[0]))
		if times, contents := waiting(t, admin); times != contents {
			t.Errorf("%s: %d times and %d contents", what, times, contents)
		}
	}
	for _, right := range []string{"zadd", "hset"} {
		refused("without "+right, "NOPERM", []any{"ACL", "SETUSER", "app", "-" + right}, []any{"ACL", "SETUSER", "app", "+" + right}, true)
	}
	refused("out of memory", "OOM", []any{"CONFIG", "SET", "maxmemory", "1"}, []any{"CONFIG", "SET", "maxmemory", "0"}, true)
	refused("without replicas", "NOREPLICAS", []any{"CONFIG", "SET", "min-replicas-to-write", "1"}, []any{"CONFIG", "SET", "min-replicas-to-write", "0"}, true)
	refused("a replica", "READONLY", []any{"REPLICAOF", "127.0.0.1", "1"}, []any{"REPLICAOF", "NO", "ONE"}, true)
	for _, right := range []string{"zrem", "hdel"} {
		refused("without "+right, "NOPERM", []any{"ACL", "SETUSER", "app", "-" + right}, []any{"ACL", "SETUSER", "app", "+" + right}, false)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	for i, key := range []string{stream.DueKey(orders.Name), stream.LaterKey(orders.Name)} {
		admin.Del(t.Context(), stream.DueKey(orders.Name), stream.LaterKey(orders.Name))
		command(t, admin, "SET", key, "x")
		if _, err := producer.PublishAt(t.Context(), time.Now(), order{ID: "x"}); !isNotWritten(err) || !strings.Contains(err.Error(), "WRONGTYPE") {
			t.Errorf("%s is a text: %v", key, err)
		}
		if n := admin.Exists(t.Context(), stream.DueKey(orders.Name), stream.LaterKey(orders.Name)).Val(); n != 1 {
			t.Errorf("%s is a text: there are %d keys", key, n)
		}
		if i == 0 {
			mover, _ := stream.NewMover(client, []string{orders.Name})
			if err := mover.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
				t.Errorf("Run returned %v", err)
			}
		}
	}
}

func TestPublishAtInACluster(t *testing.T) {
	t.Parallel()
	client := streamtest.StartCluster(t).Client()
	for name, says := range map[string]string{"orders": "", "a{b}c": "", "a}b": "CROSSSLOT"} {
		producer, err := stream.NewProducer(client, stream.Topic[order]{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		_, err = producer.PublishAt(t.Context(), time.Now(), order{ID: "a"})
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mover, err := stream.NewMover(client, []string{"orders", "a{b}c"})
	if err != nil {
		t.Fatal(err)
	}
	start(t, mover)
	streamtest.Await(t, "both are moved", func() bool {
		return client.XLen(t.Context(), "orders").Val() == 1 && client.XLen(t.Context(), "a{b}c").Val() == 1
	})
}

// No two topics have a key in common, and each is in its topic's slot.
func TestKeysOfEntriesThatWait(t *testing.T) {
	t.Parallel()
	seen := make(map[string]string)
	for _, topic := range []string{"a", "{a}", "{a}{a}", "{a}b", "b{a}", "{a}:due", "{}", "a}", "{b}a"} {
		for _, key := range []string{
			stream.DueKey(topic), stream.LaterKey(topic), stream.RetryDueKey(topic, "g"), stream.RetryLaterKey(topic, "g"),
			stream.RetryDueKey(topic, "g:h"),
		} {
			if other, has := seen[key]; has {
				t.Errorf("%s is a key of %s and of %s", key, other, topic)
			}
			seen[key] = topic
		}
	}
	if got, want := stream.DueKey("orders")+stream.LaterKey("{t}orders"), "{orders}:due{t}orders:later"; got != want {
		t.Errorf("keys %s, want %s", got, want)
	}
}
