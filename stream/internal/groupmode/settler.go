package groupmode

import (
	"context"
	"slices"
	"strings"
	"time"

	"millrace/stream/internal/commit"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/script"
	"millrace/stream/internal/window"
)

// settler acks entries, and moves those that go to the dead letters.
type settler struct {
	*consumer
	leases  *leases
	letters *commit.LetterWriter
	commits *committer // nil without effects
}

// Settle moves the dead letters of a batch, and acks the entries that have ended.
func (s *settler) Settle(ctx context.Context, b *commit.Batch) error {
	for _, letter := range b.Letters {
		letter.Settled, letter.Err = s.write(ctx, letter)
	}
	if len(b.Ended) == 0 {
		return nil
	}
	if s.commits == nil {
		return s.ack(ctx, b.Ended)
	}
	plain, err := s.commits.commit(ctx, b.Ended)
	if err != nil {
		return err
	}
	if err := s.ack(ctx, plain); err != nil {
		return err
	}
	s.commits.over()
	return nil
}

// write moves an entry to its dead-letter stream and acks it in one step, where the
// keys allow.
func (s *settler) write(ctx context.Context, letter *commit.Letter) (acked bool, err error) {
	it, taken := letter.Item, false
	// If it is acked, or may be, it is so until it is forgotten.
	defer func() { s.held.SetMoving(it, acked || letter.Unknown) }()
	err = s.letters.Write(ctx, letter, func(ctx context.Context, letter *commit.Letter) (bool, error) {
		move := func() (string, error) {
			s.held.SetMoving(it, true)
			return s.letters.MoveBy(ctx, script.MoveAndAck, letter, s.group, s.name, it.ID)
		}
		reply, err := move()
		switch {
		case err != nil:
			letter.Unknown = !foundPending(err) && (letter.Unknown || !conn.NeverRan(ctx, err))
		case reply == "dropped" && letter.Unknown && !s.held.IsDoubtful(it):
			reply = "moved" // by the try before, whose reply was lost
		case reply == "dropped" && !s.held.IsDoubtful(it):
			// This consumer may have been removed from the group. Then it is taken back.
			s.held.SetMoving(it, false)
			if err = s.leases.renewSince(ctx, time.Now()); err == nil {
				reply, err = move()
			}
		}
		acked = reply == "moved"
		taken = reply == "lost" || reply == "dropped" && s.window.IsTaken(it)
		return acked || taken, err
	})
	if taken {
		return false, commit.ErrClaimed
	}
	return acked, err
}

// foundPending reports whether an error is that of a script which had begun, and so had
// found the entry pending: no try before has acked it.
func foundPending(err error) bool {
	return conn.Classify(err).Answered() && strings.Contains(err.Error(), "on @user_script")
}

// ack acks entries that are still ours. XACK itself does not ask: late, it
// would end an entry that another consumer is at work on.
func (s *settler) ack(ctx context.Context, list []*window.Item) error {
	ids, late := s.held.Split(list, time.Now().Add(-s.claimIdle/2))
	if len(late) > 0 {
		limit := time.Now().Add(-s.claimIdle)
		r, err := s.leases.renew(ctx, late)
		if err != nil && conn.Classify(err).Class != conn.Gone { // without a group there is no consumer to take anything from
			return err
		}
		r.lost = append(r.lost, s.held.Claimable(r.dropped, limit)...)
		for _, id := range late {
			if slices.Contains(r.lost, id) {
				s.log.Warn("entry finished, but another consumer has claimed it; the result does not count", "entry_id", id)
			} else {
				ids = append(ids, id)
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	args := []any{"xack", s.stream, s.group}
	for _, id := range ids {
		args = append(args, id)
	}
	return s.client.Do(ctx, args...).Err()
}
