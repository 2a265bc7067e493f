package conn

import (
	"context"
	"errors"
	"net"

	"github.com/redis/go-redis/v9"
)

// DoOnce sends a command that the client does not send again by itself.
func DoOnce(ctx context.Context, client redis.UniversalClient, args ...any) *redis.Cmd {
	cmd := &once{*redis.NewCmd(ctx, args...)}
	_ = client.Process(ctx, cmd) // it has the error, too
	return &cmd.Cmd
}

type once struct{ redis.Cmd }

// NoRetry is asked by go-redis.
func (*once) NoRetry() bool { return true }

// NeverRan reports whether an error says that the server has not done what it was
// asked for. Otherwise it may have.
func NeverRan(ctx context.Context, err error) bool {
	var network *net.OpError
	return Classify(err).Answered() || errors.As(err, &network) && network.Op == "dial" || ctx.Err() != nil && errors.Is(err, ctx.Err())
}

// OnceScript is a script that the client does not send again by itself when the reply
// is lost. Who runs it has to know whether it may have run before.
type OnceScript struct{ Source, Hash string }

// NewOnceScript makes a script of its source.
func NewOnceScript(source string) OnceScript {
	return OnceScript{source, redis.NewScript(source).Hash()}
}

// Run runs the script, and sends its source where the server does not know it.
func (s OnceScript) Run(ctx context.Context, client redis.UniversalClient, keys []string, args ...any) *redis.Cmd {
	eval := func(command, script string) *redis.Cmd {
		words := []any{command, script, len(keys)}
		for _, key := range keys {
			words = append(words, key)
		}
		return DoOnce(ctx, client, append(words, args...)...)
	}
	cmd := eval("evalsha", s.Hash)
	if Classify(cmd.Err()).Code == "NOSCRIPT" {
		cmd = eval("eval", s.Source)
	}
	return cmd
}
