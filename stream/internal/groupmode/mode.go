package groupmode

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/feed"
	"millrace/stream/internal/later"
	"millrace/stream/internal/loss"
	"millrace/stream/internal/mode"
	"millrace/stream/internal/script"
	"millrace/stream/internal/task"
	"millrace/stream/internal/window"
)

// Settings are those of group mode. The feed's Consumer is the name that the user gave; with
// none, the consumer gets one.
type Settings struct {
	mode.Settings
	Leases *window.Leases
	// ReadCount is how many entries are claimed at a time, at the most.
	ReadCount int
	// Postponed are the keys of the entries of the group that were put off.
	Postponed later.Keys
}

// consumer has the identity of this consumer, and the values that all parts of the mode use.
type consumer struct {
	host   mode.Host
	log    *slog.Logger
	client redis.UniversalClient
	stream string
	group  string
	name   string
	// named is set where the user gave the name, so that two processes may have it.
	named     bool
	claimIdle time.Duration
	maxEntry  *int
	window    *window.Window
	held      *window.Leases
	// failed counts reads that failed: afterwards another server may answer, or one without
	// what was there before.
	failed atomic.Int64
	// retake is how many more times the renewer has the reader look for entries that are pending
	// on this consumer, and not in the window.
	retake atomic.Int32
	// effects is set where entries may have effects.
	effects bool
}

// Open returns group mode for one run, whose reading ends with ctx.
func Open(ctx context.Context, s Settings) (mode.Mode, error) {
	c := &consumer{
		host: s.Host, client: s.Feed.Commands.Client, stream: s.Feed.Stream, group: s.Feed.Group, name: s.Feed.Consumer,
		claimIdle: s.Feed.ClaimIdle, maxEntry: s.MaxEntry, window: s.Window, held: s.Leases,
		named: s.Feed.Consumer != "", effects: s.Effects != nil,
	}
	release, probe := func() {}, ""
	if c.name == "" {
		c.name, release = takeName(c.stream, c.group)
	} else {
		probe = script.ProbePrefix + c.name
	}
	c.log = s.Log.With("consumer", c.name)
	src := newSource(c, s)
	src.release = release

	s.Feed.Consumer, s.Feed.Guard = c.name, src.losses
	worked := s.Feed.Worked
	s.Feed.Worked = func() {
		worked()
		src.noteRound()
	}
	var err error
	if src.feed, err = feed.Open(ctx, s.Feed); err != nil {
		release()
		return mode.Mode{}, err
	}
	src.claims = newClaimer(src, s.ReadCount, probe)
	src.leases.afterwards = src.claims.task.Request
	src.leases.lookForOwn = func() { src.own.unanswered.Store(true) }
	settler := &settler{consumer: c, leases: src.leases, letters: s.Letters}
	if s.Effects != nil {
		settler.commits = newCommitter(c, src.leases, s.Effects)
	}
	box := &later.Postponed{Client: c.client, Keys: s.Postponed, Group: c.group}
	src.returns = newReturner(c, s.Watch, box, src.claims)
	return mode.Mode{
		Consumer: c.name, Source: src, Deliverer: &deliverer{c, src.leases}, Settler: settler, Seek: src.seek,
		Postpone: (&postponer{c, src.leases, box, src.returns}).postpone,
		Tasks:    []*task.Task{&src.leases.task, &src.claims.task, &src.returns.Task},
	}, nil
}

// note tells how a try of a task went, which is made again at the next request.
func (c *consumer) note(ctx context.Context, trouble task.Outage, err error) {
	switch {
	case ctx.Err() != nil:
	case conn.Classify(err).Class == conn.Gone:
		c.held.DoubtAll() // the reader makes it again
	case err != nil:
		trouble.GoesOn(err)
	default:
		trouble.Ends()
	}
}

// tellGone tells of an entry that was pending, and is not in the stream any more.
func (c *consumer) tellGone(id string) {
	c.log.Warn("entry lost: it is pending, but the stream no longer has it", "entry_id", id)
	c.tellLost(id)
}

// tellLost is tellGone for an entry of which the log has a line.
func (c *consumer) tellLost(id string) {
	c.host.NoteLoss(nil, loss.OfPending(id))
}

// noteGone takes note of entries that were pending, and that a claim has found gone from the
// stream. It tells of those that no consumer handles any more.
//
// A claim drops the note of each pending entry that it names and that the stream no
// longer has, however short it has been idle: XCLAIM and XAUTOCLAIM look at the idle
// time only afterwards, on every server (Redis 7.0 to 8.0, Valkey 8.1 and 9.1). A live
// consumer still handles such an entry, from its memory. So the idle time is looked at
// first, and each script that claims returns the entries that are gone.
func (c *consumer) noteGone(ids []string) {
	for _, id := range c.held.PassGone(ids) {
		c.tellGone(id)
	}
}

// tellLoss tells a loss, and takes note that reading goes on further back, if it does.
func (c *consumer) tellLoss(found loss.Finding) {
	if found.Back != "" {
		c.window.MoveBack(found.Back)
	}
	c.host.NoteLoss(c.log, found)
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
