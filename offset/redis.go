package offset

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/redis/go-redis/v9"
)

// DefaultKey is the key of the hash that [NewRedis] uses when it is given none.
const DefaultKey = "millrace:offsets"

// Redis is a [Store] in one Redis hash: a label is a field, its offset the value,
// so that `HGETALL millrace:offsets` shows the state of an application. It is
// made by [NewRedis]. It is safe for concurrent use, by any number of processes:
// the server compares and writes in one step, so that no race moves an offset
// back.
//
// A command that gets no answer is not sent again, whatever the client's MaxRetries:
// who calls the store tries again, as a consumer does, and it has had the store look
// for its server anew by then.
//
// The user of the client needs the Redis rights
//
//	~<key> +hget +hset +eval +evalsha
//
// Each command is a script, which the client of a cluster sends to the primary, also
// with ReadOnly, RouteByLatency or RouteRandomly. While a consumer runs, the store's
// commands use a connection of the consumer's own, see [Rebinder].
//
// The hash has no expiry. On a server with maxmemory, choose a policy that does
// not evict it.
type Redis struct {
	client redis.UniversalClient
	key    string
}

// NewRedis returns a store in the hash at key; an empty key means [DefaultKey].
// Give each application its own key, or its labels will meet those of others. A
// nil client is an error. NewRedis does no I/O, and the store never closes the
// client.
func NewRedis(client redis.UniversalClient, key string) (*Redis, error) {
	// A caller that dropped the error of an own constructor has a nil *redis.Client in the
	// interface; it would panic at the first Load.
	if v := reflect.ValueOf(client); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, errors.New("offset: NewRedis needs a client: pass the one that redis.NewClient or redis.NewUniversalClient returned")
	}
	if key == "" {
		key = DefaultKey
	}
	return &Redis{client: client, key: key}, nil
}

// Rebind implements [Rebinder].
func (r *Redis) Rebind(own func(redis.UniversalClient) (redis.UniversalClient, error)) (Store, error) {
	client, err := own(r.client)
	if err != nil {
		return nil, err
	}
	return &Redis{client: client, key: r.key}, nil
}

// Location implements [Located].
func (r *Redis) Location() (client redis.UniversalClient, key string) { return r.client, r.key }

// Load implements [Store]. Errors of the client and of Redis are wrapped; the
// call may be repeated.
func (r *Redis) Load(ctx context.Context, label string) (id string, found bool, err error) {
	id, err = r.run(ctx, load, label).Text()
	if errors.Is(err, redis.Nil) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("offset: load label %q from hash %q: %w", label, r.key, err)
	}
	parsed, err := parse(id)
	if err != nil {
		return "", false, fmt.Errorf("offset: load label %q from hash %q: %w (%w)", label, r.key, ErrCorrupt, err)
	}
	return parsed.String(), true, nil
}

// load and reset are scripts as save is. To a client of a cluster a script is no command
// that a replica may answer, which could have an older offset, or none. And a hook that
// changes keys changes that of all three, or of none.
var (
	load  = newScript(`return redis.call('HGET', KEYS[1], ARGV[1])`)
	reset = newScript(`return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])`)
)

// save is a script that returns the offset that was stored before, an empty text if none was,
// and 0 when it left alone a text that is no ID.
//
// The parts of an ID stay strings: a Lua number is a double, in which two
// sequence numbers above 2^53 can be equal. Decimal numbers without leading
// zeros are ordered by length, then by their digits.
var save = newScript(`
local function above(a, b)
  if #a ~= #b then return #a > #b end
  return a > b
end

local function parts(id)
  local ms, seq = string.match(id, '^0*(%d+)-0*(%d+)$')
  if not ms then ms, seq = string.match(id, '^0*(%d+)$'), '0' end
  local max = '18446744073709551615'
  if ms and #id <= 127 and not above(ms, max) and not above(seq, max) then return ms, seq end
end

local stored = redis.call('HGET', KEYS[1], ARGV[1])
if stored then
  local ms, seq = parts(stored)
  if not ms then return 0 end
  stored = ms .. '-' .. seq

  local newms, newseq = parts(ARGV[2])
  if above(ms, newms) or ms == newms and not above(newseq, seq) then return stored end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return stored or ''
`)

// script is a script with one key, the hash.
type script struct{ source, hash string }

func newScript(source string) script { return script{source, redis.NewScript(source).Hash()} }

func (r *Redis) run(ctx context.Context, s script, args ...any) *redis.Cmd {
	reply := r.do(ctx, append([]any{"evalsha", s.hash, 1, r.key}, args...)...)
	if redis.HasErrorPrefix(reply.Err(), "NOSCRIPT") {
		reply = r.do(ctx, append([]any{"eval", s.source, 1, r.key}, args...)...)
	}
	return reply
}

// Save implements [Store]. Errors of the client and of Redis are wrapped; the
// call may be repeated.
func (r *Redis) Save(ctx context.Context, label, id string) error {
	next, err := parse(id)
	if err != nil {
		return fmt.Errorf("offset: save label %q in hash %q: %w", label, r.key, err)
	}
	reply, err := r.run(ctx, save, label, next.String()).Result()
	if err != nil {
		return fmt.Errorf("offset: save label %q in hash %q: %w", label, r.key, err)
	}
	before, readable := reply.(string)
	if !readable {
		return fmt.Errorf("offset: save label %q in hash %q: %w", label, r.key, ErrCorrupt)
	}
	Found(ctx, before)
	return nil
}

// do sends a command once. The client would send it again by itself, up to four times
// in all by default, each time to the server that did not answer, without looking
// whether it is the right one still.
func (r *Redis) do(ctx context.Context, args ...any) *redis.Cmd {
	cmd := &once{*redis.NewCmd(ctx, args...)}
	err := r.client.Process(ctx, cmd)
	if answer := redis.Error(nil); err != nil && !errors.As(err, &answer) {
		r.Relocate()
	}
	return &cmd.Cmd
}

type once struct{ redis.Cmd }

// NoRetry is asked by go-redis.
func (*once) NoRetry() bool { return true }

// Relocate implements [Relocator]: it has a client of a cluster look anew where each slot is.
// By default that would go on for up to a minute to ask a node that is dead, though another has
// taken over. The store does so itself when a command has had no answer.
func (r *Redis) Relocate() {
	if cluster, ok := r.client.(*redis.ClusterClient); ok {
		cluster.ReloadState(context.Background()) // it does not wait
	}
}

// Reset implements [Resetter]. Errors of the client and of Redis are wrapped; the
// call may be repeated.
func (r *Redis) Reset(ctx context.Context, label, id string) error {
	next, err := parse(id)
	if err == nil {
		err = r.run(ctx, reset, label, next.String()).Err()
	}
	if err != nil {
		return fmt.Errorf("offset: reset label %q in hash %q: %w", label, r.key, err)
	}
	return nil
}
