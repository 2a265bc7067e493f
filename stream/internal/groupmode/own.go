package groupmode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
	"millrace/stream/internal/task"
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
// The fields are the reading goroutine's own, but for the first three.
type ownPending struct {
	*consumer

	// alone is held while entries are claimed or taken up.
	alone task.Lock
	// unanswered is set when a command that claims has had no answer: the entries that it
	// has brought are pending on this consumer, for the reader to take up.
	unanswered atomic.Bool
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

func newOwnPending(c *consumer) *ownPending {
	return &ownPending{consumer: c, alone: task.NewLock(), listed: ownListed}
}

// byItself does something, for claiming and for taking up: entries that the one was given, and
// has not put into the window yet, would be unknown to the other.
func (o *ownPending) byItself(ctx context.Context, do func() error) error {
	if err := o.alone.Lock(ctx); err != nil {
		return err
	}
	defer o.alone.Unlock()
	return do()
}

// noteUnanswered has the reader take up the entries of a command that has
// failed. The client does not send it again by itself: that would bring nothing, as if
// there had been nothing.
func (o *ownPending) noteUnanswered(ctx context.Context, err error) {
	if !conn.NeverRan(ctx, err) {
		o.unanswered.Store(true)
	}
}

// takeUpPage takes up as many entries as one read may bring, as far as there is room. last is
// the last entry that was read.
func (o *ownPending) takeUpPage(ctx context.Context, last string) error {
	if o.unanswered.Load() {
		return nil // a claim that was on its way has failed: its losses are told apart
	}
	defer o.held.WatchLeaving()()
	taken := 0
	defer func() {
		if taken > 0 && o.claimed {
			o.host.NoteClaimed(taken, false)
		}
	}()
	room, more := o.held.RoomForOwn(), true
	// Some are in the window already. Only where many are, long lists are worth their
	// bytes.
	for count := max(room, 20); more; count *= 2 {
		count = min(count, o.listed)
		asked := time.Now()
		at := asked
		pending, err := o.client.XPendingExt(ctx, &redis.XPendingExtArgs{
			Stream: o.stream, Group: o.group, Consumer: o.name, Start: o.from, End: "+", Count: int64(count),
		}).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			if !conn.Classify(err).Answered() {
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
			if room == 0 && !o.held.Holds(entry.ID) {
				break
			}
			read := o.wasRead(entry.ID, entry.RetryCount, last)
			n := o.held.AddClaimed([]string{entry.ID}, read, at)
			room -= n
			o.adopted += n
			if !read {
				taken += n
			}
			o.from = resp.After(entry.ID)
			seen++
		}
		if seen == len(pending) && seen < count {
			o.tookUp()
			break
		}
		o.listed = min(2*o.listed, ownListed)
		more = room > 0
	}
	if o.open.Load() {
		o.held.StartOwn(o.from)
		if !o.paged {
			o.paged = true
			o.log.Info("more is pending on this consumer than fits in its window: it is taken up page by page, and nothing new is read before the end of it")
		}
	}
	return nil
}

// wasRead reports whether an entry that is pending on this consumer, and not known here,
// is one of a read whose reply was lost.
func (o *ownPending) wasRead(id string, deliveries int64, last string) bool {
	return o.read && (!o.claimed || isBehind(last, id, deliveries))
}

// isBehind reports whether an entry can only be one of a read whose reply was lost: a read
// brings entries behind the last one, and counts their first delivery.
func isBehind(last, id string, deliveries int64) bool {
	return deliveries == 1 && resp.CompareIDs(id, last) > 0
}

// tookUp notes that the last page was taken up.
func (o *ownPending) tookUp() {
	o.read = true
	o.open.Store(false)
	o.held.StartOwn("")
	if o.adopted > 0 {
		o.log.Info("took up entries that were pending on this consumer", "entries", o.adopted)
	}
}

// returnTime is how long a stop hands back entries that are not in the window.
const returnTime = 250 * time.Millisecond

// handBack hands back the entries that are pending on this consumer: all that are in the
// window, and of the others as many as there is time for. The rest is claimed by others
// once it is idle, or taken up by the next consumer of this name.
func (o *ownPending) handBack(ctx context.Context, last string) error {
	for page := range slices.Chunk(o.held.ToReturn(), script.HandBackMost) {
		if err := o.handBackPage(ctx, page); err != nil {
			return err
		}
	}
	until := time.Now().Add(returnTime)
	for from := "-"; ; {
		pending, err := o.client.XPendingExt(ctx, &redis.XPendingExtArgs{
			Stream: o.stream, Group: o.group, Consumer: o.name, Start: from, End: "+", Count: script.HandBackMost,
		}).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("listing what is pending on this consumer: %w", err)
		}
		if len(pending) == 0 {
			return nil
		}
		if time.Now().After(until) {
			o.log.Warn("stopped with entries pending on this consumer that it had not taken up, and no time to hand back: a consumer of the same name takes them up, or others claim them when they have been idle for the claim idle time", "first", pending[0].ID, "claim_idle", o.claimIdle)
			return nil
		}
		page := make([]window.Returned, len(pending))
		for i, entry := range pending {
			page[i] = window.Returned{ID: entry.ID, Refund: isBehind(last, entry.ID, entry.RetryCount)}
			from = resp.After(entry.ID)
		}
		if err := o.handBackPage(ctx, page); err != nil {
			return err
		}
	}
}

func (o *ownPending) handBackPage(ctx context.Context, page []window.Returned) error {
	args := []any{o.group, o.name, script.HandedBackTo}
	for _, one := range page {
		refund := 0
		if one.Refund {
			refund = 1
		}
		args = append(args, one.ID, refund)
	}
	reply, err := script.HandBack.Run(ctx, o.client, []string{o.stream}, args...).Slice()
	if err != nil {
		return err
	}
	n, _ := reply[0].(int64)
	o.host.NoteHandedBack(n)
	for _, id := range texts(reply[1]) {
		o.tellGone(id)
	}
	return nil
}
