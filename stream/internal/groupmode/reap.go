package groupmode

import (
	"context"
	"fmt"
	"strings"
	"time"

	"millrace/stream/internal/script"
)

// reapFactor times the claim idle time is how long a consumer that was given its
// name by us has been idle when its name is removed.
const reapFactor = 20

// reapPace is how long a consumer waits for each name in a list of the group's consumers
// until it asks for the next list. Redis has no other way to tell the names, and none to
// tell some of them: the list takes a microsecond for each, in which the server does
// nothing else, and of that time no more than a ten-thousandth is asked for.
const reapPace = 10 * time.Millisecond

// reaper knows when to look for consumers that died.
type reaper struct {
	idle time.Duration // of a consumer that is taken for dead
	next time.Time     // when to look
	// dead are names of the last list that are still to be removed: a script has failed, and
	// another list may be a quarter of an hour away.
	dead []string
}

func (r *reaper) isDue(now time.Time) bool { return len(r.dead) > 0 || !now.Before(r.next) }

// listed notes that a list of so many names was asked for.
func (r *reaper) listed(names int, now time.Time) {
	r.next = now.Add(max(r.idle/2, time.Duration(names)*reapPace))
}

// reap removes the names of consumers that died. The list of all consumers is no part of
// a script, and no more than a hundred names are removed in one, so that other clients of
// the server wait for neither.
func (r *reaper) reap(ctx context.Context, c *consumer) (err error) {
	if len(r.dead) == 0 {
		r.dead, err = r.findDead(ctx, c)
	}
	removed := 0
	for len(r.dead) > 0 && err == nil {
		names := r.dead[:min(script.ReapMost, len(r.dead))]
		args := []any{c.group}
		for _, name := range names {
			args = append(args, name)
		}
		var n int
		if n, err = script.Reap.Run(ctx, c.client, []string{c.stream}, args...).Int(); err == nil {
			r.dead = r.dead[len(names):]
			removed += n
		}
	}
	if removed > 0 {
		c.log.Info("removed the names of consumers that died", "consumers", removed)
	}
	if err != nil {
		return fmt.Errorf("removing the names of dead consumers: %w", err)
	}
	r.dead = nil
	return nil
}

// findDead lists the consumers of the group that have nothing pending and have been idle
// for long, and whose names are of our making.
func (r *reaper) findDead(ctx context.Context, c *consumer) (names []string, err error) {
	list, err := c.client.XInfoConsumers(ctx, c.stream, c.group).Result()
	r.listed(len(list), time.Now())
	for _, one := range list {
		if one.Pending == 0 && one.Idle >= r.idle && one.Name != c.name && strings.HasPrefix(one.Name, script.NamePrefix) {
			names = append(names, one.Name)
		}
	}
	return names, err
}
