package groupmode

import (
	"context"
	"fmt"
	"slices"
	"time"

	"millrace/stream/internal/commit"
	"millrace/stream/internal/contain"
	"millrace/stream/internal/loss"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
	"millrace/stream/internal/task"
	"millrace/stream/internal/window"
)

// leases renews the leases of the entries in the window, so that no other consumer claims
// them.
type leases struct {
	*consumer
	task task.Task
	// afterwards is called after each run of the task, so that an entry that another has
	// claimed is noticed before it is claimed back.
	afterwards func()
	// lookForOwn has the reader take up what is pending on this consumer and not in the window.
	lookForOwn func()
	trouble    task.Outage
	renewing   task.Lock // held while pending entries are renewed
}

func newLeases(c *consumer) *leases {
	l := &leases{consumer: c, trouble: c.host.NewOutage(c.log, "keeping what is pending"), renewing: task.NewLock()}
	l.task.Do = func(ctx context.Context) {
		l.note(ctx, l.trouble, contain.Caught(func() error { return l.renewAll(ctx) }))
		if l.retake.Load() > 0 {
			l.retake.Add(-1)
			l.lookForOwn()
		}
		l.afterwards()
	}
	return l
}

// renewAll renews everything that was not for a third of the claim idle time.
func (l *leases) renewAll(ctx context.Context) error {
	since := time.Now().Add(-l.claimIdle / 3)
	if len(l.held.ToRenew(since)) == 0 {
		return nil
	}
	return l.renewSince(ctx, since)
}

// renewSince renews everything that was not since the given time, gives up those that
// are another consumer's, and takes back those that are of none.
func (l *leases) renewSince(ctx context.Context, since time.Time) error {
	if err := l.renewing.Lock(ctx); err != nil {
		return err
	}
	defer l.renewing.Unlock()
	dropped, kept, err := l.renewList(ctx, l.held.ToRenew(since))
	if err != nil || len(dropped) == 0 {
		return err
	}
	// Why, only all that is held can tell.
	dropped, keptToo, err := l.renewList(ctx, l.held.ToRenew(time.Now()))
	if err != nil {
		return err
	}
	if kept.IsZero() { // else it is the older one
		kept = keptToo
	}
	removed, ended := l.held.Orphans(dropped, kept, time.Now().Add(-l.claimIdle))
	l.giveUp(ended)
	if l.effects && l.named {
		return l.leave(removed)
	}
	return l.reclaim(ctx, removed)
}

// leave gives up entries that are pending on no consumer. With effects, a consumer whose name the
// user gave does not take them back: another process with this name, which took them up and has
// committed them, looks the same as a consumer that was removed, and they would be committed twice.
func (l *leases) leave(list []window.Orphan) error {
	if len(list) == 0 {
		return nil
	}
	ids := make([]string, len(list))
	for i, one := range list {
		ids[i] = one.ID
	}
	slices.SortFunc(ids, resp.CompareIDs)
	l.giveUp(ids)
	l.tellLoss(loss.Finding{Cause: loss.ConsumerRemoved, Count: -1, From: ids[0], To: ids[len(ids)-1]})
	return nil
}

// stillOurs renews everything, and returns when the first of the entries that are ours had been
// renewed before, zero if none is.
func (l *leases) stillOurs(ctx context.Context) (kept time.Time, err error) {
	if err := l.renewing.Lock(ctx); err != nil {
		return kept, err
	}
	defer l.renewing.Unlock()
	_, kept, err = l.renewList(ctx, l.held.ToRenew(time.Now()))
	return kept, err
}

// renewList renews entries. It returns those that are pending on no consumer, and when the
// first of those that are ours had been renewed before.
func (l *leases) renewList(ctx context.Context, list []window.Renewable) (dropped []string, kept time.Time, err error) {
	for chunk := range slices.Chunk(list, script.RenewMost) {
		ids := make([]string, len(chunk))
		for i, one := range chunk {
			ids[i] = one.ID
		}
		r, err := l.renew(ctx, ids)
		if err != nil {
			return nil, kept, err
		}
		if at := r.oldest(chunk); kept.IsZero() || !at.IsZero() && at.Before(kept) {
			kept = at
		}
		l.held.DoubtGone(r.gone)
		l.giveUp(r.lost)
		dropped = append(dropped, r.dropped...)
	}
	return dropped, kept, nil
}

// giveUp gives up entries that are another consumer's.
func (l *leases) giveUp(ids []string) {
	for _, id := range l.held.GiveUp(ids, commit.ErrClaimed) {
		l.log.Warn("entry lost to another consumer, which has claimed it", "entry_id", id)
	}
}

// renewal says which of the entries that were to be renewed were not: they are
// pending on another consumer, on none, or not in the stream any more.
type renewal struct{ lost, dropped, gone []string }

func (r renewal) has(id string) bool {
	return slices.Contains(r.lost, id) || slices.Contains(r.dropped, id) || slices.Contains(r.gone, id)
}

// oldest returns when the first of those that were renewed had been before.
func (r renewal) oldest(of []window.Renewable) (at time.Time) {
	for _, one := range of {
		if (at.IsZero() || one.At.Before(at)) && !r.has(one.ID) {
			at = one.At
		}
	}
	return at
}

// renew resets the idle time of entries.
func (l *leases) renew(ctx context.Context, ids []string) (r renewal, err error) {
	at := time.Now()
	args := []any{l.group, l.name}
	for _, id := range ids {
		args = append(args, id)
	}
	reply, err := script.Renew.Run(ctx, l.client, []string{l.stream}, args...).Slice()
	if err != nil {
		return r, err
	}
	r.lost, r.dropped, r.gone = texts(reply[0]), texts(reply[1]), texts(reply[2])
	// Not the others: one that has ended meanwhile would be acked as if it were ours.
	l.held.NoteRenewed(slices.DeleteFunc(slices.Clone(ids), r.has), at)
	return r, nil
}

// reclaim makes entries pending on this consumer again, which was removed from the
// group with all that was, or the group with it. Entries that it did not know of are lost; a
// loss in the stream is told when the entry would be delivered again.
func (l *leases) reclaim(ctx context.Context, list []window.Orphan) error {
	at := time.Now()
	found := loss.Finding{Cause: loss.ConsumerRemoved, Count: -1}
	for chunk := range slices.Chunk(list, script.RenewMost) {
		args := []any{l.group, l.name}
		ids := make([]string, len(chunk))
		for i, one := range chunk {
			ids[i] = one.ID
			args = append(args, one.ID, max(one.Deliveries, 1))
		}
		gone, err := script.Reclaim.Run(ctx, l.client, []string{l.stream}, args...).StringSlice()
		if err != nil {
			return fmt.Errorf("taking back what was pending on this consumer: %w", err)
		}
		l.held.DoubtGone(gone)
		ids = slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(gone, id) })
		l.held.NoteRenewed(ids, at)
		for _, id := range ids {
			if found.From == "" || resp.CompareIDs(id, found.From) < 0 {
				found.From = id
			}
			if resp.CompareIDs(id, found.To) > 0 {
				found.To = id
			}
		}
	}
	if found.From != "" {
		l.tellLoss(found)
	}
	return nil
}
