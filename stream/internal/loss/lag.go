package loss

import (
	"context"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/resp"
)

// Lag is how far a consumer in log mode, or a group, is behind its stream.
type Lag struct {
	// Entries is how many entries are not done, those that are pending included; zero if that
	// is not Known.
	Entries int64
	Known   bool
	Pending int64 // of the group
	// Oldest is the ID of the first entry that is not done, empty if there is none.
	Oldest string
}

// Standing is where a consumer in log mode is.
type Standing struct {
	// Position is the ID of the last entry that was read, or the offset.
	Position string
	// Run is the number of the Run at work; 0 is none. The rest is about that run: how many
	// entries it has read, how many of them are not done, and the first of those.
	Run          int64
	Read, Undone int64
	Oldest       string
}

// LagCounter counts the entries of one stream that one consumer, or its group, has not done.
//
// Redis can only subtract counters, which are wrong once entries were trimmed before they
// were read, or deleted; it does not say so. The counter keeps, from one call to the next,
// by how much they were wrong. Its lock, mu, guards that.
type LagCounter struct {
	mu     sync.Mutex
	anchor anchor
}

// anchor is a moment at which it was known how many entries were behind a position,
// and so by how much a guess that is made with counters was wrong. Later guesses are
// wrong by the same, as long as no entry behind it was removed before it was read. That
// is so for entries that were counted here; in group mode the guess has to have been right.
type anchor struct {
	run int64 // whose entries were counted, in log mode
	// from is the position, and reach the last entry that was added then if nothing
	// was behind the position.
	from, reach          offset.ID
	added, removed, less int64
}

// OfLog returns the lag of a consumer in log mode.
func (c *LagCounter) OfLog(ctx context.Context, client redis.UniversalClient, stream string, at Standing) (Lag, error) {
	info, err := Stream{Client: client, Name: stream}.Info(ctx)
	if conn.Classify(err).Class == conn.Gone {
		info, err = &redis.XInfoStream{}, nil
	}
	if err != nil {
		return Lag{}, err
	}
	lag, unread := c.InLog(info, at)
	if unread {
		if lag.Oldest, err = firstRead(ctx, client, stream, at.Position); err != nil {
			return Lag{}, err
		}
	}
	return lag, nil
}

// InLog is OfLog without asking the server: info is what it has told. unread says that the
// oldest entry that is not done is the first one behind the position, if there is one.
func (c *LagCounter) InLog(info *redis.XInfoStream, at Standing) (lag Lag, unread bool) {
	n, known := c.countBehind(info, at.Position, info.EntriesAdded-at.Read, at.Run, at.Run != 0)
	lag = Lag{Known: known, Oldest: at.Oldest}
	if known {
		lag.Entries = n + at.Undone
	}
	return lag, at.Oldest == "" && (!known || n > 0)
}

// InGroup is OfGroup without asking the server: info and group are of one moment. unread says
// that nothing is pending, so that the oldest entry that is not done is the first one behind
// the group's place, if there is one; else Oldest is the first pending one, which is not known
// here.
func (c *LagCounter) InGroup(info *redis.XInfoStream, group redis.XInfoGroup) (lag Lag, unread bool) {
	n, known := c.countBehind(info, group.LastDeliveredID, group.Lag, 0, group.Lag >= 0)
	lag = Lag{Known: known, Pending: group.Pending}
	if known {
		lag.Entries = n + lag.Pending
	}
	return lag, lag.Pending == 0 && (!known || n > 0)
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

// OfGroup returns the lag of a group.
func (c *LagCounter) OfGroup(ctx context.Context, client redis.UniversalClient, stream, group string) (Lag, error) {
	var (
		info    = &redis.XInfoStream{}
		groups  *redis.XInfoGroupsCmd
		pending *redis.XPendingCmd
	)
	// In one step, or the numbers would not be of one moment.
	ask := func(ctx context.Context, first redis.Cmder) error {
		_, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
			groups, pending = p.XInfoGroups(ctx, stream), p.XPending(ctx, stream, group)
			return p.Process(ctx, first)
		})
		return err
	}
	err := conn.SendQuery(ctx, ask, func() conn.Query { return conn.QueryInfo(ctx, stream, info) })
	if err == conn.ErrUnread { //nolint:errorlint // our own, never wrapped
		whole := redis.NewXInfoStreamCmd(ctx, stream)
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
		lag, unread := c.InGroup(info, of)
		lag.Oldest = pending.Val().Lower
		if unread {
			first, err := conn.FirstOf(ctx, client, "xrange", stream, resp.After(of.LastDeliveredID), "+")
			if err != nil {
				return Lag{}, err
			}
			if first != "" {
				lag.Oldest = first
			}
		}
		return lag, nil
	}
	return Lag{}, fmt.Errorf("there is no group %q", group)
}

// countBehind returns how many entries the stream has behind a position, and whether
// that is known. guess is the number that counters give, usable if they do; run is whose
// entries they count, 0 in group mode.
func (c *LagCounter) countBehind(info *redis.XInfoStream, position string, guess, run int64, usable bool) (n int64, known bool) {
	at, err := offset.Parse(position)
	if err != nil {
		return 0, false
	}
	usable = usable && info.EntriesAdded > 0
	now := anchor{run: run, from: at, reach: at, added: info.EntriesAdded, removed: info.EntriesAdded - info.Length}
	first, firstErr := offset.Parse(info.FirstEntry.ID)
	last, lastErr := offset.Parse(info.LastEntry.ID)
	generated, generatedErr := offset.Parse(info.LastGeneratedID)
	deleted, _ := offset.Parse(info.MaxDeletedEntryID)

	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.anchor
	c.anchor = anchor{}
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
	case before.added > 0 && before.run == run && at.Compare(before.from) >= 0 && info.EntriesAdded >= before.added &&
		(now.removed == before.removed || // nothing at all was removed since
			first.Compare(before.reach) <= 0 && deleted.Compare(before.reach) <= 0): // nothing behind it
		n = guess - before.less
	case run == 0 && now.removed == 0:
		n = guess
	default:
		return 0, false
	}
	if n < 0 || n > info.Length {
		return 0, false // the counters were set by hand
	}
	// A group's counter that is wrong is corrected by some servers when the group reads on
	// (Redis 8, Valkey), and not by others.
	if now.less = guess - n; usable && (run != 0 || now.less == 0) {
		c.anchor = now
	}
	return n, true
}
