package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/stream/internal/contain"
	"millrace/stream/internal/later"
	"millrace/stream/internal/publish"
)

// Producer publishes values to one topic: each is validated and encoded by the
// topic's codec, and added to the stream. [NewProducer] makes one. It is safe
// for concurrent use, holds nothing, and need not be closed.
//
// The client's user needs the Redis rights
//
//	%W~<topic> +xadd
//
// and for [Producer.PublishOnce] and [Producer.PublishAllOnce], whose script takes the
// right to read the topic, too
//
//	~<topic> ~{<topic>}:once:* +xadd +get +set +del +eval +evalsha
//
// [Producer.PublishAt] says which it needs.
type Producer[T any] struct {
	// T ends at the pairs that the codec returns; the code that writes them is compiled once,
	// whatever the number of topics.
	codec     codec.Codec[T]
	publisher publisher
}

// NewProducer makes a producer. It does no I/O, starts nothing, and never closes
// the client, whose connections and timeouts the producer works with.
//
// The client is a *redis.Client, sentinel-backed ones included, or a
// *redis.ClusterClient. Everything that is wrong with the arguments and
// options comes back in one error, each problem wrapping [ErrInvalidOption].
func NewProducer[T any](client redis.UniversalClient, topic Topic[T], opts ...ProducerOption) (*Producer[T], error) {
	cfg := newProducerConfig(opts)
	chain, err := publishChain(cfg.middleware)
	if topic.Codec == nil {
		topic.Codec = codec.Struct[T]()
	}
	if err := errors.Join(checkClient(client), checkTopic(topic), cfg.validate(), err); err != nil {
		return nil, err
	}
	return &Producer[T]{codec: topic.Codec, publisher: newPublisher(topic.Name, client, cfg, chain)}, nil
}

// Publish adds one value to the stream and returns the ID of its entry. [WithHeader] gives
// the entry headers.
//
// After an [*EncodeError] nothing was sent, and the value is to be corrected. After an
// [*UnknownWriteError] the entry may be in the stream or not: publishing again may add a second
// one. After any other error nothing was written, and Publish may be called again, unless there
// is an ID beside the error, which is that of middleware then ([WithPublishMiddleware]). The
// client's own retries do not apply, because they make a second entry of a lost reply: the next
// step is the caller's choice, or [Producer.PublishOnce] is called instead, which has no such
// case.
//
// A ctx that is done keeps a value from being sent, and ends the wait for a connection. It does
// not end the wait for the reply to a command that was sent, unless the client's
// ContextTimeoutEnabled is set and the ctx has a deadline; that wait is bounded by the client's
// ReadTimeout.
func (p *Producer[T]) Publish(ctx context.Context, value T, opts ...PublishOption) (id string, err error) {
	if p.publisher.chain != nil {
		return p.publisher.publishThrough(ctx, headersOf(opts), p.encoding([]T{value}, nil))
	}
	entry, err := p.encode(value)
	if err != nil {
		return "", err
	}
	return p.publisher.publish(ctx, headersOf(opts), entry)
}

// PublishOnce is Publish for a value that has a key of its own, such as the ID
// of the order that it is about. The first call within the window of
// [WithIdempotencyWindow] adds the entry; every further one with the same key
// adds nothing and returns the ID of that entry. So it may be called again after
// any error but an [*EncodeError], and the client's own retries do apply.
//
// The keys of a topic are shared by all its producers, in all processes. Values
// and headers are not compared: a second value under the same key is dropped, and the
// caller is not told. The ID is returned as long as the window lasts, even if
// the entry was trimmed or deleted since. An empty key is an [*EncodeError].
//
// The server keeps each key, as it is, in a Redis key of its own beside the
// topic, and expires it: about 200 bytes each for the time of the window. Do not
// let the server evict them (an allkeys or volatile maxmemory policy): an evicted
// key is forgotten. While a cluster moves the topic's slot to
// another node, calls can fail with TRYAGAIN; nothing was written then. No other
// key can be in the slot of a topic whose name has a "}" but no hash tag: in a
// cluster, calls for such a topic fail with CROSSSLOT.
func (p *Producer[T]) PublishOnce(ctx context.Context, key string, value T, opts ...PublishOption) (id string, err error) {
	if p.publisher.chain != nil {
		return p.publisher.publishThrough(ctx, headersOf(opts), p.encoding([]T{value}, func(T) string { return key }))
	}
	entry, err := p.encodeOnce(key, value)
	if err != nil {
		return "", err
	}
	return p.publisher.publish(ctx, headersOf(opts), entry)
}

// Published is the result of one of the values given to [Producer.PublishAll].
type Published struct {
	// ID is the entry's ID, empty if Err is not nil.
	ID string
	// Err is the error that Publish would have returned for the value.
	Err error
}

// PublishAll adds many values to the stream, in their order, with one round trip
// per 1,000 of them, or per 4 MiB. The result tells of each value, at the same
// index. The error is nil if all were written; otherwise it counts those that
// were not and wraps an error of theirs, an [*UnknownWriteError] if there is one, or it is
// that of middleware ([WithPublishMiddleware]).
//
// The options hold for each of the values: all get the same headers ([WithHeader]).
//
// A value that cannot be encoded is left out, and does not stop the others.
// After any other failure the round trip at hand is the last: when the connection
// breaks in its middle, the values whose replies had come have their IDs, those
// that were sent have an [*UnknownWriteError], and all later ones were not sent.
// A ctx that is done has the same effect at the next round trip. It is no
// transaction: entries of others can come in between, and the server may refuse
// one value and accept a later one of the same round trip.
func (p *Producer[T]) PublishAll(ctx context.Context, values []T, opts ...PublishOption) ([]Published, error) {
	return p.publishAll(ctx, values, nil, headersOf(opts))
}

// PublishAllOnce is PublishAll for values that have keys of their own, see
// [Producer.PublishOnce]. Of two values that have the same key the first is
// added, and both get its ID. After an error, all may be given again.
func (p *Producer[T]) PublishAllOnce(ctx context.Context, key func(value T) string, values []T, opts ...PublishOption) ([]Published, error) {
	if key == nil {
		return nil, errors.New("stream: PublishAllOnce was given no function; pass the one that returns a value's key")
	}
	return p.publishAll(ctx, values, key, headersOf(opts))
}

// publishAll publishes the values, with the keys that the function returns unless it is nil.
func (p *Producer[T]) publishAll(ctx context.Context, values []T, key func(value T) string, headers []string) ([]Published, error) {
	if p.publisher.chain != nil {
		return p.publisher.publishAllThrough(ctx, headers, len(values), p.encoding(values, key))
	}
	results := make([]Published, len(values))
	p.publisher.publishAll(ctx, headers, results, func(i int) (publish.Entry, error) { return p.encodeOneOf(values[i], key) })
	return results, summary(results)
}

// encoding returns the function that encodes the values. It is made where middleware needs
// it, and nowhere else: it would be an allocation of each call.
func (p *Producer[T]) encoding(values []T, key func(value T) string) func(i int) (publish.Entry, error) {
	return func(i int) (publish.Entry, error) { return p.encodeOneOf(values[i], key) }
}

// encodeOneOf encodes one of many values, with the key that the function returns unless
// it is nil.
func (p *Producer[T]) encodeOneOf(value T, key func(value T) string) (publish.Entry, error) {
	if key == nil {
		return p.encode(value)
	}
	var own string
	if err := caught(func() error { own = key(value); return nil }); err != nil {
		return publish.Entry{}, &EncodeError{Stream: p.publisher.stream, Err: err}
	}
	return p.encodeOnce(own, value)
}

// encodeOnce is encode for a value with a key.
func (p *Producer[T]) encodeOnce(key string, value T) (publish.Entry, error) {
	if key == "" {
		// All values whose key was forgotten would be one and the same.
		return publish.Entry{}, &EncodeError{Stream: p.publisher.stream, Err: errors.New("its idempotency key is empty; give one that is the event's own")}
	}
	entry, err := p.encode(value)
	entry.Key = key
	return entry, err
}

// encode makes a panic of the codec an error of the value: one bad value must
// not end a program that publishes thousands.
func (p *Producer[T]) encode(value T) (entry publish.Entry, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = newPanicError(v)
		}
		if err != nil {
			err = &EncodeError{Stream: p.publisher.stream, Err: contain.Harmless(err)}
		}
	}()
	pairs, err := p.codec.Encode(value)
	if err == nil && (len(pairs) == 0 || len(pairs)%2 != 0) {
		err = fmt.Errorf("the codec returned %d texts, which are no field-value pairs; correct its Encode", len(pairs))
	}
	return publish.Entry{Pairs: pairs}, err
}

// Encode returns the fields of an entry for the value, as a [Producer] of the topic writes them: name,
// value, and so on, with the headers of [WithHeader] behind. It is for entries that go another way
// first, such as a table of a database. Each error is an [*EncodeError]. It is safe for concurrent use.
func (t Topic[T]) Encode(value T, opts ...PublishOption) (pairs []string, err error) {
	if isBlank(t.Name) {
		return nil, &EncodeError{Stream: t.Name, Err: errors.New("the name of the topic is blank; give the key of the stream")}
	}
	if t.Codec == nil {
		t.Codec = codec.Struct[T]()
	}
	p := Producer[T]{codec: t.Codec, publisher: publisher{stream: t.Name}}
	entry, err := p.encode(value)
	if err != nil {
		return nil, err
	}
	headers := headersOf(opts)
	if err := p.publisher.checkHeaders(headers, entry); err != nil {
		return nil, err
	}
	return slices.Concat(entry.Pairs, headers), nil
}

// publisher is a Producer without its type.
type publisher struct {
	stream  string
	client  redis.UniversalClient
	entries *publish.Publisher
	limit   later.Limit
	chain   PublishHandler // nil without middleware
}

func newPublisher(stream string, client redis.UniversalClient, cfg producerConfig, chain PublishHandler) publisher {
	rule := cfg.retention.rule()
	return publisher{stream: stream, client: client, chain: chain, limit: limitOf(rule), entries: publish.New(client, publish.Settings{
		Stream:    stream,
		Keys:      besideStream(stream, ":once:"),
		KeyWindow: cfg.onceWindow,
		Retention: rule,
	})}
}

func (p *publisher) publish(ctx context.Context, headers []string, entry publish.Entry) (string, error) {
	if err := p.checkHeaders(headers, entry); err != nil {
		return "", err
	}
	outcome := p.entries.Publish(ctx, headers, entry)
	return outcome.ID, p.failure(outcome)
}

// publishAll publishes the entries that encode returns, and sets the result of each.
func (p *publisher) publishAll(ctx context.Context, headers []string, results []Published, encode func(i int) (publish.Entry, error)) {
	p.entries.PublishAll(ctx, headers, len(results), func(i int) (publish.Entry, bool) {
		entry, err := encode(i)
		if err == nil {
			err = p.checkHeaders(headers, entry)
		}
		results[i].Err = err
		return entry, err == nil
	}, func(i int, outcome publish.Outcome) {
		results[i] = Published{ID: outcome.ID, Err: p.failure(outcome)}
	})
}

// checkHeaders refuses a header that has no name, or that would be taken for a field of the
// value.
func (p *publisher) checkHeaders(headers []string, entry publish.Entry) error {
	for h := 0; h < len(headers); h += 2 {
		if isBlank(headers[h]) {
			return &EncodeError{Stream: p.stream, Err: errors.New("the name of a header is blank; give it one")}
		}
		for f := 0; f < len(entry.Pairs); f += 2 {
			if headers[h] == entry.Pairs[f] {
				return &EncodeError{Stream: p.stream, Err: fmt.Errorf("the header %q has the name of a field of the value; give it another name", headers[h])}
			}
		}
	}
	return nil
}

// failure returns the error of an entry as the caller gets it, nil for one that is in the
// stream.
func (p *publisher) failure(outcome publish.Outcome) error {
	switch outcome.Fate {
	case publish.Written:
		return nil
	case publish.Unknown:
		return &UnknownWriteError{Stream: p.stream, Err: explain(outcome.Err)}
	case publish.NotSent:
		return fmt.Errorf("stream: not sent to %s, because publishing failed before: %w", p.stream, explain(outcome.Err))
	default:
		return notWritten(p.stream, outcome.Err)
	}
}

func notWritten(stream string, err error) error {
	return fmt.Errorf("stream: not written to %s: %w", stream, explain(err))
}

// summary returns the error of PublishAll, which wraps the one of the results
// that asks for the most care.
func summary(results []Published) error {
	var gravest error
	var unknown *UnknownWriteError
	failed := 0
	for _, result := range results {
		if result.Err == nil {
			continue
		}
		failed++
		if gravest == nil || unknown == nil && errors.As(result.Err, &unknown) {
			gravest = result.Err
		}
	}
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("%w (%d of %d values were not published)", gravest, failed, len(results))
}
