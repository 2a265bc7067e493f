package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/offset"
	"millrace/stream/internal/effect"
)

// HeaderSourceID is the header that a [Relay] gives a copy: the ID of the entry that it has copied.
// It is the first field of the copy. A copy of a copy has two, of which [Entry.Header] returns that
// of the first relay.
const HeaderSourceID = DeadLetterPrefix + "source-id"

// Relay copies the entries of a topic to another one, in their order, each once. The two may be in
// different slots of a cluster, or on different servers. [NewRelay] makes one. It may be used from
// several goroutines; one Run is allowed at a time.
//
// A copy has the fields of the entry, byte for byte and in their order, headers included, and
// [HeaderSourceID] before them. It gets an ID of its own.
//
// The relay is a consumer in log mode. Its offset is at the target, and moves there in one step with
// the copies. So each entry has one copy, whatever crashes, whichever replies are lost, and if the
// target falls back in a failover. If the topic falls back, that is a loss like any other: the log and
// observers tell it, and [WithLossPolicy] says where to go on. See the package documentation,
// "Effects".
//
// An entry with more than 7,898 names and values cannot be copied: it is held, and the error is
// logged, unless a middleware makes a dead letter of it. That goes to the server of the topic.
type Relay struct {
	consumer *Consumer[codec.Fields]
	name     string
}

// RelayEnd is the topic that a [Relay] reads or writes: the key of a stream, and a client of its
// server, a *redis.Client or a *redis.ClusterClient.
type RelayEnd struct {
	Client redis.UniversalClient
	Stream string
}

// RelayOption changes how a [Relay] works from its default. These are the options of consumers in log
// mode, but for [WithEffects] and [WithMaxEntryBytes], and [WithMaxLen], [WithExactMaxLen] and
// [WithMinIDAge], which trim the target.
type RelayOption interface {
	applyToRelay(*relayConfig)
}

// relayConfig holds everything that a RelayOption can change.
type relayConfig struct {
	options   []Option
	retention retention
	problems  []error
}

// RelayOffsets returns the key of the hash, at the target, in which relays to a stream keep their
// offsets, each under its label. A [Trimmer] of the topic that is copied can be told of it:
// offset.NewRedis makes the store of it, with a client of the target.
func RelayOffsets(target string) string { return besideStream(target, ":relays") }

// NewRelay makes a relay from one topic to another. It does no I/O, starts nothing, and closes
// nothing. Everything that is wrong with the arguments and options comes back in one error, each
// problem wrapping [ErrInvalidOption].
//
// [WithLabel] is the identity of the relay at the target. Default: the key of the topic that is read.
// Relays of two topics with one key, on two servers, to one target need two labels: of two with one
// label the one that was started last goes on, and Run of the other one returns with [ErrFenced].
//
// The clients' users need the Redis rights
//
//	~<from> +xread +xrange +xinfo|stream +role   and, with a Start, +xrevrange
//	~<to> +type +xadd +eval +evalsha
//	~{<to>}:relays ~{<to>}:relays:links +hget +hset
func NewRelay(from, to RelayEnd, opts ...RelayOption) (*Relay, error) {
	var c relayConfig
	for _, opt := range opts {
		if opt != nil {
			opt.applyToRelay(&c)
		}
	}
	problems := append(c.problems, c.retention.problems()...)
	if err := checkClient(to.Client); err != nil {
		problems = append(problems, fmt.Errorf("the target: %w", err))
	}
	if isBlank(to.Stream) {
		problems = append(problems, invalid("the target's Stream %q: give the key of the stream that gets the copies", to.Stream))
	}
	if from == to {
		problems = append(problems, invalid("the relay's ends are one stream, %q, which would never end: give another target", to.Stream))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	store, err := offset.NewRedis(to.Client, RelayOffsets(to.Stream))
	if err != nil {
		return nil, err
	}
	copies := &relayTarget{stream: effect.Target{Key: to.Stream, Kind: effect.Stream}, trim: c.retention}
	own := option{"NewRelay", logConsumer, func(c *config) { c.relays, c.effects = true, []Effects{copies} }}
	topic := Topic[codec.Fields]{Name: from.Stream, Codec: asItIs{}}
	consumer, err := newLogConsumer(logConsumer, from.Client, topic, store, Handler[codec.Fields](copies.add), single(copies.add), append([]Option{own}, c.options...))
	if err != nil {
		return nil, err
	}
	consumer.engine.name = fmt.Sprintf("relay of %s to %s as %q", from.Stream, to.Stream, consumer.engine.config.label)
	consumer.engine.log = consumer.engine.log.With("target", to.Stream)
	return &Relay{consumer, consumer.engine.name}, nil
}

// Run copies until ctx is done, and returns nil then, as [Consumer.Run].
func (r *Relay) Run(ctx context.Context) error { return r.consumer.Run(ctx) }

// String names the relay for people: relay of orders to eu:orders as "orders".
func (r *Relay) String() string { return r.name }

// Identity returns the stream that is read, and the label, as [Consumer.Identity].
func (r *Relay) Identity() Identity { return r.consumer.Identity() }

// Health returns the state of the relay, as [Consumer.Health].
func (r *Relay) Health() Health { return r.consumer.Health() }

// Stats returns counts, as [Consumer.Stats].
func (r *Relay) Stats() Stats { return r.consumer.Stats() }

// Lag returns how far the relay is behind the topic that it reads, as [Consumer.Lag].
func (r *Relay) Lag(ctx context.Context) (Lag, error) { return r.consumer.Lag(ctx) }

// Pause keeps the relay from copying for a while, as [Consumer.Pause].
func (r *Relay) Pause(reason string, until time.Time) error { return r.consumer.Pause(reason, until) }

// Resume ends a pause, as [Consumer.Resume].
func (r *Relay) Resume() { r.consumer.Resume() }

// Seek sets the place in the topic that is read, as [Consumer.Seek]. Entries behind an earlier place are
// copied again.
func (r *Relay) Seek(ctx context.Context, to Start) error { return r.consumer.Seek(ctx, to) }

// relayTarget is the stream that gets the copies.
type relayTarget struct {
	stream effect.Target
	trim   retention
}

func (t *relayTarget) target() *effect.Target { return &t.stream }

// add is the handler of a relay.
func (t *relayTarget) add(_ context.Context, msg *Message[codec.Fields]) error {
	args := t.trim.rule().AppendTexts(make([]string, 0, 6+2*msg.Fields.Len()), time.Now())
	args = append(args, "*", HeaderSourceID, msg.ID)
	for name, value := range msg.Fields.All() {
		args = append(args, name, value)
	}
	e := effect.Add(&t.stream, args)
	if n, bytes := e.Size(); n > effect.MaxArgs || bytes > effect.MaxBytes {
		return Permanent(fmt.Errorf("stream: the entry has %d names and values with %d bytes, and a relay copies no more than %d with %d bytes; copy it by hand and seek behind it, or give the relay middleware.DeadLetter", n, bytes, effect.MaxArgs, effect.MaxBytes))
	}
	return buffer(msg, e, "the target "+strconv.Quote(t.stream.Key))
}

// asItIs is the codec of a relay.
type asItIs struct{}

func (asItIs) Decode(fields codec.Fields) (codec.Fields, error) { return fields, nil }

func (asItIs) Encode(codec.Fields) ([]string, error) {
	return nil, errors.New("stream: a relay publishes nothing by itself")
}
