package groupmode

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"millrace/stream/internal/contain"
	"millrace/stream/internal/feed"
	"millrace/stream/internal/loss"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
	"millrace/stream/internal/task"
)

// claimer claims the entries that other consumers have left, removes the names of those that
// died, and looks for losses. The fields are its task's own, but for returned.
type claimer struct {
	*consumer
	task     task.Task
	watchdog task.Watchdog
	trouble  task.Outage

	readCount int
	feed      feed.Feed
	losses    *loss.GroupFinder
	own       *ownPending
	reaper    reaper
	namesake  namesake

	returned atomic.Bool // entries that were put off have come back

	asked  bool   // the server was asked, in this round
	given  bool   // something may have been handed back
	due    bool   // to look around, and to claim
	blind  bool   // the last look around has failed
	cursor string // of the claim
	more   bool   // there was more to take over than could be begun
}

func newClaimer(s *source, readCount int, probe string) *claimer {
	c := &claimer{
		consumer: s.consumer, trouble: s.host.NewOutage(s.log, "taking over what others have left"),
		readCount: readCount, feed: s.feed, losses: s.losses, own: s.own,
		reaper: reaper{idle: s.claimIdle * reapFactor}, namesake: namesake{probe: probe}, cursor: resp.Beginning,
	}
	c.task.Do = func(ctx context.Context) {
		ctx = task.WithWatchdog(ctx, &c.watchdog)
		if c.window.IsPaused() {
			// Nothing is claimed, and a loss is found by the looks after the pause: operators pause
			// the consumers of a group before one of them seeks.
			c.namesake.check(ctx, c.consumer)
			return
		}
		c.losses.TellSkipped()
		c.asked = false
		// A round that asks nothing must not tell that it works.
		if err := contain.Caught(func() error { return c.claimOrReap(ctx) }); c.asked || err != nil {
			c.note(ctx, c.trouble, err)
		}
		c.namesake.check(ctx, c.consumer)
	}
	return c
}

// claimOrReap takes over entries of other consumers, and removes the names of those that died.
func (c *claimer) claimOrReap(ctx context.Context) (err error) {
	if c.own.open.Load() {
		// Entries that are pending on this consumer already come first.
		if c.feed.IsDue() || c.blind {
			c.due = true
			err = c.look(ctx)
		}
	} else {
		err = c.claimFromOthers(ctx)
	}
	if err == nil && c.reaper.isDue(time.Now()) {
		c.asked = true
		err = c.reaper.reap(ctx, c.consumer)
	}
	return err
}

// look looks around for losses. After a failure the next round looks again.
func (c *claimer) look(ctx context.Context) error {
	c.asked = true
	err := c.losses.Check(ctx)
	c.blind = err != nil
	return err
}

// claimFromOthers takes over entries that were handed back, or have been idle for too long.
// If there are more than there is room for, it is called again as soon as there is room.
func (c *claimer) claimFromOthers(ctx context.Context) (err error) {
	more, full := c.more, false
	c.more = false
	c.due = c.feed.IsDue() || c.due || more
	c.given = c.feed.MayBeHandedBack() || c.returned.Swap(false) || c.given || more
	if c.given {
		err = c.own.byItself(ctx, func() error { return c.claimHandedBack(ctx, &full) })
		c.given = err != nil
	}
	if c.due && err == nil {
		if err = c.look(ctx); err == nil {
			err = c.own.byItself(ctx, func() error { return c.claim(ctx, &full) })
			c.due = err != nil
		}
	}
	if err == nil && full {
		c.more = true
		c.held.WhenRoomToClaim(c.readCount, c.task.Request)
	}
	return err
}

// claimHandedBack claims the entries that consumers gave back when they stopped, and notes
// if there may be more.
func (c *claimer) claimHandedBack(ctx context.Context, full *bool) error {
	room := c.held.RoomToClaim(c.readCount)
	if room == 0 {
		*full = true
		return nil
	}
	defer c.held.WatchLeaving()()
	c.asked = true
	at := time.Now()
	reply, err := script.TakeHandedBack.Run(ctx, c.client, []string{c.stream}, c.group, c.name, script.HandedBackTo, room).Slice()
	if err != nil {
		c.own.noteUnanswered(ctx, err)
		return fmt.Errorf("taking what was handed back: %w", err)
	}
	ids, vanished := texts(reply[0]), texts(reply[1])
	*full = len(ids)+len(vanished) == room
	c.noteGone(vanished)
	if n := c.held.AddClaimed(ids, false, at); n > 0 {
		c.log.Info("took over entries that a consumer handed back", "entries", n)
		c.host.NoteClaimed(n, true)
	}
	return nil
}

// claim claims entries that have been idle for too long, as far as there is room, and
// notes if there may be more. The cursor tells the end, not an empty reply: the script
// looks at a bounded number of entries at a time, none of which may be idle.
func (c *claimer) claim(ctx context.Context, full *bool) error {
	taken := 0
	defer func() {
		if taken > 0 {
			c.log.Warn("claimed entries of consumers that seem to be dead", "entries", taken)
			c.host.NoteClaimed(taken, false)
		}
	}()
	defer c.held.WatchLeaving()()
	for {
		room := c.held.RoomToClaim(c.readCount)
		if room == 0 {
			*full = true
			return nil
		}
		at := time.Now()
		reply, err := script.Claim.Run(ctx, c.client, []string{c.stream}, c.group, c.name, c.cursor, c.claimIdle.Milliseconds(), room).Slice()
		if err != nil {
			c.own.noteUnanswered(ctx, err)
			c.cursor = resp.Beginning
			return fmt.Errorf("claiming what has been idle: %w", err)
		}
		taken += c.held.AddClaimed(texts(reply[1]), false, at)
		c.noteGone(texts(reply[2]))
		last, _ := reply[0].(string)
		if last == "" {
			c.cursor = resp.Beginning
			return nil
		}
		c.cursor = resp.After(last)
	}
}
