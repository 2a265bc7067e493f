package stream

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/offset"
	"millrace/stream/internal/contain"
	"millrace/stream/internal/groupmode"
	"millrace/stream/internal/later"
	"millrace/stream/internal/logmode"
	"millrace/stream/internal/mode"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/task"
)

// Consumer reads one topic and hands every entry, decoded, to its handler.
// [NewConsumer] and [NewGroupConsumer] make one. It may be used from several
// goroutines; one Run is allowed at a time.
type Consumer[T any] struct {
	// T ends in the closure that the constructor gives to the engine, which is
	// compiled once, whatever the number of topics.
	engine  engine
	running atomic.Bool
}

// NewConsumer makes a consumer in log mode: one reader, in the order of the
// stream, its place kept as an offset in the store. It does no I/O, starts
// nothing, and neither closes nor blocks the client: Run has connections of its
// own, made from the client's options when it starts. The package's documentation lists
// under Client the options and hooks that count.
//
// The client is a *redis.Client, sentinel-backed ones included, or a *redis.ClusterClient. All
// mistakes in the arguments and options come back in one error, each problem wrapping
// [ErrInvalidOption].
//
// The client's user needs the Redis rights
//
//	~<topic> +xread +xrange +xinfo|stream   and, with a Start, +xrevrange
//	+role                                   (of the server it reads from)
//	~<dead letters> +xrange +xadd    for dead letters; +eval +evalsha spare a
//	                                 round trip and the payload's way back, and find
//	                                 losses where XINFO's two entries are too large
//	                                 for a reply (client-output-buffer-limit)
//
// and those of the store. Without +xinfo|stream losses are not found, and without
// +role neither is a master that has become a replica and answers for ever, with nothing;
// everything else works.
func NewConsumer[T any](client redis.UniversalClient, topic Topic[T], store offset.Store, handle Handler[T], opts ...Option) (*Consumer[T], error) {
	return newLogConsumer(logConsumer, client, topic, store, handle, single(handle), opts)
}

// NewGroupConsumer makes a consumer in group mode: any number of them, in any number of
// processes, share the entries of a stream, in no particular order. Redis keeps the entries
// that each of them has not finished, and others claim them when it dies. The group is made
// when it is missing. Everything else is as with [NewConsumer].
//
// The client's user needs the Redis rights
//
//	~<topic> +xreadgroup +xack +xpending +xclaim +xgroup|create +xgroup|delconsumer
//	         +xgroup|setid +xinfo|groups +xinfo|consumers +xinfo|stream +xrange
//	         +eval +evalsha +client|id +client|unblock +role
//	         +xgroup|createconsumer  with WithConsumerName
//	         +xlen                   in a Runner
//	~<dead letters> +xadd            for dead letters
//
// and for [RetryAfter] those that its documentation names.
func NewGroupConsumer[T any](client redis.UniversalClient, topic Topic[T], group string, handle Handler[T], opts ...Option) (*Consumer[T], error) {
	return newGroupConsumer(groupConsumer, client, topic, group, handle, single(handle), opts)
}

// single returns a handler that takes one message at a time as it is.
func single[T any](handle Handler[T]) func(*config) Handler[T] {
	return func(*config) Handler[T] { return handle }
}

// newLogConsumer makes a consumer whose handler, given by the user, adapt makes one
// of one message.
func newLogConsumer[T any](r role, client redis.UniversalClient, topic Topic[T], store offset.Store, given any, adapt func(*config) Handler[T], opts []Option) (*Consumer[T], error) {
	c, problems := newConsumer(r, client, topic, store, given, adapt, opts)
	problems = errors.Join(problems,
		checkPresent("store", store, "give an offset.Store, such as offset.NewRedis or a *offset.Memory"))
	if problems != nil {
		return nil, problems
	}
	c.engine.store, c.engine.open, c.engine.lag = store, openLog, lagOfLog
	c.engine.identity = Identity{Stream: topic.Name, Label: c.engine.config.label}
	c.engine.name = fmt.Sprintf("%s as %q", topic.Name, c.engine.config.label)
	c.engine.log = c.engine.log.With("label", c.engine.config.label)
	return c, nil
}

// newGroupConsumer is newLogConsumer in group mode.
func newGroupConsumer[T any](r role, client redis.UniversalClient, topic Topic[T], group string, given any, adapt func(*config) Handler[T], opts []Option) (*Consumer[T], error) {
	c, problems := newConsumer(r, client, topic, nil, given, adapt, opts)
	if isBlank(group) {
		problems = errors.Join(problems, invalid("group %q: give the name of the consumer group", group))
	}
	if problems != nil {
		return nil, problems
	}
	c.engine.open, c.engine.lag = openGroup, lagOfGroup
	c.engine.identity = Identity{Stream: topic.Name, Group: group}
	c.engine.name = fmt.Sprintf("%s in group %q", topic.Name, group)
	c.engine.log = c.engine.log.With("group", group)
	return c, nil
}

// openLog makes log mode for a run.
func openLog(ctx context.Context, r *run) (mode.Mode, error) {
	return logmode.Open(ctx, logmode.Settings{
		Settings: r.settings(), Store: r.store, Label: r.engine.config.label, Resume: r.engine.resume,
	})
}

// openGroup makes group mode for a run.
func openGroup(ctx context.Context, r *run) (mode.Mode, error) {
	of := r.engine.identity
	return groupmode.Open(ctx, groupmode.Settings{
		Settings: r.settings(), Leases: r.leases, ReadCount: r.engine.config.readCount,
		Postponed: later.Keys{Due: RetryDueKey(of.Stream, of.Group), Contents: RetryLaterKey(of.Stream, of.Group), Topic: of.Stream},
	})
}

// newConsumer makes the part that both modes have in common, and finds all mistakes in it. The
// store is nil in group mode.
func newConsumer[T any](r role, client redis.UniversalClient, topic Topic[T], store offset.Store, given any, adapt func(*config) Handler[T], opts []Option) (*Consumer[T], error) {
	cfg := newConfig(r, topic.Name, opts)
	if topic.Codec == nil {
		topic.Codec = codec.Struct[T]()
	}
	handler, err := chain(decodeAndHandle(topic.Codec, adapt(&cfg), &cfg), cfg.middleware)
	problems := errors.Join(
		checkClient(client),
		checkTopic(topic),
		checkPresent("handler", given, "give the function that processes a message"),
		cfg.validate(),
		cfg.declareEffects(client, topic.Name, store),
		err,
	)
	return &Consumer[T]{engine: engine{
		config:   cfg,
		steering: steering{seeking: task.NewLock()},
		client:   client,
		chain:    cfg.forReader(handler),
		log:      cfg.logger.With("stream", topic.Name),
	}}, problems
}

// forReader returns a handler of the entries that are for this reader. A relay copies all.
func (c *config) forReader(handler EntryHandler) EntryHandler {
	if c.relays {
		return handler
	}
	return addressed(handler)
}

// Run consumes until ctx is done, and returns nil then: at once if no handler is at work, else
// as soon as it has returned. Finished entries are settled before Run returns; if that fails,
// Run says so with an error, and those entries will be delivered again. A consumer that has
// stopped may be run again.
//
// Trouble with Redis or the store does not end Run: it is logged, and tried again until it
// works. Trouble that no waiting can mend does: a key that is not a stream, a refused login or
// a missing right found at the start, and a stored offset that is none ([offset.ErrCorrupt]).
// The error says how to mend it. [ErrRunning] comes back while another Run of this consumer is
// at work.
func (c *Consumer[T]) Run(ctx context.Context) error {
	if ctx == nil {
		return errors.New("stream: Run was given no context; pass the one whose end is to stop the consumer")
	}
	if !c.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer c.running.Store(false)
	return c.engine.run(ctx)
}

// Identity returns which consumer it is. It asks no server, and may be called at any time.
func (c *Consumer[T]) Identity() Identity { return c.engine.identityNow() }

func (e *engine) identityNow() (id Identity) {
	id = e.identity
	id.Consumer = e.config.consumerName
	e.meter.update(func(m *meter) {
		if m.run != nil {
			id = m.run.reader.Identity
		}
	})
	return id
}

// String names the consumer for people, by its topic and its label or group:
// orders as "billing", or orders in group "billing".
func (c *Consumer[T]) String() string { return c.engine.name }

// decodeAndHandle is the innermost handler of a chain, the only place where an
// entry meets its type.
func decodeAndHandle[T any](decoder codec.Codec[T], handle Handler[T], c *config) EntryHandler {
	into, ok := decoder.(codec.IntoDecoder[T])
	if !ok {
		into = intoDecoder[T]{decoder}
	}
	most := resp.SizeLimit(c.maxEntry)
	return func(ctx context.Context, entry *Entry) error {
		if entry.reader.isExhausted(entry) {
			return &MaxDeliveriesError{Deliveries: entry.Deliveries}
		}
		if size := int64(entry.size); size > most {
			return &DecodeError{Stream: entry.Stream, ID: entry.ID, Err: &EntrySizeError{Size: size, Limit: most}}
		}
		msg := &Message[T]{Entry: *entry}
		if err := decode(into, msg); err != nil {
			return &DecodeError{Stream: entry.Stream, ID: entry.ID, Err: err}
		}
		if c.targets != nil {
			return collecting(ctx, handle, msg)
		}
		return handle(ctx, msg)
	}
}

// decode makes a panic of the codec an error of the entry: an entry that the
// codec cannot survive must not be held for ever.
func decode[T any](decoder codec.IntoDecoder[T], msg *Message[T]) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = newPanicError(p)
		}
	}()
	if msg.guarded {
		return isolated(func() error { return decoder.DecodeInto(msg.Fields, &msg.Value) })
	}
	return contain.Harmless(decoder.DecodeInto(msg.Fields, &msg.Value))
}

// intoDecoder makes a codec.IntoDecoder of one that is none.
type intoDecoder[T any] struct{ codec.Codec[T] }

func (d intoDecoder[T]) DecodeInto(fields codec.Fields, value *T) (err error) {
	*value, err = d.Decode(fields)
	return err
}

func checkTopic[T any](topic Topic[T]) error {
	var problems []error
	if isBlank(topic.Name) {
		problems = append(problems, invalid("Topic.Name %q: give the key of the stream", topic.Name))
	}
	if checker, ok := topic.Codec.(codec.Checker); ok {
		if err := checker.Check(); err != nil {
			problems = append(problems, invalid("Topic.Codec of %q cannot serve %v: %w", topic.Name, reflect.TypeFor[T](), err))
		}
	}
	return errors.Join(problems...)
}
