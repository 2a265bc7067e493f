package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
	"millrace/stream/internal/window"
)

// ownPending is the pending entries on this consumer's own name that are not in the
// window: at the start those of a process before this one, later those of a reply that
// was lost. There can be a million. The reader takes them up by pages, the oldest first,
// each when there is room for it, and reads nothing new before the last one.
//
// An entry that waits for its page is not renewed. It is ours by its name alone: it was
// not begun here, so that another consumer that has room may claim it once it is idle
// for the claim idle time, and no attempt is lost by that. To renew a million entries
// would take a third of the server's time and of its append-only file.
//
// The fields are the reading goroutine's own, but for open.
type ownPending struct {
	// open is set while there may be such entries. Nothing is claimed from other
	// consumers meanwhile.
	open atomic.Bool
	// from is the ID at which the next page begins.
	from string
	// claimed is set when the entries may be those that a claim has brought, read when
	// they may be those of a read, because everything that was there before has been
	// taken up.
	claimed, read bool
	// paged is set when one page was not enough.
	paged   bool
	adopted int
	// listed is how many entries are listed at a time, at the most.
	listed int
}

// ownListed is how many pending entries are listed at a time: half as many after a list
// that did not arrive, which may be because of its size.
const ownListed = 500

// reopen begins again with the oldest entry.
func (o *ownPending) reopen(claimed bool) {
	if !o.open.Load() {
		o.claimed, o.paged, o.adopted = false, false, 0
	}
	o.claimed = o.claimed || claimed
	o.from = "-"
	o.open.Store(true)
}

// takeUp takes up the entries that are pending on this consumer's own name, and returns
// when all of them are in the window or ended. It comes after reopen.
func (s *groupSource) takeUp(ctx context.Context) error {
	// The first page waits for nothing: if the group is gone, the entries that fill the
	// window may be waiting for the reader to make it again.
	for first := true; s.own.open.Load() && !s.unanswered.Load(); first = false {
		if !first && !s.awaitRoom(ctx) {
			return ctx.Err()
		}
		s.reads.Waits(&s.claims) // the claimer may wait for its turn
		if err := s.byItself(func(ctx context.Context) error {
			s.reads.Begin()
			return s.takeUpPage(ctx)
		})(ctx); err != nil {
			return err
		}
		s.reads.Progress()
		if s.own.open.Load() { // else a read follows
			s.meter.update(func(m *meter) { m.lastRead = time.Now() })
		}
		// Entries that have waited for long are claimed by others unless they are renewed
		// when their turn comes.
		if err := s.renewAll(ctx); err != nil {
			return err
		}
	}
	return nil
}

// takeUpPage takes up as many entries as one read may bring, as far as there is room.
func (s *groupSource) takeUpPage(ctx context.Context) error {
	if s.unanswered.Load() {
		return nil // a claim that was on its way has failed: its losses are told apart
	}
	defer s.leases.WatchLeaving()()
	o, taken := &s.own, 0
	defer func() {
		if taken > 0 && o.claimed {
			s.noteClaimed(taken, false)
		}
	}()
	room, more := s.leases.RoomForOwn(), true
	// Some are in the window already. Only where many are, long lists are worth their
	// bytes.
	for count := max(room, 20); more; count *= 2 {
		count = min(count, o.listed)
		asked := time.Now()
		at := asked
		pending, err := s.client.XPendingExt(ctx, &redis.XPendingExtArgs{
			Stream: s.stream, Group: s.group, Consumer: s.name, Start: o.from, End: "+", Count: int64(count),
		}).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			if !classify(err).Answered() {
				o.listed = max(1, o.listed/2)
			}
			return fmt.Errorf("listing what is pending on this consumer: %w", err)
		}
		for _, entry := range pending {
			// Its idle time counts from its delivery, not from now.
			if delivered := asked.Add(-entry.Idle); delivered.Before(at) {
				at = delivered
			}
		}
		seen := 0
		for _, entry := range pending {
			if room == 0 && !s.leases.Holds(entry.ID) {
				break
			}
			read := s.wasRead(entry.ID, entry.RetryCount)
			n := s.leases.AddClaimed([]string{entry.ID}, read, at)
			room -= n
			o.adopted += n
			if !read {
				taken += n
			}
			o.from = resp.After(entry.ID)
			seen++
		}
		if seen == len(pending) && seen < count {
			s.tookUp()
			break
		}
		o.listed = min(2*o.listed, ownListed)
		more = room > 0
	}
	if s.own.open.Load() {
		s.leases.StartOwn(o.from)
		if !o.paged {
			o.paged = true
			s.log().Info("more is pending on this consumer than fits in its window: it is taken up page by page, and nothing new is read before the end of it")
		}
	}
	return nil
}

// wasRead reports whether an entry that is pending on this consumer, and not known here,
// is one of a read whose reply was lost.
func (s *groupSource) wasRead(id string, deliveries int64) bool {
	return s.own.read && (!s.own.claimed || s.isBehindRead(id, deliveries))
}

// isBehindRead reports whether an entry can only be one of a read whose reply was lost: a
// read brings entries behind the last one, and counts their first delivery.
func (s *groupSource) isBehindRead(id string, deliveries int64) bool {
	return deliveries == 1 && resp.CompareIDs(id, s.last) > 0
}

// tookUp notes that the last page was taken up.
func (s *groupSource) tookUp() {
	o := &s.own
	o.read = true
	o.open.Store(false)
	s.leases.StartOwn("")
	if o.adopted > 0 {
		s.log().Info("took up entries that were pending on this consumer", "entries", o.adopted)
	}
}

// returnTime is how long a stop hands back entries that are not in the window.
const returnTime = stopTimeout / 4

// returnPage is how many entries one script hands back.
const returnPage = 100

// handBack hands back the entries that are pending on this consumer: all that are in the
// window, and of the others as many as there is time for. The rest is claimed by others
// once it is idle, or taken up by the next consumer of this name.
func (s *groupSource) handBack(ctx context.Context) error {
	for page := range slices.Chunk(s.leases.ToReturn(), returnPage) {
		if err := s.handBackPage(ctx, page); err != nil {
			return err
		}
	}
	until := time.Now().Add(returnTime)
	for from := "-"; ; {
		pending, err := s.client.XPendingExt(ctx, &redis.XPendingExtArgs{
			Stream: s.stream, Group: s.group, Consumer: s.name, Start: from, End: "+", Count: returnPage,
		}).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("listing what is pending on this consumer: %w", err)
		}
		if len(pending) == 0 {
			return nil
		}
		if time.Now().After(until) {
			s.log().Warn("stopped with entries pending on this consumer that it had not taken up, and no time to hand back: a consumer of the same name takes them up, or others claim them when they have been idle for the claim idle time", "first", pending[0].ID, "claim_idle", s.claimIdle)
			return nil
		}
		page := make([]window.Returned, len(pending))
		for i, entry := range pending {
			page[i] = window.Returned{ID: entry.ID, Refund: s.isBehindRead(entry.ID, entry.RetryCount)}
			from = resp.After(entry.ID)
		}
		if err := s.handBackPage(ctx, page); err != nil {
			return err
		}
	}
}

func (s *groupSource) handBackPage(ctx context.Context, page []window.Returned) error {
	args := []any{s.group, s.name, script.HandedBackTo}
	for _, one := range page {
		refund := 0
		if one.Refund {
			refund = 1
		}
		args = append(args, one.ID, refund)
	}
	reply, err := script.HandBack.Run(ctx, s.client, []string{s.stream}, args...).Slice()
	if err != nil {
		return err
	}
	n, _ := reply[0].(int64)
	s.meter.update(func(m *meter) { m.handedBack += n })
	for _, id := range texts(reply[1]) {
		s.tellGone(id)
	}
	return nil
}
