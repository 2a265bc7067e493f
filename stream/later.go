package stream

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/later"
	"millrace/stream/internal/publish"
)

// Ticket names an entry that waits for its time, see [Producer.PublishAt]. Its text is all there
// is of it: it may be stored, and given to [Producer.Cancel] by any producer of the topic.
type Ticket string

// PublishAt publishes a value at a later time: it stays beside the topic until then, and is added
// to the stream by a [Mover]. The ticket is for [Producer.Cancel].
//
// The time is that of the server's clock, in whole milliseconds. The entry is never in the stream
// before it. It is added up to a second after it, and later where no Mover runs: it waits for one. A time in the past is due at once. The order of entries that are due in the same
// millisecond is that of the calls, within one process. The ID, and the limits of [WithMaxLen],
// [WithExactMaxLen] and [WithMinIDAge], are those of the moment at which the entry is added.
//
// The value is validated and encoded now, and headers and middleware are those of this call, as
// with [Producer.Publish]; in [Publishing.Results] the ticket stands in place of the ID. A value may
// have up to 7,900 names and values, headers included: one with more is an [*EncodeError]. The
// entry takes the memory of its fields and about 200 bytes, however far away the time is.
//
// A reply that is lost is no doubt as a rule: the entry is sent again, and is there once. It may be
// there or not after an [*UnknownWriteError], beside which there is the ticket: Cancel removes it.
// After any other error without a ticket nothing was written.
//
// The entry is in two keys, a sorted set and a hash, that any tool can list: [DueKey] and [LaterKey]
// say which. Do not let the server evict them (an allkeys maxmemory policy). The client's user
// needs the Redis rights
//
//	~{<topic>}:due ~{<topic>}:later +hexists +hset +hdel +zscore +zadd +zrem +time +eval +evalsha
//
// and in a cluster, a topic whose name has a "}" but no hash tag fails with CROSSSLOT.
func (p *Producer[T]) PublishAt(ctx context.Context, at time.Time, value T, opts ...PublishOption) (Ticket, error) {
	return p.publisher.publishAt(ctx, at, headersOf(opts), func(int) (publish.Entry, error) { return p.encode(value) })
}

// Cancel removes an entry that waits for its time, and reports whether it has: false is that there
// is no such entry any more, because it was added to the stream already, or was cancelled before.
//
// After an error that says so, the entry may have been removed or not: call it again. True is
// certain then, and false leaves open whether the first call has removed the entry.
func (p *Producer[T]) Cancel(ctx context.Context, ticket Ticket) (bool, error) {
	return p.publisher.cancel(ctx, ticket)
}

// DueKey returns the key of the sorted set that has the tickets of [Producer.PublishAt] for a
// stream, by the Unix milliseconds at which they are due. In a cluster it is in the stream's slot.
func DueKey(stream string) string { return besideTopic(stream, ":due") }

// LaterKey returns the key of the hash that has their contents, by ticket.
func LaterKey(stream string) string { return besideTopic(stream, ":later") }

// RetryDueKey and RetryLaterKey are DueKey and LaterKey of the entries of a group that were put off
// with [RetryAfter]. In place of tickets they have the IDs of the entries.
func RetryDueKey(stream, group string) string { return besideTopic(stream, ":due:"+group) }

// RetryLaterKey returns the key of the hash; see [RetryDueKey].
func RetryLaterKey(stream, group string) string { return besideTopic(stream, ":later:"+group) }

// besideTopic is besideStream with another key for each name: the streams a and {a} have one more tag
// between them, or an entry of one could be added to the other.
func besideTopic(stream, suffix string) string {
	if tag := "{" + conn.HashTag(stream) + "}"; strings.ReplaceAll(stream, tag, "") == "" {
		stream += tag
	}
	return besideStream(stream, suffix)
}

// laterKeys returns the keys of the entries of a stream that wait for their time.
func laterKeys(stream string) later.Keys {
	return later.Keys{Due: DueKey(stream), Contents: LaterKey(stream), Topic: stream}
}

// newTicket returns a ticket that sorts behind those of this process before.
func newTicket(now time.Time) Ticket {
	var random [8]byte
	_, _ = rand.Read(random[:]) // it never fails
	return Ticket(fmt.Sprintf("%016x%s", now.UnixNano(), hex.EncodeToString(random[:])))
}

// publishAt publishes the value that encode returns at a later time.
func (p *publisher) publishAt(ctx context.Context, at time.Time, headers []string, encode func(i int) (publish.Entry, error)) (Ticket, error) {
	if p.chain == nil {
		entry, err := encode(0)
		if err != nil {
			return "", err
		}
		return p.addLater(ctx, at, headers, entry)
	}
	var ticket Ticket
	_, err := p.through(ctx, headers, 1, func(ctx context.Context, headers []string, results []Published) {
		entry, err := encode(0)
		if err == nil {
			ticket, err = p.addLater(ctx, at, headers, entry)
		}
		if results[0].Err = err; err == nil {
			results[0].ID = string(ticket)
		}
	}, func(results []Published) error { return results[0].Err })
	return ticket, err
}

// addLater puts an entry beside the stream.
func (p *publisher) addLater(ctx context.Context, at time.Time, headers []string, entry publish.Entry) (Ticket, error) {
	if err := p.checkHeaders(headers, entry); err != nil {
		return "", err
	}
	if ctx == nil { // the client panics over it
		return "", notWritten(p.stream, errors.New("there is no context; pass one"))
	}
	pairs := append(append(make([]string, 0, len(entry.Pairs)+len(headers)), entry.Pairs...), headers...)
	if n := len(pairs); n > later.MaxTexts {
		return "", &EncodeError{Stream: p.stream, Err: fmt.Errorf("it has %d names and values, headers included, and PublishAt takes %d; put several into one", n, later.MaxTexts)}
	}
	ticket := newTicket(time.Now())
	unknown, err := p.box().Add(ctx, later.Entry{Ticket: string(ticket), At: at, Limit: p.limit, Pairs: pairs})
	switch {
	case err == nil:
		return ticket, nil
	case unknown:
		return ticket, &UnknownWriteError{Stream: p.stream, Err: explain(err)}
	default:
		return "", notWritten(p.stream, err)
	}
}

// cancel removes an entry that waits.
func (p *publisher) cancel(ctx context.Context, ticket Ticket) (bool, error) {
	switch {
	case ticket == "":
		return false, errors.New("stream: Cancel was given no ticket; pass the one that PublishAt returned")
	case ctx == nil:
		return false, errNoContext("Cancel")
	}
	was, unknown, err := p.box().Cancel(ctx, string(ticket))
	switch {
	case unknown:
		return false, fmt.Errorf("stream: unknown whether cancelled in %s; call Cancel again: %w", p.stream, explain(err))
	case err != nil:
		return false, fmt.Errorf("stream: not cancelled in %s: %w", p.stream, explain(err))
	}
	return was, nil
}

func (p *publisher) box() *later.Box {
	return &later.Box{Client: p.client, Keys: laterKeys(p.stream)}
}

// limitOf returns the retention of a producer as the entries have it that wait.
func limitOf(r publish.Retention) later.Limit {
	switch {
	case r.MaxLen != 0:
		return later.Limit{Kind: "~", N: r.MaxLen}
	case r.ExactMaxLen != 0:
		return later.Limit{Kind: "=", N: r.ExactMaxLen}
	case r.MinIDAge != 0:
		return later.Limit{Kind: "age", N: r.MinIDAge.Milliseconds()}
	}
	return later.Limit{}
}
