package stream

import (
	"context"
	"fmt"
	"slices"
	"time"

	"millrace/stream/internal/loss"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
	"millrace/stream/internal/window"
)

// renewAll renews everything that was not for a third of the claim idle time.
func (s *groupSource) renewAll(ctx context.Context) error {
	since := time.Now().Add(-s.claimIdle / 3)
	if len(s.leases.ToRenew(since)) == 0 {
		return nil
	}
	return s.renewSince(ctx, since)
}

// renewSince renews everything that was not since the given time, gives up those that
// are another consumer's, and takes back those that are of none.
func (s *groupSource) renewSince(ctx context.Context, since time.Time) error {
	if err := s.renewal.Lock(ctx); err != nil {
		return err
	}
	defer s.renewal.Unlock()
	dropped, kept, err := s.renewList(ctx, s.leases.ToRenew(since))
	if err != nil || len(dropped) == 0 {
		return err
	}
	// Why, only all that is held can tell.
	dropped, keptToo, err := s.renewList(ctx, s.leases.ToRenew(time.Now()))
	if err != nil {
		return err
	}
	if kept.IsZero() { // else it is the older one
		kept = keptToo
	}
	removed, ended := s.leases.Orphans(dropped, kept, time.Now().Add(-s.claimIdle))
	s.giveUp(ended)
	return s.reclaim(ctx, removed)
}

// renewList renews entries. It returns those that are pending on no consumer, and when the
// first of those that are ours had been renewed before.
func (s *groupSource) renewList(ctx context.Context, list []window.Renewable) (dropped []string, kept time.Time, err error) {
	for chunk := range slices.Chunk(list, 200) {
		ids := make([]string, len(chunk))
		for i, one := range chunk {
			ids[i] = one.ID
		}
		r, err := s.renew(ctx, ids)
		if err != nil {
			return nil, kept, err
		}
		if at := r.oldest(chunk); kept.IsZero() || !at.IsZero() && at.Before(kept) {
			kept = at
		}
		s.leases.DoubtGone(r.gone)
		s.giveUp(r.lost)
		dropped = append(dropped, r.dropped...)
	}
	return dropped, kept, nil
}

// giveUp gives up entries that are another consumer's.
func (s *groupSource) giveUp(ids []string) {
	for _, id := range s.leases.GiveUp(ids, ErrClaimed) {
		s.log().Warn("entry lost to another consumer, which has claimed it", "entry_id", id)
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
func (s *groupSource) renew(ctx context.Context, ids []string) (r renewal, err error) {
	at := time.Now()
	args := []any{s.group, s.name}
	for _, id := range ids {
		args = append(args, id)
	}
	reply, err := script.Renew.Run(ctx, s.client, []string{s.stream}, args...).Slice()
	if err != nil {
		return r, err
	}
	r.lost, r.dropped, r.gone = texts(reply[0]), texts(reply[1]), texts(reply[2])
	// Not the others: one that has ended meanwhile would be acked as if it were ours.
	s.leases.NoteRenewed(slices.DeleteFunc(slices.Clone(ids), r.has), at)
	return r, nil
}

// reclaim makes entries pending on this consumer again, which was removed from the
// group with all that was, or the group with it. Entries that it did not know of are lost; a
// loss in the stream is told when the entry would be delivered again.
func (s *groupSource) reclaim(ctx context.Context, list []window.Orphan) error {
	at := time.Now()
	found := loss.Finding{Cause: loss.ConsumerRemoved, Count: -1}
	for chunk := range slices.Chunk(list, 200) {
		args := []any{s.group, s.name}
		ids := make([]string, len(chunk))
		for i, one := range chunk {
			ids[i] = one.ID
			args = append(args, one.ID, max(one.Deliveries, 1))
		}
		gone, err := script.Reclaim.Run(ctx, s.client, []string{s.stream}, args...).StringSlice()
		if err != nil {
			return fmt.Errorf("taking back what was pending on this consumer: %w", err)
		}
		s.leases.DoubtGone(gone)
		ids = slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(gone, id) })
		s.leases.NoteRenewed(ids, at)
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
		s.tellLoss(found)
	}
	return nil
}
