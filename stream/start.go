package stream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/resp"
)

// Start says where a consumer begins for which nothing is stored yet. Once an
// offset is stored, that decides, and Start has no further effect. The zero
// value is [FromBeginning].
type Start struct {
	end   bool
	after *string // the offset before the first entry to deliver; nil is the beginning

	// After a loss only, see [LossPolicy].
	known bool
	back  *time.Duration
}

// FromBeginning starts at the first entry that the stream holds.
func FromBeginning() Start { return Start{} }

// FromEnd starts with the first entry that is added after the consumer has
// looked for the first time. The end is looked up once and stored, so that
// nothing is missed between that and the first entry, however long that takes
// and however often the consumer is restarted.
func FromEnd() Start { return Start{end: true} }

// FromID starts with the first entry after the given ID, which need not exist.
// An ID without a sequence number, such as "1700000000000", stands for its
// first, as in Redis. Text that is no ID is refused when the consumer is
// constructed.
func FromID(id string) Start {
	if parsed, err := offset.Parse(id); err == nil {
		id = parsed.String()
	}
	return Start{after: &id}
}

// FromTime starts with the first entry that Redis gave an ID at or after t,
// by the clock of the server that took the entry in. Fractions of a
// millisecond count as the whole one that they belong to.
func FromTime(t time.Time) Start {
	ms := t.UnixMilli()
	if ms <= 0 {
		return FromBeginning()
	}
	return FromID(offset.ID{Ms: uint64(ms - 1), Seq: math.MaxUint64}.String())
}

func (s Start) problem() error {
	if s.after == nil {
		return nil
	}
	if _, err := offset.Parse(*s.after); err != nil {
		return fmt.Errorf("WithStart(FromID(%q)): give an entry ID such as 1700000000000-0: %w", *s.after, err)
	}
	return nil
}

// resolve returns the concrete place to start behind.
func (s Start) resolve(ctx context.Context, client redis.UniversalClient, stream string) (resp.Place, error) {
	start, upTo := resp.Place{ID: resp.Beginning}, "+"
	switch {
	case s.end:
	case s.after != nil:
		start.ID, upTo = *s.after, *s.after
	default:
		return start, nil
	}
	// An entry, not "$", which would be a new place at every look, and not an ID
	// that no entry has, which could not be told from one that was lost.
	last, err := conn.FirstOf(ctx, client, "xrevrange", stream, upTo, "-")
	if err != nil && !errors.Is(err, redis.Nil) {
		return start, fmt.Errorf("looking up where to start in %s: %w", stream, err)
	}
	if last == "" {
		return start, nil
	}
	if s.after != nil {
		// Behind the end an ID stays what it is: what is added below it meanwhile is
		// not wanted.
		end, err := conn.FirstOf(ctx, client, "xrevrange", stream, "+", "-")
		if err != nil {
			return start, fmt.Errorf("looking up the end of %s: %w", stream, err)
		}
		if end == last && last != *s.after {
			return start, nil
		}
	}
	return resp.Place{ID: last, Seen: true}, nil
}
