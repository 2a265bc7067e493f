package effect

import (
	"errors"
	"sync"
)

// The reasons for which a buffer takes no effect. Package stream tells them to the caller.
var (
	// ErrOver says that the run which asks for the effect is not open: its handler has returned,
	// or another run of it has begun.
	ErrOver = errors.New("the handler that was given the message has returned, or was called with the message's entry again")
	// ErrUndeclared says that the target is none of the consumer's.
	ErrUndeclared = errors.New("the consumer was not told of it; give it to WithEffects")
)

// Buffer collects the effects of the entry that a worker has, during one run of the handler after
// another. mu guards it: handlers may ask for effects from several goroutines, and from one that
// outlasts the run.
type Buffer struct {
	targets *Targets // nil takes any target

	mu    sync.Mutex
	run   uint64 // the number of the last run, or of its last start
	begun uint64 // the number with which that run began
	open  bool   // that run has not ended
	list  *List  // of the run that is open, nil is none
	kept  *List  // of the last run, which has succeeded
}

// NewBuffer returns a buffer for these targets, nil for any.
func NewBuffer(targets *Targets) *Buffer { return &Buffer{targets: targets} }

// Begin begins a run, and returns its number. Nothing is left of the runs before.
func (b *Buffer) Begin() (run uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.run++
	b.begun, b.open, b.list, b.kept = b.run, true, nil, nil
	return b.run
}

// Put adds an effect to those of a run, which must be open.
func (b *Buffer) Put(run uint64, e Effect) error {
	if b.targets != nil && !b.targets.Has(e.target) {
		return ErrUndeclared
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open || run != b.run {
		return ErrOver
	}
	if b.list == nil {
		b.list = new(List)
	}
	b.list.add(e.effect)
	return nil
}

// Again has an open run start over under another number, without the effects that it has so far.
// It returns that number for Put, or the old one of a run that is not open. End takes the number
// of Begin.
func (b *Buffer) Again(run uint64) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open || run != b.run {
		return run
	}
	b.run++
	b.list = nil
	return b.run
}

// End ends the run that has begun with this number. The effects of one that succeeded are kept
// for Take. It reports false if the run was not open any more: its effects are gone, and it must
// not count as a success.
func (b *Buffer) End(begun uint64, succeeded bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open || begun != b.begun {
		return false
	}
	if succeeded {
		b.kept = b.list
	}
	b.open, b.list = false, nil
	return true
}

// Take returns the effects of the last run, if that has succeeded, and nil if there are none. No
// run is open afterwards.
func (b *Buffer) Take() *List {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := b.kept
	b.open, b.list, b.kept = false, nil, nil
	return kept
}

// Open returns the effects of the run that is open so far, for the kit of users' tests.
func (b *Buffer) Open() *List {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.list
}
