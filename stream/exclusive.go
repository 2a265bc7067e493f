package stream

import "context"

// exclusive is a lock that is held while a server is asked for something. Who waits for
// it can give up, because that may take as long as an outage. And in a bubble of
// testing/synctest time goes on meanwhile, which it does not while somebody waits for a
// sync.Mutex.
type exclusive chan struct{}

func newExclusive() exclusive { return make(exclusive, 1) }

// lock fails if ctx is done first.
func (x exclusive) lock(ctx context.Context) error {
	select {
	case x <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tryLock takes the lock if it is free, and reports whether it was.
func (x exclusive) tryLock() bool {
	select {
	case x <- struct{}{}:
		return true
	default:
		return false
	}
}

func (x exclusive) unlock() { <-x }
