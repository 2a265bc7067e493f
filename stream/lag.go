package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/window"
)

// Lag is how far a consumer in log mode, or the whole group in group mode, is behind
// its stream.
type Lag struct {
	// Time is the age of the oldest entry that is not done, by the clock here and the
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
// Redis can only subtract counters, which are wrong once entries were trimmed before
// they were read, or deleted; it does not say so. Here a number is known when it
// follows from what the stream has: when there is nothing behind the position, or
// nothing up to it, and from then on for as long as no entry behind it can have been
// trimmed or deleted. So it is usually known for a consumer that has been caught up
// once since Lag was first called, and never below Redis 7.
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
	// The place first: what is read after that only makes it an older one.
	at, run, err := e.standing(ctx)
	if err != nil {
		return Lag{}, err
	}
	client, err := primaryOf(ctx, e.client, e.stream)
	if err != nil {
		return Lag{}, err
	}
	info, err := infoOf(ctx, client, e.stream)
	if classify(err).Class == conn.Gone {
		info, err = &redis.XInfoStream{}, nil
	}
	if err != nil {
		return Lag{}, err
	}
	unread, known := e.countBehind(info, at.Position, info.EntriesAdded-at.Read, run, run != nil)
	lag := Lag{entries: unread + at.Undone, known: known}
	if !known {
		lag.entries = 0
	}
	if at.Oldest == "" && (!known || unread > 0) {
		if at.Oldest, err = firstRead(ctx, client, e.stream, at.Position); err != nil {
			return Lag{}, err
		}
	}
	lag.Time = ageOf(at.Oldest, time.Now())
	return lag, nil
}

// standing returns where the Run at work is, and that, or the stored offset.
func (e *engine) standing(ctx context.Context) (at window.Standing, of *run, err error) {
	e.meter.update(func(m *meter) {
		if m.run != nil {
			at, of = m.run.mark.Standing(), m.run
		}
	})
	if at.Position != "" {
		return at, of, nil
	}
	id, found, err := load(ctx, e.store, e.label)
	if err == nil && !found {
		var from resp.Place
		var client redis.UniversalClient
		if client, err = primaryOf(ctx, e.client, e.stream); err == nil {
			from, err = e.start.resolve(ctx, client, e.stream)
		}
		id = from.ID
	}
	return window.Standing{Position: id}, nil, err
}

// firstRead returns the ID of the first entry behind a position, "" if there is none.
// It is XREAD, the one command that a consumer in log mode has the right to anyway.
func firstRead(ctx context.Context, client redis.UniversalClient, stream, position string) (string, error) {
	if first, err := conn.NextID(ctx, client, stream, position); err != conn.ErrUnread { //nolint:errorlint // our own, never wrapped
		return first, err
	}
	found, err := client.XRead(ctx, &redis.XReadArgs{Streams: []string{stream, position}, Count: 1, Block: -1}).Result()
	if err == redis.Nil || err == nil && len(found) == 0 { //nolint:errorlint // go-redis returns it as it is
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return found[0].Messages[0].ID, nil
}

// lagOfGroup returns what gives the lag in group mode.
func lagOfGroup(group string) func(context.Context, *engine) (Lag, error) {
	return func(ctx context.Context, e *engine) (Lag, error) {
		client, err := primaryOf(ctx, e.client, e.stream)
		if err != nil {
			return Lag{}, err
		}
		var (
			info    = &redis.XInfoStream{}
			groups  *redis.XInfoGroupsCmd
			pending *redis.XPendingCmd
		)
		// In one step, or the numbers would not be of one moment.
		ask := func(ctx context.Context, first redis.Cmder) error {
			_, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
				groups, pending = p.XInfoGroups(ctx, e.stream), p.XPending(ctx, e.stream, group)
				return p.Process(ctx, first)
			})
			return err
		}
		err = conn.SendQuery(ctx, ask, func() conn.Query { return conn.QueryInfo(ctx, e.stream, info) })
		if err == conn.ErrUnread { //nolint:errorlint // our own, never wrapped
			whole := redis.NewXInfoStreamCmd(ctx, e.stream)
			whole.SetFirstKeyPos(2)
			err = ask(ctx, whole)
			info = whole.Val()
		}
		if err != nil {
			return Lag{}, err
		}
		for _, of := range groups.Val() {
			if of.Name != group {
				continue
			}
			unread, known := e.countBehind(info, of.LastDeliveredID, of.Lag, nil, of.Lag >= 0)
			lag := Lag{Pending: pending.Val().Count, known: known}
			if known {
				lag.entries = unread + lag.Pending
			}
			oldest := pending.Val().Lower
			if lag.Pending == 0 && (!known || unread > 0) {
				first, err := conn.FirstOf(ctx, client, "xrange", e.stream, resp.After(of.LastDeliveredID), "+")
				if err != nil {
					return Lag{}, err
				}
				if first != "" {
					oldest = first
				}
			}
			lag.Time = ageOf(oldest, time.Now())
			return lag, nil
		}
		return Lag{}, fmt.Errorf("there is no group %q", group)
	}
}

// primaryOf returns a client that asks the primary that has the key: a client of a cluster
// may be one that asks replicas.
func primaryOf(ctx context.Context, client redis.UniversalClient, key string) (redis.UniversalClient, error) {
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		return client, nil
	}
	if opts := cluster.Options(); !opts.ReadOnly && !opts.RouteByLatency && !opts.RouteRandomly {
		return client, nil
	}
	return cluster.MasterForKey(ctx, key)
}

// anchor is a moment at which it was known how many entries were behind a position,
// and so by how much a guess that is made with counters was wrong. Later guesses are
// wrong by the same, as long as no entry behind it was removed before it was read. That
// is so for entries that were counted here; in group mode the guess has to have been right.
type anchor struct {
	run *run // whose entries were counted, in log mode
	// from is the position, and reach the last entry that was added then if nothing
	// was behind the position.
	from, reach          offset.ID
	added, removed, less int64
}

// countBehind returns how many entries the stream has behind a position, and whether
// that is known. guess is what counters say, usable if they do.
func (e *engine) countBehind(info *redis.XInfoStream, position string, guess int64, of *run, usable bool) (n int64, known bool) {
	at, err := offset.Parse(position)
	if err != nil {
		return 0, false
	}
	usable = usable && info.EntriesAdded > 0
	now := anchor{run: of, from: at, reach: at, added: info.EntriesAdded, removed: info.EntriesAdded - info.Length}
	first, firstErr := offset.Parse(info.FirstEntry.ID)
	last, lastErr := offset.Parse(info.LastEntry.ID)
	generated, generatedErr := offset.Parse(info.LastGeneratedID)
	deleted, _ := offset.Parse(info.MaxDeletedEntryID)

	e.meter.mu.Lock()
	defer e.meter.mu.Unlock()
	before := e.meter.anchor
	e.meter.anchor = anchor{}
	switch {
	case generatedErr == nil && generated.Compare(at) < 0:
		return 0, false // it is another stream than the one that was read
	case info.Length == 0 || lastErr == nil && last.Compare(at) <= 0:
		if generatedErr == nil {
			now.reach = generated
		}
	case firstErr != nil || lastErr != nil:
		return 0, false
	case first.Compare(at) > 0:
		n = info.Length
	case !usable:
		return 0, false
	case before.added > 0 && before.run == of && at.Compare(before.from) >= 0 && info.EntriesAdded >= before.added &&
		(now.removed == before.removed || // nothing at all was removed since
			first.Compare(before.reach) <= 0 && deleted.Compare(before.reach) <= 0): // nothing behind it
		n = guess - before.less
	case of == nil && now.removed == 0:
		n = guess
	default:
		return 0, false
	}
	if n < 0 || n > info.Length {
		return 0, false // the counters were set by hand
	}
	// A group's counter that is wrong is corrected by some servers when the group reads on
	// (Redis 8, Valkey), and not by others.
	if now.less = guess - n; usable && (of != nil || now.less == 0) {
		e.meter.anchor = now
	}
	return n, true
}
