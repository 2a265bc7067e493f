package stream

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"millrace/stream/internal/effect"
	"millrace/stream/internal/script"
	"millrace/stream/internal/window"
)

// Option changes how a consumer works from its default. The functions that begin with
// With make them; there are no others.
//
//   - Where to begin and to end, and how to read: [WithStart], [WithUntil], [WithBlock],
//     [WithReadCount].
//   - Bounds of memory: [WithWindow], [WithWindowBytes], [WithMaxEntryBytes].
//   - Processing: [WithMiddleware], [WithConcurrency], [WithOrderKey], [WithBackoff],
//     [WithDrainTimeout]; of batches, [WithBatch].
//   - Settling: [WithCheckpoint]; what happens together with it: [WithEffects].
//   - Telling: [WithLogger], [WithObserver].
//   - In log mode alone: [WithLabel], [WithLossPolicy].
//   - In group mode alone: [WithConsumerName], [WithClaimIdle], [WithMaxDeliveries],
//     [WithDiscard].
//
// One []Option serves the constructors of both modes. An option that is not for the mode,
// or for no batch handler, is therefore refused when the constructor is called. The
// options of producers ([ProducerOption]) and of trimmers ([TrimmerOption]) are refused
// by the compiler. Those for log mode are for a [Relay] too.
type Option interface {
	RelayOption
	applyToConsumer(*config)
}

// LoggerOption is the option that consumers, trimmers and movers have in common: [WithLogger].
type LoggerOption interface {
	Option
	TrimmerOption
	MoverOption
}

// role is the kind of consumer that an option can be given to.
type role uint

const (
	logConsumer role = 1 << iota
	groupConsumer
	batchConsumer // beside one of the first two
	anyConsumer   = logConsumer | groupConsumer
)

func (r role) String() string {
	switch r {
	case logConsumer:
		return "a consumer in log mode"
	case groupConsumer:
		return "a consumer in group mode"
	case batchConsumer:
		return "a consumer with a batch handler"
	case logConsumer | batchConsumer:
		return "a consumer in log mode with a batch handler"
	case groupConsumer | batchConsumer:
		return "a consumer in group mode with a batch handler"
	default:
		return "a consumer"
	}
}

// option is an Option of the consumers that have a role.
type option struct {
	name string
	of   role
	set  func(*config)
}

func (o option) applyToConsumer(c *config) {
	if o.of&c.role == 0 {
		c.problems = append(c.problems, invalid("%s is for %v, not for %v: remove it", o.name, o.of, c.role))
		return
	}
	o.set(c)
}

func (o option) applyToRelay(c *relayConfig) {
	if o.name == "WithEffects" || o.name == "WithMaxEntryBytes" {
		c.problems = append(c.problems, invalid("%s is not for a relay, which copies all entries as they are: remove it", o.name))
		return
	}
	c.options = append(c.options, o)
}

// config holds everything that an Option can change.
type config struct {
	role       role
	problems   []error // of options that are not for the role, and of WithObserver
	label      string
	middleware []Middleware
	observers  observers
	logger     *slog.Logger
	block      time.Duration
	readCount  int
	start      Start
	until      *Start // nil is none
	backoff    Backoff
	patient    bool // the longest wait was given
	drain      time.Duration

	concurrency int
	orderKey    func(*Entry) string
	ordered     bool // orderKey was given
	// Nil means that it follows from the others; see limits.
	window, every *int
	interval      time.Duration
	windowBytes   int
	maxEntry      *int // nil is no limit

	lossPolicy LossPolicy // log mode only
	// inspectEvery is how often the place of a consumer that has nothing to do is
	// looked at.
	inspectEvery time.Duration

	// With a batch handler only: messages in a batch, and batches at once.
	bulk     int
	bulkWait time.Duration
	batches  int
	// handleBatch is the batch handler, without its type.
	handleBatch func(ctx context.Context, messages []any) (each []error, failure error)

	effects []Effects       // as they were given
	targets *effect.Targets // nil without effects
	relays  bool            // the consumer is a relay's

	// Group mode only.
	consumerName  string
	claimIdle     time.Duration
	maxDeliveries int64
	discard       bool
}

// defaults returns the configuration without options, for the given role and stream.
func defaults(r role, stream string) config {
	return config{
		role:      r,
		label:     stream,
		logger:    slog.Default(),
		block:     2 * time.Second,
		readCount: 500,
		start:     FromBeginning(),
		backoff:   Backoff{Min: 100 * time.Millisecond, Max: 30 * time.Second},

		concurrency: 1,
		interval:    time.Second,
		windowBytes: 64 << 20,
		lossPolicy:  ResumeAtKnown,

		inspectEvery: 30 * time.Second,

		bulk:      100,
		bulkWait:  100 * time.Millisecond,
		claimIdle: 30 * time.Second,
	}
}

// inOrder reports whether entries are handled in the order of the stream, one at a time.
func (c *config) inOrder() bool {
	return c.role&(groupConsumer|batchConsumer) == 0 && !c.ordered && c.concurrency == 1
}

// limits returns the settings of the window.
func (c *config) limits(group bool) window.Limits {
	l := window.Limits{
		// Batches that are processed, being settled, and read ahead, one more because they do
		// not end at the same time (with two in all, reading waits for the settling, and a fast
		// consumer loses a twentieth), and those of the workers.
		Size:       4*c.readCount + c.concurrency,
		Bytes:      c.windowBytes,
		Every:      c.readCount,
		MaxWorkers: c.concurrency,
		Interval:   c.interval,
		Serial:     !group && !c.ordered && (c.concurrency == 1 || c.role&batchConsumer != 0),
		Probing:    !c.patient,
		Pause:      c.backoff.Min,
	}
	if group {
		// The entries that one consumer of a group holds, the others do not get.
		l.Size -= 2 * c.readCount
	}
	if c.window != nil {
		l.Size = *c.window
	}
	if c.every != nil {
		l.Every = *c.every
	}
	l.Batch = min(c.readCount, l.Size)
	return l
}

func newConfig(r role, stream string, opts []Option) config {
	c := defaults(r, stream)
	for _, opt := range opts {
		if opt != nil {
			opt.applyToConsumer(&c)
		}
	}
	c.logger = outlasting(c.logger)
	c.batches = c.concurrency
	if r&batchConsumer != 0 {
		// Each message of a batch has a worker, which waits for it to be handled.
		c.concurrency *= c.bulk
	}
	return c
}

// validate returns every problem of the configuration, joined, each wrapping
// ErrInvalidOption.
func (c *config) validate() error {
	problems := c.problems
	if isBlank(c.label) {
		problems = append(problems, invalid("WithLabel(%q): give a label that is not blank", c.label))
	}
	if c.block < time.Millisecond {
		// Redis takes whole milliseconds, and 0 as 'for ever': a read that
		// never comes back cannot notice a server that has gone.
		problems = append(problems, invalid("WithBlock(%v): give at least 1ms", c.block))
	}
	if c.readCount < 1 {
		problems = append(problems, invalid("WithReadCount(%d): give at least 1", c.readCount))
	}
	if err := c.start.problem("WithStart"); err != nil {
		problems = append(problems, invalid("%w", err))
	}
	if c.until != nil {
		if err := c.until.problem("WithUntil"); err != nil {
			problems = append(problems, invalid("%w", err))
		}
		if c.until.at == FromBeginning().at {
			problems = append(problems, invalid("WithUntil(FromBeginning()): nothing is before the beginning; give FromEnd, FromID or FromTime"))
		}
	}
	if c.batches < 1 {
		problems = append(problems, invalid("WithConcurrency(%d): give at least 1", c.batches))
	}
	if c.bulk < 1 || c.bulkWait <= 0 {
		problems = append(problems, invalid("WithBatch(%d, %v): give at least 1, and a time above zero", c.bulk, c.bulkWait))
	}
	if c.window != nil && *c.window < max(c.concurrency, 1) {
		problems = append(problems, invalid("WithWindow(%d): give at least 1, and at least as many as are processed at once, %d; the handlers above it would have nothing to do", *c.window, c.concurrency))
	}
	if c.windowBytes < 1 {
		problems = append(problems, invalid("WithWindowBytes(%d): give at least 1, and best some times the size of the largest entry", c.windowBytes))
	}
	if c.maxEntry != nil && *c.maxEntry < 1 {
		problems = append(problems, invalid("WithMaxEntryBytes(%d): give at least 1, or leave it out for no limit", *c.maxEntry))
	}
	if c.every != nil && *c.every < 1 || c.interval <= 0 {
		problems = append(problems, invalid("WithCheckpoint(%d, %v): give at least 1, and a time above zero", *c.every, c.interval))
	}
	if c.ordered && c.orderKey == nil {
		problems = append(problems, invalid("WithOrderKey(nil): give the function that returns an entry's key, such as stream.Field(\"account\")"))
	}
	if c.claimIdle < 10*time.Millisecond {
		problems = append(problems, invalid("WithClaimIdle(%v): give at least 10ms; less than a handler may take to be interrupted makes consumers fight over entries", c.claimIdle))
	}
	if c.maxDeliveries < 0 {
		problems = append(problems, invalid("WithMaxDeliveries: give at least 1, or leave it out for no limit"))
	}
	if c.discard && c.maxDeliveries == 0 {
		problems = append(problems, invalid("WithDiscard: give WithMaxDeliveries too; without a limit nothing is ever discarded"))
	}
	if c.consumerName == script.HandedBackTo {
		problems = append(problems, invalid("WithConsumerName(%q): give another name; this one holds what consumers hand back", c.consumerName))
	}
	if c.drain < 0 {
		problems = append(problems, invalid("WithDrainTimeout(%v): give zero or more", c.drain))
	}
	if c.backoff.Min <= 0 || c.backoff.Max < c.backoff.Min {
		problems = append(problems, invalid("WithBackoff(%v): give a Min above zero and a Max that is not below it", c.backoff))
	}
	return errors.Join(problems...)
}

// WithLabel sets the name under which the consumer's offset is stored.
// Default: the topic's name. A blank label is refused.
//
// The label is the consumer's identity: two consumers that share a store need
// two labels, and a label that stays the same when the stream is renamed keeps
// the place. Two at work under one label both handle every entry. A save that finds the
// offset moved on by another writer is logged as a warning, twice a minute at the most,
// and [Health] says so for five minutes. A rolling deployment, which has two for a
// moment, may show it. The stores of package offset can tell, and others that call
// [offset.Found].
func WithLabel(label string) Option {
	return option{"WithLabel", logConsumer, func(c *config) { c.label = label }}
}

// WithMiddleware puts middleware around the processing of every entry, the
// first outermost. Default: none. Nil middleware is left out. Given more than
// once, the later ones are further in.
func WithMiddleware(stack ...Middleware) Option {
	return option{"WithMiddleware", anyConsumer, func(c *config) { c.middleware = append(c.middleware, stack...) }}
}

// WithLogger sets the logger of the engine, or of a trimmer or mover. Default, also for nil:
// slog.Default() at the time of construction. Field values are never logged.
func WithLogger(logger *slog.Logger) LoggerOption { return loggerOption{logger} }

type loggerOption struct{ logger *slog.Logger }

func (o loggerOption) applyToConsumer(c *config) { c.logger = o.orDefault() }

func (o loggerOption) applyToRelay(c *relayConfig) { c.options = append(c.options, o) }

func (o loggerOption) applyToTrimmer(c *trimmerConfig) { c.logger = o.orDefault() }

func (o loggerOption) applyToMover(c *moverConfig) { c.logger = o.orDefault() }

func (o loggerOption) orDefault() *slog.Logger {
	if o.logger == nil {
		return slog.Default()
	}
	return o.logger
}

// WithBlock sets how long one read waits for entries at the server. Default:
// 2 seconds. Less than a millisecond is refused, zero included; Redis counts
// in whole milliseconds. It affects neither latency nor how fast Run returns:
// a new entry ends the wait, and so does a cancel.
func WithBlock(d time.Duration) Option {
	return option{"WithBlock", anyConsumer, func(c *config) { c.block = d }}
}

// WithReadCount sets how many entries one read fetches at the most. Default: 500. Less than 1
// is refused. One batch is read ahead while another is processed; [WithWindow] bounds all of
// it. [WithCheckpoint] says how often processed entries are recorded: by default after as many
// entries.
func WithReadCount(n int) Option {
	return option{"WithReadCount", anyConsumer, func(c *config) { c.readCount = n }}
}

// WithStart sets where to begin when no offset is stored. Default:
// [FromBeginning]. See [FromEnd], [FromID] and [FromTime].
func WithStart(start Start) Option {
	return option{"WithStart", anyConsumer, func(c *config) { c.start = start }}
}

// WithBackoff sets how long a failed entry is held before it is delivered
// again. Default, also for the zero fields: 100 milliseconds to 30 seconds. A
// negative field, or a Max below Min, is refused. The entries of a failed batch have one
// wait. To try again at once a few
// times first, use middleware.Retry.
//
// A held entry keeps its place in the window. Waits of minutes or hours in group mode are what
// [RetryAfter] is for: an entry that waits so holds up nothing.
//
// Unless Max is given, an entry that holds up others waits no longer than two seconds
// while nothing succeeds: one before others in log mode, or with the same order key, or
// any while the window is full. A success after many failures ends the waits, but for
// Min; see the package documentation, "Delivery".
func WithBackoff(b Backoff) Option {
	return option{"WithBackoff", anyConsumer, func(c *config) {
		if b.Min == 0 {
			b.Min = c.backoff.Min
		}
		if c.patient = b.Max != 0; !c.patient {
			b.Max = max(c.backoff.Max, b.Min)
		}
		c.backoff = b
	}}
}

// WithDrainTimeout sets how long handlers at work may go on, with a context that
// is not done, when the consumer is stopped. Default: 0, with which their
// context ends together with that of Run. A negative timeout is refused. Nothing
// new is begun in that time, and Run returns as soon as they have returned.
func WithDrainTimeout(d time.Duration) Option {
	return option{"WithDrainTimeout", anyConsumer, func(c *config) { c.drain = d }}
}

// WithConcurrency sets how many handlers run at once. Default: 1. Less than 1 is
// refused. The order in which entries are handled is not that of the stream then;
// [WithOrderKey] keeps it where it matters. In log mode an entry that fails is held
// while others go on, as far as the window reaches ([WithWindow]), and the offset
// stays before it. With a batch handler it is the number of batches; see
// [NewBatchConsumer] for failures of a batch.
func WithConcurrency(n int) Option {
	return option{"WithConcurrency", anyConsumer, func(c *config) { c.concurrency = n }}
}

// WithWindow sets how many entries a consumer holds at the most: those that were read, and are
// not settled, be they read ahead, at work, held after a failure, or done and not yet covered
// by a saved offset or an ack. Default: four batches in log mode, two in group mode, where the
// others do not get the entries that one consumer holds, and one entry for each concurrent
// handler. Less than 1, or than the handlers that run at once ([WithConcurrency]), is refused.
//
// It bounds the memory that a backlog takes, be it unread or pending on the consumer's
// name, and the number of entries that can be delivered again after a crash. Entries that
// are claimed from other consumers may exceed it by one batch. When it is full, nothing
// more is read; if that lasts, the log says which entry is in the way. A window below the
// read count makes batches as small. Entries over the limit of [WithMaxDeliveries] do not
// count.
func WithWindow(n int) Option {
	return option{"WithWindow", anyConsumer, func(c *config) { c.window = &n }}
}

// WithWindowBytes sets how many bytes of field names and values a consumer holds at the most,
// with 64 more for each field, which is about their size in memory. Default: 64 MiB. Less than
// 1 is refused. It bounds memory where entries are large, as [WithWindow] does where they are
// many; each consumer of a [Runner] has its own.
//
// One read may bring half of it: entries beyond that are not kept, but read again in log mode,
// and in group mode fetched when it is begun, one entry for each handler that has nothing to
// do. How many entries are asked for follows from their size, so that this happens only when
// they grow at once. While more than half is held, nothing is read; if that lasts, the log says
// which entry is in the way. An entry that has ended does not count, nor one that was held in
// group mode. An entry that is larger than all of this is read when there is nothing much
// besides it.
func WithWindowBytes(n int) Option {
	return option{"WithWindowBytes", anyConsumer, func(c *config) { c.windowBytes = n }}
}

// WithMaxEntryBytes sets how large an entry may be, its field names and values
// together, in bytes. Default: no limit. Less than 1 is refused.
//
// A larger one is a [DecodeError] with an [*EntrySizeError]. It is not decoded, and
// its fields are not even kept while it is read: it takes no memory, whatever its
// size. Like every entry that cannot be decoded it goes through the middleware,
// without its fields: middleware.DeadLetter moves it out of the way whole, on the
// server or, where that is not possible, one at a time through this process; and if
// no middleware cares, it is logged and passed.
//
// There is no limit by default because none is right for every topic, and an entry that is
// passed, or a dead letter, for nothing but its size would be a surprise. Memory is bounded
// without it, by [WithWindowBytes] and the largest entry, for which Redis' own limit is a
// gigabyte. Give a limit where you know the size of an entry, and others may write to the
// stream.
func WithMaxEntryBytes(n int) Option {
	return option{"WithMaxEntryBytes", anyConsumer, func(c *config) { c.maxEntry = &n }}
}

// WithCheckpoint sets when processed entries are recorded, by saving the offset or by acking:
// as soon as that many entries have been processed since the last time, or after that interval,
// whichever comes first; and soon after the consumer has run out of work, before an entry is
// held, and when Run returns. Default: the read count, and a second. Less than 1, and no or a
// negative interval, are refused.
//
// While one checkpoint is on its way the next entries are processed, but never as
// many again as belong to one. With every 1, each entry is recorded before the next
// is begun. In log mode the offset never passes an entry that has not been
// processed.
func WithCheckpoint(every int, interval time.Duration) Option {
	return option{"WithCheckpoint", anyConsumer, func(c *config) { c.every, c.interval = &every, interval }}
}

// WithConsumerName sets the consumer's name in its group. Default, also for "":
// a name made from the host's name, the process ID and random letters, one more for
// each further consumer of the same group in the process. No other process has it.
//
// A name that is the same after a restart, such as that of a pod in a stateful set,
// lets a consumer that was killed go on with its entries at once, as many at a time as
// [WithWindow] allows; under another name the entries wait until they are claimed. A
// name must not be in use twice at a time: each of the two would take the other's
// entries for its own. Both notice it within the claim idle time ([WithClaimIdle]), log
// a warning, and are not ready ([Health]) until the other one has gone. To notice it, a
// consumer with a given name needs one more right, +xgroup|createconsumer, and
// its group has a consumer millrace:probe:<name> for a moment after the start, which
// holds nothing.
func WithConsumerName(name string) Option {
	return option{"WithConsumerName", groupConsumer, func(c *config) { c.consumerName = name }}
}

// WithClaimIdle sets how long an entry that is pending on another consumer is idle when it is
// claimed, because that consumer must be dead: one that lives renews its entries three times as
// often, however long its handlers take. Default: 30 seconds. Less than 10 milliseconds is
// refused. Redis counts in whole milliseconds. All consumers of a group should have the same.
func WithClaimIdle(d time.Duration) Option {
	return option{"WithClaimIdle", groupConsumer, func(c *config) { c.claimIdle = d }}
}

// WithMaxDeliveries sets how often an entry is delivered at the most. Default: no limit; less
// than 1 is refused. The count is Redis' own, which includes the deliveries of consumers that
// crashed over the entry. One time more, and the entry comes out of the chain with a
// [MaxDeliveriesError] instead of being handled: middleware.DeadLetter takes it. Without such a
// middleware it stays pending, is logged as an error, and is left alone; see [WithDiscard].
func WithMaxDeliveries(n int64) Option {
	return option{"WithMaxDeliveries", groupConsumer, func(c *config) {
		if c.maxDeliveries = n; n == 0 {
			c.maxDeliveries = -1 // not the same as not given
		}
	}}
}

// WithDiscard acks entries that are over the limit of [WithMaxDeliveries] and
// that no middleware takes, with an error in the log: they are gone. Default: they
// stay pending. It has no effect on entries that a dead-letter middleware takes.
func WithDiscard() Option {
	return option{"WithDiscard", groupConsumer, func(c *config) { c.discard = true }}
}
