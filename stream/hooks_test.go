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

// prefixing is a hook that puts a tenant's prefix before the key of some commands.
type prefixing struct {
	inert
	commands []string
	// another has it send another command instead of changing the one that it is given.
	another bool
}

func (h prefixing) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		at := 1
		switch cmd.Name() {
		case "xinfo", "xgroup":
			at = 2
		case "eval", "evalsha":
			at = 3
		case "xread", "xreadgroup":
			at = slices.Index(cmd.Args(), any("streams")) + 1
		}
		key, isText := "", false
		if at < len(cmd.Args()) {
			key, isText = cmd.Args()[at].(string)
		}
		if !slices.Contains(h.commands, cmd.Name()) || !isText {
			return next(ctx, cmd)
		}
		if !h.another {
			cmd.Args()[at] = "tenant:" + key
			return next(ctx, cmd)
		}
		args := slices.Clone(cmd.Args())
		args[at] = "tenant:" + key
		return next(ctx, redis.NewCmd(ctx, args...))
	}
}

// refusedBy is the error of Run within three seconds, "" if it goes on.
func refusedBy(t *testing.T, run runner) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := run.Run(ctx); err != nil {
		return err.Error()
	}
	return ""
}

// A client with a hook that changes keys is refused at the first command that it changes:
// with some of them changed a consumer would wait for ever, or ack nothing.
func TestHooksThatChangeKeysAreRefused(t *testing.T) {
	t.Parallel()
	all := []string{"xread", "xreadgroup", "xrange", "xrevrange", "xinfo", "xgroup", "xpending", "xack", "xadd", "evalsha", "eval"}
	for _, c := range []struct {
		mode, first string
		commands    []string
	}{
		{"log", `"millrace:offsets" in evalsha`, all},
		{"log", `"orders" in xread`, []string{"xread"}},
		{"group", `"orders" in xgroup`, all},
		{"group", `"orders" in xreadgroup`, []string{"xreadgroup"}},
		{"group", `"orders" in evalsha`, []string{"evalsha"}},
	} {
		for _, another := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, %s, another command %t", c.mode, c.first, another), func(t *testing.T) {
				t.Parallel()
				server := streamtest.StartRedis(t)
				client := server.Client()
				client.AddHook(prefixing{commands: c.commands, another: another})
				add(t, server.Client(), "a")
				refusesHook(t, client, c.mode, c.first)
				if n := server.Client().Exists(t.Context(), "tenant:orders", "tenant:"+offset.DefaultKey).Val(); n != 0 {
					t.Error("a command with the other key has run")
				}
			})
		}
	}
	cluster := streamtest.StartCluster(t)
	for _, mode := range []string{"log", "group"} {
		client := cluster.Client()
		if err := client.Ping(t.Context()).Err(); err != nil { // it knows the nodes
			t.Fatal(err)
		}
		client.AddHook(prefixing{commands: all})
		refusesHook(t, client, mode, `"orders" in xrange`)
	}
}

func refusesHook(t *testing.T, client redis.UniversalClient, mode, changed string) {
	t.Helper()
	for _, m := range bothModes() {
		if m.name != mode {
			continue
		}
		consumer := m.make(t, client, orders.Name, newRecorder().Handle)
		said := refusedBy(t, consumer)
		for _, part := range []string{"a hook of the client changes keys", changed, `becomes "tenant:`, "give a client without that hook"} {
			if !strings.Contains(said, part) {
				t.Errorf("%s mode: Run says %q", mode, said)
			}
		}
		if health := consumer.Health(); health.Ready {
			t.Errorf("%s mode: it is ready", mode)
		}
	}
}

// A Runner does not run such a consumer again: the hook stays.
func TestAHookThatChangesKeysIsFinalInARunner(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	client.AddHook(prefixing{commands: []string{"xgroup", "xinfo"}})
	var r stream.Runner
	r.Add(newGroup(t, client, newRecorder().Handle))
	begun := time.Now()
	if said := refusedBy(t, &r); !strings.Contains(said, "a hook of the client changes keys") || time.Since(begun) > 2*time.Second {
		t.Errorf("Run says %q, after %v", said, time.Since(begun))
	}
	if health := r.Health(); health.Ready {
		t.Errorf("its health is %+v", health)
	}
}

// A store whose client has such a hook is refused, though the consumer's has none.
func TestTheStoresHooksAreRefused(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	other := server.Client()
	other.AddHook(prefixing{commands: []string{"evalsha", "eval"}})
	store, err := offset.NewRedis(other, "")
	if err != nil {
		t.Fatal(err)
	}
	if said := refusedBy(t, newConsumer(t, server.Client(), store, newRecorder().Handle)); !strings.Contains(said, "changes keys") {
		t.Errorf("Run says %q", said)
	}
	// Without a consumer the hook changes each command.
	ctx := t.Context()
	if err := store.Save(ctx, "a", "5-0"); err != nil {
		t.Fatal(err)
	}
	if id, found, err := store.Load(ctx, "a"); id != "5-0" || !found || err != nil {
		t.Errorf("loaded %q, %t, %v", id, found, err)
	}
	if err := store.Reset(ctx, "a", "2-0"); err != nil {
		t.Fatal(err)
	}
	if id := server.Client().HGet(ctx, "tenant:"+offset.DefaultKey, "a").Val(); id != "2-0" {
		t.Errorf("the hook's hash has %q", id)
	}
}

// observing is a hook that notes each command that passes, and its first key.
type observing struct {
	inert
	mu   sync.Mutex
	seen map[string]bool
}

func (h *observing) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.seen[cmd.Name()+" "+outcomeOf(err)] = true
		return err
	}
}

func outcomeOf(err error) string {
	if err == nil || errors.Is(err, redis.Nil) {
		return "worked"
	}
	return "failed"
}

// names returns the commands that worked or failed.
func (h *observing) names() (names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for one := range h.seen {
		if name, _, _ := strings.Cut(one, " "); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (h *observing) saw(one string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seen[one]
}

// Hooks that only observe see the commands of a consumer, reads included, alone and in a
// Runner, and no others.
func TestHooksObserve(t *testing.T) {
	t.Parallel()
	for _, mode := range bothModes() {
		for _, shared := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, in a Runner %t", mode.name, shared), func(t *testing.T) {
				t.Parallel()
				client := streamtest.StartRedis(t).Client()
				hook := &observing{seen: make(map[string]bool)}
				client.AddHook(hook)
				handled := newRecorder()
				handled.handle = func(_ context.Context, msg *stream.Message[order]) error {
					if msg.Value.ID == "bad" {
						return stream.Permanent(errors.New("no good"))
					}
					return nil
				}
				opts := []stream.Option{
					stream.WithBlock(50 * time.Millisecond), stream.WithInspection(50 * time.Millisecond),
					stream.WithMiddleware(middleware.DeadLetter(middleware.DeadLetterConfig{})),
				}
				if mode.name == "group" {
					opts = append(opts, stream.WithClaimIdle(200*time.Millisecond))
				}
				consumer := mode.make(t, client, orders.Name, handled.Handle, opts...)
				var run runner = consumer
				if shared {
					r := &stream.Runner{}
					r.Add(consumer)
					run = r
				}
				stop := start(t, run)
				add(t, client, "good")
				add(t, client, "bad")
				handled.await(t, 2)
				read := map[string]string{"log": "xread", "group": "xreadgroup"}[mode.name]
				eventually(t, "all was seen", func() bool { return hook.saw(read+" worked") && hook.saw("evalsha worked") })
				pass(500 * time.Millisecond)
				if err := stop(); err != nil {
					t.Error(err)
				}
				others := slices.DeleteFunc(hook.names(), func(name string) bool {
					return slices.Contains([]string{"hello", "client", "role", "xack", "xadd", "xinfo", "xgroup", "xpending", "xrange", "xrevrange", "evalsha", "eval", read}, name)
				})
				if len(others) > 0 {
					t.Errorf("it has seen %q", others)
				}
				t.Log(hook.names())
			})
		}
	}
}
