package stream_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// refusal is what a server does for a while instead of what it is asked.
type refusal struct {
	name string
	args []string // of the server
	user string   // of the consumers, with the password "right"
	// begin has the server refuse, and returns what ends that.
	begin func(t *testing.T, server *streamtest.Redis, admin *redis.Client) (end func())
	// log and group are what a consumer says while it lasts: the server's words, and
	// what to do about it where people have to. None means that nothing fails in that
	// mode.
	log, group []string
}

// saying is a refusal that commands of the test's bring about.
func saying(begin, end []any) func(*testing.T, *streamtest.Redis, *redis.Client) func() {
	return func(t *testing.T, _ *streamtest.Redis, admin *redis.Client) func() {
		t.Helper()
		command(t, admin, begin...)
		return func() { command(t, admin, end...) }
	}
}

func command(t testing.TB, client redis.Cmdable, args ...any) {
	t.Helper()
	if err := client.(interface {
		Do(context.Context, ...any) *redis.Cmd
	}).Do(context.Background(), args...).Err(); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
}

// refusals are those that a Redis 7.0 can be brought to.
func refusals() []refusal {
	limited := []string{"--user", "app", "on", ">right", "~*", "&*", "+@all"}
	const (
		noRight = "the Redis user lacks a right; grant it"
		noLogin = "Redis refuses the login; check the client's username and password"
	)
	both := func(r refusal, says ...string) refusal {
		r.log, r.group = says, says
		return r
	}
	return []refusal{
		{
			name:  "out of memory",
			begin: saying([]any{"CONFIG", "SET", "maxmemory", "1"}, []any{"CONFIG", "SET", "maxmemory", "0"}),
			log:   []string{"saving the offset", "OOM command not allowed"},
		},
		{
			name: "out of memory, and the group is gone",
			begin: func(t *testing.T, _ *streamtest.Redis, admin *redis.Client) func() {
				t.Helper()
				command(t, admin, "CONFIG", "SET", "maxmemory", "1")
				command(t, admin, "XGROUP", "DESTROY", "orders", "billing")
				return func() { command(t, admin, "CONFIG", "SET", "maxmemory", "0") }
			},
			log:   []string{"saving the offset", "OOM command not allowed"},
			group: []string{"making the group", "OOM command not allowed"},
		},
		{
			name: "it cannot write to disk",
			begin: func(t *testing.T, _ *streamtest.Redis, admin *redis.Client) func() {
				t.Helper()
				file := filepath.Join(admin.ConfigGet(t.Context(), "dir").Val()["dir"], "dump.rdb")
				if err := os.Mkdir(file, 0o700); err != nil {
					t.Fatal(err)
				}
				saved := func(want string) {
					command(t, admin, "BGSAVE")
					eventually(t, "it has tried to save", func() bool {
						info := admin.Info(t.Context(), "persistence").Val()
						return strings.Contains(info, "rdb_bgsave_in_progress:0") && strings.Contains(info, "rdb_last_bgsave_status:"+want)
					})
				}
				command(t, admin, "CONFIG", "SET", "save", "3600 1")
				saved("err")
				return func() {
					if err := os.Remove(file); err != nil {
						t.Fatal(err)
					}
					saved("ok")
				}
			},
			log:   []string{"saving the offset", "MISCONF"},
			group: []string{"acking entries", "MISCONF"},
		},
		{
			name:  "too few replicas",
			begin: saying([]any{"CONFIG", "SET", "min-replicas-to-write", "1"}, []any{"CONFIG", "SET", "min-replicas-to-write", "0"}),
			log:   []string{"saving the offset", "NOREPLICAS"},
			group: []string{"acking entries", "NOREPLICAS"},
		},
		{
			name:  "a replica",
			begin: saying([]any{"REPLICAOF", "127.0.0.1", "1"}, []any{"REPLICAOF", "NO", "ONE"}),
			log:   []string{"saving the offset", "READONLY"},
			group: []string{"acking entries", "READONLY"},
		},
		both(refusal{
			name:  "a replica that serves no stale data",
			args:  []string{"--replica-serve-stale-data", "no"},
			begin: saying([]any{"REPLICAOF", "127.0.0.1", "1"}, []any{"REPLICAOF", "NO", "ONE"}),
		}, "MASTERDOWN"),
		both(refusal{
			name: "busy with a script",
			args: []string{"--busy-reply-threshold", "10"},
			begin: func(t *testing.T, server *streamtest.Redis, admin *redis.Client) func() {
				t.Helper()
				client := redis.NewClient(&redis.Options{Addr: server.Addr, ReadTimeout: -1, MaxRetries: -1})
				done := make(chan error, 1)
				go func() { done <- client.Eval(context.Background(), "while true do end", nil).Err() }()
				eventually(t, "it is busy", func() bool { return redis.HasErrorPrefix(admin.Ping(t.Context()).Err(), "BUSY") })
				return func() {
					command(t, admin, "SCRIPT", "KILL")
					if err := <-done; err == nil {
						t.Error("the script was not killed")
					}
					_ = client.Close()
				}
			},
		}, "BUSY"),
		both(refusal{
			name: "loading",
			args: []string{"--enable-debug-command", "yes"},
			begin: func(t *testing.T, server *streamtest.Redis, admin *redis.Client) func() {
				t.Helper()
				command(t, admin, "EVAL", "for i = 1, 40000 do redis.call('SET', 'filler', i) end return 1", "0")
				command(t, admin, "CONFIG", "SET", "key-load-delay", "20")
				client := redis.NewClient(&redis.Options{Addr: server.Addr, ReadTimeout: -1, MaxRetries: -1})
				done := make(chan error, 1)
				go func() { done <- client.Do(context.Background(), "DEBUG", "LOADAOF").Err() }()
				eventually(t, "it loads", func() bool { return redis.IsLoadingError(admin.Get(t.Context(), "filler").Err()) })
				return func() {
					if err := <-done; err != nil {
						t.Error(err)
					}
					_ = client.Close()
				}
			},
		}, "LOADING"),
		{
			name: "too many clients", // it is said to a connection that is closed at once, so that go-redis does not see it

			begin: func(t *testing.T, _ *streamtest.Redis, admin *redis.Client) func() {
				t.Helper()
				conn := admin.Conn() // it must not have to connect
				command(t, conn, "CONFIG", "SET", "maxclients", "1")
				command(t, conn, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
				return func() {
					command(t, conn, "CONFIG", "SET", "maxclients", "1000")
					_ = conn.Close()
				}
			},
			log:   []string{"saving the offset"},
			group: []string{"acking entries"},
		},
		both(refusal{
			name: "the cluster is down",
			args: []string{"--cluster-enabled", "yes"},
			begin: func(t *testing.T, _ *streamtest.Redis, admin *redis.Client) func() {
				t.Helper()
				slot := admin.ClusterKeySlot(t.Context(), orders.Name).Val()
				command(t, admin, "CLUSTER", "DELSLOTS", slot)
				return func() {
					command(t, admin, "CLUSTER", "ADDSLOTS", slot)
					clusterUp(t, admin)
				}
			},
		}, "CLUSTERDOWN"),
		both(refusal{
			name: "the key is no stream",
			begin: func(t *testing.T, _ *streamtest.Redis, admin *redis.Client) func() {
				t.Helper()
				command(t, admin, "EVAL", "redis.call('RENAME', KEYS[1], KEYS[2]) return redis.call('SET', KEYS[1], 'text')", "2", "orders", "kept")
				return func() { command(t, admin, "RENAME", "kept", "orders") }
			},
		}, "WRONGTYPE", "a key holds another type than is needed; check the topic's name and the store's key"),
		{
			name:  "no right to settle",
			args:  limited,
			user:  "app",
			begin: saying([]any{"ACL", "SETUSER", "app", "-hset", "-xack"}, []any{"ACL", "SETUSER", "app", "+hset", "+xack"}),
			log:   []string{"saving the offset", noRight},
			group: []string{"acking entries", "NOPERM", noRight},
		},
		both(refusal{
			name:  "no right to the keys",
			args:  limited,
			user:  "app",
			begin: saying([]any{"ACL", "SETUSER", "app", "resetkeys"}, []any{"ACL", "SETUSER", "app", "~*"}),
		}, "NOPERM", noRight),
		both(refusal{
			name: "another password",
			args: limited,
			user: "app",
			begin: func(t *testing.T, _ *streamtest.Redis, admin *redis.Client) func() {
				t.Helper()
				command(t, admin, "ACL", "SETUSER", "app", "resetpass", ">other")
				command(t, admin, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
				return func() { command(t, admin, "ACL", "SETUSER", "app", "resetpass", ">right") }
			},
		}, "WRONGPASS", noLogin),
		both(refusal{
			name: "a password",
			begin: func(t *testing.T, _ *streamtest.Redis, admin *redis.Client) func() {
				t.Helper()
				conn := admin.Conn() // which is logged in, if that is needed
				command(t, conn, "CONFIG", "SET", "requirepass", "secret")
				command(t, conn, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
				return func() {
					command(t, conn, "CONFIG", "SET", "requirepass", "")
					_ = conn.Close()
				}
			},
		}, "NOAUTH", noLogin),
		both(refusal{
			name: "no such commands",
			begin: func(t *testing.T, server *streamtest.Redis, admin *redis.Client) func() {
				t.Helper()
				file := filepath.Join(admin.ConfigGet(t.Context(), "dir").Val()["dir"], "redis.conf")
				restart := func(config string) {
					server.Kill()
					if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
						t.Fatal(err)
					}
					server.Start()
				}
				restart("rename-command XREAD \"\"\nrename-command XREADGROUP \"\"\n")
				return func() { restart("") }
			},
		}, "unknown command", "the server lacks a command that is needed"),
	}
}

// Whatever a server says instead of doing what it is asked, a consumer outlasts it:
// no more is delivered meanwhile than the window holds, everything goes on when it
// is over, each entry is delivered once and settled, and what is wrong is told.
func TestConsumersOutlastRefusals(t *testing.T) {
	t.Parallel()
	for _, test := range refusals() {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := streamtest.StartRedis(t, test.args...)
			admin := server.Client()
			if slices.Contains(test.args, "--cluster-enabled") {
				command(t, admin, "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
				clusterUp(t, admin)
			}
			opts := &redis.Options{Addr: server.Addr, Username: test.user}
			if test.user != "" {
				opts.Password = "right"
			}
			client := redis.NewClient(opts)
			t.Cleanup(func() { _ = client.Close() })

			var want []string
			for i := range 30 {
				want = append(want, fmt.Sprint(i))
				add(t, admin, fmt.Sprint(i))
			}
			release := make(chan struct{})
			running := make([]*refused, 0, 2)
			for _, mode := range bothModes() {
				one := &refused{recorder: newRecorder(), says: test.log}
				if mode.name == "group" {
					one.says = test.group
				}
				one.handle = func(context.Context, *stream.Message[order]) error {
					<-release
					return nil
				}
				one.Consumer = mode.make(t, client, orders.Name, one.Handle, stream.WithReadCount(2),
					stream.WithBlock(50*time.Millisecond), stream.WithLogger(one.out.Logger()))
				one.stop = start(t, one.Consumer)
				one.await(t, 1)
				running = append(running, one)
				t.Cleanup(func() {
					if t.Failed() {
						t.Logf("%s mode: the log is\n%s", mode.name, one.out.String())
					}
				})
			}

			end := test.begin(t, server, admin)
			close(release)
			for _, one := range running {
				if len(one.says) == 0 {
					one.await(t, len(want))
					continue
				}
				one.awaitRefusal(t)
			}
			end()

			want = append(want, "last")
			last := add(t, admin, "last")
			for i, one := range running {
				seen := one.await(t, len(want))
				if i == 1 { // in a group no order is promised
					slices.SortFunc(seen, func(a, b string) int { return slices.Index(want, a) - slices.Index(want, b) })
				}
				if !slices.Equal(seen, want) {
					t.Errorf("delivered %v, want each once", seen)
				}
				eventually(t, "it is well again", func() bool { return one.Health() == stream.Health{Live: true, Ready: true} })
			}
			settled(t, admin)
			for _, one := range running {
				if err := one.stop(); err != nil {
					t.Error(err)
				}
				one.checkLog(t)
			}
			store, err := offset.NewRedis(admin, "")
			if err != nil {
				t.Fatal(err)
			}
			if id, _, err := store.Load(t.Context(), orders.Name); id != last || err != nil {
				t.Errorf("the offset is %q, %v, want %q", id, err, last)
			}
		})
	}
}

// refused is a consumer whose server refuses what it asks.
type refused struct {
	*stream.Consumer[order]
	*recorder
	out  logs
	stop func() error
	says []string
}

// awaitRefusal waits until the consumer has been refused several times and says so
// everywhere, and looks how far it has gone nevertheless.
func (r *refused) awaitRefusal(t *testing.T) {
	t.Helper()
	eventually(t, fmt.Sprintf("a line with %q is in the log", r.says), func() bool {
		return len(r.out.lines(append(r.says, "WARN", "trying again")...)) > 0
	})
	said := func(text string) bool {
		return !slices.ContainsFunc(r.says, func(word string) bool { return !strings.Contains(text, word) })
	}
	var at time.Time
	for range 3 {
		eventually(t, "it is refused, and says so", func() bool {
			stats, health := r.Stats(), r.Health()
			if !stats.LastErrorAt.After(at) || !said(stats.LastError) || health.Ready || !health.Live || !said(health.Reason) {
				return false
			}
			at = stats.LastErrorAt
			return true
		})
	}
	if seen := r.Seen(); len(seen) > r.Stats().WindowSize {
		t.Errorf("%d entries were delivered, of which none could be settled; the window is %d", len(seen), r.Stats().WindowSize)
	}
}

// checkLog looks whether everything that is said to have failed is said to work again.
func (r *refused) checkLog(t *testing.T) {
	t.Helper()
	what := func(lines []string, end string) (list []string) {
		for _, line := range lines {
			_, line, _ = strings.Cut(line, "msg=\"")
			line, _, _ = strings.Cut(line, end)
			list = append(list, line)
		}
		slices.Sort(list)
		return slices.Compact(list)
	}
	failed, over := what(r.out.lines("WARN", "trying again"), " failed"), what(r.out.lines("INFO", "works again"), " works again")
	if !slices.Equal(failed, over) || (len(failed) == 0) != (len(r.says) == 0) {
		t.Errorf("%q failed, and %q works again", failed, over)
	}
}

// clusterUp waits until a cluster answers.
func clusterUp(t *testing.T, node *redis.Client) {
	t.Helper()
	eventually(t, "the cluster is up", func() bool {
		return strings.Contains(node.ClusterInfo(t.Context()).Val(), "cluster_state:ok")
	})
}
