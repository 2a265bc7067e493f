package admin

import (
	"cmp"
	"context"
	"slices"
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
