package groupmode

import (
	"context"
	"errors"
	"time"

	"millrace/stream/internal/commit"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/later"
	"millrace/stream/internal/window"
)

// postponer takes entries out of the pending ones until their time has come, see later.Postponed.
type postponer struct {
	*consumer
	leases  *leases
	box     *later.Postponed
	returns *later.MoveTask
}

// errUnowned is the reason for which an entry stays that no consumer of the group has.
var errUnowned = errors.New("the entry is pending on no consumer")

// errTrimmed is the reason for which an entry stays that the stream has no more.
var errTrimmed = errors.New("the stream does not have the entry any more")

// postpone puts an entry off. It does not end as done: an ack that is late could hit it when it has
// come back.
func (p *postponer) postpone(ctx context.Context, it *window.Item, after time.Duration) error {
	unknown := false // whether a try has put it off whose reply was lost
	var refused error
	// A renewal must not take it back meanwhile, nor as long as it may have been put off.
	defer func() { p.held.SetMoving(it, refused == nil) }()
	err := p.host.Persist(ctx, "putting off an entry", func(ctx context.Context) (err error) {
		refused, err = p.try(ctx, it, after)
		switch {
		case err == nil:
		case unknown:
		case conn.Classify(err).Class == conn.Gone: // the reader makes it again
		case conn.Classify(err).Answered():
			refused, err = err, nil
		default:
			unknown = !conn.NeverRan(ctx, err)
		}
		return err
	})
	switch {
	case err != nil && ctx.Err() == nil: // no waiting can mend it
		refused = err
		return err
	case err != nil:
		return err
	case refused != nil:
		return refused
	case p.held.IsLeavingWatched():
		// A list of what is pending, or a claim, that is on its way now may be from after it has come
		// back, and is not believed: the reader looks again.
		p.retake.Store(2)
	}
	p.returns.Expect(after)
	return nil
}

// try puts an entry off, in one try where it is pending on this consumer.
func (p *postponer) try(ctx context.Context, it *window.Item, after time.Duration) (refused, err error) {
	e := later.Postponement{Consumer: p.name, ID: it.ID, After: after, Deliveries: it.Deliveries}
	if p.named { // there may be two processes of the name, see committer.args
		e.Count = it.Deliveries
	}
	put := func() (string, error) {
		p.held.SetMoving(it, true)
		answer, err := p.box.Postpone(ctx, e)
		if conn.Classify(err).Class == conn.Gone {
			p.held.DoubtAll() // the reader makes the group again
		}
		return answer, err
	}
	answer, err := put()
	if err == nil && answer == later.Dropped {
		if !p.held.IsDoubtful(it) {
			// This consumer may have been removed from the group. Then it is taken back.
			p.held.SetMoving(it, false)
			if err = p.leases.renewSince(ctx, time.Now()); err != nil {
				return nil, err
			}
		}
		if p.window.IsTaken(it) {
			return commit.ErrClaimed, nil
		}
		e.Unowned = p.held.IsDoubtful(it)
		answer, err = put()
	}
	switch {
	case err != nil:
		return nil, err
	case answer == later.Lost:
		p.retake.Store(2) // see committer.giveUp
		return commit.ErrClaimed, nil
	case answer == later.Dropped:
		return errUnowned, nil
	case answer == later.Gone:
		return errTrimmed, nil
	}
	return nil, nil
}
