package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
)

// reapFactor times the claim idle time is how long a consumer that was given its
// name by us has been idle when its name is removed.
const reapFactor = 20

// tend does what has to be done from time to time while a consumer in group mode
// runs: it renews the idle time of what is held, so that nobody claims it, and
// takes over what others have left.
func (s *groupSource) tend(ctx context.Context) {
	idle := s.claimIdle
	tick := time.NewTicker(min(time.Second, max(idle/4, time.Millisecond)))
	defer tick.Stop()
	renewing, taking := s.newOutage("keeping what is pending", s.log()), s.newOutage("taking over what others have left", s.log())
	defer renewing.abandon()
	defer taking.abandon()
	var claimed, reaped time.Time
	cursor := beginning
	var more <-chan struct{} // set while there was more to take over than could be begun
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.note(ctx, renewing, s.sharing.inTurn(s.renewAll)(ctx))
		case <-more:
			claimed = time.Time{}
		}
		now, full := time.Now(), false
		var err error
		if s.feed.mayBeHandedBack() || more != nil {
			err = s.sharing.inTurn(func(ctx context.Context) error { return s.takeHandedBack(ctx, &full) })(ctx)
		}
		if err == nil && now.Sub(claimed) >= idle/2 {
			err = s.sharing.inTurn(s.findUnread)(ctx)
		}
		if err == nil && now.Sub(claimed) >= idle/2 {
			err = s.sharing.inTurn(func(ctx context.Context) (err error) {
				cursor, err = s.claim(ctx, cursor, &full)
				return err
			})(ctx)
			claimed = now
		}
		if err == nil && now.Sub(reaped) >= idle*reapFactor/2 {
			err = s.sharing.inTurn(s.reap)(ctx)
			reaped = now
		}
		s.note(ctx, taking, err)
		more = nil
		if full && err == nil {
			more = s.window.hungry
		}
	}
}

// note keeps the result of something that is tried again at the next tick.
func (s *groupSource) note(ctx context.Context, trouble *outage, err error) {
	switch {
	case ctx.Err() != nil:
	case err != nil && groupGone(err):
		s.window.suspect() // the reader makes it again
	case err != nil:
		trouble.goesOn(err)
	default:
		trouble.ends()
	}
}

// renewAll renews everything that was not for a third of the claim idle time.
func (s *groupSource) renewAll(ctx context.Context) error {
	ids := s.window.untouched(time.Now().Add(-s.claimIdle / 3))
	for len(ids) > 0 {
		n := min(len(ids), 200)
		lost, gone, err := s.renew(ctx, ids[:n])
		if err != nil {
			return err
		}
		s.window.suspectGone(gone)
		for _, id := range s.window.loseAll(lost, ErrClaimed) {
			s.log().Warn("entry lost to another consumer, which has claimed it", "entry_id", id)
		}
		ids = ids[n:]
	}
	return nil
}

// renew resets the idle time of entries. It returns which are not ours, and which
// the stream no longer has.
func (s *groupSource) renew(ctx context.Context, ids []string) (lost, gone []string, err error) {
	at := time.Now()
	args := []any{s.group, s.name}
	for _, id := range ids {
		args = append(args, id)
	}
	reply, err := renewScript.Run(ctx, s.client, []string{s.stream}, args...).Slice()
	if err != nil {
		return nil, nil, err
	}
	lost, gone = texts(reply[0]), texts(reply[1])
	// Not those: one that has ended meanwhile would be acked as if it were ours.
	s.window.touch(slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(lost, id) }), at)
	return lost, gone, nil
}

// takeHandedBack takes over what consumers gave back when they stopped, and notes
// if there may be more.
func (s *groupSource) takeHandedBack(ctx context.Context, full *bool) error {
	room := s.window.roomToTake(s.batchSize)
	if room == 0 {
		*full = true
		return nil
	}
	at := time.Now()
	ids, err := takeScript.Run(ctx, s.client, []string{s.stream}, s.group, s.name, handedBack, room).StringSlice()
	if err != nil {
		return fmt.Errorf("taking what was handed back: %w", err)
	}
	*full = len(ids) == room
	if n := s.window.addTaken(ids, false, at); n > 0 {
		s.log().Info("took over entries that a consumer handed back", "entries", n)
		s.took(n, true)
	}
	return nil
}

// claim takes over what has been idle for too long, as far as there is room, and
// returns where to go on; it notes if there may be more. The cursor tells the end,
// not an empty reply: XAUTOCLAIM looks at a bounded number of entries at a time,
// none of which may be idle.
func (s *groupSource) claim(ctx context.Context, cursor string, full *bool) (string, error) {
	taken := 0
	defer func() {
		if taken > 0 {
			s.log().Warn("claimed entries of consumers that seem to be dead", "entries", taken)
			s.took(taken, false)
		}
	}()
	for {
		room := s.window.roomToTake(s.batchSize)
		if room == 0 {
			*full = true
			return cursor, nil
		}
		at := time.Now()
		reply, err := s.client.Do(ctx, "XAUTOCLAIM", s.stream, s.group, s.name,
			s.claimIdle.Milliseconds(), cursor, "COUNT", room, "JUSTID").Slice()
		if err != nil {
			return beginning, fmt.Errorf("claiming what has been idle: %w", err)
		}
		cursor, _ = reply[0].(string)
		taken += s.window.addTaken(texts(reply[1]), false, at)
		if len(reply) > 2 {
			for _, id := range texts(reply[2]) {
				s.log().Warn("entry lost: it is pending, but the stream no longer has it", "entry_id", id)
				s.loseEntry(id)
			}
		}
		if cursor == beginning || cursor == "" {
			return beginning, nil
		}
	}
}

// findUnread finds out whether entries were trimmed away before the group has read
// them, which no read tells.
func (s *groupSource) findUnread(ctx context.Context) error {
	reply, err := unreadScript.Run(ctx, s.client, []string{s.stream}, s.group).Slice()
	switch {
	case errors.Is(err, redis.Nil), err == nil && len(reply) != 4:
		return nil
	case err != nil && (lacksRight(err) || hasCode(err, "ERR")):
		return nil // without the right, or on a server without the counters, it cannot be known
	case err != nil:
		return fmt.Errorf("looking for entries that were trimmed unread: %w", err)
	}
	count, _ := reply[0].(int64)
	from, _ := reply[1].(string)
	to, _ := reply[2].(string)
	s.tellLoss(&LossError{Cause: LossTrimmed, From: from, To: to, Count: count, Exact: reply[3] == int64(1)})
	return nil
}

// tellLoss logs and counts a loss.
func (s *groupSource) tellLoss(loss *LossError) {
	loss.Stream, loss.Group = s.stream, s.group
	s.log().Error("entries lost", "cause", string(loss.Cause), "from", loss.From, "to", loss.To, "count", loss.Count, "exact", loss.Exact)
	s.lose(max(1, loss.Count), loss)
}

// reap removes the names of consumers that died.
func (s *groupSource) reap(ctx context.Context) error {
	limit := (s.claimIdle * reapFactor).Milliseconds()
	n, err := reapScript.Run(ctx, s.client, []string{s.stream}, s.group, s.name, defaultNamePrefix, limit).Int()
	if err != nil {
		return fmt.Errorf("removing the names of dead consumers: %w", err)
	}
	if n > 0 {
		s.log().Info("removed the names of consumers that died", "consumers", n)
	}
	return nil
}

// texts returns the strings of a reply.
func texts(reply any) []string {
	list, _ := reply.([]any)
	out := make([]string, 0, len(list))
	for _, one := range list {
		if text, ok := one.(string); ok {
			out = append(out, text)
		}
	}
	return out
}

// after returns the ID that follows directly.
func after(id string) string {
	parsed, err := offset.Parse(id)
	if err != nil {
		return id
	}
	if parsed.Seq++; parsed.Seq == 0 { // it was the last of its millisecond
		parsed.Ms++
	}
	return parsed.String()
}
