package later

import (
	"cmp"
	"context"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"
)

// Mover moves the entries of many topics, of one client, in rounds. It is used by one goroutine.
type Mover struct {
	client  redis.UniversalClient
	batches [][]*Box // that are looked at together
	// Tell is called after each Move: with what it has done, or with its error.
	Tell func(topic string, m Moved, err error)
}

// lookMost is how many topics one Look asks for.
const lookMost = 200

// The bounds of the wait between two looks.
const (
	leastWait = 50 * time.Millisecond
	mostWait  = time.Second
)

// roundMoves is how often a topic is moved in one round: others have their turn.
const roundMoves = 10

// NewMover returns a mover of topics. A topic that is given twice counts once.
func NewMover(client redis.UniversalClient, topics []Keys, tell func(topic string, m Moved, err error)) *Mover {
	m := &Mover{client: client, Tell: tell}
	var boxes []*Box
	seen := make(map[Keys]bool)
	for _, keys := range topics {
		if !seen[keys] {
			seen[keys] = true
			boxes = append(boxes, &Box{Client: client, Keys: keys})
		}
	}
	m.batches = bySlot(client, boxes, func(b *Box) string { return b.Keys.Due })
	return m
}

// Round moves all that is due, but for topics that have very much, and returns how long to wait
// before the next round, 0 where a topic has more. The error is that of a look, which no topic alone
// has.
func (m *Mover) Round(ctx context.Context) (wait time.Duration, err error) {
	wait = mostWait
	for _, batch := range m.batches {
		next, failed := m.roundOf(ctx, batch)
		wait, err = min(wait, next), cmp.Or(err, failed)
	}
	if wait == 0 {
		return 0, err
	}
	// Processes that have started together do not look together for ever.
	return max(leastWait, wait-rand.N(wait/10+1)), err
}

func (m *Mover) roundOf(ctx context.Context, batch []*Box) (wait time.Duration, err error) {
	due := make([]string, len(batch))
	for i, box := range batch {
		due[i] = box.Keys.Due
	}
	waits, err := Look(ctx, m.client, due)
	if err != nil {
		return mostWait, err
	}
	wait = mostWait
	for i, box := range batch {
		next := waits[i]
		if next == 0 {
			next = m.move(ctx, box)
		}
		if next >= 0 {
			wait = min(wait, next)
		}
	}
	return wait, nil
}

// move moves what is due of one topic, and returns when more is.
func (m *Mover) move(ctx context.Context, box *Box) (next time.Duration) {
	for range roundMoves {
		moved, err := box.Move(ctx)
		if err != nil && ctx.Err() != nil {
			return mostWait
		}
		m.Tell(box.Keys.Topic, moved, err)
		if err != nil {
			return mostWait
		}
		if next = moved.Next; next != 0 {
			break
		}
	}
	return next
}
