package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/loss"
	"millrace/stream/internal/resp"
)

// Lag is how far a consumer in log mode, or the whole group in group mode, is behind
// its stream.
type Lag struct {
	// Time is how far behind that is, in time: the age of the oldest entry that is not done, by the clock here and the
	// entry's ID; zero when there is none. IDs that publishers chose make it
	// meaningless.
	Time time.Duration
	// Pending is, in group mode, how many entries Redis has given to consumers of the
	// group that have not acked them, be they at work, held, parked, or left by a
	// consumer that died.
	Pending int64

	entries int64
	known   bool
}

// Entries returns how many entries are not done, those that are pending included,
// and whether that is known. If it is not, it returns zero, which means nothing.
//
// Redis can only subtract counters, which are wrong once entries were trimmed before they were
// read, or deleted; it does not say so. Here a number is known when it follows from the state
// of the stream: when there is nothing behind the position, or nothing up to it, and from then
// on for as long as no entry behind it can have been trimmed or deleted. So it is usually known
// for a consumer that has been caught up once since Lag was first called, and never below Redis
// 7.
func (l Lag) Entries() (n int64, known bool) { return l.entries, l.known }

// Lag asks Redis, through the client that the consumer was made with, how far the
// consumer is behind. It may be called at any time, also while no Run is at work; in
// log mode the store is asked for the offset then. [Consumer.Stats] has a lag in time
// that needs no Redis, and in group mode is that of the one consumer.
//
// It takes the Redis rights
//
//	~<topic> +xinfo|stream +xread                     in log mode; while no Run is
//	                                                  at work with FromEnd +xrevrange
//	~<topic> +xinfo|stream +xinfo|groups +xpending    in group mode
//	         +xrange +multi +exec
func (c *Consumer[T]) Lag(ctx context.Context) (Lag, error) {
	lag, err := c.engine.lag(ctx, &c.engine)
	if err != nil {
		return Lag{}, fmt.Errorf("stream: looking up the lag of %s: %w", c.engine.name, err)
	}
	return lag, nil
}

// lagOfLog is the lag in log mode.
func lagOfLog(ctx context.Context, e *engine) (Lag, error) {
	// The place comes first: a read after that only makes it an older one.
	at, err := e.standing(ctx)
	if err != nil {
		return Lag{}, err
	}
	client, err := conn.PrimaryOf(ctx, e.client, e.identity.Stream)
	if err != nil {
		return Lag{}, err
	}
	return lagOf(e.meter.lag.OfLog(ctx, client, e.identity.Stream, at))
}

// lagOf returns a lag as users see it.
func lagOf(found loss.Lag, err error) (Lag, error) {
	if err != nil {
		return Lag{}, err
	}
	return Lag{Time: ageOf(found.Oldest, time.Now()), Pending: found.Pending, entries: found.Entries, known: found.Known}, nil
}

// standing returns where the Run at work is, or the stored offset.
func (e *engine) standing(ctx context.Context) (at loss.Standing, err error) {
	e.meter.update(func(m *meter) {
		if m.run != nil {
			w := m.run.mark.Standing()
			at = loss.Standing{Run: m.runs, Position: w.Position, Read: w.Read, Undone: w.Undone, Oldest: w.Oldest}
		}
	})
	if at.Position != "" {
		return at, nil
	}
	id, found, err := load(ctx, e.store, e.config.label)
	if err == nil && !found {
		var from resp.Place
		var client redis.UniversalClient
		if client, err = conn.PrimaryOf(ctx, e.client, e.identity.Stream); err == nil {
			from, err = e.config.start.at.Resolve(ctx, client, e.identity.Stream)
		}
		id = from.ID
	}
	return loss.Standing{Position: id}, err
}

// lagOfGroup is the lag in group mode.
func lagOfGroup(ctx context.Context, e *engine) (Lag, error) {
	client, err := conn.PrimaryOf(ctx, e.client, e.identity.Stream)
	if err != nil {
		return Lag{}, err
	}
	return lagOf(e.meter.lag.OfGroup(ctx, client, e.identity.Stream, e.identity.Group))
}
