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

// PublishOption changes one call of a method of a [Producer] from its default. The functions
// that return one make them; there are no others.
type PublishOption interface {
	applyToPublish(*publishConfig)
}

type publishOption func(*publishConfig)

func (set publishOption) applyToPublish(c *publishConfig) { set(c) }

// publishConfig holds everything that a PublishOption can change.
type publishConfig struct {
	headers []string // name, value, and so on
}

// headersOf returns the headers that the options of a call ask for. A call without options
// allocates nothing here.
func headersOf(opts []PublishOption) []string {
	if len(opts) == 0 {
		return nil
	}
	var c publishConfig
	for _, opt := range opts {
		if opt != nil {
			opt.applyToPublish(&c)
		}
	}
	return c.headers
}

// WithHeader adds a header to each entry of the call: a field behind those of the value, which
// is not the event's. Default: none. Given more than once, the headers are written in that
// order, repeated names included, and before those of [WithPublishMiddleware].
//
//	id, err := producer.Publish(ctx, event, stream.WithHeader("traceparent", trace))
//
// The codecs of this module ignore a header whose name is reserved ([codec.IsHeader]), and
// [Entry.Header] returns its value. Any other name is a field like those of the value: it is
// in [Entry.Fields], a remain map takes it, and a codec that refuses fields which its type
// does not declare refuses the entry. Names that begin with "millrace." are for this module.
//
// A header that has a blank name, or the name of a field of the value, is an [*EncodeError].
// A header takes memory in each entry, see [WithPublishMiddleware].
func WithHeader(name, value string) PublishOption {
	return publishOption(func(c *publishConfig) { c.headers = append(c.headers, name, value) })
}
