package stream

import (
	"errors"
	"time"
)

// ProducerOption changes how a [Producer] works from its default. The functions that
// return one make them; there are no others.
type ProducerOption interface {
	applyToProducer(*producerConfig)
}

type producerOption func(*producerConfig)

func (set producerOption) applyToProducer(c *producerConfig) { set(c) }

// producerConfig holds everything that a ProducerOption can change.
type producerConfig struct {
	retention  retention
	onceWindow time.Duration
	middleware []PublishMiddleware
}

// newProducerConfig returns the defaults, changed by the options.
func newProducerConfig(opts []ProducerOption) producerConfig {
	c := producerConfig{onceWindow: 10 * time.Minute}
	for _, opt := range opts {
		if opt != nil {
			opt.applyToProducer(&c)
		}
	}
	return c
}

// validate returns every problem of the configuration, joined.
func (c *producerConfig) validate() error {
	problems := c.retention.problems()
	if c.onceWindow < time.Millisecond {
		problems = append(problems, invalid("WithIdempotencyWindow(%v): give at least 1ms", c.onceWindow))
	}
	return errors.Join(problems...)
}

// WithIdempotencyWindow sets how long [Producer.PublishOnce] remembers a key,
// from the first call on. Default: 10 minutes. Less than a millisecond is
// refused, zero included; Redis counts in whole milliseconds. It must be longer
// than anybody goes on trying to publish an event. The memory that the keys take
// grows with it. It does nothing to [Producer.Publish].
func WithIdempotencyWindow(d time.Duration) ProducerOption {
	return producerOption(func(c *producerConfig) { c.onceWindow = d })
}
