package task

import "context"

// Lock is a mutex for code that asks a server for something while it holds the lock, which
// may take as long as an outage: a goroutine that waits for the lock can give up. And in
// a bubble of testing/synctest, virtual time goes on while one waits; it stands still while
// a goroutine waits for a sync.Mutex.
type Lock chan struct{}

// NewLock returns a lock that is free. The zero value cannot be locked.
func NewLock() Lock { return make(Lock, 1) }

// Lock waits for the lock and takes it. It fails with the error of ctx if that is done first.
func (x Lock) Lock(ctx context.Context) error {
	select {
	case x <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TryLock takes the lock if it is free, and reports whether it was.
func (x Lock) TryLock() bool {
	select {
	case x <- struct{}{}:
		return true
	default:
		return false
	}
}

// Unlock frees the lock, which must be held.
func (x Lock) Unlock() { <-x }
