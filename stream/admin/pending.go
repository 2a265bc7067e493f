package admin

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/internal/conn"
)

// Pending is an entry that was delivered to a consumer of a group and not acked.
type Pending struct {
	ID string
	// Consumer is the one that it was delivered to last.
	Consumer string
	// Idle is how long ago that was. Consumers of package stream renew the entries that they
	// have, so that it stays below their claim time.
	Idle time.Duration
	// Deliveries is how often the entry was delivered.
	Deliveries int64
}

func pendingOf(p redis.XPendingExt) *Pending {
	return &Pending{ID: p.ID, Consumer: p.Consumer, Idle: p.Idle, Deliveries: p.RetryCount}
}

// PendingOption says which pending entries are meant.
type PendingOption func(*pendingQuery)

type pendingQuery struct {
	idle     time.Duration
	consumer string
}

// Idle leaves out entries that were delivered, or renewed, less long ago. Default: none.
func Idle(least time.Duration) PendingOption { return func(q *pendingQuery) { q.idle = least } }

// On leaves out entries that are pending on other consumers. Default: none.
func On(consumer string) PendingOption { return func(q *pendingQuery) { q.consumer = consumer } }

const pendingPage = 500

// Pending returns the pending entries of a group, by ID. The error wraps [ErrNoTopic] or
// [ErrNoReader] if there is no such group; it is the last thing that is returned. A label has
// no pending entries.
func (a *Admin) Pending(ctx context.Context, r Reader, opts ...PendingOption) iter.Seq2[Pending, error] {
	var q pendingQuery
	for _, opt := range opts {
		if opt != nil {
			opt(&q)
		}
	}
	return func(yield func(Pending, error) bool) {
		if r.Group == "" {
			yield(Pending{}, fmt.Errorf("%w: Pending of %s: a label has no pending entries; give a group", stream.ErrInvalidOption, r))
			return
		}
		client, err := conn.PrimaryOf(ctx, a.client, r.Stream)
		for from := "-"; err == nil; {
			var page []redis.XPendingExt
			page, err = client.XPendingExt(ctx, &redis.XPendingExtArgs{
				Stream: r.Stream, Group: r.Group, Idle: q.idle, Consumer: q.consumer,
				Start: from, End: "+", Count: pendingPage,
			}).Result()
			for _, p := range page {
				if !yield(*pendingOf(p), nil) {
					return
				}
				from = "(" + p.ID
			}
			if err == nil && len(page) < pendingPage {
				return
			}
		}
		yield(Pending{}, explain("reading what is pending in "+r.String(), err))
	}
}
