package conn

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/contain"
)

// Inner is a hook for single commands alone. The engine sends no pipelines.
type Inner struct {
	Process func(next redis.ProcessHook) redis.ProcessHook
}

// DialHook dials as without the hook.
func (Inner) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook sends pipelines as without the hook.
func (Inner) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook calls Process.
func (h Inner) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return h.Process(next) }

// through returns a hook for a client of the engine's own: a command passes the hooks of
// the user's client, and then the hook that send returns. A redis.Conn has the same hooks as
// its client; a hook that is added to it is called after them, and is not added to the
// client. A redis.Conn takes a connection of the user's when a command reaches it, which
// none does. A client of a cluster has nothing of the kind: its hooks are not passed on.
//
// A command that does not arrive with the keys that it had is refused. A key that one
// command gives and another does not would be another stream: reading would wait for ever
// at one, and acks, offsets and looks would be of the other.
func through(user *redis.Client, send func(next redis.ProcessHook) redis.ProcessHook) Inner {
	return Inner{func(next redis.ProcessHook) redis.ProcessHook {
		front := user.Conn()
		front.AddHook(Inner{func(redis.ProcessHook) redis.ProcessHook { return arriving(send(next)) }})
		return func(ctx context.Context, cmd redis.Cmder) error {
			p := &passage{keys: keysOf(cmd)}
			err := front.Process(context.WithValue(ctx, passageKey{}, p), cmd)
			if changed := p.changed.Load(); changed != nil {
				return changed
			}
			return err
		}
	}}
}

// passage is the way of one command through the hooks of the user's client, which may
// send it on from another goroutine, and more than once.
type passage struct {
	keys    []string
	changed atomic.Pointer[HookError]
}

type passageKey struct{}

// arriving is where the passage of a command ends.
func arriving(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if p, ok := ctx.Value(passageKey{}).(*passage); ok {
			if err := changedKeys(cmd, p.keys); err != nil {
				p.changed.Store(err)
				return err
			}
		}
		return next(ctx, cmd)
	}
}

// changedKeys returns an error if the command's keys are not the given ones.
func changedKeys(cmd redis.Cmder, were []string) *HookError {
	keys := keysOf(cmd)
	if slices.Equal(keys, were) {
		return nil
	}
	for i := range keys {
		if i < len(were) && keys[i] != were[i] {
			return &HookError{fmt.Sprintf("a hook of the client changes keys: %q in %s becomes %q; a hook knows neither each command that a consumer sends nor the names in the replies, "+
				"so give the whole key to the topic (and to offset.NewRedis)", were[i], cmd.Name(), keys[i])}
		}
	}
	return &HookError{fmt.Sprintf("a hook of the client sends %s with other keys", cmd.Name())}
}

// HookError says that a consumer cannot work with a hook of the client.
type HookError struct{ text string }

func (e *HookError) Error() string {
	return "stream: " + e.text + "; give a client without that hook"
}

// keysOf returns the keys of a command of the engine.
func keysOf(cmd redis.Cmder) (keys []string) {
	args := cmd.Args()
	from, to := 1, 2
	switch cmd.Name() {
	case "eval", "evalsha":
		if len(args) > 2 {
			n, _ := args[2].(int)
			from, to = 3, 3+n
		}
	case "xinfo", "xgroup":
		from, to = 2, 3
	case "xread", "xreadgroup":
		from = slices.Index(args, any("streams")) + 1
		to = from + (len(args)-from)/2 // the IDs follow
	case "client", "role", "hello", "ping":
		return nil
	}
	for _, arg := range args[min(from, len(args)):min(to, len(args))] {
		name, _ := arg.(string)
		keys = append(keys, name)
	}
	return keys
}

// CheckHooks refuses a client of a cluster with a hook that changes keys, as tenants'
// prefixes are made: the user's program would publish with it to another stream. The hook
// sees one command, which is not sent: such a client checks the context behind its hooks,
// and the context has ended. So a hook that changes the command is found, and one that
// sends another is not.
func CheckHooks(client redis.UniversalClient, stream string) error {
	many, ok := client.(*redis.ClusterClient)
	if !ok {
		return nil // each command of its consumers is looked at, see through
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	cmd := redis.NewXMessageSliceCmd(ended, "xrange", stream, "-", "+", "count", 1)
	_ = contain.Isolated(func() error { return many.Process(ended, cmd) })
	if err := changedKeys(cmd, []string{stream}); err != nil {
		return err
	}
	return nil
}
