package mode

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

// Start is where a consumer begins to read. The zero value is the beginning of the stream.
type Start struct {
	End   bool
	After *string // the ID before the first entry to deliver; nil is the beginning

	// After a loss only: behind the last entry that was read and is still there; or that long
	// before the loss.
	Known bool
	Back  *time.Duration
}

// StartAt is behind everything that Redis gave an ID before t, in whole milliseconds.
func StartAt(t time.Time) Start {
	ms := t.UnixMilli()
	if ms <= 0 {
		return Start{}
	}
	id := offset.ID{Ms: uint64(ms - 1), Seq: math.MaxUint64}.String()
	return Start{After: &id}
}

// Locate is Resolve for a seek: the place is an entry that the stream has, or the beginning. A
// place behind the end is the end.
func (s Start) Locate(ctx context.Context, client redis.UniversalClient, stream string) (resp.Place, error) {
	place, err := s.Resolve(ctx, client, stream)
	if err != nil || place.Seen || place.ID == resp.Beginning {
		return place, err
	}
	last, err := conn.FirstOf(ctx, client, "xrevrange", stream, place.ID, "-")
	if err != nil && !errors.Is(err, redis.Nil) {
		return place, fmt.Errorf("looking up the place in %s: %w", stream, err)
	}
	if last == "" {
		return resp.Place{ID: resp.Beginning}, nil
	}
	return resp.Place{ID: last, Seen: true}, nil
}

// Resolve returns the concrete place to start behind.
func (s Start) Resolve(ctx context.Context, client redis.UniversalClient, stream string) (resp.Place, error) {
	start, upTo := resp.Place{ID: resp.Beginning}, "+"
	switch {
	case s.End:
	case s.After != nil:
		start.ID, upTo = *s.After, *s.After
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
	if s.After != nil {
		// Behind the end an ID stays as it is: entries that are added below it meanwhile are
		// not wanted.
		end, err := conn.FirstOf(ctx, client, "xrevrange", stream, "+", "-")
		if err != nil {
			return start, fmt.Errorf("looking up the end of %s: %w", stream, err)
		}
		if end == last && last != *s.After {
			return start, nil
		}
	}
	return resp.Place{ID: last, Seen: true}, nil
}
