package admin

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
)

// ReaderDetail is all that is known of a group or a label.
type ReaderDetail struct {
	Standing
	// Members are the consumers: those of the group, or those with an agent that have the
	// label, by name.
	Members []Member
	// OldestPending is the first pending entry of the group, nil if there is none.
	OldestPending *Pending
}

// Member is one consumer of a group or a label.
type Member struct {
	// Name is the consumer's name in the group, or host:pid of a process with the label.
	Name string
	// Pending is how many entries are pending on it.
	Pending int64
	// Idle is how long ago the consumer last sent a command about the group, and Inactive how
	// long ago it last got an entry; -1 where the server does not tell (before Redis 7.2).
	Idle, Inactive time.Duration
	// Process is the process that the consumer runs in, and Presence the consumer as its agent
	// saw it last. Both are nil without an agent, and after the process has ended.
	Process  *Presence
	Presence *ConsumerPresence
}

// Reader returns all that is known of a group or a label. The error wraps [ErrNoTopic] or
// [ErrNoReader] if there is no such thing.
func (a *Admin) Reader(ctx context.Context, r Reader) (ReaderDetail, error) {
	s, standing, err := a.standingOf(ctx, r)
	if err != nil {
		return ReaderDetail{}, err
	}
	detail := ReaderDetail{Standing: standing}
	members := s.present[r]
	if r.Group == "" {
		for _, m := range members {
			detail.Members = append(detail.Members, Member{Name: m.process.name(), Idle: -1, Inactive: -1, Process: m.process, Presence: m.ConsumerPresence})
		}
	} else if err := a.lookAtGroup(ctx, r, members, &detail); err != nil {
		return ReaderDetail{}, explain("reading "+r.String(), err)
	}
	slices.SortFunc(detail.Members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return detail, nil
}

// standingOf returns how one reader stands, with the records of agents.
func (a *Admin) standingOf(ctx context.Context, r Reader) (*snapshot, Standing, error) {
	s, err := a.look(ctx)
	if err != nil {
		return nil, Standing{}, err
	}
	topic, err := a.topic(ctx, s, r.Stream)
	if err != nil {
		return nil, Standing{}, err
	}
	at := slices.IndexFunc(topic.Standings, func(s Standing) bool { return s.Reader == r })
	if at < 0 {
		return nil, Standing{}, explain("reading "+r.String(), ErrNoReader)
	}
	return s, topic.Standings[at], nil
}

func (a *Admin) lookAtGroup(ctx context.Context, r Reader, members []member, detail *ReaderDetail) error {
	client, err := conn.PrimaryOf(ctx, a.client, r.Stream)
	if err != nil {
		return err
	}
	consumers, err := client.XInfoConsumers(ctx, r.Stream, r.Group).Result()
	if err != nil {
		return err
	}
	for _, consumer := range consumers {
		m := Member{Name: consumer.Name, Pending: consumer.Pending, Idle: consumer.Idle, Inactive: consumer.Inactive}
		if m.Inactive < m.Idle {
			m.Inactive = -1 // it is not in the reply, or it never got one
		}
		if at := slices.IndexFunc(members, func(m member) bool { return m.Consumer == consumer.Name }); at >= 0 {
			m.Process, m.Presence = members[at].process, members[at].ConsumerPresence
		}
		detail.Members = append(detail.Members, m)
	}
	for _, m := range members { // the server does not know a consumer that has not read
		if !slices.ContainsFunc(consumers, func(known redis.XInfoConsumer) bool { return known.Name == m.Consumer }) {
			detail.Members = append(detail.Members, Member{Name: m.Consumer, Idle: -1, Inactive: -1, Process: m.process, Presence: m.ConsumerPresence})
		}
	}
	oldest, err := client.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: r.Stream, Group: r.Group, Start: "-", End: "+", Count: 1}).Result()
	if err == nil && len(oldest) > 0 {
		detail.OldestPending = pendingOf(oldest[0])
	}
	return err
}
