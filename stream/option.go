package stream

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Option changes how a consumer or a producer works from its default. The
// functions that begin with With make them; there are no others. What an option
// is for is in its documentation: given to anything else it is refused.
type Option interface {
	apply(*config)
}

// role is what an option can be given to.
type role uint

const (
	logConsumer role = 1 << iota
	groupConsumer
	producer
	anyConsumer = logConsumer | groupConsumer
)

func (r role) String() string {
	switch r {
	case logConsumer:
		return "a consumer in log mode"
	case groupConsumer:
		return "a consumer in group mode"
	case producer:
		return "a producer"
	default:
		return "a consumer"
	}
}

type option struct {
	name string
	of   role
	set  func(*config)
}

func (o option) apply(c *config) {
	if o.of&c.role == 0 {
		c.problems = append(c.problems, invalid("%s is for %v, not for %v: remove it", o.name, o.of, c.role))
		return
	}
	o.set(c)
}

// config holds everything that an Option can change.
type config struct {
	role       role
	problems   []error // of options that are not for the role
	retention  retention
	window     time.Duration
	label      string
	middleware []Middleware
	logger     *slog.Logger
	block      time.Duration
	batchSize  int
	start      Start
	backoff    Backoff
}

// defaults returns the configuration, for the given role and stream, of somebody
// who gives no option.
func defaults(r role, stream string) config {
	return config{
		role:      r,
		label:     stream,
		logger:    slog.Default(),
		window:    10 * time.Minute,
		block:     2 * time.Second,
		batchSize: 500,
		start:     FromBeginning(),
		backoff:   Backoff{Min: 100 * time.Millisecond, Max: 30 * time.Second},
	}
}

func newConfig(r role, stream string, opts []Option) config {
	c := defaults(r, stream)
	for _, opt := range opts {
		if opt != nil {
			opt.apply(&c)
		}
	}
	return c
}

// validate returns every problem of the configuration, joined, each wrapping
// ErrInvalidOption.
func (c *config) validate() error {
	problems := append(c.problems, c.retention.problems()...)
	if c.window < time.Millisecond {
		problems = append(problems, invalid("WithIdempotencyWindow(%v): give at least 1ms", c.window))
	}
	if isBlank(c.label) {
		problems = append(problems, invalid("WithLabel(%q): give a label that is not blank", c.label))
	}
	if c.block < time.Millisecond {
		// Redis takes whole milliseconds, and 0 as 'for ever': a read that
		// never comes back cannot notice a server that has gone.
		problems = append(problems, invalid("WithBlock(%v): give at least 1ms", c.block))
	}
	if c.batchSize < 1 {
		problems = append(problems, invalid("WithBatchSize(%d): give at least 1", c.batchSize))
	}
	if err := c.start.problem(); err != nil {
		problems = append(problems, invalid("%w", err))
	}
	if c.backoff.Min <= 0 || c.backoff.Max < c.backoff.Min {
		problems = append(problems, invalid("WithBackoff(%v): give a Min above zero and a Max that is not below it", c.backoff))
	}
	return errors.Join(problems...)
}

// invalid makes a problem out of a format and its arguments.
func invalid(format string, args ...any) error {
	return fmt.Errorf("stream: %w: %w", ErrInvalidOption, fmt.Errorf(format, args...))
}

// WithLabel sets the name under which the consumer's offset is stored.
// Default: the topic's name. A blank label is refused.
//
// The label is the consumer's identity: two consumers that share a store need
// two labels, and a label that stays the same when the stream is renamed keeps
// the place.
func WithLabel(label string) Option {
	return option{"WithLabel", logConsumer, func(c *config) { c.label = label }}
}

// WithMiddleware puts middleware around the processing of every entry, the
// first outermost. Default: none. Nil middleware is left out. Given more than
// once, the later ones are further in.
func WithMiddleware(stack ...Middleware) Option {
	return option{"WithMiddleware", anyConsumer, func(c *config) { c.middleware = append(c.middleware, stack...) }}
}

// WithLogger sets the logger of the engine. Default, also for nil:
// slog.Default() at the time of construction. Field values are never logged.
func WithLogger(logger *slog.Logger) Option {
	return option{"WithLogger", anyConsumer, func(c *config) {
		if logger == nil {
			logger = slog.Default()
		}
		c.logger = logger
	}}
}

// WithBlock sets how long one read waits for entries at the server. Default:
// 2 seconds. Less than a millisecond is refused, zero included; Redis counts
// in whole milliseconds. It affects neither latency nor how fast Run returns:
// a new entry ends the wait, and so does a cancel.
func WithBlock(d time.Duration) Option {
	return option{"WithBlock", anyConsumer, func(c *config) { c.block = d }}
}

// WithBatchSize sets how many entries one read fetches at the most. Default:
// 500. Less than 1 is refused. Up to two batches are in memory at a time, one
// that is processed and one that was read ahead; and what is delivered again
// after a crash is at most what was processed since the last save of the
// offset, which comes at the end of every batch, or after a second.
func WithBatchSize(n int) Option {
	return option{"WithBatchSize", anyConsumer, func(c *config) { c.batchSize = n }}
}

// WithStart sets where to begin when no offset is stored. Default:
// [FromBeginning]. See [FromEnd], [FromID] and [FromTime].
func WithStart(start Start) Option {
	return option{"WithStart", anyConsumer, func(c *config) { c.start = start }}
}

// WithBackoff sets how long a failed entry is held before it is delivered
// again. Default, also for the zero fields: 100 milliseconds to 30 seconds. A
// negative field, or a Max below Min, is refused. To try again at once a few
// times first, use middleware.Retry.
func WithBackoff(b Backoff) Option {
	return option{"WithBackoff", anyConsumer, func(c *config) {
		if b.Min == 0 {
			b.Min = c.backoff.Min
		}
		if b.Max == 0 {
			b.Max = max(c.backoff.Max, b.Min)
		}
		c.backoff = b
	}}
}
