package groupmode

import (
	"context"
	"fmt"
	"time"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/feed"
	"millrace/stream/internal/later"
	"millrace/stream/internal/loss"
	"millrace/stream/internal/mode"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
	"millrace/stream/internal/task"
)

// source reads the group. Its fields are the reading goroutine's own; its parts say which
// goroutines use them.
type source struct {
	*consumer
	start   mode.Start
	sought  bool
	bound   *mode.Bound
	release func() // of the consumer's name
	feed    feed.Feed
	losses  *loss.GroupFinder
	own     *ownPending
	leases  *leases
	claims  *claimer
	returns *later.MoveTask

	// unsure is set when Redis may have given us entries that never arrived: at
	// the start, and after a read that failed.
	unsure bool
	// made is set when the group was made at the start.
	made bool
	// last is the ID of the last entry that was read and taken.
	last string
	// idle is set when the last read has brought all that there was.
	idle bool
}

func newSource(c *consumer, s Settings) *source {
	watched := loss.Group{
		Stream: loss.Stream{Client: c.client, Name: c.stream, MaxEntry: c.maxEntry}, Group: c.group, Consumer: c.name,
		Position: c.window.Position, Tell: c.tellLoss,
	}
	if s.Start.After != nil {
		watched.Start = *s.Start.After
	}
	return &source{
		consumer: c, start: s.Start, sought: s.Sought, bound: s.Bound, losses: loss.NewGroupFinder(watched),
		own: newOwnPending(c), leases: newLeases(c), unsure: true, idle: true,
	}
}

// noteRound is called when a read has come back.
func (s *source) noteRound() {
	if s.losses.ReadDone() {
		s.claims.task.Request() // the caller may hold a lock
	}
}

// Start makes the group if it is missing.
func (s *source) Start(ctx context.Context) error {
	from := resp.Beginning
	switch {
	case s.start.End:
		from = "$" // looked up by the server, once, when the group is made
	case s.start.After != nil:
		from = *s.start.After
	}
	err := s.client.XGroupCreateMkStream(ctx, s.stream, s.group, from).Err()
	s.made = s.made || err == nil // the tries that follow find it there
	if err != nil && conn.Classify(err).Code != "BUSYGROUP" {
		return fmt.Errorf("making the group %q: %w", s.group, err)
	}
	groups, err := s.client.XInfoGroups(ctx, s.stream).Result()
	if err != nil {
		return fmt.Errorf("looking up the group %q: %w", s.group, err)
	}
	if s.bound != nil {
		if err := s.bound.Find(ctx, s.losses.Stream()); err != nil {
			return err
		}
	}
	for _, group := range groups {
		if group.Name == s.group {
			s.last = group.LastDeliveredID
			s.window.StartAt(s.last)
			if err := s.losses.Begin(ctx, s.made || s.sought); err != nil {
				return err
			}
			s.log.Info("consumer started", "made_group", s.made, "last_delivered", s.last) // once: a start that fails is tried again
			s.feed.Schedule(&s.leases.task)
			s.returns.Enter()
			return nil
		}
	}
	return fmt.Errorf("the group %q vanished while it was looked up", s.group)
}

// Fetch takes up the entries that are pending on this consumer and may not be in the window,
// and reads new entries afterwards.
func (s *source) Fetch(ctx context.Context) (err error) {
	defer func() {
		if err != nil && err != mode.ErrOver { //nolint:errorlint // our own, never wrapped
			s.feed.Failed()
			return
		}
		s.noteRound()
	}()
	for s.unsure || s.own.unanswered.Load() {
		if err := s.catchUp(ctx); err != nil {
			s.unsure = true
			return s.mend(ctx, err)
		}
	}
	if wait, err := s.isOver(ctx); err != nil || wait {
		return s.mend(ctx, err)
	}
	if !s.host.AwaitRoom(ctx) {
		return ctx.Err()
	}
	s.idle = true
	err = s.feed.Fetch(ctx, resp.Place{ID: ">"}, s.take, func(context.Context) (wait bool, err error) {
		return !s.own.unanswered.Load() && s.bound == nil, nil // the next fetch takes up the entries that were claimed
	})
	if err != nil {
		s.losses.ReadFailed(err)
		s.unsure = true
		return s.mend(ctx, err)
	}
	return nil
}

// take puts entries that were read into the window.
func (s *source) take(b resp.Batch, at time.Time) (more bool) {
	last := s.losses.Read(b)
	over := s.bound.Cut(&b)
	if b.Len() == 0 {
		return false
	}
	if over {
		last = b.LastID() // the others go back at the stop, as if they had not been read
	}
	s.last, s.idle = last, !b.More
	more = s.host.Take(b, at) && !over
	if ids := s.held.TakeDoubles(); len(ids) > 0 {
		s.tellLoss(loss.Finding{Cause: loss.Replaced, From: ids[0], To: ids[len(ids)-1], Count: int64(len(ids)), Exact: true})
	}
	return more
}

// catchUp looks for changes that came while nothing was read.
func (s *source) catchUp(ctx context.Context) error {
	if err := s.losses.Compare(ctx); err != nil {
		return err
	}
	s.own.reopen(s.own.unanswered.Swap(false))
	s.unsure = false
	return s.takeUp(ctx)
}

// takeUp takes up the entries that are pending on this consumer's own name, and returns
// when all of them are in the window or ended. It comes after reopen.
func (s *source) takeUp(ctx context.Context) error {
	reads := task.WatchdogOf(ctx)
	// The first page waits for nothing: if the group is gone, the entries that fill the
	// window may be waiting for the reader to make it again.
	for first := true; s.own.open.Load() && !s.own.unanswered.Load(); first = false {
		if !first && !s.host.AwaitRoom(ctx) {
			return ctx.Err()
		}
		reads.Waits(&s.claims.watchdog) // the claimer may wait for its turn
		if err := s.own.byItself(ctx, func() error {
			reads.Begin()
			return s.own.takeUpPage(ctx, s.last)
		}); err != nil {
			return err
		}
		reads.Progress()
		if s.own.open.Load() { // else a read follows
			s.host.NoteAnswer()
		}
		// Entries that have waited for long are claimed by others unless they are renewed
		// when their turn comes.
		if err := s.leases.renewAll(ctx); err != nil {
			return err
		}
	}
	return nil
}

// mend makes the group again if err says that it is gone, and returns err
// otherwise. The same words can also mean that a cluster has moved the stream to
// another node; then the group is there when it is looked for.
func (s *source) mend(ctx context.Context, err error) error {
	if err != nil && err != mode.ErrOver { //nolint:errorlint // our own, never wrapped
		s.failed.Add(1) // before anything is asked: the probe may be looked for meanwhile
	}
	if conn.Classify(err).Class != conn.Gone {
		return err
	}
	s.held.DoubtAll()
	s.unsure = true
	// If the stream is still the one we have read from, it goes on behind the
	// last entry that was read here; others may be further, so that entries can
	// come again. If it is not, everything in it is new.
	from := resp.Beginning
	if s.last != resp.Beginning {
		// In a stream that was made again within a millisecond, another entry can have
		// its ID.
		there, err := conn.HasEntry(ctx, s.client, s.stream, s.losses.PlaceOf(s.last), s.maxEntry)
		if err != nil {
			return err
		}
		if there {
			from = s.last
		}
	}
	made := s.client.XGroupCreateMkStream(ctx, s.stream, s.group, from).Err()
	if conn.Classify(made).Code == "BUSYGROUP" {
		return err // another consumer was faster, or it had only moved: the next read works
	}
	if made != nil {
		return fmt.Errorf("making the group %q again: %w", s.group, made)
	}
	s.losses.Remade(from != s.last)
	found := loss.Finding{Cause: loss.GroupDeleted, From: s.last, Count: -1}
	if from != s.last {
		found.Cause = loss.Recreated
	}
	if next, err := conn.FirstOf(ctx, s.client, "xrange", s.stream, resp.After(from), "+"); err == nil {
		found.To = next
	}
	s.host.NoteLoss(nil, found)
	if from != s.last {
		s.last = from
		s.window.MoveBack(from)
	}
	s.log.Warn("the group was gone and has been made again: what was pending on consumers that do not run any more is lost", "from", from, "err", err)
	return nil
}

// Stop acks the entries that are done, hands back the others, and leaves the group.
func (s *source) Stop(ctx context.Context) error {
	fail := func(err error) error {
		return fmt.Errorf("stream: stopped, but what is pending on consumer %q of group %q could not be settled or handed back; it will be claimed when it has been idle for %v: %w", s.name, s.group, s.claimIdle, conn.Classify(err).Explain(err))
	}
	if err := s.host.SettleLast(ctx); err != nil {
		return fail(err)
	}
	// Entries that are held and not handled, and that a renewal has found gone from the
	// stream, cannot be handed back.
	for _, id := range s.held.UnhandledGone() {
		s.tellGone(id)
	}
	if err := s.own.handBack(ctx, s.last); err != nil {
		if conn.Classify(err).Class == conn.Gone {
			return nil // there is nothing to hand back, and nothing to leave
		}
		return fail(err)
	}
	if err := s.claims.namesake.leaveNoProbe(ctx, s.consumer); err != nil && conn.Classify(err).Class != conn.Gone {
		return fail(err)
	}
	if err := script.Leave.Run(ctx, s.client, []string{s.stream}, s.group, s.name).Err(); err != nil && conn.Classify(err).Class != conn.Gone {
		return fail(err)
	}
	return nil
}

// Recall has a fetch that waits come back.
func (s *source) Recall() { s.feed.Recall() }

// Interrupt ends a fetch that waits.
func (s *source) Interrupt() { s.feed.Interrupt() }

// Close ends the connection, and gives the consumer's name back.
func (s *source) Close() error {
	s.leases.trouble.Abandon()
	s.claims.trouble.Abandon()
	s.returns.Leave()
	s.release() // not before the stop: another consumer may take the name now
	return s.feed.Close()
}
