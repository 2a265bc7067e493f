package admin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
)

// Level says how bad a [Finding] is.
type Level string

// The levels of findings, the worst first.
const (
	// LevelFail: entries are lost, or are not handled, or can be.
	LevelFail Level = "FAIL"
	// LevelWarn: an operator should look at it.
	LevelWarn Level = "WARN"
	// LevelOK: it was looked at, and is well.
	LevelOK Level = "ok"
)

func (l Level) order() int { return slices.Index([]Level{LevelFail, LevelWarn, LevelOK}, l) }

// Finding is one thing that [Admin.Check] has found.
type Finding struct {
	Level Level
	// About names the subject: the address of a server, a topic, or a group or label.
	About string
	// Text is the finding in one sentence. Remedy is the thing to do about it, empty if there
	// is none.
	Text, Remedy string
}

// Check looks for problems of the servers and the topics: settings with which entries can be
// lost, how much a crash can lose, trouble with writing to disk, memory that runs out; topics without
// readers, or that are never trimmed, groups without live consumers, pending entries that are not
// renewed, dead letters, consumers of different versions or in trouble, and records that cannot be
// read. The worst findings come first. It looks at the topics that [Admin.Topics] has with the same options. It takes the
// rights +info and +config|get; without them a finding says so.
func (a *Admin) Check(ctx context.Context, opts ...TopicOption) ([]Finding, error) {
	findings, err := a.checkServers(ctx)
	if err != nil {
		return nil, explain("looking at the server", err)
	}
	c := &checker{admin: a}
	if c.snapshot, err = a.look(ctx); err != nil {
		return nil, err
	}
	for _, broken := range c.snapshot.broken {
		c.find(LevelWarn, "the registry", broken.Error(), "remove the record with HDEL; agents write it anew")
	}
	for topic, err := range a.Overview(ctx, "", opts...) {
		if err != nil && topic.Name == "" {
			return nil, err
		}
		if err != nil {
			c.find(LevelFail, topic.Name, "it cannot be read: "+err.Error(), "look at the key, or forget the topic")
			continue
		}
		if err := c.topic(ctx, topic); err != nil {
			return nil, err
		}
	}
	if len(c.findings) == 0 {
		c.find(LevelOK, "topics", "all topics are read, and nothing is left behind", "")
	}
	findings = append(findings, c.findings...)
	slices.SortStableFunc(findings, func(a, b Finding) int { return cmp.Compare(a.Level.order(), b.Level.order()) })
	return findings, nil
}

const (
	// abandonedAfter is how long a group that is behind has had no live consumer, and a topic
	// no stream, before that is told.
	abandonedAfter = 7 * 24 * time.Hour
	// unrenewedAfter is how long a pending entry was not renewed before that is told.
	unrenewedAfter = 10 * time.Minute
	// growsFrom is how many entries a stream has at least that grows.
	growsFrom = 10_000
)

// checker collects the findings about topics.
type checker struct {
	admin    *Admin
	snapshot *snapshot
	findings []Finding
}

func (c *checker) find(level Level, about, text, remedy string) {
	c.findings = append(c.findings, Finding{level, about, text, remedy})
}

// topic looks at one topic.
func (c *checker) topic(ctx context.Context, t Topic) error {
	age := c.snapshot.now.Sub(t.Registered.Seen.Time())
	switch {
	case t.Missing && t.Registered.Seen != 0 && age > abandonedAfter && t.Dead() == 0:
		c.find(LevelWarn, t.Name, fmt.Sprintf("it is in the registry, there is no such stream, and no agent has seen it for %s", days(age)), "millrace forget "+t.Name)
	case len(t.Standings) == 0 && t.Length > 0:
		c.find(LevelWarn, t.Name, "nobody reads it that is known here", "give its consumers an agent, or delete the stream")
	}
	if n := t.Dead(); n > 0 {
		c.find(LevelWarn, t.Name, fmt.Sprintf("dead letters wait for a redrive: %d", n), "millrace dead causes "+t.Name)
	}
	if err := c.growth(ctx, t); err != nil {
		return err
	}
	for _, standing := range t.Standings {
		if err := c.reader(ctx, standing); err != nil {
			return err
		}
	}
	return nil
}

// growth finds a stream from which nothing was ever removed.
func (c *checker) growth(ctx context.Context, t Topic) error {
	took := TimeOf(t.Last).Sub(TimeOf(t.First))
	if t.Length < growsFrom || t.Added != t.Length || took < time.Minute {
		return nil
	}
	bytes, err := c.admin.client.MemoryUsage(ctx, t.Name, 5).Result()
	if conn.Classify(err).Withheld {
		bytes = 0
	} else if err != nil {
		return explain("asking for the memory of "+t.Name, err)
	}
	text := "nobody trims it: it has every entry that was ever added, " + fmt.Sprint(t.Length)
	if hours := took.Hours(); bytes > 0 {
		text += fmt.Sprintf(", and grows by %.1f MB an hour", float64(bytes)/hours/(1<<20))
	}
	c.find(LevelWarn, t.Name, text, "run a stream.NewTrimmer, or millrace trim "+t.Name)
	return nil
}

// reader looks at a group or a label.
func (c *checker) reader(ctx context.Context, s Standing) error {
	name := s.Reader.String()
	if len(s.Versions) > 1 {
		c.find(LevelWarn, name, "its consumers are of different versions: "+strings.Join(s.Versions, ", "), "end the deployment, or start the old ones anew")
	}
	for _, trouble := range s.Troubles {
		if s.Paused == nil {
			c.find(LevelWarn, name, trouble, "look at the log of the process")
		}
	}
	if s.Reader.Group == "" || s.Pending == 0 && s.Lag.Known && s.Lag.Entries == 0 {
		return nil
	}
	client, err := conn.PrimaryOf(ctx, c.admin.client, s.Reader.Stream)
	if err != nil {
		return explain("looking at "+name, err)
	}
	err = c.abandoned(ctx, client, s)
	if err == nil && s.Pending > 0 {
		err = c.unrenewed(ctx, client, s)
	}
	if conn.Classify(err).Class == conn.Gone {
		return nil // it has vanished meanwhile
	}
	return explain("looking at "+name, err)
}

// abandoned finds a group that is behind, and has had no live consumer for long.
func (c *checker) abandoned(ctx context.Context, client redis.UniversalClient, s Standing) error {
	if s.Lag.Time < abandonedAfter || s.Agents > 0 {
		return nil
	}
	consumers, err := client.XInfoConsumers(ctx, s.Reader.Stream, s.Reader.Group).Result()
	if err != nil {
		return err
	}
	idle := s.Lag.Time
	for _, consumer := range consumers {
		idle = min(idle, consumer.Idle)
	}
	if idle < abandonedAfter {
		return nil
	}
	holds := "entries"
	if s.Lag.Known {
		holds = fmt.Sprintf("%d entries", s.Lag.Entries)
	}
	c.find(LevelWarn, s.Reader.String(), fmt.Sprintf("it has no live consumer for %s, and holds back %s from being trimmed", days(idle), holds),
		fmt.Sprintf("start its consumers, or millrace forget %s %s", s.Reader.Stream, s.Reader.Group))
	return nil
}

// unrenewed finds pending entries that no consumer has at work.
func (c *checker) unrenewed(ctx context.Context, client redis.UniversalClient, s Standing) error {
	found, err := client.XPendingExt(ctx, &redis.XPendingExtArgs{
		Stream: s.Reader.Stream, Group: s.Reader.Group, Idle: unrenewedAfter, Start: "-", End: "+", Count: 10,
	}).Result()
	if err != nil || len(found) == 0 {
		return err
	}
	var names []string
	for _, p := range found {
		names = append(names, p.Consumer)
	}
	slices.Sort(names)
	c.find(LevelWarn, s.Reader.String(), fmt.Sprintf("entries are pending that nobody has renewed for %s or more, the first of them %s, on %s",
		unrenewedAfter, found[0].ID, strings.Join(slices.Compact(names), ", ")),
		fmt.Sprintf("millrace pending %s %s --idle 10m, then claim", s.Reader.Stream, s.Reader.Group))
	return nil
}

// days writes a long time.
func days(d time.Duration) string { return fmt.Sprintf("%d days", int64(d/(24*time.Hour))) }
