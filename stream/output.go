package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"millrace/codec"
	"millrace/stream/internal/effect"
)

// Output is a topic to which handlers publish together with the settling of the message that they
// were given. [NewOutput] makes one, and [WithEffects] gives it to a consumer. One Output may serve
// many consumers. It has no client, holds nothing, and is safe for concurrent use.
type Output[T any] struct {
	producer Producer[T] // which encodes, and publishes nothing
	stream   effect.Target
	trim     retention
}

// OutputOption changes how an [Output] works from its default: [WithMaxLen], [WithExactMaxLen] and
// [WithMinIDAge].
type OutputOption interface {
	applyToOutput(*outputConfig)
}

// outputConfig holds everything that an OutputOption can change.
type outputConfig struct {
	retention retention
}

// NewOutput returns the output for a topic. Values are encoded, and validated, by the topic's
// codec, as by a [Producer]. It does no I/O. Everything that is wrong with the topic and the
// options comes back in one error, each problem wrapping [ErrInvalidOption].
func NewOutput[T any](topic Topic[T], opts ...OutputOption) (*Output[T], error) {
	var c outputConfig
	for _, opt := range opts {
		if opt != nil {
			opt.applyToOutput(&c)
		}
	}
	if topic.Codec == nil {
		topic.Codec = codec.Struct[T]()
	}
	problems := append([]error{checkTopic(topic)}, c.retention.problems()...)
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return &Output[T]{
		producer: Producer[T]{codec: topic.Codec, publisher: publisher{stream: topic.Name}},
		stream:   effect.Target{Key: topic.Name, Kind: effect.Stream},
		trim:     c.retention,
	}, nil
}

func (o *Output[T]) target() *effect.Target { return &o.stream }

// Publish adds a value to the topic together with the settling of the message, or not at all: if
// the handler fails, or the message is another consumer's by then, nothing is written. [WithHeader]
// gives the entry headers. Values of one message are written in the order of the calls. The ID is
// not known before, so that there is none to return. For a message of a batch, give that message.
//
// After an [*EncodeError] the value is to be corrected: it does not keep the rules of its type, or
// has more than 7,900 field names and values together, or more than 512 MiB. [ErrNoEffects] means
// that the message can have no effects here. After both, this value will not be written; return
// the error, or the others of the message will be. There is no error for a write that has failed:
// the consumer tries until it has worked.
func (o *Output[T]) Publish(_ context.Context, msg Handled, value T, opts ...PublishOption) error {
	entry, err := o.producer.encode(value)
	if err != nil {
		return err
	}
	headers := headersOf(opts)
	if err := o.producer.publisher.checkHeaders(headers, entry); err != nil {
		return err
	}
	args := o.trim.rule().AppendTexts(make([]string, 0, 4+len(entry.Pairs)+len(headers)), time.Now())
	args = append(args, "*")
	args = append(args, entry.Pairs...)
	args = append(args, headers...)
	e := effect.Add(&o.stream, args)
	if n, bytes := e.Size(); n > effect.MaxArgs || bytes > effect.MaxBytes {
		return &EncodeError{Stream: o.stream.Key, Err: fmt.Errorf("it has %d names and values with %d bytes, and no more than %d with %d bytes are allowed in an output; publish less in one entry", n, bytes, effect.MaxArgs, effect.MaxBytes)}
	}
	return buffer(msg, e, "the output "+strconv.Quote(o.stream.Key))
}

// String returns the name of the topic.
func (o *Output[T]) String() string { return o.stream.Key }
