package stream

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
)

// begin fetches an entry that is delivered again, and counts the delivery.
func (s *groupSource) begin(ctx context.Context, one *held) bool {
	if one.entry == nil {
		// It may be what made a consumer crash: what is done is acked before, or
		// it would be charged with that crash as well, and in the end be over the
		// limit without a fault of its own.
		_ = s.settleNow(ctx) // the only error is that ctx is done: then the stop acks
		if !s.fetchAgain(ctx, one) || !s.window.queueUp(one) {
			return false
		}
	}
	one.entry.exhausted = s.maxDeliveries > 0 && one.entry.Deliveries > s.maxDeliveries
	return true
}

// fetchAgain fetches an entry that is delivered again, and counts the delivery. It
// reports false if there is nothing to deliver.
func (s *groupSource) fetchAgain(ctx context.Context, one *held) bool {
	charge := 1
	if one.free {
		charge = 0
	}
	var outcome string
	err := s.persist(ctx, "fetching an entry to deliver it again", s.sharing.inTurn(func(ctx context.Context) error {
		at := time.Now()
		reply, err := beginScript.Run(ctx, s.client, []string{s.stream}, s.group, s.name, one.id, charge).Slice()
		switch {
		case err != nil && groupGone(err):
			// The reader makes the group again, but may be waiting for us.
			s.window.suspect()
			outcome = "lost"
			return nil
		case err != nil:
			return err
		}
		outcome, _ = reply[0].(string)
		if outcome == "ours" {
			count, _ := reply[1].(int64)
			pairs, _ := reply[2].([]any)
			one.entry = &Entry{Stream: s.stream, ID: one.id, Fields: fieldsOf(pairs), Deliveries: count}
			one.free = false
			s.window.touch([]string{one.id}, at)
		}
		return nil
	}), false)
	switch {
	case err != nil: // stopped
		s.window.end(one, unread)
		return false
	case outcome == "ours":
		return true
	case outcome == "lost" && s.window.isSuspect(one):
		return s.fetchUnowned(ctx, one)
	case outcome == "gone":
		s.log().Warn("entry lost: it is pending, but the stream no longer has it", "entry_id", one.id)
		s.loseEntry(one.id)
	default:
		s.log().Info("entry given up before it was processed: another consumer has it", "entry_id", one.id)
	}
	s.window.forget(one)
	return false
}

// fetchUnowned fetches an entry whose group has gone, and with it the note that
// the entry is ours. Nobody else knows of it either, so it is processed as long
// as the stream has it.
func (s *groupSource) fetchUnowned(ctx context.Context, one *held) bool {
	var found []redis.XMessage
	err := s.persist(ctx, "fetching an entry to deliver it again", s.sharing.inTurn(func(ctx context.Context) (err error) {
		found, err = s.client.XRange(ctx, s.stream, one.id, one.id).Result()
		return err
	}), false)
	switch {
	case err != nil:
		s.window.end(one, unread)
		return false
	case len(found) == 0:
		s.log().Warn("entry lost: the stream no longer has it", "entry_id", one.id)
		s.loseEntry(one.id)
		s.window.forget(one)
		return false
	}
	one.entry = &Entry{Stream: s.stream, ID: one.id, Fields: codec.Fields(found[0].Values), Deliveries: one.deliveries + 1}
	return true
}

func fieldsOf(pairs []any) codec.Fields {
	fields := make(codec.Fields, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		name, _ := pairs[i].(string)
		fields[name] = pairs[i+1]
	}
	return fields
}

// bury moves an entry to its dead-letter stream and acks it in one step, where the
// keys allow.
func (s *groupSource) bury(ctx context.Context, one *held, dead *DeadLetterError) (acked bool, err error) {
	taken := false
	err = s.writeDeadLetter(ctx, one.entry, dead, DeadLetterGroup, s.group, func(ctx context.Context, letter deadLetter) (bool, error) {
		reply, err := s.moveOnServer(ctx, moveAndAckScript, letter, s.group, s.name, one.id)
		acked = reply == "moved"
		taken = reply == "lost" && !s.window.isSuspect(one)
		return acked || taken, err
	})
	if taken {
		return false, ErrClaimed
	}
	return acked, err
}

// settle acks entries that are still ours. XACK itself does not ask: late, it
// would end an entry that another consumer is at work on.
func (s *groupSource) settle(ctx context.Context, list []*held) error {
	ids, late := s.window.split(list, time.Now().Add(-s.claimIdle/2))
	if len(late) > 0 {
		lost, _, err := s.renew(ctx, late)
		if err != nil && !groupGone(err) { // without a group there is nobody to take anything from
			return err
		}
		for _, id := range late {
			if slices.Contains(lost, id) {
				s.log().Warn("entry finished, but another consumer has claimed it; the result does not count", "entry_id", id)
			} else {
				ids = append(ids, id)
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return s.sharing.inTurn(func(ctx context.Context) error {
		return s.client.XAck(ctx, s.stream, s.group, ids...).Err()
	})(ctx)
}
