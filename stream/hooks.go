package stream

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
)

// inner is a hook for single commands alone. The engine sends no pipelines.
type inner struct {
	process func(next redis.ProcessHook) redis.ProcessHook
}

func (inner) DialHook(next redis.DialHook) redis.DialHook { return next }

func (inner) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h inner) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return h.process(next) }

// through returns a hook for a client of the engine's own: a command passes the hooks of
// the user's client, and goes on to what send returns. A redis.Conn has the same hooks as
// its client; what is added to it is called after them, and changes nothing of the
// client. It takes a connection of the user's when a command reaches it, which none does.
// A client of a cluster has nothing of the kind: its hooks are not passed on.
func through(user *redis.Client, send func(next redis.ProcessHook) redis.ProcessHook) inner {
	return inner{func(next redis.ProcessHook) redis.ProcessHook {
		front := user.Conn()
		front.AddHook(inner{func(redis.ProcessHook) redis.ProcessHook { return send(next) }})
		return front.Process
	}}
}

// checkHooks refuses a client with a hook that changes the keys of commands, as tenants'
// prefixes are made, or that keeps commands to itself. A key that one command gives and
// another does not would be another stream: reading waits for ever at one, and what is
// acked, saved and looked for is of the other. Of what a hook knows there is no saying
// in general, so each command that the engine sends is tried. Nothing goes to a server.
func checkHooks(client redis.UniversalClient, stream string) error {
	try := tryOut(client)
	for _, words := range everyCommand(stream) {
		args := make([]any, len(words))
		for i, word := range words {
			args[i] = word
			if name, isKey := word.(key); isKey {
				args[i] = string(name)
			}
		}
		arrived, err := try(redis.NewCmd(context.Background(), args...))
		if arrived == nil && err != nil {
			continue // a hook that sends nothing for now, as a breaker does
		}
		if arrived == nil {
			return fmt.Errorf("stream: a hook of the client answers %s itself, with neither a reply nor an error; give a client without that hook", words[0])
		}
		for at, word := range words {
			name, isKey := word.(key)
			if got := wordAt(arrived.Args(), at); isKey && got != string(name) {
				return fmt.Errorf("stream: a hook of the client changes keys: %q in %s becomes %q; a hook knows neither each command that a consumer sends nor the names in the replies, "+
					"so give a client without that hook, and the topic (and offset.NewRedis) the whole key", name, words[0], got)
			}
		}
	}
	return nil
}

func wordAt(args []any, at int) string {
	if at >= len(args) {
		return ""
	}
	return fmt.Sprint(args[at])
}

// tryOut returns what sends a command through the hooks of a client and no further. It
// returns what arrives behind them, nil if nothing does.
func tryOut(client redis.UniversalClient) func(redis.Cmder) (redis.Cmder, error) {
	switch client := client.(type) {
	case *redis.Client:
		var arrived redis.Cmder
		process := through(client, func(redis.ProcessHook) redis.ProcessHook {
			return func(_ context.Context, cmd redis.Cmder) error {
				arrived = cmd
				return nil
			}
		}).process(nil)
		return func(cmd redis.Cmder) (redis.Cmder, error) {
			arrived = nil
			err := process(context.Background(), cmd)
			return arrived, err
		}
	default:
		// A client of a cluster finds out behind its hooks that a context has ended. So a
		// hook that changes the command is found out, not one that sends another.
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		return func(cmd redis.Cmder) (redis.Cmder, error) {
			return cmd, client.Process(ended, cmd)
		}
	}
}

// key is a word of a command that is a key.
type key string

// everyCommand returns each command with a key that the engine sends for a stream, in
// both modes, with what a hook may look at.
func everyCommand(stream string) [][]any {
	topic, dead, offsets := key(stream), key(DeadLetterStream(stream)), key(offset.DefaultKey)
	return [][]any{
		{"xread", "count", 1, "streams", topic, beginning},
		{"xreadgroup", "group", "g", "consumer", "c", "count", 1, "streams", topic, ">"},
		{"xrange", topic, "-", "+", "count", 1},
		{"xrevrange", topic, "+", "-", "count", 1},
		{"xinfo", "stream", topic},
		{"xinfo", "groups", topic},
		{"xgroup", "create", topic, "g", beginning, "mkstream"},
		{"xpending", topic, "g", "-", "+", 1, "c"},
		{"xautoclaim", topic, "g", "c", 1, beginning, "count", 1},
		{"xack", topic, "g", beginning},
		{"xadd", dead, "*", "field", "value"},
		{"evalsha", moveScript.hash, 2, topic, dead, beginning},
		{"eval", "return 0", 2, topic, dead, beginning},
		{"evalsha", moveScript.hash, 1, offsets, "label", beginning},
	}
}
