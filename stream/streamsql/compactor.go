package streamsql

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/offset/sqlstore"
	"millrace/stream"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/feed"
	"millrace/stream/internal/script"
)

// Compactor keeps the inbox of a consumer group small: it moves the group's position in the tables of
// a store behind the entries that are done, and deletes their rows. [NewCompactor] makes one. Without
// one running, in any process, the inbox has a row for each message that was ever handled.
//
// Any number of them may run for one group. One Run at a time is allowed for each.
//
// The position is the low mark of the group: everything that was delivered and is not pending, up to
// the first entry that is. It is moved to a low mark that was found twice, one interval apart
// ([WithInterval]). An entry whose consumer was removed from the group (XGROUP DELCONSUMER) is not
// pending, and may be at work nevertheless: its consumer makes it pending again within a third of
// its claim idle time. So the interval must not be shorter than that time.
//
// An entry that was put off ([stream.RetryAfter]) is not pending either, and holds the position as one
// that is. While more than 1,000 are put off, the position stays where it is.
//
// An entry up to the position counts as done, and [Once] skips it. So a group that is set back
// ([stream.Consumer.Seek]), or whose stream was made anew with lower IDs, handles nothing twice, and
// leaves out entries that it has not handled. The log says so (Error) where the position is ahead of
// the stream. Call the store's Reset for the [Label] of the group to handle entries again.
type Compactor struct {
	store  *sqlstore.Store
	client redis.UniversalClient
	of     stream.Identity
	config runConfig
}

// NewCompactor makes a compactor for a group of the topic with the given name. It does no I/O, starts
// nothing, and closes nothing. Everything that is wrong with the arguments and options comes back in
// one error, each problem wrapping [stream.ErrInvalidOption].
//
// The client is a *redis.Client, sentinel-backed ones included, or a *redis.ClusterClient. Its user
// needs the Redis rights
//
//	~<topic> ~{<topic>}:due:<group> +xinfo|groups +xinfo|stream +xpending +zrange +eval +evalsha
func NewCompactor(store *sqlstore.Store, client redis.UniversalClient, topic, group string, opts ...RunOption) (*Compactor, error) {
	c := &Compactor{store: store, client: client, of: stream.Identity{Stream: topic, Group: group}, config: newRunConfig(30*time.Second, opts)}
	problems := []error{c.config.problems(store, client)}
	if strings.TrimSpace(topic) == "" {
		problems = append(problems, invalid("topic %q: give the key of the stream", topic))
	}
	if strings.TrimSpace(group) == "" {
		problems = append(problems, invalid("group %q: give the name of the consumer group", group))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return c, nil
}

// String names the compactor for people: compactor of orders in group "billing".
func (c *Compactor) String() string {
	return fmt.Sprintf("compactor of %s in group %q", c.of.Stream, c.of.Group)
}

// Run compacts until ctx is done, and returns nil then. It may be added to a [stream.Runner].
//
// Trouble with Redis and the database does not end Run: it is logged when it begins, every half
// minute, and when it is over, and tried again. Trouble that no waiting can mend ends it: of Redis,
// if it is there at the start, as with [stream.Consumer.Run], and a position that is no ID
// ([offset.ErrCorrupt]).
func (c *Compactor) Run(ctx context.Context) error {
	if ctx == nil {
		return errors.New("streamsql: Run was given no context; pass the one whose end is to stop the compactor")
	}
	conns, disconnect := feed.ConnsOf(ctx)
	defer disconnect()
	commands, err := conns.Of(c.client)
	if err == nil {
		err = conn.CheckHooks(c.client, c.of.Stream)
	}
	if err != nil {
		return err
	}
	log := c.config.logger.With("stream", c.of.Stream, "group", c.of.Group)
	look := &compaction{Compactor: c, client: commands.Client, ahead: trouble{log: log}}
	w := &trouble{log: log}
	for first := true; ; first = false {
		err := look.again(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && conn.Classify(err).Ends(first) {
			return fmt.Errorf("streamsql: %v failed: %w", c, conn.Explain(err))
		}
		conn.Relocate(commands.Client, err)
		if !w.pause(ctx, "compacting the inbox", err, c.config.interval) {
			return nil
		}
	}
}

// compaction is one Run of a compactor.
type compaction struct {
	*Compactor
	client redis.UniversalClient
	// before is the low mark that was found when the inbox was compacted last, and applied the one up
	// to which it was.
	before, applied offset.ID
	ahead           trouble
}

// again finds the low mark, and compacts up to there, or up to the one before if that is lower.
func (c *compaction) again(ctx context.Context) error {
	mark, end, found, err := c.lowMark(ctx)
	if err != nil || !found {
		return err
	}
	upTo := mark
	if c.before.Compare(mark) < 0 {
		upTo = c.before
	}
	if upTo.Compare(c.applied) > 0 {
		if _, err := c.store.Compact(ctx, Label(c.of), upTo.String()); err != nil {
			return err
		}
		c.applied = upTo
	}
	c.before = mark // not before the inbox was compacted: a try again comes sooner than the interval
	return c.lookAhead(ctx, end)
}

// lookAhead tells of a position that is ahead of the stream.
func (c *compaction) lookAhead(ctx context.Context, end offset.ID) error {
	text, found, err := c.store.Load(ctx, Label(c.of))
	if err != nil || !found {
		return err
	}
	at, err := offset.Parse(text)
	if err != nil || at.Compare(end) <= 0 {
		return err
	}
	if c.ahead.Note(time.Now(), "") {
		c.ahead.log.Error("the position in the database is ahead of the stream, which has lost entries or was made anew; new entries with IDs up to the position are skipped: to have them handled, call Reset of the store with the label",
			"label", Label(c.of), "offset", text, "end", end.String())
	}
	return nil
}

// mostPutOff is how many entries that were put off are looked through for the lowest.
const mostPutOff = 1000

// lowMark returns the last entry up to which all were delivered to the group, and are done, and the
// end of the stream. found is false without a stream or group.
func (c *compaction) lowMark(ctx context.Context) (mark, end offset.ID, found bool, err error) {
	reply, err := script.LowMark.Run(ctx, c.client, []string{c.of.Stream, stream.RetryDueKey(c.of.Stream, c.of.Group)}, c.of.Group, mostPutOff).Slice()
	if errors.Is(err, redis.Nil) || conn.Classify(err).Class == conn.Gone {
		return mark, end, false, nil
	}
	if err != nil {
		return mark, end, false, err
	}
	var delivered, pending, last string
	if !script.Scan(reply, &delivered, &pending, &last) {
		return mark, end, false, errReply
	}
	mark, err = offset.Parse(delivered)
	if err == nil {
		end, err = offset.Parse(last)
	}
	if err == nil && pending != "" {
		var lowest offset.ID
		lowest, err = offset.Parse(pending)
		if before := predecessor(lowest); before.Compare(mark) < 0 {
			mark = before
		}
	}
	return mark, end, err == nil, err
}

var errReply = errors.New("the reply of the script has another form; look at the client's hooks and proxies")

// predecessor returns the highest ID below another one.
func predecessor(id offset.ID) offset.ID {
	switch {
	case id.Seq > 0:
		id.Seq--
	case id.Ms > 0:
		id = offset.ID{Ms: id.Ms - 1, Seq: math.MaxUint64}
	}
	return id
}
