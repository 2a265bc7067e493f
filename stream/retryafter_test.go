package stream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/stream"
	"millrace/stream/internal/script"
	"millrace/stream/streamtest"
)

// deliveries is a handler that keeps the deliveries of each order, as "<entry>/<deliveries>", and
// leaves it to a function how they end.
type deliveries struct {
	mu   sync.Mutex
	seen map[string][]string
	end  func(msg *stream.Message[order]) error
}

func (d *deliveries) Handle(_ context.Context, msg *stream.Message[order]) error {
	d.mu.Lock()
	if d.seen == nil {
		d.seen = make(map[string][]string)
	}
	d.seen[msg.Value.ID] = append(d.seen[msg.Value.ID], fmt.Sprintf("%s/%d", msg.ID, msg.Deliveries))
	d.mu.Unlock()
	if d.end == nil {
		return nil
	}
	return d.end(msg)
}

func (d *deliveries) of(order string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.seen[order])
}

// await waits for the deliveries of an order, and wants them to be these.
func (d *deliveries) await(t *testing.T, order string, want ...string) {
	t.Helper()
	streamtest.Await(t, fmt.Sprintf("%d deliveries of %s", len(want), order), func() bool { return len(d.of(order)) >= len(want) })
	if got := d.of(order); !slices.Equal(got, want) {
		t.Errorf("deliveries of %s are %q, want %q", order, got, want)
	}
}

// until puts entries off until they have been delivered so often.
func until(n int64, after time.Duration) func(msg *stream.Message[order]) error {
	return func(msg *stream.Message[order]) error {
		if msg.Deliveries < n {
			return stream.RetryAfter(after, errors.New("not yet"))
		}
		return nil
	}
}

// postponed returns how many times and contents a group has.
func postponed(t testing.TB, client redis.UniversalClient) (times, contents int64) {
	t.Helper()
	return client.ZCard(t.Context(), stream.RetryDueKey(orders.Name, "billing")).Val(), client.HLen(t.Context(), stream.RetryLaterKey(orders.Name, "billing")).Val()
}

func wantPostponed(t testing.TB, client redis.UniversalClient, want int64) {
	t.Helper()
	if times, contents := postponed(t, client); times != want || contents != want {
		t.Errorf("%d times and %d contents, want %d", times, contents, want)
	}
}

func awaitPostponed(t testing.TB, client redis.UniversalClient, want int64) {
	t.Helper()
	streamtest.Await(t, fmt.Sprintf("%d are put off", want), func() bool {
		times, _ := postponed(t, client)
		groups := client.XInfoGroups(t.Context(), orders.Name).Val()
		at := slices.IndexFunc(groups, func(g redis.XInfoGroup) bool { return g.Name == "billing" })
		return times == want && at >= 0 && groups[at].Pending == 0
	})
	wantPostponed(t, client, want)
}

// Entries that are put off for an hour hold up none of those behind them.
func TestRetryAfterHoldsUpNoOthers(t *testing.T) {
	t.Parallel()
	const n = 1500
	client := streamtest.StartRedis(t, "--appendfsync", "no").Client()
	pipe := client.Pipeline()
	for i := range 2 * n {
		kind := "bad"
		if i >= n {
			kind = "good"
		}
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, Values: []string{"id", kind + strconv.Itoa(i)}})
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	var handled Counts
	consumer := newGroup(t, client, func(ctx context.Context, msg *stream.Message[order]) error {
		if strings.HasPrefix(msg.Value.ID, "bad") {
			return stream.RetryAfter(time.Hour, errors.New("busy"))
		}
		return handled.Handle(ctx, msg)
	})
	begun := time.Now()
	stop := start(t, consumer)
	streamtest.Await(t, "all good ones are handled", func() bool { return handled.distinct() == n })
	t.Logf("%d entries were handled behind %d that were put off in %v", n, n, time.Since(begun))
	settled(t, client)
	wantPostponed(t, client, n)
	streamtest.Await(t, "the window is free", func() bool { return consumer.Stats().Window == 0 })
	if s := consumer.Stats(); s.Postponed != n || s.Failed != 0 || s.Held != 0 || s.Handled != n {
		t.Errorf("Stats are %+v", s)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// An entry comes back as itself, to its group alone, and not before its time.
func TestRetryAfterComesBackAsItself(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	id := addFields(t, client, "id", "a", "z", "\x00\xff", "z", "2")
	const after = 300 * time.Millisecond
	var times []time.Time
	var fields [][]string
	var d deliveries
	d.end = func(msg *stream.Message[order]) error {
		times = append(times, time.Now())
		var pairs []string
		for name, value := range msg.Fields.All() {
			pairs = append(pairs, name, value)
		}
		fields = append(fields, pairs)
		return until(3, after)(msg)
	}
	var ends outcomesOf
	start(t, newGroup(t, client, d.Handle, stream.WithObserver(&ends),
		stream.WithMiddleware(middleware.DeadLetter(middleware.DeadLetterConfig{}), middleware.Retry(middleware.RetryConfig{}))))
	var other deliveries
	search, err := stream.NewGroupConsumer(client, orders, "search", other.Handle, quietly(nil)...)
	if err != nil {
		t.Fatal(err)
	}
	start(t, search)
	d.await(t, "a", id+"/1", id+"/2", id+"/3")
	awaitIdle(t, client)
	for i := 1; i < 3; i++ {
		if took := times[i].Sub(times[i-1]); took < after {
			t.Errorf("it came back after %v, want no less than %v", took, after)
		}
		if !slices.Equal(fields[i], fields[0]) {
			t.Errorf("it came back as %q, and was %q", fields[i], fields[0])
		}
	}
	wantPostponed(t, client, 0)
	other.await(t, "a", id+"/1")
	if got := ends.list(); !slices.Equal(got, []stream.Outcome{stream.OutcomePostponed, stream.OutcomePostponed, stream.OutcomeHandled}) {
		t.Errorf("outcomes %v", got)
	}
	if n := client.XLen(t.Context(), orders.Name).Val(); n != 1 {
		t.Errorf("the stream has %d entries", n)
	}
}

// awaitIdle waits until nothing is pending in any group.
func awaitIdle(t testing.TB, client redis.UniversalClient) {
	t.Helper()
	streamtest.Await(t, "nothing is pending", func() bool {
		groups, err := client.XInfoGroups(context.Background(), orders.Name).Result()
		return err == nil && !slices.ContainsFunc(groups, func(g redis.XInfoGroup) bool { return g.Pending > 0 || g.Lag != 0 })
	})
}

// outcomesOf is an observer of outcomes.
type outcomesOf struct {
	mu   sync.Mutex
	seen []stream.Outcome
}

func (o *outcomesOf) OnEnd(e stream.DeliveryEnded) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, e.Outcome)
}

func (o *outcomesOf) list() []stream.Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.seen)
}

// Entries that leave the stream while they are put off are added again, for their group alone, and
// their deliveries count on, up to the limit.
func TestRetryAfterOfTrimmedEntries(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	id := addFields(t, client, "id", "a", "z", "1", "z", "2")
	var d, other deliveries
	d.end = func(*stream.Message[order]) error {
		return stream.RetryAfter(time.Second, errors.New("busy"))
	}
	var out logs
	stop := start(t, newGroup(t, client, d.Handle, stream.WithLogger(out.Logger()), stream.WithMaxDeliveries(3),
		stream.WithMiddleware(middleware.DeadLetter(middleware.DeadLetterConfig{}))))
	search, err := stream.NewGroupConsumer(client, orders, "search", other.Handle, quietly(nil)...)
	if err != nil {
		t.Fatal(err)
	}
	start(t, search)
	trimmed := func(n int) (id string, fields []string) {
		t.Helper()
		streamtest.Await(t, fmt.Sprintf("%d deliveries", n), func() bool { return len(d.of("a")) == n })
		awaitPostponed(t, client, 1)
		client.XTrimMaxLen(t.Context(), orders.Name, 0)
		streamtest.Await(t, "it is added again", func() bool { return client.XLen(t.Context(), orders.Name).Val() == 1 })
		entry := rawEntries(t, client, orders.Name)[0]
		return entry[0], entry[1:]
	}
	second, fields := trimmed(1)
	want := []string{"id", "a", "z", "1", "z", "2", stream.HeaderFor, "group:billing", stream.HeaderDeliveries, "1"}
	if !slices.Equal(fields, want) {
		t.Errorf("added again was %q, want %q", fields, want)
	}
	third, fields := trimmed(2)
	if want[9] = "2"; !slices.Equal(fields, want) {
		t.Errorf("added again was %q, want %q", fields, want)
	}
	streamtest.Await(t, "it is a dead letter", func() bool { return client.XLen(t.Context(), "{orders}:dead").Val() == 1 })
	letter := deadLetters(t, client, "{orders}:dead")[0]
	if at := slices.Index(letter, stream.DeadLetterAttempts); letter[at+1] != "3" {
		t.Errorf("the dead letter is %q, want one after 3 attempts", letter)
	}
	d.await(t, "a", id+"/1", second+"/2", third+"/3")
	awaitIdle(t, client)
	other.await(t, "a", id+"/1")
	if err := stop(); err != nil {
		t.Error(err)
	}
	if n := len(out.lines("were added to it again")); n != 2 {
		t.Errorf("the log is\n%s", out.String())
	}
}

// rawEntries returns the ID and the fields of each entry of a stream, in their order.
func rawEntries(t testing.TB, client redis.UniversalClient, name string) (list [][]string) {
	t.Helper()
	reply, err := client.Do(t.Context(), "XRANGE", name, "-", "+").Slice()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range reply {
		parts := one.([]any)
		entry := []string{parts[0].(string)}
		for _, text := range parts[1].([]any) {
			entry = append(entry, text.(string))
		}
		list = append(list, entry)
	}
	return list
}

// What is put off outlasts its consumer and a kill of Redis, and another consumer takes it.
func TestRetryAfterOutlastsConsumerAndServer(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	client := server.Client()
	id := add(t, client, "a")
	var first, second deliveries
	first.end, second.end = until(2, 2*time.Second), nil
	stop := start(t, newGroup(t, client, first.Handle))
	awaitPostponed(t, client, 1)
	if err := stop(); err != nil {
		t.Error(err)
	}
	server.Kill()
	server.Start()
	wantPostponed(t, client, 1)
	start(t, newGroup(t, client, second.Handle))
	second.await(t, "a", id+"/2")
	awaitPostponed(t, client, 0)
}

// The reply is lost, and the entry is put off once. Where it has come back before the second try, it
// is put off once more, or is another consumer's.
func TestRetryAfterWithoutAReply(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	admin := server.Client()
	proxy := startFates(t, server)
	first := add(t, admin, "first") // now the server knows the script
	var d deliveries
	d.end = until(2, 500*time.Millisecond)
	stop := start(t, newGroup(t, proxy.client(t, redis.Options{}), d.Handle))
	d.await(t, "first", first+"/1", first+"/2")
	proxy.next(script.Postpone.Hash, lose, lose)
	id := add(t, admin, "a")
	d.await(t, "a", id+"/1", id+"/2")
	settled(t, admin)
	if proxy.left() != 0 {
		t.Error("no reply was lost")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	d.await(t, "a", id+"/1", id+"/2")
	wantPostponed(t, admin, 0)
}

// An entry that is not this consumer's any more is not put off; one whose consumer or group was
// removed is.
func TestRetryAfterOfWhatIsNotPending(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	var d deliveries
	var once sync.Map
	d.end = func(msg *stream.Message[order]) error {
		if _, again := once.LoadOrStore(msg.Value.ID, true); again {
			return nil
		}
		ctx := context.Background()
		switch msg.Value.ID {
		case "claimed":
			client.XClaim(ctx, &redis.XClaimArgs{Stream: msg.Stream, Group: "billing", Consumer: "other", Messages: []string{msg.ID}})
		case "removed":
			client.XGroupDelConsumer(ctx, msg.Stream, "billing", msg.Reader().Consumer)
		case "destroyed":
			client.XGroupDestroy(ctx, msg.Stream, "billing")
		case "trimmed":
			client.XDel(ctx, msg.Stream, msg.ID)
		}
		return stream.RetryAfter(700*time.Millisecond, errors.New("busy"))
	}
	var ends outcomesOf
	var out logs
	consumer := newGroup(t, client, d.Handle, stream.WithObserver(&ends), stream.WithLogger(out.Logger()))
	stop := start(t, consumer)
	t.Cleanup(func() { t.Log(out.String()) })
	claimed := add(t, client, "claimed")
	streamtest.Await(t, "it is given up", func() bool { return len(ends.list()) == 1 })
	wantPostponed(t, client, 0)
	if got := pending(t, client); !slices.Equal(got, []string{claimed}) || ends.list()[0] != stream.OutcomeClaimed {
		t.Errorf("pending are %v, the outcome is %v", got, ends.list())
	}
	client.XAck(t.Context(), orders.Name, "billing", claimed)
	for _, name := range []string{"removed", "destroyed"} {
		id := add(t, client, name)
		awaitPostponed(t, client, 1)
		d.await(t, name, id+"/1", id+"/2")
		awaitPostponed(t, client, 0)
	}
	add(t, client, "trimmed")
	streamtest.Await(t, "it is lost", func() bool { return consumer.Stats().Lost > 0 })
	settled(t, client)
	wantPostponed(t, client, 0)
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// Whatever the server refuses, nothing is there by half, and the entry is held as after any other
// error, until it can be put off.
func TestRetryAfterRefusedByTheServer(t *testing.T) {
	t.Parallel()
	admin := streamtest.StartRedis(t, "--user", "app", "on", ">right", "~*", "&*", "+@all").Client()
	opts := *admin.Options()
	opts.Username, opts.Password = "app", "right"
	client := redis.NewClient(&opts)
	t.Cleanup(func() { _ = client.Close() })
	var out logs
	d := deliveries{end: func(*stream.Message[order]) error { return stream.RetryAfter(time.Hour, errors.New("busy")) }}
	stop := start(t, newGroup(t, client, d.Handle, stream.WithLogger(out.Logger()), stream.WithBackoff(stream.Backoff{Min: 50 * time.Millisecond, Max: 100 * time.Millisecond})))
	n := int64(0)
	refused := func(what, says string, begin, end []any) {
		t.Helper()
		command(t, admin, begin...)
		command(t, admin, "XADD", orders.Name, "*", "id", what)
		streamtest.Await(t, what+": it is tried again", func() bool { return len(d.of(what)) > 2 })
		wantPostponed(t, admin, n)
		if ids := pending(t, admin); len(ids) != 1 {
			t.Errorf("%s: pending are %v", what, ids)
		}
		if len(out.lines("it cannot be put off", says)) == 0 {
			t.Errorf("%s: the log is\n%s", what, out.String())
		}
		command(t, admin, end...)
		n++
		awaitPostponed(t, admin, n)
	}
	for _, right := range []string{"zadd", "hset"} {
		refused(right, "NOPERM", []any{"ACL", "SETUSER", "app", "-" + right}, []any{"ACL", "SETUSER", "app", "+" + right})
	}
	keys := []string{stream.RetryDueKey(orders.Name, "billing"), stream.RetryLaterKey(orders.Name, "billing")}
	for i, key := range keys {
		for _, other := range keys {
			command(t, admin, "RENAME", other, other+":away")
		}
		n = 0
		command(t, admin, "SET", key, "x")
		refused("text"+strconv.Itoa(i), "WRONGTYPE", []any{"PING"}, []any{"DEL", key})
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// Times and contents that were touched by hand hold up no others, and an entry that another one has
// taken the place of is not taken for it.
func TestRetryAfterTouchedByHand(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	ctx := t.Context()
	due, contents := stream.RetryDueKey(orders.Name, "billing"), stream.RetryLaterKey(orders.Name, "billing")
	var d deliveries
	d.end = until(2, time.Hour)
	stop := start(t, newGroup(t, client, d.Handle))
	var ids []string
	for _, name := range []string{"gone", "odd", "replaced", "again", "good"} {
		ids = append(ids, add(t, client, name))
	}
	awaitPostponed(t, client, 5)
	if err := stop(); err != nil {
		t.Error(err)
	}
	client.HDel(ctx, contents, ids[0])
	client.HSet(ctx, contents, ids[1], "no contents of ours")
	// The others are in a stream that was made again: one as itself, and one replaced.
	for _, id := range ids {
		client.XDel(ctx, orders.Name, id)
	}
	kept := client.HGet(ctx, contents, ids[3]).Val()
	client.Del(ctx, orders.Name)
	client.XGroupCreateMkStream(ctx, orders.Name, "billing", "0")
	client.XAdd(ctx, &redis.XAddArgs{Stream: orders.Name, ID: ids[2], Values: []string{"id", "another"}})
	client.XAdd(ctx, &redis.XAddArgs{Stream: orders.Name, ID: ids[3], Values: []string{"id", "again", "amount", "1"}})
	client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "billing", Consumer: "other", Streams: []string{orders.Name, ">"}})
	for _, id := range ids {
		client.ZAdd(ctx, due, redis.Z{Score: 1, Member: id})
	}
	var out logs
	consumer := newGroup(t, client, d.Handle, stream.WithLogger(out.Logger()))
	stop = start(t, consumer)
	streamtest.Await(t, "two have come back", func() bool { return len(d.of("replaced")) == 2 && len(d.of("good")) == 2 })
	if err := stop(); err != nil {
		t.Error(err)
	}
	if left := client.ZRange(ctx, due, 0, -1).Val(); !slices.Equal(left, ids[1:2]) {
		t.Errorf("left are %v, want %v", left, ids[1:2])
	}
	if left := client.HKeys(ctx, contents).Val(); !slices.Equal(left, ids[1:2]) || kept == "" {
		t.Errorf("the contents of %v are left, want those of %v", left, ids[1:2])
	}
	if got := pending(t, client); !slices.Equal(got, ids[2:4]) { // of the other consumer, which has read them
		t.Errorf("pending are %v, want %v", got, ids[2:4])
	}
	if n := consumer.Stats().Lost; n != 1 || len(out.lines("cannot come back", "entry_id="+ids[1])) != 1 {
		t.Errorf("%d entries are lost, and the log is\n%s", n, out.String())
	}
}

// In log mode the entry is held, as after any other error.
func TestRetryAfterInLogMode(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		d := deliveries{end: until(2, time.Hour)}
		consumer := bothModes()[0].make(t, client, orders.Name, d.Handle)
		start(t, consumer)
		id := add(t, client, "a")
		time.Sleep(time.Minute)
		d.await(t, "a", id+"/1", id+"/2")
		if s := consumer.Stats(); s.Postponed != 0 || s.Failed != 1 {
			t.Errorf("Stats are %+v", s)
		}
	})
}

func TestRetryAfterInACluster(t *testing.T) {
	t.Parallel()
	client := streamtest.StartCluster(t).Client()
	id := add(t, client, "a")
	var d deliveries
	d.end = until(2, 0)
	start(t, newGroup(t, client, d.Handle))
	d.await(t, "a", id+"/1", id+"/2")
}
