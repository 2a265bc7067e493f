package stream

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace/stream/internal/contain"
)

// Health is whether a consumer, or a Runner's consumers, are well at one moment.
type Health struct {
	// Live says that nothing is stuck: Run is at work, and no single try to start, to
	// read or to settle has been on its way for half a minute longer than it should be,
	// without a result or an error. It stays true while Redis is away, since starting the
	// process anew does not bring it back: then the tries fail, and go on.
	Live bool
	// Ready says that all is well: the consumer is live, its last read worked, and
	// was not long ago; nothing is failing just now; the window has not been full for
	// half a minute behind an entry that fails; and no other live consumer of the group
	// has the name ([WithConsumerName]). It becomes true when the
	// first read has come back, which on an idle stream takes the block time
	// ([WithBlock]). A server that stands still shows two seconds after a read
	// should have come back, so after four by default. In log mode a consumer
	// whose window is full asks the server nothing until there is something to settle or to
	// read: an outage shows then.
	Ready bool
	// Reason says for people, in one line, why the consumer is not well, with the remedy where
	// there is one for them; empty if it is well. It can be there although the consumer is
	// ready: when the window has been full for half a minute behind a handler that is at work,
	// since how long one may take only you know, and when another writer has moved the offset
	// of the label in the last five minutes, and during a pause ([Consumer.Pause]). It holds no
	// field values.
	Reason string
}

const (
	// stuckAfter is how much longer than it should something takes that is stuck.
	stuckAfter = 30 * time.Second
	// settlePatience is patience for one try to settle, whose time is the store's.
	settlePatience = 4 * time.Second
)

// Health returns whether the consumer is well. It asks no server, never waits, and may be
// called at any time, before and after Run as well.
func (c *Consumer[T]) Health() Health { return c.engine.health() }

func (e *engine) health() Health {
	until, reason := e.steering.pausedUntil()
	turning := e.steering.isTurning()
	m := &e.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.run == nil {
		if m.ended != nil {
			return Health{Reason: "Run has ended: " + m.ended.Error()}
		}
		return Health{Reason: "not running"}
	}
	h := Health{Live: true, Ready: true}
	var reasons []string
	say := func(format string, args ...any) { reasons = append(reasons, fmt.Sprintf(format, args...)) }
	now := time.Now()
	switch paused := !until.IsZero(); {
	case turning:
		h.Ready = false
		say("being set to another place: handlers at work are waited for")
	case m.run.window.IsStopped():
		h.Ready = false
		say("stopping")
	case paused:
		say("paused until %s: %s", until.UTC().Format(time.RFC3339), reason)
	}
	for _, o := range m.outages {
		h.Ready = false
		say("%s has been failing for %v: %s", o.what, now.Sub(o.Since).Round(time.Second), o.err)
	}
	reading := m.run.reads.Still(now)
	switch silence := m.silence(e, now); {
	case !m.started && reading >= stuckAfter:
		h.Live, h.Ready = false, false
		say("%s has been on its way for %v", startingWhat, reading.Round(time.Second))
	case silence > 0 || reading >= e.stuckReading():
		h.Ready = false
		h.Live = reading < e.stuckReading()
		say("no read has come back for %v", max(silence, reading).Round(time.Second))
	case len(reasons) > 0 && (until.IsZero() || m.started):
	case !m.started:
		h.Ready = false
		say("starting")
	case m.lastRead.Before(m.since):
		h.Ready = false
		say("starting: the first read is on its way")
	}
	if took := m.run.settles.Still(now); took > settlePatience {
		h.Ready = false
		h.Live = h.Live && took < stuckAfter
		say("%s has been on its way for %v", settlingWhat(e.inGroup()), took.Round(time.Second))
	}
	if id, failing, stuck := m.run.window.Stuck(now); stuck > stuckAfter {
		if failing {
			h.Ready = false
			say("nothing is read: the window has been full for %v behind entry %s, which fails", stuck.Round(time.Second), id)
		} else {
			say("nothing is read: the window has been full for %v behind entry %s", stuck.Round(time.Second), id)
		}
	}
	if text := m.rival.reason(now); text != "" {
		// A name that is in use twice is a mistake. Of a label, every rolling deployment
		// has two for a moment: one that waits for the new consumer to be ready, before it
		// stops the old one, would wait for ever.
		h.Ready = h.Ready && !e.inGroup()
		say("%s", text)
	}
	h.Reason = strings.Join(reasons, "; ")
	return h
}

// stuckReading is how long a try to read takes that is stuck. Two reads may have to come
// back: one that is shared, and cannot be ended, comes before one's own.
func (e *engine) stuckReading() time.Duration { return 2*e.config.block + stuckAfter }

// Health returns whether everything that was added, and has a method Health like
// this one, is well: live and ready if all are, and the reasons of all that have one,
// each with its name. One that has failed while Run is at work is live, and not ready. A
// Runner to which nothing was added is neither. It may be called at any time.
func (r *Runner) Health() Health {
	r.mu.Lock()
	members := slices.Clone(r.members)
	r.mu.Unlock()
	if len(members) == 0 {
		return Health{Reason: "not running: nothing was added"}
	}
	all := Health{Live: true, Ready: true}
	var reasons []string
	for _, m := range members {
		h, ok := r.healthOf(m)
		if !ok {
			continue
		}
		all.Live, all.Ready = all.Live && h.Live, all.Ready && h.Ready
		if h.Reason != "" {
			reasons = append(reasons, nameOf(m.runnable)+": "+h.Reason)
		}
	}
	all.Reason = strings.Join(reasons, "; ")
	return all
}

// healthOf returns the health of a member, false if it has none.
func (r *Runner) healthOf(m *runnerMember) (h Health, ok bool) {
	// The member's own comes first: a failure is noted after its Run has returned.
	if member, has := m.runnable.(interface{ Health() Health }); has && !contain.IsNil(m.runnable) {
		h, ok = Health{Reason: "its method Health panicked"}, true
		_ = isolated(func() error {
			h = member.Health()
			return nil
		})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if failed, failing := r.healthLocked(m, time.Now()); failing {
		return failed, true
	}
	return h, ok
}
