package stream

import (
	"context"
	"fmt"
	"time"

	"millrace/offset"
)

// reapFactor times the claim idle time is how long a consumer that was given its
// name by us has been idle when its name is removed.
const reapFactor = 20

func (s *groupSource) attend(tender *errand) { s.feed.attend(tender) }

// tend does what has to be done from time to time while a consumer in group mode
// runs: it renews the idle time of what is held, so that nobody claims it, and has
// what others have left taken over.
func (s *groupSource) tend(ctx context.Context) {
	s.note(ctx, &s.renewing, "keeping what is pending", caught(func() error { return s.renewAll(ctx) }))
	s.taker.ask() // afterwards, so that what another has claimed is noticed before it is claimed back
}

func (s *groupSource) takeOver(ctx context.Context) {
	s.tellSkipped()
	s.note(ctx, &s.taking, "taking over what others have left", caught(func() error { return s.takeLeft(ctx) }))
	s.lookForNamesake(ctx)
}

// takeLeft takes over what others have left. If that is more than may wait to be
// begun, it is called again as soon as what waits has been begun.
func (s *groupSource) takeLeft(ctx context.Context) (err error) {
	more, full := s.more, false
	s.more = false
	s.due = s.feed.isDue() || s.due || more
	s.given = s.feed.mayBeHandedBack() || s.given || more
	if s.given {
		err = s.byItself(func(ctx context.Context) error { return s.takeHandedBack(ctx, &full) })(ctx)
		s.given = err != nil // or the next round would do nothing, and tell that it works
	}
	if s.due && err == nil {
		if err = s.lookAround(ctx); err == nil {
			err = s.byItself(func(ctx context.Context) error { return s.claim(ctx, &full) })(ctx)
			s.due = err != nil
		}
	}
	if now := time.Now(); err == nil && now.Sub(s.reaped) >= s.claimIdle*reapFactor/2 {
		err = s.reap(ctx)
		s.reaped = now
	}
	if err == nil && full {
		s.more = true
		s.window.whenBegun(s.taker.ask)
	}
	return err
}

// note keeps the result of something that is tried again at the next tick.
func (s *groupSource) note(ctx context.Context, trouble **outage, what string, err error) {
	switch {
	case ctx.Err() != nil:
	case classify(err).class == gone:
		s.window.suspect() // the reader makes it again
	case err != nil:
		if *trouble == nil {
			*trouble = s.newOutage(what, s.log())
		}
		(*trouble).goesOn(err)
	default:
		(*trouble).ends()
	}
}

// takeHandedBack takes over what consumers gave back when they stopped, and notes
// if there may be more.
func (s *groupSource) takeHandedBack(ctx context.Context, full *bool) error {
	room := s.window.roomToTake(s.batchSize)
	if room == 0 {
		*full = true
		return nil
	}
	defer s.window.watch()()
	at := time.Now()
	ids, err := takeScript.run(ctx, s.client, []string{s.stream}, s.group, s.name, handedBack, room).StringSlice()
	if err != nil {
		s.noteUnanswered(ctx, err)
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
// notes if there may be more. The cursor tells the end, not an empty reply:
// XAUTOCLAIM looks at a bounded number of entries at a time, none of which may be
// idle.
func (s *groupSource) claim(ctx context.Context, full *bool) error {
	taken := 0
	defer func() {
		if taken > 0 {
			s.log().Warn("claimed entries of consumers that seem to be dead", "entries", taken)
			s.took(taken, false)
		}
	}()
	defer s.window.watch()()
	for {
		room := s.window.roomToTake(s.batchSize)
		if room == 0 {
			*full = true
			return nil
		}
		at := time.Now()
		reply, err := doOnce(ctx, s.client, "xautoclaim", s.stream, s.group, s.name,
			s.claimIdle.Milliseconds(), s.cursor, "count", room, "justid").Slice()
		if err != nil {
			s.noteUnanswered(ctx, err)
			s.cursor = beginning
			return fmt.Errorf("claiming what has been idle: %w", err)
		}
		s.cursor, _ = reply[0].(string)
		taken += s.window.addTaken(texts(reply[1]), false, at)
		if len(reply) > 2 {
			for _, id := range texts(reply[2]) {
				s.log().Warn("entry lost: it is pending, but the stream no longer has it", "entry_id", id)
				s.loseEntry(id)
			}
		}
		if s.cursor == beginning || s.cursor == "" {
			s.cursor = beginning
			return nil
		}
	}
}

// noteUnanswered has the reader take up what a command may have brought that has
// failed. The client does not send it again by itself: that would bring nothing, as if
// there had been nothing.
func (s *groupSource) noteUnanswered(ctx context.Context, err error) {
	if !neverRan(ctx, err) {
		s.unanswered.Store(true)
	}
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

// after returns the ID that follows directly, and for the last one of all that
// itself: what goes through a list from after to after must not begin again.
func after(id string) string {
	parsed, err := offset.Parse(id)
	if err != nil {
		return id
	}
	if parsed.Seq++; parsed.Seq == 0 { // it was the last of its millisecond
		if parsed.Ms++; parsed.Ms == 0 {
			return id
		}
	}
	return parsed.String()
}
