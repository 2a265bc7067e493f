package publish

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
)

// Settings are how a Publisher works.
type Settings struct {
	Stream string
	// Keys is the beginning of the names of the Redis keys that remember the keys of
	// entries, and KeyWindow how long they do.
	Keys      string
	KeyWindow time.Duration
	Retention Retention
}

// Publisher adds entries to one stream.
type Publisher struct {
	client   redis.UniversalClient
	settings Settings
}

// New makes a Publisher. The client is one that honours NoRetry: a *redis.Client or a
// *redis.ClusterClient.
func New(client redis.UniversalClient, settings Settings) *Publisher {
	return &Publisher{client: client, settings: settings}
}

// Entry is an entry to be added.
type Entry struct {
	// Pairs are its fields: name, value, and so on.
	Pairs []string
	// Key is the entry's own, under which it is added once. Empty is none.
	Key string
}

// Fate says whether an entry is in the stream.
type Fate int

const (
	// NotWritten entries are not in the stream, and will not be.
	NotWritten Fate = iota
	// NotSent entries are not in the stream either: an entry before them in the same call
	// has failed.
	NotSent
	// Unknown entries were sent, and may be in the stream.
	Unknown
	// Written entries are in the stream.
	Written
)

// Outcome is the fate of an entry, with its ID or its failure.
type Outcome struct {
	Fate
	// ID is the ID of a Written entry, and Err the failure of any other one.
	ID  string
	Err error
}

// Publish adds one entry. Headers are further pairs, which come behind its own.
func (p *Publisher) Publish(ctx context.Context, headers []string, entry Entry) Outcome {
	if err := checkContext(ctx); err != nil {
		return Outcome{Err: err}
	}
	c, f := new(command), p.frame(headers)
	c.prepare(ctx, f, entry, byHash, &argMemory{})
	err := p.client.Process(ctx, c)
	if conn.Classify(err).Code == "NOSCRIPT" {
		c = &command{sent: c.sent - 1} // the first one did nothing
		c.prepare(ctx, f, entry, bySource, &argMemory{})
		err = p.client.Process(ctx, c)
	}
	return p.outcome(ctx, c, err)
}

// checkContext refuses a nil one, over which the client panics. One that is done
// the client sees before it takes a connection, so that nothing is sent.
func checkContext(ctx context.Context) error {
	if ctx == nil {
		return errors.New("there is no context; pass one")
	}
	return nil
}

// outcome returns the outcome of a command that ended with err.
func (p *Publisher) outcome(ctx context.Context, c *command, err error) Outcome {
	if err == nil {
		if id := c.Val(); id != "" {
			return Outcome{Fate: Written, ID: id}
		}
		err = errors.New("the client returned neither a reply nor an error; look at its hooks")
	}
	conn.Relocate(p.client, err)
	if c.certainlyNot(err) {
		return Outcome{Err: err}
	}
	// The client passes the deadline on to the socket, and says "i/o timeout", a
	// moment before the ctx is done.
	if deadline, has := ctx.Deadline(); has && !time.Now().Before(deadline) && !errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return Outcome{Fate: Unknown, Err: err}
}
