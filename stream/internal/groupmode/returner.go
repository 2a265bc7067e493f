package groupmode

import (
	"context"

	"millrace/stream/internal/later"
	"millrace/stream/internal/loss"
)

// newReturner returns the task that has entries of the group which were put off come back when their
// time has come: they are handed back then, and claimed by a consumer that has room.
func newReturner(c *consumer, watch *later.Watch, box *later.Postponed, claims *claimer) *later.MoveTask {
	return later.NewMoveTask(later.Moving{
		Watch: watch, Key: box.Keys.Due,
		Move: func(ctx context.Context) (later.Moved, error) {
			moved, err := box.BringBack(ctx)
			if err == nil {
				c.tellReturned(moved)
			}
			if moved.Entries > moved.Added {
				claims.returned.Store(true)
				claims.task.Request()
			}
			return moved, err
		},
		Trouble: c.host.NewOutage(c.log, "bringing back entries that were put off"),
		Refused: func(err error) {
			c.log.Info("entries that were put off do not come back through this consumer", "err", err)
		},
		Away: c.host.ReadsFail,
	})
}

// tellReturned tells of the entries that are due, and have not come back as themselves.
func (c *consumer) tellReturned(moved later.Moved) {
	if moved.Added > 0 {
		c.log.Warn("entries that were put off have left the stream meanwhile, and were added to it again", "entries", moved.Added)
	}
	if n := len(moved.Kept); n > 0 {
		c.log.Error("entries that were put off are due, and cannot come back; they are tried again in a minute", "entries", n, "entry_id", moved.Kept[0], "err", moved.Problem)
	}
	for _, id := range moved.Lost {
		c.tellLoss(loss.OfPending(id))
	}
}
