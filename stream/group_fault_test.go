package stream_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

// What can be done to a stream and its group while a consumer waits: entries that
// come afterwards are handled, and one warning tells of it.
func TestGroupOutlasts(t *testing.T) {
	t.Parallel()
	do := func(args ...any) func(*testing.T, *streamtest.Redis, *redis.Client) {
		return func(t *testing.T, _ *streamtest.Redis, client *redis.Client) {
			t.Helper()
			if err := client.Do(t.Context(), args...).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, trouble := range map[string]func(*testing.T, *streamtest.Redis, *redis.Client){
		"the stream is deleted":  do("DEL", "orders"),
		"the group is destroyed": do("XGROUP", "DESTROY", "orders", "billing"),
		"the stream is renamed":  do("RENAME", "orders", "former"),
		"the stream expires": func(t *testing.T, _ *streamtest.Redis, client *redis.Client) {
			t.Helper()
			if err := client.PExpire(t.Context(), "orders", time.Millisecond).Err(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it has expired", func() bool { return client.PTTL(t.Context(), "orders").Val() < 0 })
		},
		"everything is flushed":   do("FLUSHALL"), // a server of the test's own
		"the connection is cut":   do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"),
		"the consumer is removed": do("EVAL", "for _, c in ipairs(redis.call('XINFO','CONSUMERS','orders','billing')) do redis.call('XGROUP','DELCONSUMER','orders','billing',c[2]) end return 1", "0"),
		"the stream is overwritten": func(t *testing.T, _ *streamtest.Redis, client *redis.Client) {
			t.Helper()
			if err := client.Set(t.Context(), "orders", "text", 0).Err(); err != nil {
				t.Fatal(err)
			}
			if err := client.PExpire(t.Context(), "orders", 30*time.Millisecond).Err(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the text has expired", func() bool { return client.Type(t.Context(), "orders").Val() != "string" })
		},
		"Redis is restarted": func(_ *testing.T, server *streamtest.Redis, _ *redis.Client) {
			server.Kill()
			server.Start()
		},
		"Redis is restarted empty": func(_ *testing.T, server *streamtest.Redis, _ *redis.Client) {
			server.Kill()
			server.Empty()
			server.Start()
		},
	} {
		for _, state := range []string{"blocked", "between reads"} {
			t.Run(name+", "+state, func(t *testing.T) {
				t.Parallel()
				server := streamtest.StartRedis(t)
				client := server.Client()
				block := time.Minute
				if state == "between reads" {
					block = time.Millisecond
				}
				var out logs
				rec := newRecorder()
				stop := start(t, newGroup(t, client, rec.Handle, stream.WithBlock(block), stream.WithLogger(out.Logger())))
				var want []string
				for round := range 3 {
					for _, id := range []string{"a", "b", "c"} {
						want = append(want, fmt.Sprint(id, round))
						add(t, client, fmt.Sprint(id, round))
					}
					if seen := rec.await(t, len(want)); !slices.Equal(seen, want) {
						t.Fatalf("delivered %v, want %v", seen, want)
					}
					settled(t, client)
					trouble(t, server, client)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
				if n := len(out.lines("WARN")); n > 3*3 {
					t.Errorf("%d warnings for 3 incidents:\n%s", n, out.String())
				}
			})
		}
	}
}

// When the group goes while entries fail or wait to be handled, they are handled
// nevertheless, as long as the stream has them.
func TestGroupGoneWhileEntriesWait(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	for i := range 10 {
		add(t, client, fmt.Sprint(i))
	}
	var healed atomic.Bool
	var succeeded sync.Map
	rec := newRecorder()
	rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
		if !healed.Load() {
			return errors.New("not yet")
		}
		succeeded.Store(msg.Value.ID, true)
		return nil
	}
	// They wait for long enough to be renewed in the meantime, and found not to be
	// pending.
	start(t, newGroup(t, client, rec.Handle, stream.WithClaimIdle(60*time.Millisecond),
		stream.WithBackoff(stream.Backoff{Min: 400 * time.Millisecond, Max: 400 * time.Millisecond})))
	rec.await(t, 10)
	if err := client.XGroupDestroy(t.Context(), "orders", "billing").Err(); err != nil {
		t.Fatal(err)
	}
	healed.Store(true)
	eventually(t, "all are handled", func() bool {
		n := 0
		succeeded.Range(func(any, any) bool { n++; return true })
		return n == 10
	})
	settled(t, client)
}

// The group goes and is made again by another consumer before this one sees that.
// What this one holds is pending on nobody then, which is not the same as somebody
// else's: it is handled as long as the stream has it, and told as lost otherwise.
func TestGroupMadeAgainByAnother(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		deleted          bool // the stream, and not only the group
		claimIdle, lasts time.Duration
	}{
		"group destroyed": {false, 5 * time.Second, 0},
		"stream deleted":  {true, 5 * time.Second, 0},
		"stream deleted, for longer than others may have claimed": {true, 100 * time.Millisecond, 200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := streamtest.StartRedis(t, "--appendonly", "no")
			client, proxy := server.Client(), streamtest.StartProxy(t, server.Addr)
			const total = 10
			for i := range total {
				add(t, client, fmt.Sprint(i))
			}
			var healed atomic.Bool
			var failed atomic.Int64
			var succeeded sync.Map
			rec, told := newRecorder(), &lossObserver{}
			rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
				if !healed.Load() {
					failed.Add(1)
					return errors.New("not yet")
				}
				succeeded.Store(msg.Value.ID, true)
				return nil
			}
			start(t, newGroup(t, proxy.Client(), rec.Handle, stream.WithObserver(told), stream.WithBlock(20*time.Millisecond),
				stream.WithClaimIdle(row.claimIdle), stream.WithBackoff(stream.Backoff{Min: 50 * time.Millisecond, Max: 50 * time.Millisecond})))
			eventually(t, "all have failed", func() bool { return failed.Load() >= total })
			proxy.Refuse()
			healed.Store(true)
			last := streamtest.EntryIDs(t, client, orders.Name)[total-1]
			if row.deleted {
				if err := client.Del(t.Context(), orders.Name).Err(); err != nil {
					t.Fatal(err)
				}
				last = "0"
			} else if err := client.XGroupDestroy(t.Context(), orders.Name, "billing").Err(); err != nil {
				t.Fatal(err)
			}
			if err := client.XGroupCreateMkStream(t.Context(), orders.Name, "billing", last).Err(); err != nil {
				t.Fatal(err)
			}
			<-time.After(row.lasts)
			proxy.Pass()
			add(t, client, "new")
			eventually(t, "all that there is is handled, and the rest told", func() bool {
				handled := 0
				succeeded.Range(func(any, any) bool { handled++; return true })
				if row.deleted {
					return handled == 1 && len(told.of(stream.LossPending)) == total
				}
				return handled == total+1
			})
			for _, loss := range told.get() {
				switch loss.Cause {
				case stream.LossPending:
					if row.deleted && loss.Count == 1 {
						continue
					}
				case stream.LossRecreated: // found when it looks back, after the trouble
					if row.deleted {
						continue
					}
				case stream.LossConsumer:
					if !row.deleted {
						continue
					}
				}
				t.Errorf("told %+v", loss)
			}
			if n := len(told.of(stream.LossRecreated)); n > 1 {
				t.Errorf("told %d times that the stream is another one", n)
			}
		})
	}
}

func TestGroupIdleForLongerThanTheBlock(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		rec := newRecorder()
		start(t, newGroup(t, client, rec.Handle, stream.WithBlock(time.Second)))
		time.Sleep(time.Hour) // virtual
		add(t, client, "late")
		if seen := rec.await(t, 1); !slices.Equal(seen, []string{"late"}) {
			t.Errorf("delivered %v", seen)
		}
	})
}

// A stopped consumer hands back what it has not begun: another takes it at once,
// long before anything could be claimed, and no attempt was used up. What had
// failed keeps its count.
func TestGroupStopHandsBack(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	add(t, client, "fails")
	for i := range 50 {
		add(t, client, fmt.Sprint(i))
	}
	first := newRecorder()
	first.handle = func(ctx context.Context, msg *stream.Message[order]) error {
		if msg.Value.ID == "fails" {
			return errors.New("no")
		}
		<-ctx.Done()
		return ctx.Err()
	}
	stop := start(t, newGroup(t, client, first.Handle, stream.WithClaimIdle(time.Hour), stream.WithBackoff(stream.Backoff{Min: time.Hour, Max: time.Hour})))
	first.await(t, 2)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if names := consumers(t, client); !slices.Equal(names, []string{"millrace/handed-back"}) {
		t.Errorf("after the stop there are consumers %q", names)
	}
	var mu sync.Mutex
	deliveries := make(map[string]int64)
	second := newRecorder()
	second.handle = func(_ context.Context, msg *stream.Message[order]) error {
		mu.Lock()
		defer mu.Unlock()
		deliveries[msg.Value.ID] = msg.Deliveries
		return nil
	}
	begun := time.Now()
	start(t, newGroup(t, client, second.Handle, stream.WithClaimIdle(time.Hour)))
	second.await(t, 51)
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %v to take over", took)
	}
	settled(t, client)
	mu.Lock()
	defer mu.Unlock()
	for id, n := range deliveries {
		if want := int64(1); (id == "fails" && n != 2) || (id != "fails" && n != want) {
			t.Errorf("delivery count of %s is %d", id, n)
		}
	}
}

func TestDrainTimeout(t *testing.T) {
	t.Parallel()
	for name, newOne := range map[string]func(testing.TB, redis.UniversalClient, stream.Handler[order], ...stream.Option) *stream.Consumer[order]{
		"group": newGroup,
		"log": func(t testing.TB, client redis.UniversalClient, handle stream.Handler[order], opts ...stream.Option) *stream.Consumer[order] {
			t.Helper()
			return newConsumer(t, client, &flakyStore{}, handle, opts...)
		},
	} {
		for _, test := range []struct {
			name         string
			drain, takes time.Duration
			finished     bool
		}{
			{"none", 0, 0, false},
			{"long enough", time.Minute, 10 * time.Second, true},
			{"too short", 5 * time.Second, 5 * time.Second, false},
		} {
			t.Run(name+"/"+test.name, func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T, client *redis.Client) {
					add(t, client, "a")
					add(t, client, "b")
					var finished atomic.Int64
					rec := newRecorder()
					rec.handle = func(ctx context.Context, _ *stream.Message[order]) error {
						select {
						case <-time.After(10 * time.Second):
							finished.Add(1)
							return nil
						case <-ctx.Done():
							return ctx.Err()
						}
					}
					stop := start(t, newOne(t, client, rec.Handle, stream.WithDrainTimeout(test.drain)))
					rec.await(t, 1)
					begun := time.Now()
					if err := stop(); err != nil {
						t.Error(err)
					}
					if took := time.Since(begun); took < test.takes || took > test.takes+time.Second {
						t.Errorf("Run returned after %v, want %v", took, test.takes)
					}
					if got := finished.Load() == 1; got != test.finished || len(rec.Seen()) != 1 {
						t.Errorf("finished %d of %v", finished.Load(), rec.Seen())
					}
					if name == "group" {
						want := 2
						if test.finished {
							want = 1
						}
						if ids := pending(t, client); len(ids) != want {
							t.Errorf("pending afterwards: %v, want %d", ids, want)
						}
					}
				})
			})
		}
	}
}

// Three consumers are restarted one after another under load, again and again:
// nothing waits for a claim, nothing is lost, nothing is handled twice.
func TestGroupRollingRestart(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	const total = 3000
	rec := newRecorder()
	rec.handle = func(context.Context, *stream.Message[order]) error { return nil }
	run := func() func() error {
		return start(t, newGroup(t, client, rec.Handle, stream.WithReadCount(50), stream.WithConcurrency(4),
			stream.WithClaimIdle(time.Hour), stream.WithDrainTimeout(time.Minute)))
	}
	stops := []func() error{run(), run(), run()}
	for i := range total {
		add(t, client, fmt.Sprint(i))
		if i%100 == 99 {
			which := (i / 100) % 3
			if err := stops[which](); err != nil {
				t.Error(err)
			}
			stops[which] = run()
		}
	}
	seen := rec.await(t, total)
	settled(t, client)
	slices.Sort(seen)
	if distinct := slices.Compact(slices.Clone(seen)); len(distinct) != total || len(seen) != total {
		t.Errorf("%d deliveries of %d entries, want %d", len(seen), len(distinct), total)
	}
}

// A thousand starts and stops leave nothing behind.
func TestGroupThousandRuns(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	rec := newRecorder()
	consumer := newGroup(t, client, rec.Handle)
	files := openFiles(t)
	for i := range 1000 {
		stop := start(t, consumer)
		if i%10 == 0 {
			add(t, client, fmt.Sprint(i))
			rec.await(t, i/10+1)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	if names := consumers(t, client); len(names) != 0 {
		t.Errorf("the group has consumers %q", names)
	}
	if ids := pending(t, client); len(ids) != 0 || len(rec.Seen()) != 100 {
		t.Errorf("%d pending, %d handled", len(ids), len(rec.Seen()))
	}
	eventually(t, "the server has forgotten all connections but one", func() bool {
		list, err := client.ClientList(t.Context()).Result()
		return err == nil && strings.Count(list, "\n") <= 2
	})
	if now := openFiles(t); now > files+500 { // other tests run at the same time; a leak is one for each run
		t.Errorf("%d open files, %d before", now, files)
	}
	// Goroutines are checked in TestMain.
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0 // not this system's way to tell
	}
	return len(list)
}

// Run is cancelled at any moment, a thousand times: it returns at once, and
// leaves nothing that the next run would not handle at once.
func TestGroupCancelAtAnyMoment(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	rec := newRecorder()
	consumer := newGroup(t, client, rec.Handle, stream.WithReadCount(20), stream.WithClaimIdle(time.Hour))
	var took []time.Duration
	for i := range 1000 {
		add(t, client, fmt.Sprint(i))
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan time.Time, 1)
		time.AfterFunc(rand.N(6*time.Millisecond), func() {
			stopped <- time.Now()
			cancel()
		})
		if err := consumer.Run(ctx); err != nil {
			t.Fatalf("run %d returned %v", i, err)
		}
		took = append(took, time.Since(<-stopped))
		cancel()
	}
	slices.Sort(took)
	t.Logf("Run returned after a median of %v, at worst %v", took[500], took[999])
	if worst := took[999]; worst > time.Second { // a loaded machine's
		t.Errorf("Run took up to %v to return", worst)
	}
	start(t, consumer)
	settled(t, client)
	seen := rec.Seen()
	slices.Sort(seen)
	if distinct := slices.Compact(slices.Clone(seen)); len(distinct) != 1000 {
		t.Errorf("%d of 1000 were handled", len(distinct))
	}
}

// Replies are cut at random bytes, the readers' and everybody's: nothing is
// stranded, and everything is handled without anything being claimed.
func TestGroupRepliesCut(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t, "--appendonly", "no")
	direct := server.Client()
	const total = 1000
	for i := range total {
		add(t, direct, fmt.Sprint(i))
	}
	proxy := startCutting(t, server, func() int64 { return 200 + rand.Int64N(6000) })
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr})
	var out logs
	var mu sync.Mutex
	seen := make(map[string]int)
	rec := newRecorder()
	rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
		mu.Lock()
		defer mu.Unlock()
		seen[msg.Value.ID]++
		if msg.Deliveries != 1 {
			t.Errorf("order %s, which never arrived before, is at delivery %d", msg.Value.ID, msg.Deliveries)
		}
		return nil
	}
	stop := start(t, newGroup(t, client, rec.Handle, stream.WithReadCount(40), stream.WithClaimIdle(time.Hour), stream.WithLogger(out.Logger())))
	settled(t, direct)
	eventually(t, "all were handled", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(seen) == total
	})
	_ = stop() // its last words may be cut too
	_ = client.Close()
	mu.Lock()
	defer mu.Unlock()
	for id, n := range seen {
		if n != 1 {
			t.Errorf("order %s was handled %d times", id, n)
		}
	}
	if made := proxy.Stats().Accepted; made < 20 {
		t.Errorf("only %d connections were made, so there were fewer cuts", made)
	}
	if strings.Contains(out.String(), "claimed entries") {
		t.Error("something had to be claimed")
	}
}
