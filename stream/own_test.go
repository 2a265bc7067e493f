package stream_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
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

// pendingScript adds ARGV[3] orders and has them pending on the consumer in ARGV[2] of the
// group in ARGV[1].
const pendingScript = `
for i = 1, ARGV[3] do redis.call('XADD', KEYS[1], '*', 'id', i, 'amount', '1') end
redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[3], 'STREAMS', KEYS[1], '>')
return 1`

// leaveMany has n new orders pending on a consumer that is no more, and returns the
// client.
func leaveMany(t testing.TB, client *redis.Client, owner string, n int) *redis.Client {
	t.Helper()
	if err := client.XGroupCreateMkStream(context.Background(), "orders", "billing", "0").Err(); err != nil {
		t.Fatal(err)
	}
	for left := n; left > 0; left -= 5000 {
		if err := client.Eval(context.Background(), pendingScript, []string{"orders"}, "billing", owner, min(left, 5000)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	return client
}

// manyPending is how many entries are pending: PENDING=1000000 in the environment has the
// test take a million.
func manyPending(t testing.TB) int {
	t.Helper()
	text := os.Getenv("PENDING")
	if text == "" {
		return 200_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var commandCalls = regexp.MustCompile(`cmdstat_(\w+):calls=(\d+)`)

// callsOn returns how many commands a server has been sent since its statistics were
// reset, those of scripts included.
func callsOn(t testing.TB, client *redis.Client) (calls int) {
	t.Helper()
	for _, of := range commandCalls.FindAllStringSubmatch(client.Info(t.Context(), "commandstats").Val(), -1) {
		n, err := strconv.Atoi(of[2])
		if err != nil {
			t.Fatal(err)
		}
		calls += n
	}
	return calls
}

// Memory is bounded also for entries that are pending before the consumer starts, be it on
// its own name or on that of a consumer that died: the window keeps its bound, an entry
// costs a few commands however many are pending, and a stop returns in its time.
//
// Not parallel: it looks at the memory of the whole process.
func TestManyPendingEntries(t *testing.T) {
	total := manyPending(t)
	for name, owner := range map[string]string{"on its own name": "me", "on a dead consumer": "dead"} {
		t.Run(name, func(t *testing.T) {
			begun := time.Now()
			client := leaveMany(t, streamtest.StartRedis(t, "--appendonly", "no").Client(), owner, total)
			t.Logf("%d entries are pending after %v", total, time.Since(begun).Round(time.Millisecond))
			if err := client.ConfigResetStat(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			var handled atomic.Int64
			var gap time.Duration // the handler's own
			last := time.Time{}
			consumer := newGroup(t, client, func(context.Context, *stream.Message[order]) error {
				now := time.Now()
				if handled.Add(1) > 1 {
					gap = max(gap, now.Sub(last))
				}
				last = now
				return nil
			}, stream.WithConsumerName("me"), stream.WithClaimIdle(time.Second))
			peak := heapPeak()
			begun = time.Now()
			stop := start(t, consumer)
			var now stream.Stats
			most := 0
			eventually(t, "a tenth is handled", func() bool {
				now = consumer.Stats()
				most = max(most, now.Window)
				return handled.Load() >= int64(total/10)
			})
			rate := float64(handled.Load()) / time.Since(begun).Seconds()
			calls, n := callsOn(t, client), handled.Load()
			stopping := time.Now()
			if err := stop(); err != nil {
				t.Error(err)
			}
			stopped, heap := time.Since(stopping), peak()
			t.Logf("%d handled, %.0f a second, longest gap %v; window %d of %d, heap %d KiB; %.1f commands each; stopped in %v, %d handed back",
				n, rate, gap, most, now.WindowSize, heap>>10, float64(calls)/float64(n), stopped, consumer.Stats().HandedBack)
			if rate < 1000 { // 5000 is promised, on a machine that has nothing else to do
				t.Errorf("%.0f entries a second", rate)
			}
			if most > now.WindowSize {
				t.Errorf("%d entries in a window of %d", most, now.WindowSize)
			}
			if heap > 32<<20 {
				t.Errorf("the heap grew by %d MiB", heap>>20)
			}
			// XACK, and the script with an XPENDING and an XCLAIM in it; renewals and pages
			// come to less than one.
			if each := float64(calls) / float64(n); each > 6 {
				t.Errorf("%.1f commands for each entry", each)
			}
			if stopped > 1200*time.Millisecond {
				t.Errorf("Run took %v to return", stopped)
			}
		})
	}
}

// Entries that are pending on the consumer's own name are handled in their order, and
// before new ones, however small the window.
func TestOwnPendingEntriesComeFirst(t *testing.T) {
	t.Parallel()
	client := leaveMany(t, streamtest.StartRedis(t, "--appendonly", "no").Client(), "me", 1234)
	add(t, client, "new")
	var want []string
	for i := range 1234 {
		want = append(want, fmt.Sprint(i+1))
	}
	want = append(want, "new")
	rec := newRecorder()
	consumer := newGroup(t, client, rec.Handle, stream.WithConsumerName("me"), stream.WithReadCount(7), stream.WithWindow(7))
	rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
		if s := consumer.Stats(); s.Window > 7 || s.LagTime == 0 {
			t.Errorf("%d entries in the window, behind by %v", s.Window, s.LagTime)
		}
		if h := consumer.Health(); msg.Value.ID == "600" && !h.Ready {
			t.Errorf("in the middle of them: %+v", h)
		}
		if want := int64(2); msg.Value.ID != "new" && msg.Deliveries != want {
			t.Errorf("order %s is at delivery %d, want %d", msg.Value.ID, msg.Deliveries, want)
		}
		return nil
	}
	start(t, consumer)
	settled(t, client)
	if seen := rec.await(t, len(want)); !slices.Equal(seen, want) {
		t.Errorf("handled %v", seen)
	}
	if n := consumer.Stats().Claimed; n != 0 {
		t.Errorf("%d entries were claimed, which were the consumer's own", n)
	}
}

// A consumer that is slower than the claim idle time claims nothing of its own.
func TestOwnPendingEntriesAreNotClaimed(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		const total = 60
		for i := range total {
			add(t, client, fmt.Sprint(i))
		}
		left := streamtest.NewInstance(t, client)
		left.Start(newGroup(t, left.Client, func(ctx context.Context, _ *stream.Message[order]) error {
			<-ctx.Done()
			return ctx.Err()
		}, stream.WithConsumerName("me"), stream.WithClaimIdle(time.Hour)))
		time.Sleep(time.Second)
		left.Crash()
		rec := newRecorder()
		rec.handle = func(context.Context, *stream.Message[order]) error {
			time.Sleep(time.Second)
			return nil
		}
		consumer := newGroup(t, client, rec.Handle, stream.WithConsumerName("me"), stream.WithReadCount(5), stream.WithClaimIdle(10*time.Second))
		start(t, consumer)
		time.Sleep(total*time.Second + time.Minute)
		if s := consumer.Stats(); s.Handled != total || s.Claimed != 0 {
			t.Errorf("%d of %d are handled, %d were claimed", s.Handled, total, s.Claimed)
		}
	})
}

// A list of pending entries that a connection does not bring whole is asked for again
// with fewer.
func TestListsThatAreCutGetShorter(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t, "--appendonly", "no")
	direct := leaveMany(t, server.Client(), "me", 500)
	// A connection brings 8 KB, and a list of 500 entries has 30.
	proxy := startCutting(t, server, func() int64 { return 8_000 })
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr})
	t.Cleanup(func() { _ = client.Close() })
	rec := newRecorder()
	start(t, newGroup(t, client, rec.Handle, stream.WithConsumerName("me"), stream.WithClaimIdle(time.Hour)))
	settled(t, direct)
}

// Entries that are pending on a consumer's name and not in its window yet go to another one
// that has room, once they are idle for long enough; those in the window do not.
func TestOthersClaimWhatWaitsOutsideOfTheWindow(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		const total, window, idle = 300, 20, 10 * time.Second
		for i := range total {
			add(t, client, fmt.Sprint(i))
		}
		left := streamtest.NewInstance(t, client)
		block := func(ctx context.Context, _ *stream.Message[order]) error {
			<-ctx.Done()
			return ctx.Err()
		}
		left.Start(newGroup(t, left.Client, block, stream.WithConsumerName("slow"), stream.WithWindow(total), stream.WithClaimIdle(time.Hour)))
		time.Sleep(time.Second)
		left.Crash()

		slow, other := newRecorder(), newRecorder()
		slow.handle = block
		opts := []stream.Option{stream.WithReadCount(10), stream.WithWindow(window), stream.WithClaimIdle(idle)}
		keeps := newGroup(t, client, slow.Handle, append(opts, stream.WithConsumerName("slow"))...)
		stop := start(t, keeps)
		start(t, newGroup(t, client, other.Handle, append(opts, stream.WithConsumerName("other"))...))
		time.Sleep(10 * idle)
		held := keeps.Stats().Window
		if held == 0 || held > window {
			t.Errorf("the slow one holds %d entries, of %d at the most", held, window)
		}
		if n := len(other.Seen()); n != total-held {
			t.Errorf("the other one has handled %d entries, and the slow one holds %d of %d", n, held, total)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		seen := other.Seen()
		slices.Sort(seen)
		if n := len(slices.Compact(slices.Clone(seen))); n != total || len(seen) != total {
			t.Errorf("%d deliveries of %d entries, want one for each of %d", len(seen), n, total)
		}
	})
}

// A dead consumer's entries that all fail are not taken over without end.
func TestClaimedEntriesThatFailKeepTheBound(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		const total, batch = 1000, 20
		for i := range total {
			add(t, client, fmt.Sprint(i))
		}
		dead := streamtest.NewInstance(t, client)
		dead.Start(newGroup(t, dead.Client, func(ctx context.Context, _ *stream.Message[order]) error {
			<-ctx.Done()
			return ctx.Err()
		}, stream.WithConsumerName("dead"), stream.WithWindow(total), stream.WithReadCount(total), stream.WithClaimIdle(time.Second)))
		time.Sleep(time.Second)
		dead.Crash()

		var healed atomic.Bool
		rec := newRecorder()
		rec.handle = func(context.Context, *stream.Message[order]) error {
			if healed.Load() {
				return nil
			}
			return errors.New("not yet")
		}
		consumer := newGroup(t, client, rec.Handle, stream.WithReadCount(batch), stream.WithClaimIdle(time.Second),
			stream.WithBackoff(stream.Backoff{Min: time.Minute, Max: time.Minute}))
		start(t, consumer)
		time.Sleep(50 * time.Second)
		s := consumer.Stats()
		if most := s.WindowSize + batch; s.Held < batch || s.Window > most {
			t.Errorf("%d entries are held, %d in the window, want %d at the most", s.Held, s.Window, most)
		}
		healed.Store(true)
		time.Sleep(3 * time.Minute)
		if s := consumer.Stats(); s.Handled != total {
			t.Errorf("%d of %d are handled once nothing fails any more", s.Handled, total)
		}
	})
}

// A stop hands back entries outside of the window, too, with the deliveries that Redis had
// counted.
func TestStopHandsBackWhatIsNotInTheWindow(t *testing.T) {
	t.Parallel()
	const total = 1500
	client := leaveMany(t, streamtest.StartRedis(t, "--appendonly", "no").Client(), "me", total)
	begun := make(chan struct{}, total)
	consumer := newGroup(t, client, func(ctx context.Context, _ *stream.Message[order]) error {
		begun <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}, stream.WithConsumerName("me"), stream.WithReadCount(10), stream.WithClaimIdle(time.Hour))
	stop := start(t, consumer)
	<-begun
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if n := consumer.Stats().HandedBack; n != total {
		t.Errorf("%d entries were handed back, of %d", n, total)
	}
	if names := consumers(t, client); !slices.Equal(names, []string{"millrace/handed-back"}) {
		t.Errorf("after the stop there are consumers %q", names)
	}
	list, err := client.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: "orders", Group: "billing", Start: "-", End: "+", Count: 2 * total}).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range list {
		if entry.RetryCount != 1 {
			t.Fatalf("entry %s is at delivery %d, and was delivered once", entry.ID, entry.RetryCount)
		}
	}
}

// A stop that cannot hand back everything logs how much is left.
func TestStopLeavesWhatItCannotHandBackInTime(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t, "--appendonly", "no")
	client := leaveMany(t, server.Client(), "me", 5000)
	proxy := streamtest.StartProxy(t, server.Addr)
	var out logs
	begun := make(chan struct{}, 5000)
	stop := start(t, newGroup(t, proxy.Client(), func(ctx context.Context, _ *stream.Message[order]) error {
		begun <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}, stream.WithConsumerName("me"), stream.WithReadCount(10), stream.WithClaimIdle(time.Hour), stream.WithLogger(out.Logger())))
	<-begun
	proxy.OnRequest("xpending", func() { <-time.After(100 * time.Millisecond) })
	stopping := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(stopping); took > 1200*time.Millisecond {
		t.Errorf("Run took %v to return", took)
	}
	left, err := client.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: "orders", Group: "billing", Consumer: "me", Start: "-", End: "+", Count: 5000}).Result()
	if err != nil || len(left) == 0 || len(left) == 5000 {
		t.Errorf("%d entries are left, %v", len(left), err)
	}
	if n := len(out.lines("WARN", "no time to hand back")); n != 1 {
		t.Errorf("told %d times:\n%s", n, out.String())
	}
}

// Replies are cut while entries are taken up from the consumer's own name: the window
// keeps its bound, and each entry is handled once.
func TestOwnPendingEntriesAndRepliesCut(t *testing.T) {
	t.Parallel()
	const total = 1000
	server := streamtest.StartRedis(t, "--appendonly", "no")
	direct := leaveMany(t, server.Client(), "me", total)
	for i := range 200 {
		add(t, direct, fmt.Sprint("new ", i))
	}
	proxy := startCutting(t, server, func() int64 { return 6_000 })
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr})
	t.Cleanup(func() { _ = client.Close() })
	var mu sync.Mutex
	seen := make(map[string]int)
	rec := newRecorder()
	consumer := newGroup(t, client, rec.Handle, stream.WithConsumerName("me"), stream.WithReadCount(20), stream.WithClaimIdle(time.Hour))
	rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
		mu.Lock()
		defer mu.Unlock()
		seen[msg.Value.ID]++
		if s := consumer.Stats(); s.Window > s.WindowSize {
			t.Errorf("%d entries in a window of %d", s.Window, s.WindowSize)
		}
		if strings.HasPrefix(msg.Value.ID, "new") && msg.Deliveries != 1 {
			t.Errorf("order %s, which never arrived before, is at delivery %d", msg.Value.ID, msg.Deliveries)
		}
		return nil
	}
	start(t, consumer)
	settled(t, direct)
	eventually(t, "all are handled", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(seen) == total+200
	})
	mu.Lock()
	defer mu.Unlock()
	for id, n := range seen {
		if n != 1 {
			t.Errorf("order %s was handled %d times", id, n)
		}
	}
	if made := proxy.Stats().Accepted; made < 7 {
		t.Errorf("only %d connections were made, so there were fewer cuts", made)
	}
}

// timeOf returns the time of a server, by which a consumer is idle.
func timeOf(t *testing.T, client *redis.Client) time.Time {
	t.Helper()
	now, err := client.Time(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// The names of very many consumers that died are removed a few at a time: another
// client of the server waits for no more than the list of them.
func TestManyNamesOfTheDead(t *testing.T) {
	t.Parallel()
	// The list of them has to be read within a second, also by a busy machine with the race
	// detector: 47,000 were, of a longer one. Of a list that breaks off, the names that came are
	// removed, and the next is far away. What a script does to 100,000 is in TestScriptsAreShort.
	const many = 20_000
	client := leaveMany(t, streamtest.StartRedis(t, "--appendonly", "no").Client(), "me", 1)
	for from := 0; from < many; from += 10_000 {
		if err := client.Eval(t.Context(), `for i = 1, 10000 do redis.call('XGROUP', 'CREATECONSUMER', KEYS[1], 'billing', 'millrace:host:' .. ARGV[1] + i) end return 1`,
			[]string{"orders"}, from).Err(); err != nil {
			t.Fatal(err)
		}
	}
	const claimIdle = 10 * time.Millisecond
	made := timeOf(t, client)
	eventually(t, "they are idle for long", func() bool { return timeOf(t, client).Sub(made) > 40*claimIdle })
	if err := client.ConfigResetStat(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	start(t, newGroup(t, client, newRecorder().Handle, stream.WithConsumerName("me"), stream.WithClaimIdle(claimIdle)))
	lists := regexp.MustCompile(`cmdstat_xinfo\|consumers:calls=(\d+)`)
	long := 0 // lists of more than the hundred that a look at the group may ask for
	for left := int64(many + 1); left > 1; {
		before := left
		eventually(t, fmt.Sprintf("names are removed, and not all of %d are left", before), func() bool {
			pipe := client.TxPipeline()
			groups, stats := pipe.XInfoGroups(t.Context(), "orders"), pipe.Info(t.Context(), "commandstats")
			if _, err := pipe.Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
			left = groups.Val()[0].Consumers
			if calls := lists.FindStringSubmatch(stats.Val()); calls != nil && left > 100 {
				long, _ = strconv.Atoi(calls[1])
			}
			return left < before
		})
	}
	if long != 1 {
		t.Errorf("all names were listed %d times, want once", long)
	}
	stats := client.Info(t.Context(), "commandstats").Val()
	script := regexp.MustCompile(`cmdstat_evalsha:calls=(\d+)`).FindStringSubmatch(stats)
	if script == nil {
		t.Fatal("no script was run")
	}
	if calls, _ := strconv.Atoi(script[1]); calls < many/100 {
		t.Errorf("%d scripts, for a hundred names each", calls)
	}
}

// A script that removes names of dead consumers fails: the names that are left are removed
// soon, without another list of all consumers.
func TestNamesOfTheDeadAfterAFailure(t *testing.T) {
	t.Parallel()
	client := leaveMany(t, streamtest.StartRedis(t).Client(), "me", 1)
	for i := range 1000 {
		if err := client.XGroupCreateConsumer(t.Context(), "orders", "billing", fmt.Sprint("millrace:host:", i)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	const claimIdle = 10 * time.Millisecond
	made := timeOf(t, client)
	eventually(t, "they are idle for long", func() bool { return timeOf(t, client).Sub(made) > 40*claimIdle })
	removals := &failing{is: stream.IsReap}
	removals.left.Store(3)
	hooked := failingClient(t, client, removals)
	begun := time.Now()
	start(t, newGroup(t, hooked, newRecorder().Handle, stream.WithConsumerName("me"), stream.WithClaimIdle(claimIdle)))
	eventually(t, "their names are gone", func() bool {
		groups, err := client.XInfoGroups(t.Context(), "orders").Result()
		return err == nil && groups[0].Consumers == 1
	})
	if n := removals.failed.Load(); n != 3 {
		t.Errorf("%d removals have failed, want 3", n)
	}
	if d := time.Since(begun); d >= 10*time.Second {
		t.Errorf("it took %v: another list was waited for", d)
	}
}
