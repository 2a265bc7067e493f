package stream

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
)

// work processes one entry after another, until stopping is done. It returns
// earlier, with true, if an entry was lost: one context serves many entries, and
// that one has used it up.
func (s *groupSource) work(stopping, handling context.Context) (lost bool) {
	ctx, lose := context.WithCancelCause(handling)
	defer lose(nil)
	for stopping.Err() == nil {
		one := s.held.next(false, lose)
		if one == nil {
			s.ack(handling, 1) // nothing to do: a good time
			if one = s.held.next(true, lose); one == nil {
				return false
			}
		}
		if one.entry == nil {
			// It may be what made a consumer crash: what is done is acked before,
			// or it would be charged with that crash as well, and in the end be
			// over the limit without a fault of its own.
			s.ack(handling, 1)
		}
		s.deliver(ctx, one)
		s.ack(handling, s.engine.batchSize)
		if ctx.Err() != nil {
			return true
		}
	}
	return false
}

// deliver processes one entry, and decides where it goes.
func (s *groupSource) deliver(ctx context.Context, one *held) {
	e := s.engine
	if one.entry == nil && !s.begin(ctx, one) {
		return
	}
	entry := one.entry
	entry.exhausted = e.maxDeliveries > 0 && entry.Deliveries > e.maxDeliveries
	failure := e.chain(ctx, entry)
	switch {
	case context.Cause(ctx) == ErrClaimed: //nolint:errorlint // our own, never wrapped
		s.log().Warn("entry given up while it was processed: another consumer has it; its result does not count", "entry_id", one.id, "attempt", entry.Deliveries)
		s.held.end(one, broken)
		return
	case failure == nil:
		s.held.end(one, done)
		return
	}
	acked, taken := false, false
	outcome, err := e.conclude(ctx, entry, failure, func(dead *DeadLetterError) error {
		err := e.writeDeadLetter(ctx, entry, dead, DeadLetterGroup, s.group, func(ctx context.Context, letter deadLetter) (bool, error) {
			reply, err := e.moveOnServer(ctx, moveAndAckScript, letter, s.group, s.name, one.id)
			acked = reply == "moved"
			taken = reply == "lost" && !s.held.isSuspect(one)
			return acked || taken, err
		})
		if taken {
			return ErrClaimed
		}
		return err
	})
	switch {
	case err != nil || outcome == interrupted:
		s.held.end(one, broken)
	case outcome == passed && acked:
		s.held.forget(one)
	case outcome == passed:
		s.held.end(one, done)
	case entry.exhausted && e.discard:
		s.log().Error("entry discarded: it is over the limit of deliveries, and no dead-letter middleware took it", "entry_id", one.id, "attempt", entry.Deliveries)
		s.held.end(one, done)
	case entry.exhausted:
		s.log().Error("entry left pending: it is over the limit of deliveries, and no dead-letter middleware took it", "entry_id", one.id, "attempt", entry.Deliveries)
		s.held.end(one, parked)
	default:
		one.due = time.Now().Add(e.backoff.Delay(entry.Deliveries))
		one.deliveries = entry.Deliveries
		s.held.end(one, waiting)
	}
}

// begin fetches an entry that is delivered again, and counts the delivery. It
// reports false if there is nothing to deliver.
func (s *groupSource) begin(ctx context.Context, one *held) bool {
	e := s.engine
	charge := 1
	if one.free {
		charge = 0
	}
	var outcome string
	err := e.persist(ctx, "fetching an entry to deliver it again", func(ctx context.Context) error {
		at := time.Now()
		reply, err := beginScript.Run(ctx, e.client, []string{e.stream}, s.group, s.name, one.id, charge).Slice()
		switch {
		case err != nil && groupGone(err):
			// The reader makes the group again, but may be waiting for us.
			s.held.suspect()
			outcome = "lost"
			return nil
		case err != nil:
			return err
		}
		outcome, _ = reply[0].(string)
		if outcome == "ours" {
			count, _ := reply[1].(int64)
			pairs, _ := reply[2].([]any)
			one.entry = &Entry{Stream: e.stream, ID: one.id, Fields: fieldsOf(pairs), Deliveries: count}
			one.free = false
			s.held.touch([]string{one.id}, at)
		}
		return nil
	}, false)
	switch {
	case err != nil: // stopped
		s.held.end(one, unread)
		return false
	case outcome == "ours":
		return true
	case outcome == "lost" && s.held.isSuspect(one):
		return s.beginUnowned(ctx, one)
	case outcome == "gone":
		s.log().Warn("entry lost: it is pending, but the stream no longer has it", "entry_id", one.id)
	default:
		s.log().Info("entry given up before it was processed: another consumer has it", "entry_id", one.id)
	}
	s.held.forget(one)
	return false
}

// beginUnowned fetches an entry whose group has gone, and with it the note that
// the entry is ours. Nobody else knows of it either, so it is processed as long
// as the stream has it.
func (s *groupSource) beginUnowned(ctx context.Context, one *held) bool {
	e := s.engine
	var found []redis.XMessage
	err := e.persist(ctx, "fetching an entry to deliver it again", func(ctx context.Context) (err error) {
		found, err = e.client.XRange(ctx, e.stream, one.id, one.id).Result()
		return err
	}, false)
	switch {
	case err != nil:
		s.held.end(one, unread)
		return false
	case len(found) == 0:
		s.log().Warn("entry lost: the stream no longer has it", "entry_id", one.id)
		s.held.forget(one)
		return false
	}
	one.entry = &Entry{Stream: e.stream, ID: one.id, Fields: codec.Fields(found[0].Values), Deliveries: one.deliveries + 1}
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

// ack acks what is done if that is at least n entries, and tries until it has
// succeeded or ctx is done.
func (s *groupSource) ack(ctx context.Context, n int) {
	// The only error is that ctx is done: then the stop acks.
	_ = s.ackWith(n, func(list []*held) error {
		return s.engine.persist(ctx, "acking entries", func(ctx context.Context) error { return s.ackOnce(ctx, list) }, false)
	})
}

// ackWith takes what is done, if that is at least n entries, and gives it back if
// it could not be acked.
func (s *groupSource) ackWith(n int, ack func([]*held) error) error {
	list := s.held.takeDone(n)
	if len(list) == 0 {
		return nil
	}
	if err := ack(list); err != nil {
		s.held.returnDone(list)
		return err
	}
	s.held.forget(list...)
	return nil
}

// ackOnce acks entries that are still ours. XACK itself does not ask: late, it
// would end an entry that another consumer is at work on.
func (s *groupSource) ackOnce(ctx context.Context, list []*held) error {
	e := s.engine
	ids, late := s.held.split(list, time.Now().Add(-e.claimIdle/2))
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
	return e.client.XAck(ctx, e.stream, s.group, ids...).Err()
}
