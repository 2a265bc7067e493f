package later

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/script"
	"millrace/stream/internal/task"
)

// Keys are those of one topic: the sorted set, the hash, and the topic. In a cluster they are
// in one slot.
type Keys struct{ Due, Contents, Topic string }

// Box has the entries of one topic that wait.
type Box struct {
	Client redis.UniversalClient
	Keys   Keys
}

// Entry is an entry to be added later.
type Entry struct {
	Ticket string
	At     time.Time
	Limit  Limit
	// Pairs are its fields: name, value, and so on, at most MaxTexts of them.
	Pairs []string
}

// Limit says which old entries of the topic are dropped when the entry is added: Kind is "~" or
// "=" for about, or no more than, N entries, "age" for those older than N milliseconds, and
// empty for none.
type Limit struct {
	Kind string
	N    int64
}

// MaxTexts is how many names and values an entry may have: a script cannot pass more to XADD.
const MaxTexts = 7900

// tries is how often an entry is sent whose reply is lost.
const tries = 3

// errDue is the error of an entry whose reply was lost, and whose time has come meanwhile.
var errDue = errors.New("the reply was lost, and the time of the entry has come before it could be sent again")

// Add adds an entry. After an error, unknown reports whether it may have been added.
func (b *Box) Add(ctx context.Context, e Entry) (unknown bool, err error) {
	for try := 0; ; try++ {
		sent := counted{text: e.Ticket}
		args := make([]any, 0, 5+len(e.Pairs))
		args = append(args, &sent, millisecond(e.At), min(try, 1), e.Limit.Kind, e.Limit.N)
		for i := range e.Pairs {
			args = append(args, &e.Pairs[i]) // as a string, each would be an allocation
		}
		reply, err := script.AddLater.Run(ctx, b.Client, []string{b.Keys.Due, b.Keys.Contents}, args...).Text()
		if err == nil {
			if reply == "unknown" {
				return true, errDue
			}
			return false, nil
		}
		conn.Relocate(b.Client, err)
		if sent.n == 0 || conn.Classify(err).Answered() {
			return try > 0, err
		}
		if try+1 == tries || !task.Sleep(ctx, task.Recovery.Delay(int64(try+1))) {
			return true, timely(ctx, err)
		}
	}
}

// Cancel removes an entry, and reports whether it was there. After an error, unknown reports
// whether it may have been removed.
func (b *Box) Cancel(ctx context.Context, ticket string) (was, unknown bool, err error) {
	sent := counted{text: ticket}
	n, err := script.CancelLater.Run(ctx, b.Client, []string{b.Keys.Due, b.Keys.Contents}, &sent).Int64()
	if err != nil {
		conn.Relocate(b.Client, err)
		if sent.n > 0 && !conn.Classify(err).Answered() {
			return false, true, timely(ctx, err)
		}
	}
	return n > 0, false, err
}

// The bounds of one Move, which holds the server for about a millisecond.
const (
	moveEntries = 200
	moveBytes   = 1 << 20
)

// putOff is when an entry is tried again that the topic cannot take.
const putOff = time.Minute

// Moved is the result of a Move.
type Moved struct {
	Entries int64
	// Next is when the next entry is due, from now on: negative is that there is none.
	Next time.Duration
	// Lost are the tickets that had no contents, and Kept those that the topic cannot take, for
	// the reason in Problem.
	Lost, Kept []string
	Problem    string
	// Added is how many of them, which were to come back, the stream did not have any more, so that
	// they were added to it again.
	Added int64
}

// Move moves entries that are due, as many as one script may.
func (b *Box) Move(ctx context.Context) (Moved, error) {
	reply, err := script.MoveDue.Run(ctx, b.Client, []string{b.Keys.Due, b.Keys.Contents, b.Keys.Topic},
		moveEntries, moveBytes, putOff.Milliseconds()).Slice()
	if err != nil {
		return Moved{}, err
	}
	return movedOf(reply)
}

// movedOf returns the Moved of the reply of a script; further parts go to more.
func movedOf(reply []any, more ...any) (m Moved, err error) {
	var next int64
	var lost, kept []any
	if !script.Scan(reply, append([]any{&m.Entries, &next, &lost, &kept, &m.Problem}, more...)...) {
		return Moved{}, errReply
	}
	m.Next, m.Lost, m.Kept = time.Duration(next)*time.Millisecond, texts(lost), texts(kept)
	return m, nil
}

// Look returns for each of the sorted sets when its first entry is due, from now on: negative is
// that there is none. In a cluster they are in one slot.
func Look(ctx context.Context, client redis.UniversalClient, due []string) ([]time.Duration, error) {
	reply, err := script.FindDue.Run(ctx, client, due).Slice()
	if err != nil {
		return nil, err
	}
	if len(reply) != len(due) {
		return nil, errReply
	}
	waits := make([]time.Duration, len(due))
	for i := range reply {
		ms, ok := reply[i].(int64)
		if !ok {
			return nil, errReply
		}
		waits[i] = time.Duration(ms) * time.Millisecond
	}
	return waits, nil
}

var errReply = errors.New("the reply of the script has another form; look at the client's hooks and proxies")

func texts(list []any) []string {
	var out []string
	for _, one := range list {
		if text, ok := one.(string); ok {
			out = append(out, text)
		}
	}
	return out
}

// millisecond returns the first whole millisecond that is not before the time. A sorted set
// tells milliseconds apart up to 2^53.
func millisecond(at time.Time) string {
	ms := at.UnixMilli()
	if at.After(time.UnixMilli(ms)) {
		ms++
	}
	return strconv.FormatInt(max(0, min(ms, 1<<53)), 10)
}

// timely has an error say that the deadline has passed. The client passes the deadline on to the
// socket, and says "i/o timeout", a moment before ctx is done.
func timely(ctx context.Context, err error) error {
	if deadline, has := ctx.Deadline(); has && !time.Now().Before(deadline) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return err
}

// counted is an argument that counts how often it is put on the wire.
type counted struct {
	text string
	n    int
}

// MarshalBinary is called by go-redis when it writes the command to a connection.
func (c *counted) MarshalBinary() ([]byte, error) {
	c.n++
	return []byte(c.text), nil
}

// String is for hooks that print commands.
func (c *counted) String() string { return c.text }
