package stream

import (
	"context"
	"fmt"
	"time"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
	"millrace/stream/internal/task"
)

func (s *groupSource) schedule(renewer *task.Task) { s.feed.Schedule(renewer) }

// maintain does the work that comes up from time to time while a consumer in group mode
// runs: it renews the leases of its entries, so that no other claims them, and has the
// entries claimed that others have left.
func (s *groupSource) maintain(ctx context.Context) {
	s.note(ctx, &s.renewTrouble, "keeping what is pending", caught(func() error { return s.renewAll(ctx) }))
	s.claimer.Request() // afterwards, so that an entry that another has claimed is noticed before it is claimed back
}

func (s *groupSource) claimOthers(ctx context.Context) {
	s.losses.TellSkipped()
	s.note(ctx, &s.claimTrouble, "taking over what others have left", caught(func() error { return s.claimOrReap(ctx) }))
	s.checkNamesake(ctx)
}

// claimOrReap takes over entries of other consumers, and removes the names of those that died.
func (s *groupSource) claimOrReap(ctx context.Context) (err error) {
	if s.own.open.Load() {
		// Entries that are pending on this consumer already come first.
		if s.feed.IsDue() {
			s.due = true
			err = s.losses.Check(ctx)
		}
	} else {
		err = s.claimFromOthers(ctx)
	}
	if err == nil && s.reaper.isDue(time.Now()) {
		err = s.reap(ctx)
	}
	return err
}

// claimFromOthers takes over entries that were handed back, or have been idle for too long.
// If there are more than there is room for, it is called again as soon as there is room.
func (s *groupSource) claimFromOthers(ctx context.Context) (err error) {
	more, full := s.more, false
	s.more = false
	s.due = s.feed.IsDue() || s.due || more
	s.given = s.feed.MayBeHandedBack() || s.given || more
	if s.given {
		err = s.byItself(func(ctx context.Context) error { return s.claimHandedBack(ctx, &full) })(ctx)
		s.given = err != nil // or the next round would do nothing, and tell that it works
	}
	if s.due && err == nil {
		if err = s.losses.Check(ctx); err == nil {
			err = s.byItself(func(ctx context.Context) error { return s.claim(ctx, &full) })(ctx)
			s.due = err != nil
		}
	}
	if err == nil && full {
		s.more = true
		s.leases.WhenRoomToClaim(s.readCount, s.claimer.Request)
	}
	return err
}

// note keeps the result of something that is tried again at the next tick.
func (s *groupSource) note(ctx context.Context, trouble **outage, what string, err error) {
	switch {
	case ctx.Err() != nil:
	case classify(err).Class == conn.Gone:
		s.leases.DoubtAll() // the reader makes it again
	case err != nil:
		if *trouble == nil {
			*trouble = s.newOutage(what, s.log())
		}
		(*trouble).goesOn(err)
	default:
		(*trouble).ends()
	}
}

// claimHandedBack claims the entries that consumers gave back when they stopped, and notes
// if there may be more.
func (s *groupSource) claimHandedBack(ctx context.Context, full *bool) error {
	room := s.leases.RoomToClaim(s.readCount)
	if room == 0 {
		*full = true
		return nil
	}
	defer s.leases.WatchLeaving()()
	at := time.Now()
	reply, err := script.TakeHandedBack.Run(ctx, s.client, []string{s.stream}, s.group, s.name, script.HandedBackTo, room).Slice()
	if err != nil {
		s.noteUnanswered(ctx, err)
		return fmt.Errorf("taking what was handed back: %w", err)
	}
	ids, vanished := texts(reply[0]), texts(reply[1])
	*full = len(ids)+len(vanished) == room
	s.noteGone(vanished)
	if n := s.leases.AddClaimed(ids, false, at); n > 0 {
		s.log().Info("took over entries that a consumer handed back", "entries", n)
		s.noteClaimed(n, true)
	}
	return nil
}

// claim claims entries that have been idle for too long, as far as there is room, and
// notes if there may be more. The cursor tells the end, not an empty reply: the script
// looks at a bounded number of entries at a time, none of which may be idle.
func (s *groupSource) claim(ctx context.Context, full *bool) error {
	taken := 0
	defer func() {
		if taken > 0 {
			s.log().Warn("claimed entries of consumers that seem to be dead", "entries", taken)
			s.noteClaimed(taken, false)
		}
	}()
	defer s.leases.WatchLeaving()()
	for {
		room := s.leases.RoomToClaim(s.readCount)
		if room == 0 {
			*full = true
			return nil
		}
		at := time.Now()
		reply, err := script.Claim.Run(ctx, s.client, []string{s.stream}, s.group, s.name, s.cursor, s.claimIdle.Milliseconds(), room).Slice()
		if err != nil {
			s.noteUnanswered(ctx, err)
			s.cursor = resp.Beginning
			return fmt.Errorf("claiming what has been idle: %w", err)
		}
		taken += s.leases.AddClaimed(texts(reply[1]), false, at)
		s.noteGone(texts(reply[2]))
		last, _ := reply[0].(string)
		if last == "" {
			s.cursor = resp.Beginning
			return nil
		}
		s.cursor = resp.After(last)
	}
}

// noteUnanswered has the reader take up the entries of a command that has
// failed. The client does not send it again by itself: that would bring nothing, as if
// there had been nothing.
func (s *groupSource) noteUnanswered(ctx context.Context, err error) {
	if !conn.NeverRan(ctx, err) {
		s.unanswered.Store(true)
	}
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
