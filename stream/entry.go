package stream

import (
	"context"
	"slices"
	"strings"
	"time"

	"millrace/codec"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
	"millrace/stream/internal/window"
)

// begin fetches an entry that is delivered again, or was read without its fields,
// and counts the delivery.
func (s *groupSource) begin(ctx context.Context, it *window.Item) bool {
	if it.Entry == nil {
		if !it.Uncounted {
			// It may have made a consumer crash: entries that are done are acked before, or
			// each of them would be charged with that crash as well, and in the end be over the
			// limit without a fault of its own.
			_ = s.settleNow(ctx) // the only error is that ctx is done: then the stop acks
		}
		if !s.fetchAgain(ctx, it) || !s.leases.QueueUp(it) {
			return false
		}
	}
	return true
}

// fetchAgain fetches an entry that is delivered again, and counts the delivery. It
// reports false if there is nothing to deliver.
func (s *groupSource) fetchAgain(ctx context.Context, it *window.Item) bool {
	charge := 1
	if it.Uncounted {
		charge = 0
	}
	var outcome string
	err := s.persist(ctx, "fetching an entry to deliver it again", func(ctx context.Context) (err error) {
		outcome, err = s.beginAgain(ctx, it, charge)
		if err == nil && outcome == "dropped" && !s.leases.IsDoubtful(it) {
			// This consumer may have been removed from the group. Then it is taken back.
			if err = s.renewSince(ctx, time.Now()); err == nil {
				outcome, err = s.beginAgain(ctx, it, charge)
			}
		}
		return err
	}, false)
	switch {
	case err != nil: // stopped
		s.window.End(it, window.Unread)
		return false
	case outcome == "ours":
		return true
	case outcome == "dropped" && !s.window.IsTaken(it):
		return s.fetchUnowned(ctx, it)
	case outcome == "gone":
		s.log().Warn("entry lost: it is pending, but the stream no longer has it", "entry_id", it.ID)
		s.loseEntry(it.ID)
	default:
		s.log().Info("entry given up before it was processed: another consumer has it", "entry_id", it.ID)
	}
	s.window.Forget(it)
	return false
}

// beginAgain runs the script that counts the delivery.
func (s *groupSource) beginAgain(ctx context.Context, it *window.Item, charge int) (outcome string, err error) {
	at := time.Now()
	reply, err := script.Begin.Run(ctx, s.client, []string{s.stream}, s.group, s.name, it.ID, charge, s.most()).Slice()
	switch {
	case classify(err).Class == conn.Gone:
		// The reader makes the group again, but may be waiting for us.
		s.leases.DoubtAll()
		return "dropped", nil
	case err != nil:
		return "", err
	}
	outcome, _ = reply[0].(string)
	if outcome == "ours" {
		count, _ := reply[1].(int64)
		s.leases.Load(it, fetched(it.ID, reply[2:]), count)
		it.Uncounted = false
		s.leases.NoteRenewed([]string{it.ID}, at)
	}
	return outcome, nil
}

// fetchUnowned fetches an entry whose group has gone, and with it the note that
// the entry is ours. No other consumer knows of it either, so it is processed as long
// as the stream has it.
func (s *groupSource) fetchUnowned(ctx context.Context, it *window.Item) bool {
	var found []any
	err := s.persist(ctx, "fetching an entry to deliver it again", func(ctx context.Context) (err error) {
		found, err = script.Fetch.Run(ctx, s.client, []string{s.stream}, it.ID, s.most()).Slice()
		return err
	}, false)
	switch {
	case err != nil:
		s.window.End(it, window.Unread)
		return false
	case len(found) == 0:
		s.log().Warn("entry lost: the stream no longer has it", "entry_id", it.ID)
		s.loseEntry(it.ID)
		s.window.Forget(it)
		return false
	}
	s.leases.Load(it, fetched(it.ID, found), it.Deliveries+1)
	return true
}

// most is how large an entry may be for a script to return its fields, 0 is no
// limit.
func (s *groupSource) most() int {
	if s.maxEntry == nil {
		return 0
	}
	return *s.maxEntry
}

// fetched makes an entry of the reply of a script: its size and, if it is not too
// large, its names and values.
func fetched(id string, found []any) *resp.Entry {
	size, _ := found[0].(int64)
	entry := &resp.Entry{ID: id, Size: uint32(size)} //nolint:gosec // Redis takes no entry of a gigabyte
	if pairs, ok := found[1].([]any); ok {
		entry.Fields = fieldsOf(pairs)
	}
	return entry
}

func fieldsOf(pairs []any) codec.Fields {
	fields := make(codec.Fields, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		name, _ := pairs[i].(string)
		fields[name] = pairs[i+1]
	}
	return fields
}

// writeLetter moves an entry to its dead-letter stream and acks it in one step, where the
// keys allow.
func (s *groupSource) writeLetter(ctx context.Context, letter *deadLetter) (acked bool, err error) {
	it, taken := letter.one, false
	// If it is acked, or may be, it is so until it is forgotten.
	defer func() { s.leases.SetMoving(it, acked || letter.unknown) }()
	err = s.writeDeadLetter(ctx, letter, func(ctx context.Context, letter *deadLetter) (bool, error) {
		move := func() (string, error) {
			s.leases.SetMoving(it, true)
			return s.moveOnServer(ctx, script.MoveAndAck, letter, s.group, s.name, it.ID)
		}
		reply, err := move()
		switch {
		case err != nil:
			letter.unknown = !foundPending(err) && (letter.unknown || !conn.NeverRan(ctx, err))
		case reply == "dropped" && letter.unknown && !s.leases.IsDoubtful(it):
			reply = "moved" // by the try before, whose reply was lost
		case reply == "dropped" && !s.leases.IsDoubtful(it):
			// This consumer may have been removed from the group. Then it is taken back.
			s.leases.SetMoving(it, false)
			if err = s.renewSince(ctx, time.Now()); err == nil {
				reply, err = move()
			}
		}
		acked = reply == "moved"
		taken = reply == "lost" || reply == "dropped" && s.window.IsTaken(it)
		return acked || taken, err
	})
	if taken {
		return false, ErrClaimed
	}
	return acked, err
}

// foundPending reports whether an error is that of a script which had begun, and so had
// found the entry pending: no try before has acked it.
func foundPending(err error) bool {
	return classify(err).Answered() && strings.Contains(err.Error(), "on @user_script")
}

// settle acks entries that are still ours. XACK itself does not ask: late, it
// would end an entry that another consumer is at work on.
func (s *groupSource) settle(ctx context.Context, list []*window.Item) error {
	ids, late := s.leases.Split(list, time.Now().Add(-s.claimIdle/2))
	if len(late) > 0 {
		limit := time.Now().Add(-s.claimIdle)
		r, err := s.renew(ctx, late)
		if err != nil && classify(err).Class != conn.Gone { // without a group there is no consumer to take anything from
			return err
		}
		r.lost = append(r.lost, s.leases.Claimable(r.dropped, limit)...)
		for _, id := range late {
			if slices.Contains(r.lost, id) {
				s.log().Warn("entry finished, but another consumer has claimed it; the result does not count", "entry_id", id)
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
