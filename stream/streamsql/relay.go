package streamsql

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset/sqlstore"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/feed"
	"millrace/stream/internal/script"
	"millrace/stream/internal/task"
)

// Relay publishes the rows that [Enqueue] has written into the outbox of a store, and deletes them.
// [NewRelay] makes one. Without one running, in any process, rows wait.
//
// A row is in its topic once, however often a relay is killed, Redis or the database is restarted, or
// a reply is lost. Rows of one topic are published in the order of their numbers, as far as they are
// committed: transactions that overlap have no order. Topics do not wait for each other.
//
// Any number of relays may run for one store. One of them works on a topic, and another one takes its
// place two seconds after it was killed. One Run at a time is allowed for each.
//
// For each topic, Redis has a hash beside it ([OutboxKey]): its owner, which is the relay at work, and
// a gate for each row that is published. A script adds the entry and makes the gate in one step, for
// the owner alone. The gate is removed after the row was deleted, again by the owner alone: a relay
// that has stood still meanwhile is refused, whatever it had read. Do not let the server evict the
// hash (an allkeys maxmemory policy), and do not remove it while a relay runs.
//
// Entries that a failover of Redis takes back are lost, as with a producer: their rows were deleted.
// A database that goes back to an older state, such as a backup, publishes its rows again.
type Relay struct {
	store  *sqlstore.Store
	client redis.UniversalClient
	config runConfig
}

// NewRelay makes a relay of a store. It does no I/O, starts nothing, and closes nothing. Everything
// that is wrong with the arguments and options comes back in one error, each problem wrapping
// [stream.ErrInvalidOption].
//
// The client is a *redis.Client, sentinel-backed ones included, or a *redis.ClusterClient. All topics
// of the outbox are on it. Its user needs for each topic the Redis rights
//
//	~<topic> ~{<topic>}:outbox +xadd +type +hget +hgetall +hexists +hlen +hset +hdel +time +eval +evalsha
//
// and that of the database SELECT and DELETE on the outbox; programs that enqueue need INSERT.
func NewRelay(store *sqlstore.Store, client redis.UniversalClient, opts ...RunOption) (*Relay, error) {
	r := &Relay{store: store, client: client, config: newRunConfig(100*time.Millisecond, opts)}
	if err := r.config.problems(store, client); err != nil {
		return nil, err
	}
	return r, nil
}

// String names the relay for people: relay of table millrace_outbox.
func (r *Relay) String() string { return "relay of table " + r.store.Prefix() + "outbox" }

// Run publishes until ctx is done, and returns nil then. It may be added to a [stream.Runner]. It
// looks for rows after each interval ([WithInterval]), and at once while there are more.
//
// Trouble does not end Run. It is logged when it begins, every half minute, and when it is over, and
// tried again: that of the database, and for each topic that of Redis. A row that Redis refuses holds
// up the rows of its topic, and no others; the log has its number. Delete that row to go on without it.
func (r *Relay) Run(ctx context.Context) error {
	if ctx == nil {
		return errors.New("streamsql: Run was given no context; pass the one whose end is to stop the relay")
	}
	conns, disconnect := feed.ConnsOf(ctx)
	defer disconnect()
	commands, err := conns.Of(r.client)
	if err != nil {
		return err
	}
	c := &carrier{Relay: r, client: commands.Client, outbox: outboxOf(r.store), targets: make(map[string]*target)}
	defer func() { c.leave(ctx, time.Now()) }()
	looks := &trouble{log: r.config.logger}
	const doing = "looking for rows in the outbox"
	for {
		more, err := c.round(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil && more:
			looks.note(doing, nil)
			continue
		case err == nil:
			c.leave(ctx, time.Now().Add(-gatesIdle))
		}
		if !looks.pause(ctx, doing, err, r.config.interval) {
			return nil
		}
	}
}

// carrier is one Run of a relay.
type carrier struct {
	*Relay
	client  redis.UniversalClient
	outbox  outbox
	targets map[string]*target
}

// target is a topic of which there were rows.
type target struct {
	topic, gates string
	// owner is the name of this relay in the gates, empty before it has taken them. After an error it
	// is unsure of them: a script may still run, so that another name is taken.
	owner  string
	unsure bool
	// removed are the gates of rows that are deleted: the next script removes them.
	removed []string
	// limit is how many rows are read: one after an error, to find the row that is refused.
	limit   int
	until   time.Time // no try before
	seen    time.Time // there were rows last
	trouble trouble
}

// The bounds of one script, which holds the server for about a millisecond.
const (
	carryRows  = 100
	carryBytes = 1 << 20
)

// gateLease is how long a relay that has published for a topic keeps others from taking its place.
const gateLease = 2 * time.Second

// gatesIdle is how long a topic without rows keeps its owner.
const gatesIdle = time.Minute

// round carries some rows of each topic, and reports whether there may be more.
func (c *carrier) round(ctx context.Context) (more bool, err error) {
	for topic := ""; ; {
		topic, err = c.outbox.nextTopic(ctx, c.store.DB(), topic)
		if err != nil || topic == "" {
			return more, err
		}
		t := c.target(topic)
		t.seen = time.Now()
		if time.Now().Before(t.until) {
			continue
		}
		full, err := c.carry(ctx, t)
		if ctx.Err() != nil {
			return false, nil
		}
		t.trouble.note("publishing rows of the outbox", err)
		if err != nil {
			conn.Relocate(c.client, err)
			t.unsure, t.limit = true, 1
			t.until = time.Now().Add(task.Recovery.Delay(t.trouble.Failures))
		}
		more = more || full
	}
}

func (c *carrier) target(topic string) *target {
	t := c.targets[topic]
	if t == nil {
		t = &target{topic: topic, gates: OutboxKey(topic), limit: carryRows, trouble: trouble{log: c.config.logger.With("stream", topic)}}
		c.targets[topic] = t
	}
	return t
}

// carry publishes the first rows of a topic, and deletes them.
func (c *carrier) carry(ctx context.Context, t *target) (more bool, err error) {
	if t.owner == "" || t.unsure {
		if isOwner, err := c.take(ctx, t); err != nil || !isOwner {
			return false, err
		}
	}
	list, more, err := c.outbox.rows(ctx, c.store.DB(), t.topic, t.limit, carryBytes)
	if err != nil || len(list) == 0 {
		return false, err
	}
	done, err := c.publish(ctx, t, list)
	if err == nil && done < 0 {
		t.owner, t.until = "", time.Now().Add(gateLease/2)
		return false, nil
	}
	t.removed = nil // or it is not known whether, and the next owner's name is another
	if done > 0 {
		if err := c.outbox.remove(ctx, c.store.DB(), t.topic, list[:done]); err != nil {
			return false, err
		}
		for _, one := range list[:done] {
			t.removed = append(t.removed, one.token)
		}
	}
	if err != nil {
		if len(list) == 1 || done > 0 {
			err = rowError(c.outbox.table, list[max(done, 0)].number, err)
		}
		return false, err
	}
	t.limit = min(2*t.limit, carryRows)
	return more, nil
}

// take makes this relay the owner of the gates of a topic. The gates whose rows are not there any
// more are those to be removed: no row that is read from now on has one of them.
func (c *carrier) take(ctx context.Context, t *target) (isOwner bool, err error) {
	if err := conn.CheckHooks(c.Relay.client, t.topic); err != nil {
		return false, err
	}
	var random [12]byte
	_, _ = rand.Read(random[:]) // it never fails
	owner := hex.EncodeToString(random[:])
	reply, err := script.TakeOutbox.Run(ctx, c.client, []string{t.gates}, owner, gateLease.Milliseconds(), t.owner).Slice()
	if err != nil {
		return false, err
	}
	var wait int64
	var gates []any
	if !script.Scan(reply, &wait, &gates) {
		return false, errReply
	}
	if wait > 0 {
		t.owner, t.until = "", time.Now().Add(time.Duration(wait)*time.Millisecond)
		return false, nil
	}
	t.owner, t.removed = owner, nil
	var tokens []string
	var numbers []any
	for i := 0; i+1 < len(gates); i += 2 {
		token, _ := gates[i].(string)
		text, _ := gates[i+1].(string)
		if number, err := strconv.ParseInt(text, 10, 64); err == nil && token != "owner" && token != "at" {
			tokens, numbers = append(tokens, token), append(numbers, number)
		}
	}
	present, err := c.outbox.present(ctx, c.store.DB(), t.topic, numbers)
	if err != nil {
		return false, err
	}
	for _, token := range tokens {
		if !present[token] {
			t.removed = append(t.removed, token)
		}
	}
	t.unsure = false
	return true, nil
}

// publish adds rows to the topic, and returns how many are there now: the first ones. It is -1 for a
// relay that is not the owner any more.
func (c *carrier) publish(ctx context.Context, t *target, list []row) (done int, err error) {
	args := []any{t.owner, len(t.removed)}
	for i := range t.removed {
		args = append(args, &t.removed[i]) // as a string, each would be an allocation
	}
	for i := range list {
		args = append(args, &list[i].token, list[i].number, len(list[i].pairs))
		for f := range list[i].pairs {
			args = append(args, &list[i].pairs[f])
		}
	}
	reply, err := script.PublishOutbox.Run(ctx, c.client, []string{t.topic, t.gates}, args...).Slice()
	if err != nil {
		return 0, err
	}
	var n int64
	var problem string
	if !script.Scan(reply, &n, &problem) || n > int64(len(list)) {
		return 0, errReply
	}
	if problem != "" {
		return int(n), errors.New(problem)
	}
	return int(n), nil
}

// leave gives up the topics that had no rows since a time: it lets another relay take their gates at
// once, and removes those that are known to be in no use.
func (c *carrier) leave(ctx context.Context, before time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	for topic, t := range c.targets {
		if t.seen.After(before) {
			continue
		}
		delete(c.targets, topic)
		if t.owner == "" || ctx.Err() != nil {
			continue
		}
		args := []any{t.owner}
		for _, token := range t.removed {
			args = append(args, token)
		}
		// If it fails, another one waits for the lease.
		_ = script.LeaveOutbox.Run(ctx, c.client, []string{t.gates}, args...).Err()
	}
}
