package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/internal/task"
)

const (
	// gatherWithin is how long the consumer that sets a group waits for the others to pause.
	gatherWithin = 5 * time.Second
	// turnLasts is how long one consumer may take to set the group; afterwards another one
	// does it.
	turnLasts = 30 * time.Second
	// resultLasts is how long the result of an order is kept for those that look for it.
	resultLasts = 10 * time.Minute
	// seekPause is how long a consumer is paused for an order at the most, if its agent dies.
	seekPause = time.Minute
)

// The results of an order, in the key of the seek. Any other value is the consumer whose turn
// it is.
const (
	seekDone   = "done"
	seekFailed = "failed: "
)

// seek has a consumer obey an order, and tells the admin of it soon.
func (a *Agent) seek(ctx context.Context, s *steered, order *SeekOrder) {
	var err error
	if s.reader.Group == "" {
		err = s.consumer.Seek(ctx, stream.FromID(order.To))
	} else {
		err = a.seekTogether(ctx, s, order)
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = errors.New("the process stops")
	}
	s.end(err)
	if err == nil && time.Since(order.At.Time()) > obeyWithin {
		// No admin waits for it any more. A process that starts later is not to obey it again.
		err = a.admin.editControl(ctx, s.reader, func(c *Control) {
			if c.Seek != nil && c.Seek.Op == order.Op {
				c.Seek = nil
			}
		})
	}
	if err != nil && ctx.Err() == nil {
		a.admin.log().Error("an order to seek was not obeyed", "on", s.reader.String(), "by", order.By, "why", order.Why, "err", err)
	}
	a.tell()
}

// tell has the record of the process written soon.
func (a *Agent) tell() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// seekTogether has the consumers of a group go to another place. All of them pause; one sets
// the group when the others have; then all look it up anew. A consumer that went on meanwhile
// would tell of the change as of a loss.
func (a *Agent) seekTogether(ctx context.Context, s *steered, order *SeekOrder) error {
	if err := s.consumer.Pause(fmt.Sprintf("to seek, by %s: %s", order.By, order.Why), time.Now().Add(seekPause)); err != nil {
		return err
	}
	s.waits()
	a.tell()
	key := string(a.admin.keyspace) + ":seek:" + order.Op
	me := a.id + " " + s.consumer.Identity().Consumer
	for {
		mine, err := a.admin.client.SetNX(ctx, key, me, turnLasts).Result()
		if err != nil {
			return explain("taking turns at "+key, err)
		}
		if mine {
			a.gather(ctx, s, order)
			err := s.consumer.Seek(ctx, stream.FromID(order.To))
			result := seekDone
			if err != nil {
				result = seekFailed + err.Error()
			}
			set := a.admin.client.Set(context.WithoutCancel(ctx), key, result, resultLasts).Err()
			return errors.Join(err, explain("writing to "+key, set))
		}
		result, err := a.admin.client.Get(ctx, key).Result()
		switch {
		case errors.Is(err, redis.Nil): // the one whose turn it was has died
		case err != nil:
			return explain("reading "+key, err)
		case result == seekDone:
			return s.consumer.Reposition(ctx)
		case strings.HasPrefix(result, seekFailed):
			return errors.New(strings.TrimPrefix(result, seekFailed))
		}
		if !task.Sleep(ctx, obeyEvery) {
			return ctx.Err()
		}
	}
}

// gather waits until all other consumers of the group that have an agent are paused for the
// order.
func (a *Agent) gather(ctx context.Context, s *steered, order *SeekOrder) {
	me := s.consumer.Identity().Consumer
	for deadline := time.Now().Add(gatherWithin); time.Now().Before(deadline); {
		present, err := a.admin.present(ctx)
		if err == nil {
			missing := 0
			for _, m := range present[s.reader] {
				if m.Awaits != order.Op && m.Consumer != me {
					missing++
				}
			}
			if missing == 0 {
				return
			}
		}
		if !task.Sleep(ctx, obeyEvery) {
			return
		}
	}
}
