package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
)

// ErrUnknownType is returned by [Producer.Publish] for an event whose type no
// consumer would handle. Nothing was written. Correct the type, or add it to
// [ProducerConfig], and to the [Config] of the consumers first.
var ErrUnknownType = errors.New("lifecycle: unknown event type; use a known one or add it to ProducerConfig.EventTypes")

// ProducerConfig is the configuration of a [Producer]. The first two fields are required.
type ProducerConfig struct {
	// Client is the client of the Redis that has the stream. It is not closed.
	Client redis.UniversalClient
	// Stream is the key of the stream, usually [DefaultStream].
	Stream string

	// EventTypes are event types to publish besides [TypePermanentBlocked] and
	// [TypeDeleted]. White space around a type is removed; a blank type is refused.
	EventTypes []string
	// Options are options for producers, such as [stream.WithMaxLen].
	// Default: none, with which nothing is ever trimmed.
	Options []stream.ProducerOption
}

// validate returns every problem of the configuration, joined.
func (c ProducerConfig) validate() error {
	var problems []error
	if c.Client == nil {
		problems = append(problems, errors.New("lifecycle: ProducerConfig.Client is nil: give the client of the Redis that has the stream"))
	}
	if strings.TrimSpace(c.Stream) == "" {
		problems = append(problems, fmt.Errorf("lifecycle: ProducerConfig.Stream is blank: give the key of the stream, such as %q", DefaultStream))
	}
	problems = append(problems, checkTypes("ProducerConfig", c.EventTypes))
	return errors.Join(problems...)
}

// Producer publishes user-lifecycle events. All its methods are safe for
// concurrent use.
type Producer struct {
	producer *stream.Producer[Event]
	known    map[string]bool
}

// NewProducer makes a producer, and reports everything that is wrong with the
// configuration in one error. It does no I/O.
func NewProducer(config ProducerConfig) (*Producer, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	producer, err := stream.NewProducer(config.Client, Topic(config.Stream), config.Options...)
	if err != nil {
		return nil, fmt.Errorf("lifecycle: %w", err)
	}
	return &Producer{producer: producer, known: knownTypes(config.EventTypes)}, nil
}

// Publish adds an event to the stream and returns the ID of its entry. The
// event's own EntryID is ignored. Besides [ErrUnknownType], see
// [stream.Producer.Publish] for the errors, and for which of them it may be
// called again.
func (p *Producer) Publish(ctx context.Context, event Event, opts ...stream.PublishOption) (string, error) {
	if err := p.check(event); err != nil {
		return "", err
	}
	return p.producer.Publish(ctx, event, opts...)
}

// PublishOnce is Publish for an event that has a key of its own: further calls
// with the same key add nothing. See [stream.Producer.PublishOnce].
func (p *Producer) PublishOnce(ctx context.Context, key string, event Event, opts ...stream.PublishOption) (string, error) {
	if err := p.check(event); err != nil {
		return "", err
	}
	return p.producer.PublishOnce(ctx, key, event, opts...)
}

func (p *Producer) check(event Event) error {
	// No type at all is one of the things that the codec complains of.
	if event.EventType != "" && !p.known[event.EventType] {
		return ErrUnknownType
	}
	return nil
}
