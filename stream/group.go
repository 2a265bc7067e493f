package stream

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/feed"
	"millrace/stream/internal/loss"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
	"millrace/stream/internal/task"
)

// groupSource is group mode: XREADGROUP and XACK. Everything that was read or claimed is
// in the window, so that nothing is begun twice, and so that it can be kept (see
// lease.go) and handed back. Other entries that are pending on this consumer are taken
// up into the window page by page (see own.go).
type groupSource struct {
	*run
	group   string
	name    string // of the consumer
	release func()
	feed    feed.Feed
	losses  *loss.GroupFinder

	// alone is held while entries are taken over or taken up.
	alone task.Lock
	// unanswered is set when a command that takes over has had no answer: the entries
	// that it has brought are pending on this consumer, for the reader to take up.
	unanswered atomic.Bool

	// The reading goroutine's own.

	// unsure is set when Redis may have given us entries that never arrived: at
	// the start, and after a read that failed.
	unsure bool
	own    ownPending
	// made is set when the group was made at the start.
	made bool
	// last is the ID of the last entry that was read.
	last string

	renewal task.Lock // held while pending entries are renewed

	renewTrouble *outage // tend's own; made when there is some

	// The fields below are claimOthers's own.

	claimTrouble *outage // made when there is some
	reaper       reaper
	given        bool   // something may have been handed back
	due          bool   // to look around, and to claim
	cursor       string // of the claim
	more         bool   // there was more to take over than could be begun

	namesake namesake
}

func openGroup(group string) func(context.Context, *run) (source, error) {
	return func(ctx context.Context, r *run) (source, error) {
		s := &groupSource{
			run: r, group: group, name: r.consumerName, release: func() {},
			alone: task.NewLock(), renewal: task.NewLock(), unsure: true, cursor: resp.Beginning,
			own: ownPending{listed: ownListed}, reaper: reaper{idle: r.claimIdle * reapFactor},
		}
		if s.name == "" {
			s.name, s.release = takeName(r.stream, group)
		} else {
			s.namesake.probe = probePrefix + s.name
		}
		s.losses = loss.NewGroupFinder(s.watched())
		r.guard, r.round = s.losses.Guard, s.noteRound
		feed, err := r.newFeed(ctx, group, s.name)
		if err != nil {
			s.release()
			return nil, err
		}
		s.feed = feed
		return s, nil
	}
}

// watched returns the group for the finder of losses.
func (s *groupSource) watched() loss.Group {
	g := loss.Group{
		Stream: loss.Stream{Client: s.client, Name: s.stream, MaxEntry: s.maxEntry}, Group: s.group, Consumer: s.name,
		Position: s.window.Position, Tell: s.tellLoss,
	}
	if s.config.start.after != nil {
		g.Start = *s.config.start.after
	}
	return g
}

func (s *groupSource) log() *slog.Logger {
	return s.run.log().With("consumer", s.name)
}

// tellLoss tells a loss, and takes note that reading goes on further back, if it does.
func (s *groupSource) tellLoss(found loss.Finding) {
	if found.Back != "" {
		s.window.MoveBack(found.Back)
	}
	s.reportLoss(s.log(), found)
}

// noteRound is called when a read has come back.
func (s *groupSource) noteRound() {
	if s.losses.ReadDone() {
		s.claimer.Request() // the caller may hold a lock
	}
}

// start makes the group if it is missing.
func (s *groupSource) start(ctx context.Context) error {
	from := resp.Beginning
	switch {
	case s.config.start.end:
		from = "$" // looked up by the server, once, when the group is made
	case s.config.start.after != nil:
		from = *s.config.start.after
	}
	err := s.client.XGroupCreateMkStream(ctx, s.stream, s.group, from).Err()
	s.made = s.made || err == nil // the tries that follow find it there
	if err != nil && classify(err).Code != "BUSYGROUP" {
		return fmt.Errorf("making the group %q: %w", s.group, err)
	}
	groups, err := s.client.XInfoGroups(ctx, s.stream).Result()
	if err != nil {
		return fmt.Errorf("looking up the group %q: %w", s.group, err)
	}
	for _, group := range groups {
		if group.Name == s.group {
			s.last = group.LastDeliveredID
			s.window.StartAt(s.last)
			if err := s.losses.Begin(ctx, s.made); err != nil {
				return err
			}
			s.log().Info("consumer started", "made_group", s.made, "last_delivered", s.last) // once: a start that fails is tried again
			return nil
		}
	}
	return fmt.Errorf("the group %q vanished while it was looked up", s.group)
}

func (s *groupSource) fetch(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			s.feed.Failed()
		}
	}()
	for s.unsure || s.unanswered.Load() {
		if err := s.catchUp(ctx); err != nil {
			s.unsure = true
			return s.mend(ctx, err)
		}
	}
	if !s.awaitRoom(ctx) {
		return ctx.Err()
	}
	err = s.feed.Fetch(ctx, resp.Place{ID: ">"}, func(b resp.Batch, at time.Time) bool {
		s.last = s.losses.Read(b)
		more := s.take(b, at)
		if ids := s.leases.TakeDoubles(); len(ids) > 0 {
			s.tellLoss(loss.Finding{Cause: loss.Replaced, From: ids[0], To: ids[len(ids)-1], Count: int64(len(ids)), Exact: true})
		}
		return more
	}, func(context.Context) (wait bool, err error) {
		return !s.unanswered.Load(), nil // the next fetch takes up the entries that were claimed
	})
	if err != nil {
		s.losses.ReadFailed()
		s.unsure = true
		return s.mend(ctx, err)
	}
	return nil
}

// catchUp looks for changes that came while nothing was read.
func (s *groupSource) catchUp(ctx context.Context) error {
	if err := s.losses.Compare(ctx); err != nil {
		return err
	}
	s.own.reopen(s.unanswered.Swap(false))
	s.unsure = false
	return s.takeUp(ctx)
}

// byItself returns do, for claiming and for taking up: entries that the one was given, and
// has not put into the window yet, would be unknown to the other.
func (s *groupSource) byItself(do func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := s.alone.Lock(ctx); err != nil {
			return err
		}
		defer s.alone.Unlock()
		return do(ctx)
	}
}

// mend makes the group again if err says that it is gone, and returns err
// otherwise. The same words can also mean that a cluster has moved the stream to
// another node; then the group is there when it is looked for.
func (s *groupSource) mend(ctx context.Context, err error) error {
	if classify(err).Class != conn.Gone {
		return err
	}
	s.leases.DoubtAll()
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
	if classify(made).Code == "BUSYGROUP" {
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
	s.noteLoss(1, found)
	if from != s.last {
		s.last = from
		s.window.MoveBack(from)
	}
	s.log().Warn("the group was gone and has been made again: what was pending on consumers that do not run any more is lost", "from", from, "err", err)
	return nil
}

// stop acks the entries that are done, hands back the others, and leaves the group.
func (s *groupSource) stop(ctx context.Context) error {
	fail := func(err error) error {
		return fmt.Errorf("stream: stopped, but what is pending on consumer %q of group %q could not be settled or handed back; it will be claimed when it has been idle for %v: %w", s.name, s.group, s.claimIdle, explain(err))
	}
	if err := s.settleLast(ctx); err != nil {
		return fail(err)
	}
	s.tellUnhandled()
	if err := s.handBack(ctx); err != nil {
		if classify(err).Class == conn.Gone {
			return nil // there is nothing to hand back, and nothing to leave
		}
		return fail(err)
	}
	if err := s.leaveNoProbe(ctx); err != nil && classify(err).Class != conn.Gone {
		return fail(err)
	}
	if err := script.Leave.Run(ctx, s.client, []string{s.stream}, s.group, s.name).Err(); err != nil && classify(err).Class != conn.Gone {
		return fail(err)
	}
	return nil
}

func (s *groupSource) interrupt() { s.feed.Interrupt() }

func (s *groupSource) close() error {
	s.renewTrouble.abandon()
	s.claimTrouble.abandon()
	s.release() // not before the stop: another consumer may take the name now
	return s.feed.Close()
}
