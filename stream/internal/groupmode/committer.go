package groupmode

import (
	"context"
	"slices"
	"time"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/effect"
	"millrace/stream/internal/loss"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
	"millrace/stream/internal/window"
)

// committer settles the entries that have effects: a script writes the effects and acks, if the
// entry is still ours. The fields below the targets belong to the settling that is on its way: they
// remember between its tries which entries need no further one.
type committer struct {
	*consumer
	leases  *leases
	targets *effect.Targets

	// settled has the entries that a try has committed or given up: they are not acked again,
	// because XACK does not ask whose an entry is.
	settled map[*window.Item]bool
	// unknown has the entries of a commit whose reply was lost. One of them that is pending on no
	// consumer now was committed by that.
	unknown map[*window.Item]bool
	// kept is when the first of the entries that were committed had been renewed.
	kept time.Time
	// broken is the error of a commit of which a part was written. Another try would write that
	// part again.
	broken error
}

func newCommitter(c *consumer, l *leases, targets *effect.Targets) *committer {
	return &committer{consumer: c, leases: l, targets: targets, settled: make(map[*window.Item]bool), unknown: make(map[*window.Item]bool)}
}

// over forgets a settling that has succeeded.
func (c *committer) over() {
	clear(c.settled)
	clear(c.unknown)
	c.kept = time.Time{}
}

// commit commits the entries that have effects, and returns those that have none. In an error no
// entry is forgotten: the next try goes on where this one has failed.
func (c *committer) commit(ctx context.Context, list []*window.Item) (plain []*window.Item, err error) {
	if c.broken != nil {
		return nil, c.broken
	}
	var with []*window.Item
	for _, it := range list {
		switch {
		case it.Effects == nil:
			plain = append(plain, it)
		case !c.settled[it]:
			with = append(with, it)
		}
	}
	// The script finds those together that follow each other, and outputs follow the stream.
	resp.SortByID(with, func(it *window.Item) string { return it.ID })
	dropped, err := c.sendAll(ctx, with)
	if err != nil || len(dropped) == 0 {
		return plain, err
	}
	if dropped, err = c.takeBack(ctx, dropped); err != nil {
		return plain, err
	}
	if dropped, err = c.sendAll(ctx, dropped); err != nil {
		return plain, err
	}
	c.tellRemoved(dropped)
	return plain, nil
}

// sendAll commits entries in chunks, and returns those that are pending on no consumer.
func (c *committer) sendAll(ctx context.Context, list []*window.Item) (dropped []*window.Item, err error) {
	for len(list) > 0 {
		n, bytes := 0, int64(0)
		for n < len(list) && n < effect.CommitEntries {
			if bytes += list[n].Effects.Bytes(); n > 0 && bytes > effect.CommitBytes {
				break
			}
			n++
		}
		refused, err := c.send(ctx, list[:n])
		if err != nil {
			return nil, err
		}
		dropped = append(dropped, refused...)
		list = list[n:]
	}
	return dropped, nil
}

// send commits some entries, in one script.
func (c *committer) send(ctx context.Context, list []*window.Item) (refused []*window.Item, err error) {
	reply, err := script.EffectsGroup.Run(ctx, c.client, append([]string{c.stream}, c.targets.Keys()...), c.args(list)...).Slice()
	if err != nil {
		c.noteFailed(ctx, list, err)
		return nil, err
	}
	lost, dropped := texts(reply[0]), texts(reply[1])
	var accepted []*window.Item
	for _, it := range list {
		switch {
		case slices.Contains(lost, it.ID):
			c.giveUp(it)
		case !slices.Contains(dropped, it.ID):
			accepted = append(accepted, it)
			c.settled[it] = true
		case c.unknown[it] && !c.held.IsDoubtful(it):
			c.settled[it] = true // by the try before, whose reply was lost
		default:
			refused = append(refused, it)
		}
	}
	if at := c.held.FirstRenewed(accepted); c.kept.IsZero() || !at.IsZero() && at.Before(c.kept) {
		c.kept = at
	}
	return refused, nil
}

// args are the arguments of the script.
func (c *committer) args(list []*window.Item) []any {
	n := 3
	for _, it := range list {
		n += 2 + it.Effects.ArgsLen()
	}
	args := append(make([]any, 0, n), c.group, c.name, c.targets.Kinds())
	for _, it := range list {
		// Only of a name that the user gave can there be two processes, and an entry that was
		// claimed away and back has another count, and the same effects.
		count := int64(0)
		if c.named {
			count = it.Deliveries
		}
		args = it.Effects.AppendArgs(append(args, it.ID, count), c.targets, 2)
	}
	return args
}

// noteFailed notes which entries a commit that has failed may have committed.
func (c *committer) noteFailed(ctx context.Context, list []*window.Item, err error) {
	v := conn.Classify(err)
	switch {
	case v.Class == conn.Gone:
		c.held.DoubtAll() // the reader makes the group again
	case v.Code == "MILLRACE":
		c.broken = err
	case !conn.NeverRan(ctx, err):
		for _, it := range list {
			c.unknown[it] = true
		}
	}
}

// giveUp gives up an entry that another consumer has, or another process with this name.
func (c *committer) giveUp(it *window.Item) {
	c.settled[it] = true
	c.log.Warn("entry finished, but another consumer has claimed it; the result does not count, and its effects are not written", "entry_id", it.ID)
	// It may have become ours once more, and is left out there as long as it is in the window.
	c.retake.Store(2)
}

// takeBack makes entries pending on this consumer again that are on none, if that is because this
// consumer was removed from the group, or the group was. It returns those that are to be committed
// now.
func (c *committer) takeBack(ctx context.Context, list []*window.Item) (back []*window.Item, err error) {
	if c.named {
		c.tellRemoved(list)
		return nil, nil
	}
	kept, err := c.leases.stillOurs(ctx)
	if err != nil {
		return nil, err
	}
	if kept.IsZero() || !c.kept.IsZero() && c.kept.Before(kept) {
		kept = c.kept
	}
	ids := make([]string, len(list))
	for i, it := range list {
		ids[i] = it.ID
	}
	removed, ended := c.held.EndedOrphans(ids, kept, time.Now().Add(-c.claimIdle))
	if err := c.leases.reclaim(ctx, removed); err != nil {
		return nil, err
	}
	for _, it := range list {
		switch {
		case slices.Contains(ended, it.ID):
			c.giveUp(it)
		default:
			back = append(back, it)
		}
	}
	return back, nil
}

// tellRemoved gives up entries that are pending on no consumer, and cannot be taken back.
func (c *committer) tellRemoved(list []*window.Item) {
	if len(list) == 0 {
		return
	}
	for _, it := range list {
		c.settled[it] = true
		c.log.Warn("entry finished, but it is pending on no consumer: it was acked, trimmed, or its consumer was removed; its effects are not written", "entry_id", it.ID)
	}
	c.tellLoss(loss.Finding{Cause: loss.ConsumerRemoved, Count: -1, From: list[0].ID, To: list[len(list)-1].ID})
}
