package admin

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/loss"
)

// Standing is how a group or a label stands at one moment.
type Standing struct {
	Reader Reader
	// Position is the last entry that was delivered to the group, or the offset of the label;
	// empty where the offset is not known here.
	Position string
	// Lag is how far the reader is behind.
	Lag Lag
	// Pending is how many entries are delivered to consumers of the group and not acked.
	Pending int64
	// Oldest is the ID of the first entry that is not done, empty if there is none.
	Oldest string
	// Consumers is how many consumers the group has, the dead ones included, or how many
	// agents have a consumer of the label.
	Consumers int
	// Mirrored is set for a label that is known by its position in the stream alone, see
	// stream.Mirror.
	Mirrored bool

	// Paused is the pause that the consumers are told of, nil if there is none or it is over.
	Paused *Pause
	// Seek is the order to seek that they are told of, nil if there is none.
	Seek *SeekOrder
	// Agents is how many consumers have an agent, and Obeying how many of these have done as
	// they are told: they are paused, or not, and have gone where they were sent.
	Agents, Obeying int
	// Versions are the different versions of the programs with an agent, in order.
	Versions []string
	// Troubles are the different reasons why consumers with an agent are not well, in order.
	Troubles []string
}

// Lag is how far a reader is behind.
type Lag struct {
	// Entries is how many entries are not done, those that are pending included. It means
	// nothing unless it is Known: after a trim, a deletion or a seek Redis' counters do not
	// tell. See stream.Lag, which tells the same.
	Entries int64
	Known   bool
	// Time is the age of the oldest entry that is not done, by its ID and the clock of the
	// server; zero if there is none.
	Time time.Duration
}

// standing is a Standing that is being found out.
type standing struct {
	Standing
	// behind is where the first entry is looked for that is not read, empty if it is not.
	behind string
	// next is the answer to that.
	next conn.Piped
	// pending is the summary of the pending entries.
	pending *redis.XPendingCmd
}

// standings returns how the readers of a stream stand, as far as the replies tell.
func (a *Admin) standings(s *snapshot, name string, info *redis.XInfoStream, groups []redis.XInfoGroup) []*standing {
	var all []*standing
	mirrored := map[string]string{}
	for _, group := range groups {
		if label, is := mirroredLabel(group.Name); is {
			mirrored[label] = group.LastDeliveredID
			continue
		}
		r := Group(name, group.Name)
		lag, unread := a.counter(r).InGroup(info, group)
		one := &standing{Standing: Standing{
			Reader: r, Position: group.LastDeliveredID, Lag: Lag{Entries: lag.Entries, Known: lag.Known},
			Pending: group.Pending, Consumers: int(group.Consumers),
		}}
		if unread {
			one.behind = group.LastDeliveredID
		}
		all = append(all, one)
	}
	for _, label := range s.labelsOf(name, groups) {
		r := Label(name, label)
		one := &standing{Standing: Standing{Reader: r, Consumers: len(s.present[r])}}
		one.Position, one.Mirrored = s.offsetOf(r, mirrored[label])
		if one.Position != "" {
			lag, unread := a.counter(r).InLog(info, loss.Standing{Position: one.Position})
			one.Lag = Lag{Entries: lag.Entries, Known: lag.Known}
			if unread {
				one.behind = one.Position
			}
		}
		all = append(all, one)
	}
	for _, one := range all {
		s.tell(&one.Standing)
	}
	return all
}

// offsetOf returns the offset of a label: that of the store, or that which its agent tells, or
// that of its mirror.
func (s *snapshot) offsetOf(r Reader, mirror string) (id string, mirrored bool) {
	if id := s.offsets[r.Label]; id != "" {
		return id, false
	}
	for _, m := range s.present[r] {
		if m.Settled != "" {
			return m.Settled, false
		}
	}
	return mirror, mirror != ""
}

// tell sets the fields that come from the records of agents, and the orders to them.
func (s *snapshot) tell(to *Standing) {
	control := s.controls[controlField(to.Reader)]
	to.Agents, to.Obeying, to.Versions, to.Troubles, to.Paused = 0, 0, nil, nil, nil
	if control.Paused.active(s.now) {
		to.Paused = control.Paused
	}
	to.Seek = control.Seek
	for _, m := range s.present[to.Reader] {
		to.Agents++
		if m.obeys(to, s.now) {
			to.Obeying++
		}
		if version := m.process.Version; version != "" {
			to.Versions = append(to.Versions, version)
		}
		if m.Reason != "" {
			to.Troubles = append(to.Troubles, m.Reason)
		}
	}
	slices.Sort(to.Versions)
	slices.Sort(to.Troubles)
	to.Versions, to.Troubles = slices.Compact(to.Versions), slices.Compact(to.Troubles)
}

// obeys reports whether the consumer does as it is told.
func (m member) obeys(told *Standing, now time.Time) bool {
	paused := now.Before(m.PausedUntil.Time())
	switch {
	case paused != (told.Paused != nil), paused && m.PausedUntil != told.Paused.Until:
		return false
	case told.Seek != nil && m.Seek != told.Seek.Op:
		return false
	}
	return true
}

// ask adds the questions to a pipeline whose answers a standing needs.
func (one *standing) ask(ctx context.Context, p redis.Pipeliner) {
	name := one.Reader.Stream
	if one.Pending > 0 {
		one.pending = p.XPending(ctx, name, one.Reader.Group)
	}
	if one.behind != "" {
		one.next = conn.PipedFirst(ctx, name, "("+one.behind, "+")
		_ = p.Process(ctx, one.next) // only queues it
	}
}

// answered takes the answers. Of a group that has vanished meanwhile the oldest entry stays
// unknown.
func (one *standing) answered(ctx context.Context, client redis.UniversalClient, now time.Time) error {
	if one.pending != nil {
		pending, err := one.pending.Result()
		if err != nil && conn.Classify(err).Class != conn.Gone {
			return err
		}
		if err == nil {
			one.Oldest = pending.Lower
		}
	}
	if one.behind != "" && one.Oldest == "" && one.next.ReadFirst(&one.Oldest) != nil {
		var err error
		if one.Oldest, err = conn.FirstOf(ctx, client, "xrange", one.Reader.Stream, "("+one.behind, "+"); err != nil {
			return err
		}
	}
	if one.Oldest != "" {
		one.Lag.Time = max(0, now.Sub(TimeOf(one.Oldest)))
	}
	return nil
}
