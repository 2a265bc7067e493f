package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/contain"
	"millrace/stream/internal/effect"
	"millrace/stream/internal/logmode"
)

// ErrNoEffects is wrapped by the error of [Output.Publish] and [Counters.Add] for a message that
// can have no effect there: no consumer with [WithEffects] has delivered it, its handler has
// returned already, or the consumer was not told of the output. Nothing is written. Correct the
// program; in a test of a handler, streamtest.Effects prepares a message.
var ErrNoEffects = errors.New("no effects")

// Effects are writes that happen together with the settling of a message, or not at all: an
// [*Output] or [*Counters]. There are no others.
type Effects interface {
	target() *effect.Target
}

// Handled is a message that a handler was given, a *[Message] of any type, or its *[Entry]. There
// are no others.
type Handled interface {
	handled() *Entry
}

func (e *Entry) handled() *Entry { return e }

// A message that a test of a handler has made takes effects once it is armed, see streamtest.Effects.
var _ = effect.SetArm(func(msg any, b *effect.Buffer) bool {
	given, is := msg.(Handled)
	if !is || contain.IsNil(given) {
		return false
	}
	entry := given.handled()
	entry.reader = &reader{effects: b, Identity: entry.Reader()}
	entry.run = b.Begin()
	return true
})

// WithEffects declares the outputs and counters that the handler may write to. Their writes happen
// in the same step of the server as the settling of the message: both or neither, whatever crashes,
// and not at all if the message is another consumer's by then. See the package documentation,
// "Effects". Default: none. Given more than once, all are declared. Two with one key are refused,
// and so is nil.
//
// In group mode and a cluster all keys must be in the hash slot of the topic: others are refused.
// In log mode the store must be an [offset.Redis] on the topic's server, or another
// [offset.Located], because the offset moves in the same step. In a cluster the keys must be in the
// hash slot of the store's key, and the topic may be in another one. The links by which one commit
// follows another are in a hash beside the offsets: its key is theirs, in braces if it has no hash
// tag, with ":links" behind. Of several consumers with one label the one that was started last goes
// on, and Run of the others returns with [ErrFenced].
//
// The client's user needs the rights of the commands for each key: +xadd for an output, +hincrby,
// +hget for counters, +type for both, and +eval and +evalsha; in log mode also +hget and +hset for
// the offsets and their links.
//
// The effects of a message count in [WithWindowBytes] until they are written.
func WithEffects(effects ...Effects) Option {
	return option{"WithEffects", anyConsumer, func(c *config) { c.effects = append(c.effects, effects...) }}
}

// declareEffects checks the effects that were declared, and makes the targets of them. store is nil
// in group mode.
func (c *config) declareEffects(client redis.UniversalClient, topic string, store offset.Store) error {
	if len(c.effects) == 0 {
		return nil
	}
	var problems []error
	beside, besideWhat := topic, "topic"
	inLog := c.role&logConsumer != 0
	if inLog {
		key, err := c.offsetsBeside(client, store)
		if beside, besideWhat = key, "key of the offsets"; err != nil {
			problems, beside = append(problems, err), ""
		}
	}
	if at, ok := store.(offset.Located); ok && inLog && !contain.IsNil(store) {
		client, _ = at.Location() // the topic may be elsewhere, a relay's even on another server
	}
	_, cluster := client.(*redis.ClusterClient)
	var list []*effect.Target
	byKey := make(map[string]*effect.Target)
	for i, one := range c.effects {
		if contain.IsNil(one) {
			problems = append(problems, invalid("WithEffects: number %d is nil: give an Output or Counters", i+1))
			continue
		}
		target := one.target()
		switch double := byKey[target.Key]; {
		case double == target:
			continue
		case double != nil:
			problems = append(problems, invalid("WithEffects: the key %q is given twice: give one Output or Counters for each key", target.Key))
			continue
		case target.Key == topic && target.Kind != effect.Stream:
			problems = append(problems, invalid("WithEffects: the key %q of the counters is the topic: give them another key", target.Key))
		case inLog && (target.Key == beside || target.Key == logmode.LinksKey(beside)):
			problems = append(problems, invalid("WithEffects: the key %q is the offset store's: give the output or the counters another one", target.Key))
		case cluster && beside != "" && conn.HashTag(target.Key) != conn.HashTag(beside):
			problems = append(problems, invalid("WithEffects: the key %q is in another hash slot than the %s %q, and effects happen together only within one: give keys that belong together one hash tag, such as {orders}:in and {orders}:out", target.Key, besideWhat, beside))
		}
		byKey[target.Key] = target
		list = append(list, target)
	}
	c.targets = effect.NewTargets(list)
	return errors.Join(problems...)
}

// offsetsBeside returns the key of the hash in which a store keeps its offsets. A store that cannot
// move them together with effects is refused.
func (c *config) offsetsBeside(client redis.UniversalClient, store offset.Store) (key string, err error) {
	if contain.IsNil(store) {
		return "", nil // it is told already
	}
	located, ok := store.(offset.Located)
	if !ok {
		return "", invalid("WithEffects: the store is a %T, which cannot move an offset in one step with the effects: give one that offset.NewRedis returns", store)
	}
	at, key := located.Location()
	if !c.relays && !contain.IsNil(client) && !contain.IsNil(at) && !conn.SameServer(client, at) {
		return "", invalid("WithEffects: the offsets are on another server than the topic, as far as the options of the two clients tell: give offset.NewRedis the client of the consumer")
	}
	return key, nil
}

// buffer has a message take an effect.
func buffer(msg Handled, e effect.Effect, where string) error {
	if contain.IsNil(msg) {
		return fmt.Errorf("stream: %w for %s: the message is nil; give the one that the handler was given", ErrNoEffects, where)
	}
	entry := msg.handled()
	if entry.reader == nil || entry.reader.effects == nil {
		return fmt.Errorf("stream: %w for %s: the message was not delivered by a consumer with WithEffects", ErrNoEffects, where)
	}
	if err := entry.reader.effects.Put(entry.run, e); err != nil {
		return fmt.Errorf("stream: %w for %s: %w", ErrNoEffects, where, err)
	}
	return nil
}

// errOverrun is the result of a handler that has returned when another run of it had begun, or its
// delivery had ended: its effects are gone.
var errOverrun = fmt.Errorf("the handler returned when the entry was handed to it again, or its delivery had ended; its effects do not count: %w", effect.ErrOver)

// collecting runs a handler on a message, and keeps the effects of a success. It is for consumers
// with effects.
func collecting[T any](ctx context.Context, handle Handler[T], msg *Message[T]) (err error) {
	b := msg.reader.effects
	run := b.Begin()
	msg.run = run
	returned := false
	defer func() {
		if !returned { // by a panic
			b.End(run, false)
		}
	}()
	err = handle(ctx, msg)
	returned = true
	if !b.End(run, err == nil) && err == nil {
		return errOverrun
	}
	return err
}

// startOver drops the effects that a handler has asked for on a message so far: it is called with
// the message again.
func (e *Entry) startOver() {
	if e.reader != nil && e.reader.effects != nil {
		e.run = e.reader.effects.Again(e.run)
	}
}

// Counters are integers in a Redis hash, whose values change together with the settling of
// messages. [NewCounters] makes one. It holds nothing, and is safe for concurrent use.
type Counters struct {
	hash effect.Target
}

// NewCounters returns the counters in the fields of the hash with this key, which Redis makes with
// the first one. A blank key is refused, with an error that wraps [ErrInvalidOption]. It does no
// I/O.
func NewCounters(key string) (*Counters, error) {
	if isBlank(key) {
		return nil, invalid("NewCounters(%q): give the key of a hash", key)
	}
	return &Counters{effect.Target{Key: key, Kind: effect.Hash}}, nil
}

func (c *Counters) target() *effect.Target { return &c.hash }

// Add adds n, which may be negative, to the counter in a field, together with the settling of the
// message, or not at all. The value of the counter is not known before. A field that has none
// counts from 0.
//
// An error means that nothing will be added: [ErrNoEffects]. While the hash has another value than
// an integer in the field, or the sum would be beyond 64 bits, the message is not settled, and the
// log says so.
func (c *Counters) Add(_ context.Context, msg Handled, field string, n int64) error {
	e := effect.Increment(&c.hash, field, n)
	if _, bytes := e.Size(); bytes > effect.MaxBytes {
		return fmt.Errorf("stream: the name of a counter has %d bytes, and no more than %d are allowed", bytes, effect.MaxBytes)
	}
	return buffer(msg, e, "the counters in "+strconv.Quote(c.hash.Key))
}

// String returns the key.
func (c *Counters) String() string { return strings.Clone(c.hash.Key) }
