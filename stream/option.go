package stream

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Option changes how a consumer works from its default. The functions that
// begin with With make them; there are no others.
type Option interface {
	apply(*config)
}

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// config holds everything that an Option can change.
type config struct {
	label      string
	middleware []Middleware
	logger     *slog.Logger
	block      time.Duration
	batchSize  int
	start      Start
	backoff    Backoff
}

// defaults returns the configuration of a consumer of the given stream that
// was given no option.
func defaults(stream string) config {
	return config{
		label:     stream,
		logger:    slog.Default(),
		block:     2 * time.Second,
		batchSize: 500,
		start:     FromBeginning(),
		backoff:   Backoff{Min: 100 * time.Millisecond, Max: 30 * time.Second},
	}
}

func newConfig(stream string, opts []Option) config {
	c := defaults(stream)
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
	var problems []error
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
	return optionFunc(func(c *config) { c.label = label })
}

// WithMiddleware puts middleware around the processing of every entry, the
// first outermost. Default: none. Nil middleware is left out. Given more than
// once, the later ones are further in.
func WithMiddleware(stack ...Middleware) Option {
	return optionFunc(func(c *config) { c.middleware = append(c.middleware, stack...) })
}

// WithLogger sets the logger of the engine. Default, also for nil:
// slog.Default() at the time of construction. Field values are never logged.
func WithLogger(logger *slog.Logger) Option {
	return optionFunc(func(c *config) {
		if logger == nil {
			logger = slog.Default()
		}
		c.logger = logger
	})
}

// WithBlock sets how long one read waits for entries at the server. Default:
// 2 seconds. Less than a millisecond is refused, zero included; Redis counts
// in whole milliseconds. It affects neither latency nor how fast Run returns:
// a new entry ends the wait, and so does a cancel.
func WithBlock(d time.Duration) Option {
	return optionFunc(func(c *config) { c.block = d })
}

// WithBatchSize sets how many entries one read fetches at the most. Default:
// 500. Less than 1 is refused. Up to two batches are in memory at a time, one
// that is processed and one that was read ahead; and what is delivered again
// after a crash is at most what was processed since the last save of the
// offset, which comes at the end of every batch, or after a second.
func WithBatchSize(n int) Option {
	return optionFunc(func(c *config) { c.batchSize = n })
}

// WithStart sets where to begin when no offset is stored. Default:
// [FromBeginning]. See [FromEnd], [FromID] and [FromTime].
func WithStart(start Start) Option {
	return optionFunc(func(c *config) { c.start = start })
}

// WithBackoff sets how long a failed entry is held before it is delivered
// again. Default, also for the zero fields: 100 milliseconds to 30 seconds. A
// negative field, or a Max below Min, is refused. To try again at once a few
// times first, use middleware.Retry.
func WithBackoff(b Backoff) Option {
	return optionFunc(func(c *config) {
		if b.Min == 0 {
			b.Min = c.backoff.Min
		}
		if b.Max == 0 {
			b.Max = max(c.backoff.Max, b.Min)
		}
		c.backoff = b
	})
}
