package later

import (
	"context"
	"sync/atomic"
	"time"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/contain"
	"millrace/stream/internal/task"
)

// MoveTask moves the entries of one sorted set, for a consumer, when its Watch has found that one is
// due. The consumer runs Task, with the time in which handlers may be at work.
type MoveTask struct {
	Task task.Task

	watch   *Watch
	key     string
	move    func(ctx context.Context) (Moved, error)
	trouble task.Outage
	refused func(error)
	away    func() bool

	entered bool
	told    bool         // that it is refused; the task's own
	failed  atomic.Bool  // the last try has: it is tried again, even if another process is faster
	pause   atomic.Int64 // until when nothing is tried, in Unix nanoseconds
}

// Moving is the settings of a MoveTask.
type Moving struct {
	Watch *Watch
	Key   string // of the sorted set
	// Move moves what one script may, and tells what that was.
	Move func(ctx context.Context) (Moved, error)
	// Trouble is told of failures that pass. Refused is called once with one that waiting cannot
	// mend: a consumer whose user lacks a right for this goes on without, and tries it again now and
	// then.
	Trouble task.Outage
	Refused func(error)
	// Away reports whether the server does not answer the consumer now: nothing is tried then.
	Away func() bool
}

// refusedPause is how long a consumer that was refused waits until it tries again. Each try may be a
// line in the server's log of refusals.
const refusedPause = 5 * time.Minute

// NewMoveTask returns a task that has not begun.
func NewMoveTask(m Moving) *MoveTask {
	t := &MoveTask{watch: m.Watch, key: m.Key, move: m.Move, trouble: m.Trouble, refused: m.Refused, away: m.Away}
	t.Task.Do = func(ctx context.Context) {
		err := contain.Caught(func() error { return t.round(ctx) })
		t.note(ctx, err)
	}
	return t
}

// Enter has the watch look for it, until Leave is called.
func (t *MoveTask) Enter() {
	t.entered = true
	t.watch.add(t)
}

// Expect notes that an entry was put there which is due after the given time, so that this may be
// done.
func (t *MoveTask) Expect(after time.Duration) {
	t.pause.Store(0)
	if after < mostWait {
		t.watch.within(after)
	}
}

// Leave comes at the end of the consumer, and may come without Enter.
func (t *MoveTask) Leave() {
	if t.entered { // else there may be no watch
		t.watch.remove(t)
	}
	t.trouble.Abandon()
}

// isReady reports whether it is to be looked for now. One that was refused is left out for a time:
// a single key that the user may not read has the server refuse the look of all.
func (t *MoveTask) isReady(now time.Time) bool { return now.UnixNano() >= t.pause.Load() && !t.away() }

// round moves what is due, but for very much, and says when the next is due.
func (t *MoveTask) round(ctx context.Context) error {
	for range roundMoves {
		moved, err := t.move(ctx)
		switch {
		case err != nil:
			return err
		case moved.Next > 0 && moved.Next < mostWait:
			t.watch.within(moved.Next)
			return nil
		case moved.Next != 0:
			return nil
		}
	}
	t.Task.Request()
	return nil
}

// note notes how a run has ended.
func (t *MoveTask) note(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	refused := conn.Classify(err).Ends(true)
	t.failed.Store(err != nil && !refused)
	switch {
	case refused:
		t.trouble.Ends()
		t.pause.Store(time.Now().Add(refusedPause).UnixNano())
		if !t.told {
			t.told = true
			t.refused(err)
		}
	case err != nil:
		t.trouble.GoesOn(err)
	default:
		t.trouble.Ends()
	}
}
