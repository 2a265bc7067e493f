package faults_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
	"millrace/stream/streamtest/history"
)

// Nothing is told that is no loss: neither what happens in operation every day, nor
// trims and deletes of what everybody has handled.
func TestNoLossInCleanSteps(t *testing.T) {
	t.Parallel()
	for _, m := range []mode{logMode, groupMode} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			newClean(t, m).run(pick(2000, 10_000))
		})
	}
}

// clean is a trial in which nothing is lost.
type clean struct {
	*trial
	t        *testing.T
	server   *streamtest.Redis
	admin    *redis.Client
	producer *stream.Producer[transfer]
	trimmer  *stream.Trimmer
	// instances run a consumer each; in log mode there is one.
	instances []*streamtest.Instance
	consumers []*stream.Consumer[transfer]
	last      string
}

func newClean(t *testing.T, m mode) *clean {
	c := &clean{trial: newTrial(t, m), t: t, server: streamtest.StartRedis(t, withUsers(t, transfers.Name)...)}
	c.admin = c.server.Client()
	c.handle = func(_ context.Context, msg *stream.Message[transfer]) error {
		switch n := msg.Value.Number; {
		case n%97 == 13 && msg.Deliveries == 1:
			return errors.New("not yet")
		case n%101 == 7:
			return stream.Permanent(errors.New("never"))
		case n%103 == 11:
			return stream.Skip("of no concern")
		}
		return nil
	}
	opts := []stream.Option{stream.WithBlock(20 * time.Millisecond)} // to look around often
	by := []string{"one"}
	var trimOpts []stream.TrimmerOption
	if m == groupMode {
		by = append(by, "two")
		opts = append(opts, stream.WithClaimIdle(2*time.Second))
	} else {
		store, err := offset.NewRedis(as(t, string(m), *c.admin.Options()), "")
		if err != nil {
			t.Fatal(err)
		}
		trimOpts = append(trimOpts, stream.WithOffsets(store, transfers.Name))
	}
	for _, name := range by {
		instance := streamtest.NewInstance(t, as(t, string(m), *c.admin.Options()))
		consumer := c.consumer(instance.Client, name, opts...)
		c.instances, c.consumers = append(c.instances, instance), append(c.consumers, consumer)
		instance.Start(consumer)
	}
	c.producer = c.trial.producer(as(t, "producer", *c.admin.Options()))
	var err error
	if c.trimmer, err = stream.NewTrimmer(as(t, "trimmer", *c.admin.Options()), transfers.Name, append(trimOpts, stream.WithLogger(c.journal.logger()))...); err != nil {
		t.Fatal(err)
	}
	return c
}

// run publishes an entry in each step, and does something else in every tenth.
func (c *clean) run(steps int) {
	actions := []struct {
		name string
		do   func()
	}{
		{"trimmer", c.trimSafely},
		{"trim behind the place", func() { c.caughtUp(); c.must(c.admin.XTrimMaxLen(c.t.Context(), transfers.Name, 1).Err()) }},
		{"delete of handled entries", c.deleteHandled},
		{"entry that is none", c.addMalformed},
		{"CLIENT KILL", func() { c.must(c.admin.ClientKillByFilter(c.t.Context(), "TYPE", "normal", "SKIPME", "yes").Err()) }},
		{"trim of all that was handled", func() { c.caughtUp(); c.must(c.admin.XTrimMaxLen(c.t.Context(), transfers.Name, 0).Err()) }},
		{"stop and restart", func() { c.restart(nil) }},
		{"idle time", c.caughtUp},
		{"delete of the last one while down", func() { c.restart(func() { c.must(c.admin.XDel(c.t.Context(), transfers.Name, c.last).Err()) }) }},
		{"trimmer while down", func() { c.restart(c.trimSafely) }},
		{"kill of Redis", func() { c.server.Kill(); c.server.Start() }},
		{"rewrite of the AOF", func() { c.must(c.admin.BgRewriteAOF(c.t.Context()).Err()) }},
	}
	for step := range steps {
		c.publishOne()
		if step%10 == 9 {
			action := actions[step/10%len(actions)]
			c.inject(action.name, history.Fault{}, action.do)
		}
	}
	order := history.NoOrder
	if c.mode == logMode {
		order = history.InOrder
	}
	c.verify(c.admin, history.Rules{Order: order, Trimmed: c.last}, c.instances...)
	for _, consumer := range c.consumers {
		if n := consumer.Stats().Lost; n != 0 {
			c.t.Errorf("%d entries are counted as lost", n)
		}
	}
	if len(c.losses) > 0 {
		c.t.Errorf("%d losses were told in %d clean steps, the first: %v", len(c.losses), steps, c.losses[0])
	}
	for line := range strings.Lines(c.journal.String()) {
		if strings.Contains(line, "lost") {
			c.t.Errorf("the log tells of a loss: %s", line)
			break
		}
	}
	for _, refusal := range refusals(c.t, c.admin) {
		c.t.Error("refused: ", refusal)
	}
}

func (c *clean) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// publishOne publishes the next transfer, which is in the stream then.
func (c *clean) publishOne() {
	c.t.Helper()
	c.number++
	account := fmt.Sprint("account-", c.number%17)
	id, err := c.rec.Publish("producer", account, func() (string, error) {
		return c.producer.Publish(c.t.Context(), transfer{Number: c.number, Account: account, Secret: canary})
	})
	if err != nil { // of a connection that was killed before
		c.journal.note(err)
		return
	}
	c.last = id
}

// caughtUp waits until everything was handled and settled.
func (c *clean) caughtUp() {
	c.t.Helper()
	streamtest.Await(c.t, "everything is handled", func() bool {
		last, err := c.admin.XInfoStream(c.t.Context(), transfers.Name).Result()
		if err != nil {
			return false
		}
		c.last = last.LastGeneratedID
		position := ""
		for _, consumer := range c.consumers {
			stats := consumer.Stats()
			position = stats.Settled
			if stats.Window > 0 {
				return false
			}
		}
		if c.mode == groupMode {
			groups := c.admin.XInfoGroups(c.t.Context(), transfers.Name).Val()
			return len(groups) == 1 && groups[0].Pending == 0 && groups[0].LastDeliveredID == c.last
		}
		return position == c.last
	})
}

// trimSafely trims what everybody has passed.
func (c *clean) trimSafely() {
	_, err := c.trimmer.Trim(c.t.Context())
	c.must(err)
}

// deleteHandled deletes some that were handled, the last one among them.
func (c *clean) deleteHandled() {
	c.caughtUp()
	ids := streamtest.EntryIDs(c.t, c.admin, transfers.Name)
	for i, id := range ids {
		if i%3 == len(ids)%3 || i == len(ids)-1 {
			c.must(c.admin.XDel(c.t.Context(), transfers.Name, id).Err())
		}
	}
}

// addMalformed adds an entry that no codec can decode.
func (c *clean) addMalformed() {
	c.must(c.admin.XAdd(c.t.Context(), &redis.XAddArgs{Stream: transfers.Name, Values: []string{"number", canary}}).Err())
}

// restart stops the consumers when they have handled everything, and starts them
// again, with more to do.
func (c *clean) restart(meanwhile func()) {
	c.caughtUp()
	for _, instance := range c.instances {
		c.must(instance.Stop())
	}
	if meanwhile != nil {
		meanwhile()
	}
	for range 3 {
		c.publishOne()
	}
	for i, instance := range c.instances {
		instance.Start(c.consumers[i])
	}
}
