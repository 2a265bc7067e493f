package commit

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"time"

	"millrace/stream/internal/contain"
	"millrace/stream/internal/task"
	"millrace/stream/internal/window"
)

// Ending is how a dead letter has ended.
type Ending int

// The endings.
const (
	Written Ending = iota // it is in the dead-letter stream
	Claimed               // its entry is another consumer's now
	Gone                  // its entry has gone, and was not kept
	Stopped               // the consumer stopped before it was written
)

// state returns where the window has the entry then.
func (e Ending) state() window.State {
	if e == Stopped {
		return window.Interrupted
	}
	return window.Done
}

// Letters writes the dead letters of a run. The entry of a letter is held until that is
// written, and its worker is free: one letter that cannot be written, or a server for them
// that does not answer, is in the way of no other entry.
type Letters struct {
	window *window.Window
	outage func(elsewhere bool) task.Outage
	// try writes a letter, once. It returns an error soon after over is closed.
	try  func(*Letter) (settled bool, err error)
	over <-chan struct{} // closed when nothing more is to be written

	// sweeper takes out the letters of entries that other consumers have claimed.
	sweeper task.Task

	mu      sync.Mutex
	boxes   map[any]*letterbox // by their client
	stopped bool
	open    sync.WaitGroup // for each letter that has no end yet
}

// letterbox has the letters for one server. Goroutines write them, which exist only while
// there are letters: a few as long as that works, and one otherwise.
type letterbox struct {
	// telling is held while trouble is told of, and taken before Letters.mu.
	telling sync.Mutex
	trouble task.Outage

	// The rest is guarded by Letters.mu.

	fresh  []*Letter // not tried yet; these come first
	failed []*Letter
	late   int // letters that have failed, and have no end yet
	// slow is set once a worker has waited in vain, until a letter has its end.
	slow    bool
	writers int
	// due is set when the first of failed may be tried again, which timer does after
	// so many failures.
	due      bool
	failures int64
	timer    *time.Timer
}

// maxWriters is how many letters are written at once for one server.
const maxWriters = 8

// letterGrace is how long a write that is on its way may take when it is given up. The
// client may not know of that: it waits for a server as long as its options say.
const letterGrace = 250 * time.Millisecond

// firstTry is how long a worker waits for the first try of its letter.
const firstTry = 10 * time.Millisecond

// NewLetters returns a queue without letters, which are written by the settler as long as
// handlers may be at work: until handling is done. outage makes the outage of a server for
// letters, which may be another one than the topic's.
func NewLetters(handling context.Context, w *window.Window, settler Settler, outage func(elsewhere bool) task.Outage) *Letters {
	l := &Letters{
		window: w,
		outage: outage,
		boxes:  make(map[any]*letterbox),
		over:   handling.Done(),
		try: func(letter *Letter) (bool, error) {
			type result struct {
				settled bool
				err     error
			}
			tried := make(chan result, 1)
			go func() {
				var res result
				res.err = contain.Isolated(func() error { // hooks of the client may panic
					err := settler.Settle(handling, &Batch{Letters: []*Letter{letter}})
					res.settled = letter.Settled
					return cmp.Or(letter.Err, err)
				})
				tried <- res
			}()
			select {
			case res := <-tried:
				return res.settled, res.err
			case <-handling.Done():
			}
			select {
			case res := <-tried:
				return res.settled, res.err
			case <-time.After(letterGrace):
				return false, handling.Err()
			}
		},
	}
	l.sweeper.Do = func(context.Context) { l.sweep() }
	l.sweeper.Begin(handling)
	return l
}

// Post has a dead letter written, whose entry the window holds (Window.Hold). It returns
// when that was tried, or soon: the log usually tells of an entry before the next one is
// handled, and many failures are no faster than the server of their letters.
func (l *Letters) Post(letter *Letter) {
	letter.tried = make(chan struct{})
	box, waits := l.add(letter)
	if !waits {
		return
	}
	select {
	case <-letter.tried:
	case <-l.over:
	case <-time.After(firstTry):
		l.mu.Lock()
		defer l.mu.Unlock()
		box.slow = true
	}
}

// Sweep has the letters ended whose entries were claimed away. It does not wait, and may be
// called with the window's lock held.
func (l *Letters) Sweep() { l.sweeper.Request() }

// add puts a letter into the box of its server. It reports whether the worker waits for
// the first try, which it does not while that server makes others wait.
func (l *Letters) add(letter *Letter) (box *letterbox, waits bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := any(letter.Client)
	if key != nil && !reflect.TypeOf(key).Comparable() {
		key = reflect.TypeOf(key)
	}
	box = l.boxes[key]
	if box == nil {
		box = &letterbox{trouble: l.outage(letter.Client != nil)}
		l.boxes[key] = box
	}
	l.open.Add(1)
	box.fresh = append(box.fresh, letter)
	l.employLocked(box)
	return box, box.late == 0 && !box.slow
}

// employLocked finds writers for the letters that may be written.
func (l *Letters) employLocked(box *letterbox) {
	most, some := maxWriters, len(box.fresh)
	if len(box.failed) > 0 {
		most = 1
		if box.due || l.stopped {
			some++
		}
	}
	for ; some > 0 && box.writers < most; some-- {
		box.writers++
		go l.write(box)
	}
}

// write writes letters as long as there are some that may be written.
func (l *Letters) write(box *letterbox) {
	for {
		letter := l.next(box)
		if letter == nil {
			return
		}
		switch {
		case l.window.IsTaken(letter.Item):
			l.tried(box, letter, false, ErrClaimed)
		case l.isOver(letter):
			l.tried(box, letter, false, context.Canceled)
		default:
			settled, err := l.try(letter)
			l.tried(box, letter, settled, err)
		}
	}
}

// next returns the letter to be tried next, nil if there is none, or if the writer is
// to leave.
func (l *Letters) next(box *letterbox) *Letter {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := &box.fresh
	switch {
	case len(box.failed) > 0 && box.writers > 1:
		list = nil
	case len(box.fresh) > 0:
	case len(box.failed) > 0 && (box.due || l.stopped):
		list, box.due = &box.failed, false
	default:
		list = nil
	}
	if list == nil {
		box.writers--
		return nil
	}
	letter := (*list)[0]
	(*list)[0] = nil
	*list = (*list)[1:]
	return letter
}

// isOver reports whether a letter is not tried any more.
func (l *Letters) isOver(letter *Letter) bool {
	select {
	case <-l.over:
		return true
	default:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopped && letter.failed
}

// tried notes how a try went: the letter has its end, or waits for another one.
func (l *Letters) tried(box *letterbox, letter *Letter, settled bool, err error) {
	box.telling.Lock()
	defer box.telling.Unlock()
	defer letter.noteTried()
	ended := err == nil || errors.Is(err, ErrClaimed) || errors.Is(err, ErrGone)
	if !ended && !l.isOver(letter) {
		box.trouble.GoesOn(err)
		l.window.WriteFailed(letter.Item)
		if l.later(box, letter) {
			return
		}
	}
	l.end(letter, settled, err)
	if l.strike(box, letter, ended) {
		box.trouble.Ends()
	}
	l.open.Done()
}

// noteTried lets the worker go that waits for the first try. The caller holds telling.
func (l *Letter) noteTried() {
	select {
	case <-l.tried:
	default:
		close(l.tried)
	}
}

// later puts a letter back that could not be written. It reports false if it is not to
// be tried again.
func (l *Letters) later(box *letterbox, letter *Letter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !letter.failed {
		letter.failed = true
		box.late++
	}
	if l.stopped {
		return false
	}
	box.failed = append(box.failed, letter)
	if box.timer == nil && !box.due {
		box.failures++
		box.timer = time.AfterFunc(task.Recovery.Delay(box.failures), func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			box.timer, box.due = nil, true
			l.employLocked(box)
		})
	}
	return true
}

// strike takes a letter out that has its end. It reports whether all that failed
// before have been written.
func (l *Letters) strike(box *letterbox, letter *Letter, ended bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	box.slow = false
	if !letter.failed {
		return false
	}
	box.late--
	if ended {
		box.failures, box.due = 0, len(box.failed) > 0 // the next one need not wait
		l.employLocked(box)
	}
	return ended && box.late == 0
}

// end tells how a letter has ended, and gives its entry back to the window.
func (l *Letters) end(letter *Letter, settled bool, err error) {
	ending := Written
	switch {
	case err == nil:
	case errors.Is(err, ErrClaimed):
		ending = Claimed
	case errors.Is(err, ErrGone):
		ending = Gone
	default:
		ending = Stopped
	}
	_ = contain.Isolated(func() error { // an observer may end its goroutine
		letter.Ended(ending)
		return nil
	})
	if settled || ending == Claimed {
		l.window.ForgetWritten(letter.Item)
	} else {
		l.window.Written(letter.Item, ending.state())
	}
}

// sweep ends the letters of entries that other consumers have claimed.
func (l *Letters) sweep() {
	lost := make(map[*letterbox][]*Letter)
	l.mu.Lock()
	for _, box := range l.boxes {
		for _, list := range []*[]*Letter{&box.fresh, &box.failed} {
			*list = slices.DeleteFunc(*list, func(letter *Letter) bool {
				if !l.window.IsTaken(letter.Item) {
					return false
				}
				lost[box] = append(lost[box], letter)
				return true
			})
		}
	}
	l.mu.Unlock()
	for box, list := range lost {
		for _, letter := range list {
			l.tried(box, letter, false, ErrClaimed)
		}
	}
}

// Stop gives up the letters that have failed, and those that will.
func (l *Letters) Stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	for _, box := range l.boxes {
		l.employLocked(box)
	}
}

// Finish waits until each letter has an end; no other may be posted.
func (l *Letters) Finish() {
	l.open.Wait()
	l.sweeper.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, box := range l.boxes {
		if box.timer != nil {
			box.timer.Stop()
		}
		box.trouble.Abandon()
	}
}
