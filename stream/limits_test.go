package stream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// entryLimit is the limit of size in these tests. tooLarge is over it by one byte,
// with repeated names, and justRight is as large as may be.
const entryLimit = 5000

func tooLarge(id string) []string  { return sized(id, entryLimit+1) }
func justRight(id string) []string { return sized(id, entryLimit) }

// sized is an order with names and values of so many bytes.
func sized(id string, bytes int) []string {
	pairs := []string{"id", id, "twice", "canary", "twice", strings.Repeat("x", 3000), "pad", ""}
	for _, text := range pairs {
		bytes -= len(text)
	}
	pairs[len(pairs)-1] = strings.Repeat("y", bytes)
	return pairs
}

// sizeWatch is a middleware that keeps what it sees of entries over the limit.
type sizeWatch struct {
	mu   sync.Mutex
	seen map[string]int // deliveries, by ID
	// then decides about such an entry; nil returns the error.
	then func(ctx context.Context, entry *stream.Entry, err error) error
}

func (s *sizeWatch) middleware(t testing.TB) stream.Middleware {
	s.seen = make(map[string]int)
	return func(next stream.EntryHandler) stream.EntryHandler {
		return func(ctx context.Context, entry *stream.Entry) error {
			err := next(ctx, entry)
			var wrong *stream.DecodeError
			var size *stream.EntrySizeError
			if !errors.As(err, &size) {
				if entry.Fields.Len() == 0 {
					t.Errorf("entry %s came without fields, and with %v", entry.ID, err)
				}
				return err
			}
			if !errors.As(err, &wrong) || wrong.ID != entry.ID || wrong.Stream != entry.Stream || *size != (stream.EntrySizeError{Size: entryLimit + 1, Limit: entryLimit}) || entry.Fields.Len() > 0 {
				t.Errorf("entry %s with %d fields came with %v", entry.ID, entry.Fields.Len(), err)
			}
			s.mu.Lock()
			s.seen[entry.ID]++
			s.mu.Unlock()
			if s.then != nil {
				return s.then(ctx, entry, err)
			}
			return err
		}
	}
}

// saw reports whether exactly these entries were seen.
func (s *sizeWatch) saw(ids []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if s.seen[id] == 0 {
			return false
		}
	}
	return len(s.seen) == len(ids)
}

// An entry over the limit of size is a decode error, and whole in the dead letters,
// by whatever way it comes to a consumer; one that is as large as may be is handled.
func TestMaxEntryBytes(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	failFirst := func(_ context.Context, entry *stream.Entry, err error) error {
		if entry.Deliveries == 1 {
			return errors.New("not yet")
		}
		return err
	}
	read := func(t *testing.T, client *redis.Client, name string) {
		if err := client.XGroupCreate(ctx, "orders", "billing", "0").Err(); err != nil {
			t.Fatal(err)
		}
		if err := client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "billing", Consumer: name, Streams: []string{"orders", ">"}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	type route struct {
		groupOnly, waits, shared bool
		before                   func(t *testing.T, client *redis.Client)
		then                     func(client *redis.Client) func(context.Context, *stream.Entry, error) error
		opts                     []stream.Option
	}
	for how, route := range map[string]route{
		"backlog":             {},
		"waiting":             {waits: true},
		"backlog in a Runner": {shared: true},
		"waiting in a Runner": {shared: true, waits: true},
		"order key":           {opts: []stream.Option{stream.WithConcurrency(4), stream.WithOrderKey(stream.Field("id"))}},
		"few bytes":           {opts: []stream.Option{stream.WithWindowBytes(2 * entryLimit)}},
		"few bytes and an order key": {opts: []stream.Option{stream.WithWindowBytes(2 * entryLimit), stream.WithConcurrency(4), stream.WithOrderKey(func(e *stream.Entry) string {
			id, _ := e.Fields.Get("id")
			return id[:1] // panics without fields
		})}},
		"delivered again": {then: func(*redis.Client) func(context.Context, *stream.Entry, error) error { return failFirst },
			opts: []stream.Option{stream.WithBackoff(stream.Backoff{Min: time.Millisecond, Max: time.Millisecond})}},
		"pending on its name": {groupOnly: true, before: func(t *testing.T, client *redis.Client) { read(t, client, "me") },
			opts: []stream.Option{stream.WithConsumerName("me")}},
		"claimed": {groupOnly: true, before: func(t *testing.T, client *redis.Client) { read(t, client, "dead") },
			opts: []stream.Option{stream.WithClaimIdle(20 * time.Millisecond)}},
		"handed back": {groupOnly: true, before: func(t *testing.T, client *redis.Client) {
			begun := make(chan struct{}, 100)
			stop := start(t, newGroup(t, client, newRecorder().Handle, stream.WithMaxEntryBytes(entryLimit), stream.WithMiddleware(func(stream.EntryHandler) stream.EntryHandler {
				return func(ctx context.Context, _ *stream.Entry) error {
					begun <- struct{}{}
					<-ctx.Done()
					return ctx.Err()
				}
			})))
			<-begun
			if err := stop(); err != nil {
				t.Fatal(err)
			}
		}},
		"group gone while it is held": {groupOnly: true, then: func(client *redis.Client) func(context.Context, *stream.Entry, error) error {
			return func(ctx context.Context, entry *stream.Entry, err error) error {
				if entry.Deliveries == 1 {
					if err := client.XGroupDestroy(ctx, "orders", "billing").Err(); err != nil {
						return err
					}
					return errors.New("not yet")
				}
				return err
			}
		}, opts: []stream.Option{stream.WithBackoff(stream.Backoff{Min: time.Millisecond, Max: time.Millisecond})}},
	} {
		for _, mode := range bothModes() {
			if route.groupOnly && mode.name != "group" {
				continue
			}
			t.Run(mode.name+", "+how, func(t *testing.T) {
				t.Parallel()
				client := streamtest.StartRedis(t).Client()
				var large []string
				publish := func() {
					for i := range 60 {
						switch i {
						case 10, 11, 40, 59:
							large = append(large, addFields(t, client, tooLarge(fmt.Sprint(i))...))
						case 20, 50:
							addFields(t, client, justRight(fmt.Sprint(i))...)
						default:
							add(t, client, fmt.Sprint(i))
						}
					}
				}
				if !route.waits {
					publish()
				}
				if route.before != nil {
					route.before(t, client)
				}
				watch := &sizeWatch{}
				if route.then != nil {
					watch.then = route.then(client)
				}
				var out logs
				rec := newRecorder()
				consumer := mode.make(t, client, "orders", rec.Handle, append([]stream.Option{
					stream.WithMaxEntryBytes(entryLimit), stream.WithLogger(out.Logger()),
					stream.WithMiddleware(middleware.DeadLetter(middleware.DeadLetterConfig{}), watch.middleware(t)),
				}, route.opts...)...)
				var running runner = consumer
				if route.shared {
					r := &stream.Runner{}
					r.Add(consumer, mode.make(t, client, "other", rec.Handle, stream.WithMaxEntryBytes(1)))
					running = r
				}
				stop := start(t, running)
				if route.waits {
					eventually(t, "it waits", func() bool { return consumer.Health().Ready })
					publish()
				}
				eventually(t, "all have ended", func() bool {
					s := consumer.Stats()
					return s.Handled >= 56 && s.DeadLettered >= 4
				})
				if err := stop(); err != nil {
					t.Error(err)
				}
				if s := consumer.Stats(); strings.HasPrefix(how, "few bytes") && s.Redelivered != 0 {
					t.Errorf("%d deliveries of entries that were left count as others than the first", s.Redelivered)
				}
				seen := rec.Seen()
				slices.Sort(seen)
				if seen = slices.Compact(seen); len(seen) != 56 || slices.Contains(seen, "10") || !slices.Contains(seen, "20") {
					t.Errorf("handled %d orders: %v", len(seen), seen)
				}
				if !watch.saw(large) {
					t.Errorf("the middleware saw %v, want %v", watch.seen, large)
				}
				streamtest.AssertDeadLettered(t, client, "{orders}:dead", large...)
				for _, letter := range deadLetters(t, client, "{orders}:dead") {
					if original := letter[:len(letter)-12]; !slices.Equal(original, tooLarge(original[1])) {
						t.Errorf("a dead letter is %.100q", letter)
					}
				}
				if len(out.lines("canary")) > 0 {
					t.Errorf("the log has a value:\n%s", out.String())
				}
			})
		}
	}
}

// Where no middleware cares, an entry over the limit is passed like any other that
// cannot be decoded, with a line that says how large it is.
func TestEntryOverTheLimitIsAbsorbed(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		addFields(t, client, tooLarge("a")...)
		add(t, client, "b")
		var out logs
		rec := newRecorder()
		consumer := mode.make(t, client, "orders", rec.Handle, stream.WithMaxEntryBytes(entryLimit), stream.WithLogger(out.Logger()))
		stop := start(t, consumer)
		time.Sleep(time.Minute)
		if s := consumer.Stats(); s.Absorbed != 1 || s.Handled != 1 || s.Window != 0 {
			t.Errorf("%+v", s)
		}
		if len(out.lines("WARN", "cannot be decoded", "5001 bytes", "5000 are allowed", "WithMaxEntryBytes")) != 1 {
			t.Errorf("the log is\n%s", out.String())
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// What a batch handler gets is within the limit.
func TestMaxEntryBytesOfBatches(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		for i := range 30 {
			addFields(t, client, sized(fmt.Sprint(i), entryLimit+i%3-1)...)
		}
		var handled []string
		handle := func(_ context.Context, batch []*stream.Message[order]) error {
			for _, msg := range batch {
				handled = append(handled, msg.Value.ID)
			}
			return nil
		}
		watch := &sizeWatch{}
		consumer, err := stream.NewGroupBatchConsumer(client, orders, "billing", handle, quietly([]stream.Option{
			stream.WithMaxEntryBytes(entryLimit), stream.WithWindowBytes(4 * entryLimit), stream.WithMiddleware(watch.middleware(t)),
		})...)
		if err != nil {
			t.Fatal(err)
		}
		stop := start(t, consumer)
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if len(handled) != 20 || slices.Contains(handled, "2") || len(watch.seen) != 10 {
			t.Errorf("handled %v, over the limit were %v", handled, watch.seen)
		}
	})
}

// An entry that is over the limit of deliveries as well is treated as such.
func TestMaxEntryBytesAndMaxDeliveries(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		id := addFields(t, client, tooLarge("a")...)
		if err := client.XGroupCreate(t.Context(), "orders", "billing", "0").Err(); err != nil {
			t.Fatal(err)
		}
		if err := client.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "billing", Consumer: "me", Streams: []string{"orders", ">"}}).Err(); err != nil {
			t.Fatal(err)
		}
		var got error
		stop := start(t, newGroup(t, client, newRecorder().Handle, stream.WithConsumerName("me"), stream.WithMaxEntryBytes(entryLimit), stream.WithMaxDeliveries(1),
			stream.WithMiddleware(middleware.DeadLetter(middleware.DeadLetterConfig{}), func(next stream.EntryHandler) stream.EntryHandler {
				return func(ctx context.Context, entry *stream.Entry) error {
					got = next(ctx, entry)
					return got
				}
			})))
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		var exhausted *stream.MaxDeliveriesError
		if !errors.As(got, &exhausted) {
			t.Errorf("the chain returned %v", got)
		}
		streamtest.AssertDeadLettered(t, client, "{orders}:dead", id)
		if letter := deadLetters(t, client, "{orders}:dead")[0]; !slices.Equal(letter[:len(letter)-12], tooLarge("a")) {
			t.Errorf("the dead letter is %.100q", letter)
		}
	})
}

// The dead letter of an entry whose fields were not kept is whole where the server
// cannot copy it, too.
func TestDeadLetterOfAnEntryOverTheLimit(t *testing.T) {
	t.Parallel()
	for where, row := range map[string]struct {
		args    []string
		cluster bool
		other   bool
	}{
		"without scripts":            {args: []string{"--user", "default", "on", "nopass", "~*", "&*", "+@all", "-eval", "-evalsha"}},
		"on another Redis":           {other: true},
		"in another slot":            {cluster: true},
		"more than a script can":     {},
		"with scripts, on one Redis": {},
	} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			var client redis.UniversalClient
			if row.cluster {
				client = streamtest.StartCluster(t).Client()
			} else {
				client = streamtest.StartRedis(t, row.args...).Client()
			}
			to, config := client, middleware.DeadLetterConfig{Stream: "{elsewhere}:dead"}
			if row.other {
				config.Client = streamtest.StartRedis(t).Client()
				to = config.Client
			}
			want := make(map[string][]string)
			for i := range 10 {
				pairs := tooLarge(fmt.Sprint(i))
				if where == "more than a script can" {
					pairs = append(manyFields(), pairs...)
				}
				want[addFields(t, client, pairs...)] = pairs
			}
			for _, mode := range bothModes() {
				if mode.name == "group" && len(row.args) > 0 {
					continue // group mode takes scripts
				}
				if err := to.Del(t.Context(), config.Stream).Err(); err != nil {
					t.Fatal(err)
				}
				opts := []stream.Option{stream.WithMaxEntryBytes(entryLimit), stream.WithConcurrency(4), stream.WithMiddleware(middleware.DeadLetter(config))}
				consumer := newConsumer(t, client, &offset.Memory{}, newRecorder().Handle, opts...)
				if mode.name == "group" {
					consumer = newGroup(t, client, newRecorder().Handle, opts...)
				}
				stop := start(t, consumer)
				eventually(t, "all are dead letters", func() bool { return consumer.Stats().DeadLettered == 10 })
				if err := stop(); err != nil {
					t.Error(err)
				}
				letters := deadLetters(t, to, config.Stream)
				if len(letters) != 10 {
					t.Fatalf("%s: %d dead letters", mode.name, len(letters))
				}
				for _, letter := range letters {
					original, added := letter[:len(letter)-12], letter[len(letter)-12:]
					if !slices.Equal(original, want[added[3]]) {
						t.Errorf("%s: the dead letter of %s is %.100q", mode.name, added[3], original)
					}
				}
			}
		})
	}
}

// An entry that has gone, and of which nothing was kept, is lost: that is told, and
// no dead letter says that it holds what it does not.
func TestEntryOverTheLimitHasGone(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		id := addFields(t, client, tooLarge("a")...)
		add(t, client, "b")
		var out logs
		rec, watch := newRecorder(), &sizeWatch{}
		watch.then = func(ctx context.Context, entry *stream.Entry, err error) error {
			return errors.Join(err, client.XDel(ctx, "orders", entry.ID).Err())
		}
		lost := &lossKeeper{}
		consumer := mode.make(t, client, "orders", rec.Handle, stream.WithMaxEntryBytes(entryLimit), stream.WithLogger(out.Logger()), stream.WithObserver(lost),
			stream.WithMiddleware(middleware.DeadLetter(middleware.DeadLetterConfig{}), watch.middleware(t)))
		stop := start(t, consumer)
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if s := consumer.Stats(); s.Lost != 1 || s.Absorbed != 1 || s.DeadLettered != 0 || s.Handled != 1 || s.Window != 0 {
			t.Errorf("%+v", s)
		}
		if len(lost.all) != 1 || lost.all[0].From != id || lost.all[0].Cause != stream.LossPending {
			t.Errorf("told were %v", lost.all)
		}
		if len(out.lines("ERROR", "entry lost", id)) != 1 {
			t.Errorf("the log is\n%s", out.String())
		}
		if n := client.XLen(t.Context(), "{orders}:dead").Val(); n != 0 {
			t.Errorf("%d dead letters", n)
		}
	})
}

// lossKeeper keeps the losses that it is told.
type lossKeeper struct {
	mu  sync.Mutex
	all []stream.LossError
}

func (l *lossKeeper) OnLoss(_ stream.Identity, err error) {
	var loss *stream.LossError
	if errors.As(err, &loss) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all = append(l.all, *loss)
	}
}

// A place whose entry is over the limit is found again, at every look, after every
// trouble and after a restart: no loss is told that is none. It is lost when the
// entry is not there any more.
func TestPlaceOfAnEntryOverTheLimit(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"alone", "in a Runner"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			server := streamtest.StartRedis(t)
			client := server.Client()
			store := &offset.Memory{}
			rec := newRecorder()
			var consumer *stream.Consumer[order]
			run := func() func() error {
				consumer = newConsumer(t, client, store, rec.Handle, stream.WithMaxEntryBytes(entryLimit),
					stream.WithInspection(5*time.Millisecond), stream.WithBlock(5*time.Millisecond))
				if how == "alone" {
					return start(t, consumer)
				}
				r := &stream.Runner{}
				r.Add(consumer)
				return start(t, r)
			}
			for i := range 3 {
				addFields(t, client, tooLarge("x")...)
				stop := run()
				eventually(t, "it is passed", func() bool { return consumer.Stats().Absorbed == 1 })
				looked := looks(t, client)
				eventually(t, "it has looked around", func() bool { return looks(t, client) > looked+3 })
				before := consumer.Stats().Reconnects
				if err := client.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
					t.Fatal(err)
				}
				addFields(t, client, tooLarge("y")...)
				eventually(t, "it has connected anew, and read", func() bool {
					s := consumer.Stats()
					return s.Absorbed == 2 && (s.Reconnects > before || how == "in a Runner")
				})
				if i == 2 {
					last := consumer.Stats().Position
					if err := client.XTrimMaxLen(t.Context(), "orders", 0).Err(); err != nil {
						t.Fatal(err)
					}
					if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "orders", ID: "1-1", Values: []string{"id", "z"}}).Err(); err == nil {
						t.Fatalf("an ID below %s was taken", last)
					}
					if err := client.Del(t.Context(), "orders").Err(); err != nil {
						t.Fatal(err)
					}
					if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "orders", ID: "1-1", Values: []string{"id", "z"}}).Err(); err != nil {
						t.Fatal(err)
					}
					eventually(t, "the loss is found", func() bool { return consumer.Stats().Lost > 0 && slices.Contains(rec.Seen(), "z") })
				} else if n := consumer.Stats().Lost; n != 0 {
					t.Errorf("%d entries are said to be lost", n)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestLimitOptionsAreChecked(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = client.Close() })
	_, err := stream.NewConsumer(client, orders, &offset.Memory{}, newRecorder().Handle,
		stream.WithMaxEntryBytes(0), stream.WithWindowBytes(-1))
	wantProblem(t, err, "WithMaxEntryBytes(0): give at least 1, or leave it out for no limit")
	wantProblem(t, err, "WithWindowBytes(-1): give at least 1")
	if _, err := stream.NewGroupConsumer(client, orders, "g", newRecorder().Handle, stream.WithMaxEntryBytes(1), stream.WithWindowBytes(1)); err != nil {
		t.Error(err)
	}
}
