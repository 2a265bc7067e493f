package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
)

// label is where the offset is kept. It does not depend on the stream's name,
// so that a renamed stream is continued where it was.
const label = "user_lifecycle"

// Config is the configuration of a [Consumer]. The first three fields are required, and
// for [NewConsumer] the fourth.
type Config struct {
	// Client is the client of the Redis that has the stream. It is not closed.
	Client redis.UniversalClient
	// Stream is the key of the stream, usually [DefaultStream].
	Stream string
	// BlockTimeout is how long one read waits for events at the server. At
	// least a millisecond. It does not delay events, nor the end of Run.
	BlockTimeout time.Duration
	// OffsetStore keeps the offset, under the label "user_lifecycle".
	// [NewGroupConsumer] has no use for it: the group keeps the place.
	OffsetStore offset.Store

	// EventTypes are event types to handle besides [TypePermanentBlocked] and
	// [TypeDeleted]. White space around a type is removed, as around the type of an
	// event; a blank type is refused.
	EventTypes []string
	// Middleware is put around the processing of every entry, the first outermost.
	// middleware.Standard is the recommended stack. Default: none, with which a failed
	// event is held and tried again for as long as it fails.
	Middleware []stream.Middleware
	// Clock tells the time for the age of an event in the log.
	// Default: time.Now.
	Clock func() time.Time
	// Logger is where the consumer logs; never a field's value.
	// Default: slog.Default().
	Logger *slog.Logger
}

// validate returns every problem of the configuration, joined.
func (c Config) validate() error {
	var problems []error
	if c.Client == nil {
		problems = append(problems, errors.New("lifecycle: Config.Client is nil: give the client of the Redis that has the stream"))
	}
	if strings.TrimSpace(c.Stream) == "" {
		problems = append(problems, fmt.Errorf("lifecycle: Config.Stream is blank: give the key of the stream, such as %q", DefaultStream))
	}
	if c.BlockTimeout <= 0 {
		problems = append(problems, fmt.Errorf("lifecycle: Config.BlockTimeout is %v: give how long a read may wait, such as 2s", c.BlockTimeout))
	}
	problems = append(problems, checkTypes("Config", c.EventTypes))
	return errors.Join(problems...)
}

// Handler processes one event. After nil the event is done with. After an error
// it is held, and handed to the handler again after a while that grows.
type Handler = func(ctx context.Context, event Event) error

// Consumer consumes user-lifecycle events. All its methods are safe for concurrent
// use; one Run is allowed at a time.
type Consumer struct {
	consumer *stream.Consumer[Event]
	known    map[string]bool
	clock    func() time.Time
	logger   *slog.Logger
	handler  atomic.Pointer[Handler]
}

// NewConsumer makes a consumer in log mode: one that handles all events, in the
// order of the stream. It reports everything that is wrong with the configuration
// in one error. It does no I/O; Run does.
func NewConsumer(config Config) (*Consumer, error) {
	problems := config.validate()
	if config.OffsetStore == nil {
		problems = errors.Join(problems, errors.New("lifecycle: Config.OffsetStore is nil: give an offset.Store, such as offset.NewRedis"))
	}
	return newConsumer(config, problems, func(c *Consumer, options []stream.Option) (*stream.Consumer[Event], error) {
		return stream.NewConsumer(config.Client, Topic(config.Stream), config.OffsetStore, c.handle, append(options, stream.WithLabel(label))...)
	})
}

// NewGroupConsumer makes a consumer in group mode: any number of them, in any
// number of processes, share the events, in no particular order. A failed event
// waits to be handled again, and others go on meanwhile. options are further options of
// the consumer, such as stream.WithConcurrency.
func NewGroupConsumer(config Config, group string, options ...stream.Option) (*Consumer, error) {
	problems := config.validate()
	if config.OffsetStore != nil {
		problems = errors.Join(problems, errors.New("lifecycle: Config.OffsetStore is given, but a group keeps its place itself: leave it out"))
	}
	return newConsumer(config, problems, func(c *Consumer, own []stream.Option) (*stream.Consumer[Event], error) {
		return stream.NewGroupConsumer(config.Client, Topic(config.Stream), group, c.handle, append(own, options...)...)
	})
}

// newConsumer makes the part that both modes share.
func newConsumer(config Config, problems error, join func(*Consumer, []stream.Option) (*stream.Consumer[Event], error)) (*Consumer, error) {
	if problems != nil {
		return nil, problems
	}
	c := &Consumer{
		known:  knownTypes(config.EventTypes),
		clock:  config.Clock,
		logger: config.Logger,
	}
	if c.clock == nil {
		c.clock = time.Now
	}
	if c.logger == nil {
		c.logger = slog.Default()
	}
	var err error
	c.consumer, err = join(c, []stream.Option{
		stream.WithBlock(config.BlockTimeout),
		stream.WithLogger(c.logger),
		stream.WithMiddleware(config.Middleware...),
	})
	if err != nil {
		return nil, fmt.Errorf("lifecycle: %w", err)
	}
	return c, nil
}

// OnEvent registers the handler of all events, at any time, also while the
// consumer runs. A second call replaces the first from the next event on, and
// nil removes it. While there is none, each event is logged as a warning, and passed:
// it is skipped, and will not be delivered again. On a nil Consumer it does nothing.
func (c *Consumer) OnEvent(handler Handler) {
	if c == nil {
		return
	}
	if handler == nil {
		c.handler.Store(nil)
		return
	}
	c.handler.Store(&handler)
}

// Run consumes from the stored offset or where the group is, or from the beginning
// of the stream if there is neither, until ctx is done. See [stream.Consumer.Run] for
// the errors that end it earlier.
//
// After a clean stop Run returns ctx.Err(), where [stream.Consumer.Run] returns nil: the
// hand-written consumer that this package replaces did so, and its callers look for
// context.Canceled. A [stream.Runner] takes ctx.Err() for a clean stop.
//
// On a nil or zero Consumer, Run returns an error at once.
func (c *Consumer) Run(ctx context.Context) error {
	if c == nil || c.consumer == nil {
		return errors.New("lifecycle: Run on a Consumer that is nil or zero: make one with NewConsumer or NewGroupConsumer")
	}
	err := c.consumer.Run(ctx)
	switch {
	case ctx == nil || ctx.Err() == nil:
		return err
	case err != nil: // stopped, but not cleanly
		return errors.Join(ctx.Err(), err)
	default:
		return ctx.Err()
	}
}

// Members returns the consumer that does the work, so that a [stream.Runner] has it among its
// members, where telemetry and admins find it.
func (c *Consumer) Members() iter.Seq[stream.Runnable] {
	return func(yield func(stream.Runnable) bool) {
		if c != nil && c.consumer != nil {
			yield(c.consumer)
		}
	}
}

// Health returns whether the consumer is well, see [stream.Consumer.Health]. A nil or zero
// Consumer is not.
func (c *Consumer) Health() stream.Health {
	if c == nil || c.consumer == nil {
		return stream.Health{Reason: "not made: make it with NewConsumer or NewGroupConsumer"}
	}
	return c.consumer.Health()
}

// Shutdown does nothing: the end of Run's context stops the consumer. It is there for
// programs that shut down all their parts in the same way, and returns an error only for
// a nil context.
func (c *Consumer) Shutdown(ctx context.Context) error {
	if ctx == nil {
		return errors.New("lifecycle: Shutdown was given no context; pass one")
	}
	return nil
}

func (c *Consumer) handle(ctx context.Context, msg *stream.Message[Event]) error {
	event := msg.Value
	event.EntryID = msg.ID
	if !c.known[event.EventType] {
		return stream.Skip("unknown event type")
	}
	handler := c.handler.Load()
	if handler == nil {
		// The engine logs a skip at the level Info: a program that forgot OnEvent would
		// drop all events unseen.
		c.logger.WarnContext(ctx, "event dropped: no handler is registered; call OnEvent before Run", "stream", msg.Stream, "entry_id", msg.ID)
		return stream.Skip("no handler is registered")
	}
	if err := (*handler)(ctx, event); err != nil {
		return err
	}
	if c.logger.Enabled(ctx, slog.LevelDebug) {
		c.logger.DebugContext(ctx, "event handled", "stream", msg.Stream, "entry_id", msg.ID, "age", c.age(msg.ID))
	}
	return nil
}

// age is how long ago the entry was added to the stream.
func (c *Consumer) age(entryID string) time.Duration {
	id, err := offset.Parse(entryID)
	if err != nil {
		return 0
	}
	return c.clock().Sub(time.UnixMilli(int64(id.Ms)))
}
