package stream

import (
	"context"
	"time"

	"millrace/stream/internal/commit"
	"millrace/stream/internal/window"
)

// Settle settles the entries that may be settled, and tries until that has succeeded or ctx
// is done. Any other error is one that no waiting can mend. A mode calls it before it delivers
// an entry again.
//
// A worker gives up when its entry is claimed away. The settler then goes on: nothing is begun
// while a settling has failed, so that no other worker would ask for it.
func (r *run) Settle(ctx context.Context) error {
	err := r.settle(ctx)
	if err != nil {
		r.settler.Request()
	}
	return err
}

// settle is Settle for the settler.
func (r *run) settle(ctx context.Context) error {
	if err := r.settling.Lock(ctx); err != nil {
		return err
	}
	defer r.settling.Unlock()
	list := r.window.Settleable()
	if len(list) == 0 {
		return nil
	}
	begun := time.Now()
	err := r.persist(ctx, settlingWhat(r.engine.inGroup()), func(ctx context.Context) error {
		err := r.mode.Settler.Settle(ctx, &commit.Batch{Ended: list})
		if err != nil {
			r.window.Stall()
		}
		return err
	}, false)
	if err != nil {
		return err
	}
	r.settled(list, begun)
	return nil
}

// settlingWhat names settling in each mode.
func settlingWhat(group bool) string {
	if group {
		return "acking entries"
	}
	return "saving the offset"
}

// settled takes entries out of the window that were settled.
func (r *run) settled(list []*window.Item, begun time.Time) {
	n, last := len(list), list[len(list)-1].ID // before they leave the list
	r.window.Settled(n)
	r.tellSettled(n, last, begun)
}

// SettleLast settles when everything else has stopped, in one try.
func (r *run) SettleLast(ctx context.Context) error {
	list := r.window.Settleable()
	if len(list) == 0 {
		return nil
	}
	begun := time.Now()
	if err := r.mode.Settler.Settle(ctx, &commit.Batch{Ended: list}); err != nil {
		return err
	}
	r.settled(list, begun)
	return nil
}
