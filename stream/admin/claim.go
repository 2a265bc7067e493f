package admin

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/admin/internal/entries"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/script"
)

// Claimed is the result of a claim.
type Claimed struct {
	// Claimed is how many entries are pending on the other consumer now, and Gone how many the
	// stream does not have any more: these are not pending any more.
	Claimed, Gone int64
}

// claimPage is how many entries are claimed in one step.
const claimPage = 100

// Claim plans to take the pending entries of one consumer of a group, and to give them to
// another one, without counting a delivery. An empty name hands them back, as
// the consumer does when it stops: the live consumers of the group take them within seconds. Entries that the consumer gets after the plan was made stay its own.
//
// Do is refused with [ErrUnattended] while the consumer is live, unless it is [Unattended]: it
// may have the entries at work, and they are then handled twice. The error wraps [ErrNoReader]
// if there is no such group or consumer. After an error, or a stop, the same plan made anew
// goes on.
func (a *Admin) Claim(ctx context.Context, r Reader, from, to string) (*Plan[Claimed], error) {
	what := fmt.Sprintf("claiming from consumer %s of %s", from, r)
	if from == to {
		return nil, fmt.Errorf("%w: Claim from %s to itself; give another consumer, or none", stream.ErrInvalidOption, from)
	}
	detail, member, err := a.memberOf(ctx, r, from)
	if err != nil {
		return nil, explain(what, err)
	}
	if to != "" && !slices.ContainsFunc(detail.Members, func(m Member) bool { return m.Name == to }) {
		return nil, fmt.Errorf("%w: %s has no consumer %q to give entries to", ErrNoReader, r, to)
	}
	client, err := conn.PrimaryOf(ctx, a.client, r.Stream)
	if err != nil {
		return nil, explain(what, err)
	}
	c := &claim{client: client, reader: r, from: from, to: orElse(to, script.HandedBackTo), last: offset.ID{}}
	for p, err := range a.Pending(ctx, r, On(from)) {
		if err != nil {
			return nil, err
		}
		if c.last, err = offset.Parse(p.ID); err != nil {
			return nil, explain(what, err)
		}
		c.planned++
	}
	plan := newPlan(a, "claim", r.String(), func(ctx context.Context, d *doing) (Claimed, error) {
		if member.live() && !d.unattended {
			return Claimed{}, ErrUnattended
		}
		done, err := c.do(ctx, d)
		return done, explain(what, err)
	})
	plan.Summary = fmt.Sprintf("%d entries that are pending on %s of %s go to %s", c.planned, from, r, orElse(to, "the consumers that ask first"))
	plan.Affected = c.planned
	if member.live() {
		plan.Warnings = []string{"the consumer is live: it may have the entries at work, and they are then handled twice"}
	}
	return plan, nil
}

// claim moves pending entries.
type claim struct {
	client   redis.UniversalClient
	reader   Reader
	from, to string
	last     offset.ID // the last entry of the plan
	planned  int64
}

func (c *claim) do(ctx context.Context, d *doing) (done Claimed, err error) {
	for start := "-"; c.planned > 0; {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		page, err := c.client.XPendingExt(ctx, &redis.XPendingExtArgs{
			Stream: c.reader.Stream, Group: c.reader.Group, Consumer: c.from, Start: start, End: c.last.String(), Count: claimPage,
		}).Result()
		if err != nil || len(page) == 0 {
			return done, err
		}
		args := []any{c.reader.Group, c.from, c.to}
		for _, p := range page {
			args = append(args, p.ID, 0)
			start = "(" + p.ID
		}
		reply, err := script.HandBack.Run(ctx, c.client, []string{c.reader.Stream}, args...).Slice()
		if err != nil {
			return done, err
		}
		var moved int64
		var gone []any
		if !script.Scan(reply, &moved, &gone) {
			return done, entries.ErrReply
		}
		done.Claimed += moved
		done.Gone += int64(len(gone))
		d.tell(Progress{Done: done.Claimed + done.Gone, Of: c.planned, Behind: -1})
	}
	return done, nil
}

// Acked is the result of an ack.
type Acked struct {
	// Acked is how many entries were pending, and are not any more.
	Acked int64
}

// Ack plans to take entries out of the pending ones of a group, as if they had been handled;
// they stay in the stream. Those that are not pending are left out of the plan. It is a
// [*MovedError] if one of the others is not pending any more, or on another consumer. The error
// wraps [ErrNoPlace] if a text is no ID.
func (a *Admin) Ack(ctx context.Context, r Reader, ids ...string) (*Plan[Acked], error) {
	what := "planning an ack in " + r.String()
	if r.Group == "" || len(ids) == 0 {
		return nil, fmt.Errorf("%w: Ack in %s of %d entries: give a group, and the IDs of its pending entries", stream.ErrInvalidOption, r, len(ids))
	}
	var parsed []string
	for _, id := range ids {
		one, err := offset.Parse(id)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoPlace, err)
		}
		parsed = append(parsed, one.String())
	}
	client, err := conn.PrimaryOf(ctx, a.client, r.Stream)
	if err != nil {
		return nil, explain(what, err)
	}
	planned, err := pendingOn(ctx, client, r, parsed)
	if err != nil {
		return nil, explain(what, err)
	}
	plan := newPlan(a, "ack", r.String(), func(ctx context.Context, _ *doing) (Acked, error) {
		var done Acked
		for page := range slices.Chunk(slices.Sorted(maps.Keys(planned)), claimPage) {
			n, err := client.XAck(ctx, r.Stream, r.Group, page...).Result()
			if done.Acked += n; err != nil {
				return done, explain("acking in "+r.String(), err)
			}
		}
		return done, nil
	})
	plan.Summary = fmt.Sprintf("%d of %d entries are acked in %s, without being handled", len(planned), len(ids), r)
	plan.Affected = int64(len(planned))
	plan.moved = func(ctx context.Context) (string, error) {
		now, err := pendingOn(ctx, client, r, parsed)
		for id, consumer := range planned {
			if err == nil && now[id] != consumer {
				return "entry " + id + " is not pending on " + consumer + " any more", nil
			}
		}
		return "", explain(what, err)
	}
	return plan, nil
}

// pendingOn returns the consumers on which entries are pending, as far as they are.
func pendingOn(ctx context.Context, client redis.UniversalClient, r Reader, ids []string) (map[string]string, error) {
	of := map[string]string{}
	for page := range slices.Chunk(ids, claimPage) {
		asked := make([]*redis.XPendingExtCmd, len(page))
		_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, id := range page {
				asked[i] = p.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: r.Stream, Group: r.Group, Start: id, End: id, Count: 1})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		for i, id := range page {
			if found := asked[i].Val(); len(found) > 0 {
				of[id] = found[0].Consumer
			}
		}
	}
	return of, nil
}
