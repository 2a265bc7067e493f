package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/lifecycle"
)

// class is a kind of event, named for what it is meant to show. Every event
// carries its class as the trace ID, also the malformed ones.
type class string

const (
	good      class = "good"
	flaky     class = "flaky"
	hopeless  class = "hopeless"
	malformed class = "malformed"
	unknown   class = "unknown type"
)

var classes = []class{good, flaky, hopeless, malformed, unknown}

func (c class) String() string {
	switch c {
	case flaky:
		return "flaky (fails twice)"
	case hopeless:
		return "hopeless (always fails)"
	default:
		return string(c)
	}
}

// classOf decides about the n-th event: of every 25, one is of each bad class,
// and the rest is good.
func classOf(n int) class {
	switch n % 25 {
	case 7:
		return flaky
	case 12:
		return hopeless
	case 17:
		return malformed
	case 22:
		return unknown
	default:
		return good
	}
}

// publish adds n events to the stream, a hundred at a time. A batch that was
// begun is finished, so that the books know what is in the stream.
func publish(ctx context.Context, store *store, n int, books *ledger) error {
	topic := lifecycle.Topic(store.stream)
	for i := 0; i < n && ctx.Err() == nil; {
		pipe := store.client.Pipeline()
		var batch []class
		for ; i < n && len(batch) < 100; i++ {
			kind := classOf(i)
			pairs, err := topic.Codec.Encode(event(kind, i))
			if err != nil {
				return err
			}
			if kind == malformed {
				pairs = append(pairs[2:], "occurred_at_ms", "yesterday") // no type, and no number
			}
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: store.stream, Values: pairs})
			batch = append(batch, kind)
		}
		if _, err := pipe.Exec(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		books.published(batch)
	}
	return nil
}

func event(kind class, n int) lifecycle.Event {
	e := lifecycle.Event{
		EventType:  lifecycle.TypeDeleted,
		UserID:     fmt.Sprintf("user-%d", n),
		OccurredAt: time.Now(),
		Source:     "example",
		ActorType:  "operator",
		ActorID:    "op-1",
		ReasonCode: "requested",
		TraceID:    string(kind),
	}
	switch {
	case kind == unknown:
		e.EventType = "user.lifecycle.renamed"
	case n%2 == 1:
		e.EventType = lifecycle.TypePermanentBlocked
	}
	return e
}

// newHandler returns the business of this program: it fails as the events'
// classes tell it to.
func newHandler() lifecycle.Handler {
	attempts := make(map[string]int) // of flaky events, by entry
	return func(_ context.Context, event lifecycle.Event) error {
		switch class(event.TraceID) {
		case hopeless:
			return errors.New("the account service refuses")
		case flaky:
			if attempts[event.EntryID]++; attempts[event.EntryID] < 3 {
				return errors.New("the account service is busy")
			}
			delete(attempts, event.EntryID)
		}
		return nil
	}
}
