package stream

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"time"

	"millrace/stream/internal/task"
)

// letters writes the dead letters of a run. The entry of a letter is held until that
// is written, and its worker is free: one letter that cannot be written, or a server
// for them that does not answer, is in the way of no other entry.
type letters struct {
	*run
	// try writes a letter, once. It returns an error soon after over is closed.
	try  func(*deadLetter) (settled bool, err error)
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
	// telling is held while trouble is told of, and taken before letters.mu.
	telling sync.Mutex
	trouble *outage

	// The rest is guarded by letters.mu.

	fresh  []*deadLetter // not tried yet; these come first
	failed []*deadLetter
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

const writingLetters = "writing to the dead letters"

func newLetters(handling context.Context, r *run) *letters {
	l := &letters{
		run:   r,
		boxes: make(map[any]*letterbox),
		over:  handling.Done(),
		try: func(letter *deadLetter) (bool, error) {
			type result struct {
				settled bool
				err     error
			}
			tried := make(chan result, 1)
			go func() {
				var res result
				res.err = isolated(func() (err error) { // hooks of the client may panic
					res.settled, err = r.source.writeLetter(handling, letter)
					return err
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
	l.sweeper.Do = l.sweep
	return l
}

// post has a dead letter written, whose entry comes from its worker. It returns when that
// was tried, or soon: the log usually tells of an entry before the next one is handled,
// and many failures are no faster than the server of their letters.
func (l *letters) post(letter *deadLetter) {
	if !l.window.Hold(letter.one) {
		defer l.window.Forget(letter.one) // also if an observer ends this goroutine
		l.noteEnd(letter.one, OutcomeClaimed, letter.failure, letter.took)
		return
	}
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

// add puts a letter into the box of its server. It reports whether the worker waits for
// the first try, which it does not while that server makes others wait.
func (l *letters) add(letter *deadLetter) (box *letterbox, waits bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := any(letter.client)
	if key != nil && !reflect.TypeOf(key).Comparable() {
		key = reflect.TypeOf(key)
	}
	box = l.boxes[key]
	if box == nil {
		box = &letterbox{trouble: l.newOutage(writingLetters, l.log())}
		box.trouble.elsewhere = letter.client != nil
		l.boxes[key] = box
	}
	l.open.Add(1)
	box.fresh = append(box.fresh, letter)
	l.employLocked(box)
	return box, box.late == 0 && !box.slow
}

// employLocked finds writers for the letters that may be written.
func (l *letters) employLocked(box *letterbox) {
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
func (l *letters) write(box *letterbox) {
	for {
		letter := l.next(box)
		if letter == nil {
			return
		}
		switch {
		case l.window.IsTaken(letter.one):
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
func (l *letters) next(box *letterbox) *deadLetter {
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
func (l *letters) isOver(letter *deadLetter) bool {
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
func (l *letters) tried(box *letterbox, letter *deadLetter, settled bool, err error) {
	box.telling.Lock()
	defer box.telling.Unlock()
	defer letter.noteTried()
	ended := err == nil || err == ErrClaimed || errors.Is(err, errGone) //nolint:errorlint // our own, never wrapped
	if !ended && !l.isOver(letter) {
		box.trouble.goesOn(err)
		l.window.WriteFailed(letter.one)
		if l.later(box, letter) {
			return
		}
	}
	l.end(letter, settled, err)
	if l.strike(box, letter, ended) {
		box.trouble.ends()
	}
	l.open.Done()
}

// noteTried lets the worker go that waits for the first try. The caller holds telling.
func (letter *deadLetter) noteTried() {
	select {
	case <-letter.tried:
	default:
		close(letter.tried)
	}
}

// later puts a letter back that could not be written. It reports false if it is not to
// be tried again.
func (l *letters) later(box *letterbox, letter *deadLetter) bool {
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
func (l *letters) strike(box *letterbox, letter *deadLetter, ended bool) bool {
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

// end settles the entry of a letter, or has the letter written again.
func (l *letters) end(letter *deadLetter, settled bool, err error) {
	it := letter.one
	outcome := OutcomeDeadLettered
	switch {
	case err == ErrClaimed: //nolint:errorlint // our own, never wrapped
		l.log().Warn("entry given up while its dead letter was to be written: another consumer has it", "entry_id", letter.id, "attempt", letter.attempt)
		outcome = OutcomeClaimed
	case errors.Is(err, errGone): // which was told
		outcome = OutcomeAbsorbed
	case err != nil:
		l.log().Info("entry left: stopped before its dead letter was written", "entry_id", letter.id, "attempt", letter.attempt)
		outcome = OutcomeInterrupted
	default:
		l.log().Warn("entry passed: it is in the dead letters now", "entry_id", letter.id, "attempt", letter.attempt, "dead_letter_stream", letter.target, "err", letter.cause)
	}
	_ = isolated(func() error { // an observer may end its goroutine
		l.noteEnd(it, outcome, letter.failure, letter.took)
		return nil
	})
	if settled || outcome == OutcomeClaimed {
		l.window.ForgetWritten(it)
	} else {
		l.window.Written(it, outcome.state())
	}
}

// sweep ends the letters of entries that other consumers have claimed.
func (l *letters) sweep() {
	lost := make(map[*letterbox][]*deadLetter)
	l.mu.Lock()
	for _, box := range l.boxes {
		for _, list := range []*[]*deadLetter{&box.fresh, &box.failed} {
			*list = slices.DeleteFunc(*list, func(letter *deadLetter) bool {
				if !l.window.IsTaken(letter.one) {
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

// stop gives up the letters that have failed, and those that will.
func (l *letters) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	for _, box := range l.boxes {
		l.employLocked(box)
	}
}

// finish waits until each letter has an end; no other may be posted.
func (l *letters) finish() {
	l.open.Wait()
	l.sweeper.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, box := range l.boxes {
		if box.timer != nil {
			box.timer.Stop()
		}
		box.trouble.abandon()
	}
}
