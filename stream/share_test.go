package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// distant is a connection to a server that is far away.
type distant struct {
	net.Conn
	takes time.Duration // for what comes
}

func (d distant) Read(p []byte) (int, error) {
	n, err := d.Conn.Read(p)
	time.Sleep(d.takes)
	return n, err
}

// Many consumers of a Runner stop together, and share a few connections to a server that is
// far away: each settles and hands back in its turn, however many have theirs before.
func TestManyStopOnAServerThatIsFarAway(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		const many = 200
		opts := optionsOf(client)
		dial := opts.Dialer
		opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			return distant{conn, 20 * time.Millisecond}, err
		}
		far := redis.NewClient(opts)
		t.Cleanup(func() { _ = far.Close() })
		var r stream.Runner
		for _, name := range topicNames(many) {
			addTo(t, client, name, 2)
			r.Add(mode.make(t, far, name, func(ctx context.Context, msg *stream.Message[order]) error {
				if msg.Value.ID == "0" {
					return nil
				}
				<-ctx.Done() // to be handed back
				return ctx.Err()
			}))
		}
		stop := start(t, &r)
		time.Sleep(time.Minute)
		begun := time.Now()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if mode.name != "group" {
			return
		}
		if took := time.Since(begun); took < 2*time.Second {
			t.Errorf("it took %v: none had to wait for others", took)
		}
		for _, name := range topicNames(many) {
			for owner, n := range client.XPending(t.Context(), name, "billing").Val().Consumers {
				if n > 0 && !strings.HasPrefix(owner, "millrace/") {
					t.Errorf("%d entries of %s are left pending on %s", n, name, owner)
				}
			}
		}
	})
}

// A Runner's consumers read together: many topics, few connections, and none of
// them left behind.
func TestRunnerSharesConnections(t *testing.T) {
	t.Parallel()
	elsewhere := inLogMode("log, offsets elsewhere", func(testing.TB, redis.UniversalClient) offset.Store { return &offset.Memory{} })
	onRedisIn(t, append(bothModes(), elsewhere), func(t *testing.T, server *streamtest.Redis, mode mode) {
		client := server.Client()
		opts := optionsOf(client)
		opts.ClientName = "admin"
		admin := redis.NewClient(opts)
		t.Cleanup(func() { _ = admin.Close() })
		others := func() (list []string) {
			for line := range strings.Lines(admin.ClientList(t.Context()).Val()) {
				if !strings.Contains(line, "name=admin") {
					list = append(list, line)
				}
			}
			return list
		}
		names := topicNames(200)
		for i := range names {
			// Names that no other test has: a consumer gets a second name, and
			// reads apart, if the first is in use for its stream and group.
			names[i] = "shared-" + names[i]
		}
		for _, name := range names[:100] {
			addTo(t, admin, name, 3)
		}
		var handled Counts
		var r stream.Runner
		for _, name := range names {
			r.Add(mode.make(t, client, name, handled.Handle))
		}
		stop := start(t, &r)
		streamtest.Await(t, "the backlog is handled", func() bool { return handled.distinct() == 300 })
		for range 3 {
			for _, name := range names {
				addTo(t, admin, name, 1)
			}
		}
		streamtest.Await(t, "what came later is handled", func() bool { return handled.distinct() == 900 })
		if list := others(); len(list) == 0 || len(list) > 8 {
			t.Errorf("%d connections, want 8 at the most:\n%s", len(list), strings.Join(list, ""))
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		for id, times := range handled.seen {
			if times != 1 {
				t.Errorf("%s was handled %d times", id, times)
			}
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		streamtest.Await(t, "the connections are closed", func() bool { return len(others()) == 0 })
	})
}

// A consumer that has nothing to do has no goroutine but the one that Run was called
// in: the stacks of three or four, a thousand times, are most of what an idle process
// takes.
func TestIdleConsumersHaveOneGoroutine(t *testing.T) {
	t.Parallel()
	for _, mode := range bothModes() {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			client := streamtest.StartRedis(t).Client()
			names := topicNames(100)
			var handled Counts
			var r stream.Runner
			for i := range names {
				name := "idle-" + names[i] // another test's would be read apart
				addTo(t, client, name, 1)
				r.Add(mode.make(t, client, name, handled.Handle, stream.WithConcurrency(4)))
			}
			pprof.Do(t.Context(), pprof.Labels("test", t.Name()), func(context.Context) { start(t, &r) })
			eventually(t, "all have worked", func() bool { return handled.distinct() == len(names) })
			shared := 20 // at the most: the Runner's, those of the shared reads, and of their connections
			eventually(t, "they have nothing to do", func() bool { return goroutines(t) <= len(names)+shared })
			if n := goroutines(t); n < len(names) {
				t.Errorf("%d goroutines were counted of %d consumers", n, len(names))
			}
		})
	}
}

// goroutines returns how many goroutines there are that go back to one with the
// label of the test.
func goroutines(t testing.TB) (n int) {
	t.Helper()
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		t.Fatal(err)
	}
	alike := 0
	for line := range strings.Lines(profile.String()) {
		if count, _, found := strings.Cut(line, " @ "); found {
			alike, _ = strconv.Atoi(count)
		}
		if strings.HasPrefix(line, "# labels:") && strings.Contains(line, strconv.Quote(t.Name())) {
			n += alike
		}
	}
	return n
}

// A topic whose handler stands still leaves the shared read, and the others go on.
func TestASlowTopicHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	onRedisInBothModes(t, func(t *testing.T, server *streamtest.Redis, mode mode) {
		client := server.Client()
		addTo(t, client, "slow", 100)
		var others, slow Counts
		release := make(chan struct{})
		var r stream.Runner
		r.Add(mode.make(t, client, "slow", func(ctx context.Context, msg *stream.Message[order]) error {
			<-release
			return slow.Handle(ctx, msg)
		}, stream.WithReadCount(10)))
		names := topicNames(20)
		for _, name := range names {
			r.Add(mode.make(t, client, name, others.Handle, stream.WithReadCount(10)))
		}
		start(t, &r)
		for range 10 {
			for _, name := range names {
				addTo(t, client, name, 5)
			}
			addTo(t, client, "slow", 5)
		}
		streamtest.Await(t, "the others are handled", func() bool { return others.distinct() == 1000 })
		close(release)
		streamtest.Await(t, "the slow one is handled", func() bool { return slow.distinct() == 150 })
	})
}

// What is wrong with one topic is no matter of the others.
func TestABrokenTopicHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	onRedisInBothModes(t, func(t *testing.T, server *streamtest.Redis, mode mode) {
		client := server.Client()
		var broken, others Counts
		var out logs
		var r stream.Runner
		names := topicNames(20)
		toBreak := mode.make(t, client, "broken", broken.Handle, stream.WithLogger(out.Logger()))
		r.Add(toBreak)
		for _, name := range names {
			r.Add(mode.make(t, client, name, others.Handle))
		}
		start(t, &r)
		publish := func(want int) {
			t.Helper()
			for _, name := range names {
				addTo(t, client, name, 1)
			}
			streamtest.Await(t, "the others are handled", func() bool { return others.distinct() == want })
		}
		publish(20)
		// A key of another type at the start would end its Run.
		streamtest.Await(t, "the one to break reads", func() bool { return toBreak.Health().Ready })
		ctx := t.Context()
		if err := client.Del(ctx, "broken").Err(); err != nil {
			t.Fatal(err)
		}
		if err := client.Set(ctx, "broken", "no stream", 0).Err(); err != nil {
			t.Fatal(err)
		}
		publish(40)
		streamtest.Await(t, "the trouble is in the log", func() bool { return len(out.lines("WARN", "reading failed")) > 0 })
		publish(60)
		if err := client.Del(ctx, "broken").Err(); err != nil {
			t.Fatal(err)
		}
		addTo(t, client, "broken", 3)
		streamtest.Await(t, "it goes on", func() bool { return broken.distinct() == 3 })
	})
}

// Redis is killed under many topics: all go on, and only a few dial meanwhile.
func TestSharedReadersOutlastAKill(t *testing.T) {
	t.Parallel()
	onRedisInBothModes(t, func(t *testing.T, server *streamtest.Redis, mode mode) {
		admin := server.Client()
		var dials atomic.Int64
		opts := optionsOf(admin)
		dial := opts.Dialer
		opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			return dial(ctx, network, addr)
		}
		client := redis.NewClient(opts)
		t.Cleanup(func() { _ = client.Close() })
		var handled Counts
		var r stream.Runner
		names := topicNames(100)
		for _, name := range names {
			r.Add(mode.make(t, client, name, handled.Handle))
		}
		stop := start(t, &r)
		for _, name := range names {
			addTo(t, admin, name, 1)
		}
		streamtest.Await(t, "all are handled", func() bool { return handled.distinct() == 100 })
		// An offset that is not saved yet is tried again by its own consumer, which dials.
		streamtest.Await(t, "all is settled", func() bool {
			return mode.name != "log" || admin.HLen(t.Context(), offset.DefaultKey).Val() == 100
		})
		server.Kill()
		dials.Store(0)
		pause := time.NewTimer(2 * time.Second)
		<-pause.C // what is looked at is what happens in that time
		if n := dials.Load(); mode.name == "log" && n > 100 {
			t.Errorf("%d dials in 2s without a server", n)
		}
		server.Start()
		for _, name := range names {
			addTo(t, admin, name, 1)
		}
		streamtest.Await(t, "all are handled after the restart", func() bool { return handled.distinct() == 200 })
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A consumer that leaves while the others go on takes nothing along: in group mode
// what the shared read brings at that moment is handed back.
func TestLeavingASharedReader(t *testing.T) {
	t.Parallel()
	for _, mode := range bothModes() {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			server := streamtest.StartRedis(t, "--appendonly", "no")
			client := server.Client()
			const rounds, each = 60, 10
			var handled, beside Counts
			var r stream.Runner
			r.Add(mode.make(t, client, "beside", beside.Handle), restarting(func(ctx context.Context) error {
				for range rounds {
					ctx, cancel := context.WithTimeout(ctx, time.Duration(rand.Int64N(int64(20*time.Millisecond))))
					err := mode.make(t, client, "moving", handled.Handle).Run(ctx)
					cancel()
					if err != nil {
						return err
					}
				}
				return mode.make(t, client, "moving", handled.Handle).Run(ctx)
			}))
			start(t, &r)
			for range rounds {
				addTo(t, client, "moving", each)
				addTo(t, client, "beside", each)
			}
			streamtest.Await(t, "all are handled", func() bool {
				return handled.distinct() == rounds*each && beside.distinct() == rounds*each
			})
			if mode.name == "group" {
				streamtest.Await(t, "nothing is pending", func() bool {
					return client.XPending(t.Context(), "moving", "billing").Val().Count == 0
				})
			}
		})
	}
}

// restarting is a Runnable that is a function.
type restarting func(ctx context.Context) error

func (f restarting) Run(ctx context.Context) error { return f(ctx) }

// Two consumers of one stream, with two labels, each get all of it.
func TestTwoLabelsOfOneStreamInARunner(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		var first, second Counts
		var r stream.Runner
		store := &offset.Memory{}
		for label, handled := range map[string]*Counts{"first": &first, "second": &second} {
			r.Add(newConsumer(t, client, store, handled.Handle, stream.WithLabel(label)))
		}
		stop := start(t, &r)
		time.Sleep(time.Second)
		for i := range 5 {
			add(t, client, fmt.Sprint(i))
			time.Sleep(time.Second)
		}
		if first.distinct() != 5 || second.distinct() != 5 {
			t.Errorf("handled %d and %d entries, want 5 each", first.distinct(), second.distinct())
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// Streams with nothing for a while are asked for apart from the others: an entry
// of a busy one does not have all their names sent again.
func TestIdleStreamsAreAskedForApart(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		var long, short atomic.Int64
		opts := optionsOf(client)
		dial := opts.Dialer
		opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			return &measuringConn{Conn: conn, long: &long, short: &short}, err
		}
		client = redis.NewClient(opts)
		t.Cleanup(func() { _ = client.Close() })
		var handled Counts
		var r stream.Runner
		names := topicNames(100)
		store := &offset.Memory{}
		for _, name := range names {
			consumer, err := stream.NewConsumer(client, stream.Topic[order]{Name: name}, store, handled.Handle, quietly(nil)...)
			if err != nil {
				t.Fatal(err)
			}
			r.Add(consumer)
		}
		stop := start(t, &r)
		time.Sleep(30 * time.Second)
		for range 200 { // 20s
			addTo(t, client, names[0], 1)
			time.Sleep(100 * time.Millisecond)
		}
		if n := handled.distinct(); n != 200 {
			t.Fatalf("%d entries were handled, want 200", n)
		}
		long.Store(0)
		short.Store(0)
		for range 200 {
			addTo(t, client, names[0], 1)
			time.Sleep(100 * time.Millisecond)
		}
		// 20s are 10 block times of the long read.
		if long.Load() > 11 || short.Load() < 200 {
			t.Errorf("%d reads of many streams and %d of few, for 200 entries of one", long.Load(), short.Load())
		}
		for _, name := range names {
			addTo(t, client, name, 1)
		}
		time.Sleep(time.Second)
		if n := handled.distinct(); n != 500 {
			t.Errorf("%d entries were handled, want 500", n)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}

// Where the server cannot end a read (CLIENT UNBLOCK), those who join others in one fail
// nobody: each would join again, and so on for ever.
func TestJoiningWhereNoReadCanBeEnded(t *testing.T) {
	t.Parallel()
	for _, mode := range bothModes() {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, client *redis.Client) {
				if err := client.ClientUnblock(t.Context(), 1).Err(); err == nil {
					t.Fatal("this server can end a read")
				}
				var handled Counts
				names := topicNames(50)
				run := func(lasts func(out *logs)) {
					var out logs
					var r stream.Runner
					for _, name := range names {
						r.Add(mode.make(t, client, name, handled.Handle, stream.WithLogger(out.Logger())))
					}
					stop := start(t, &r)
					lasts(&out)
					begun := time.Now()
					if err := stop(); err != nil {
						t.Error(err)
					}
					if took := time.Since(begun); took > time.Second {
						t.Errorf("it took %v to stop", took)
					}
				}
				// Some still wait for the read to come back.
				run(func(*logs) { time.Sleep(500 * time.Millisecond) })
				run(func(out *logs) {
					time.Sleep(10 * time.Second)
					for range 3 {
						for _, name := range names {
							addTo(t, client, name, 1)
							time.Sleep(10 * time.Millisecond)
						}
						time.Sleep(10 * time.Second)
					}
					if n := handled.distinct(); n != 150 {
						t.Errorf("%d entries were handled, want 150", n)
					}
					if failed := out.lines("WARN", "reading failed"); len(failed) > 0 {
						t.Errorf("%d reads failed: %s", len(failed), failed[0])
					}
				})
			})
		})
	}
}

// measuringConn counts the reads of streams by their length.
type measuringConn struct {
	net.Conn
	long, short *atomic.Int64
}

func (c *measuringConn) Write(p []byte) (int, error) {
	switch {
	case !bytes.Contains(p, []byte("xread")):
	case bytes.Count(p, []byte("topic-")) > 50:
		c.long.Add(1)
	default:
		c.short.Add(1)
	}
	return c.Conn.Write(p)
}

// A topic that is refused at the start ends a Runner that is to stop all, with the reason.
func TestSharedReaderRefusesAtTheStart(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	client := server.Client()
	if err := client.Set(t.Context(), "topic-000", "no stream", 0).Err(); err != nil {
		t.Fatal(err)
	}
	for _, mode := range bothModes() {
		r := stream.Runner{OnFailure: stream.StopAll}
		for _, name := range topicNames(3) {
			r.Add(mode.make(t, client, name, new(Counts).Handle))
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Second, errors.New("it was not refused"))
		err := r.Run(ctx)
		cancel()
		if err == nil || !strings.Contains(err.Error(), "topic-000") || !strings.Contains(err.Error(), "another type") {
			t.Errorf("%s: Run returned %v", mode.name, err)
		}
	}
}

// Who joins others while the connection that they are to wait on is being made waits
// with them, and not for the end of their read.
func TestJoiningWhileConnecting(t *testing.T) {
	t.Parallel()
	onRedisInBothModes(t, func(t *testing.T, server *streamtest.Redis, mode mode) {
		opts := *server.Client().Options()
		opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			time.Sleep(30 * time.Millisecond) // as a server far away
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
		client := redis.NewClient(&opts)
		t.Cleanup(func() { _ = client.Close() })
		var handled Counts
		var r stream.Runner
		names := topicNames(3)
		add := func(names ...string) {
			for _, name := range names {
				addTo(t, client, name, 1)
				r.Add(mode.make(t, client, name, handled.Handle, stream.WithBlock(time.Minute)))
			}
		}
		add(names[:2]...)
		stop := start(t, &r)
		// With two at a time to be read by itself, the third finds a connection for that.
		eventually(t, "what is there is handled", func() bool { return handled.distinct() == 2 })
		add(names[2])
		eventually(t, "what is there is handled", func() bool { return handled.distinct() == 3 })
		addTo(t, client, names[2], 1)
		eventually(t, "what comes is handled", func() bool { return handled.distinct() == 4 })
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
