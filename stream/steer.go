package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"millrace/offset"
	"millrace/stream/internal/feed"
	"millrace/stream/internal/mode"
	"millrace/stream/internal/task"
)

// ErrNoReset is returned by [Consumer.Seek] in log mode if the store cannot set an offset back,
// because it has no method Reset ([offset.Resetter]). Nothing has changed. Give the consumer a
// store that has one; the stores of package offset do.
var ErrNoReset = errors.New("stream: the offset store cannot set an offset to any place: give a store with the method Reset (offset.Resetter), as those of package offset have, or stop the consumer and change what is stored")

// Pause keeps the consumer from beginning anything until the given time, or until
// [Consumer.Resume]. Nothing is read or claimed meanwhile, and no batch begins. Handlers at work
// go on, also with attempts in place, and are settled. Entries that were read and not begun are
// kept; in group mode their leases are renewed, so that no other consumer claims them. A read that
// waits is ended (+client|unblock in group mode); without that right it may bring entries of the
// block time, which are kept too.
//
// The consumer stays live and ready. [Health] gives the reason and the end of the pause, and
// [Stats] has its end. A loss in the stream is looked for once the pause is over.
//
// A pause always ends: the time has to be in the future, and the reason, one line for people, not
// blank, or the error wraps [ErrInvalidOption]. A pause that is set while no Run is at work holds
// for the next Run. Another call replaces the pause. It lives in this process: a restart ends it.
// It does not wait, and may be called at any time, from several goroutines.
func (c *Consumer[T]) Pause(reason string, until time.Time) error {
	return c.engine.pause(strings.Join(strings.Fields(reason), " "), until)
}

// Resume ends a pause; without one it does nothing. It does not wait, and may be called at any
// time, from several goroutines.
func (c *Consumer[T]) Resume() { c.engine.endPause(nil) }

// Seek sets the consumer's place in the stream: of its label or, in group mode, of the whole
// group. Places are those of [WithStart]. One behind the end of the stream is the end.
//
// Nothing more is begun, handlers at work return, and what they have done is settled. Then the
// place is set, and Run goes on there without having returned. Entries behind an earlier place are
// delivered again. Those that a later place leaves out are no loss: no [LossError] tells of them.
// In log mode that includes entries that are held, or whose dead letter is not written. In group
// mode such entries, and those that were read and not begun, are pending in the group; they are
// handed back, and delivered before or after those at the new place.
//
// While no Run is at work, the stored place is set, and the group is made if it is missing. In a
// pause the place is set at once, and the pause goes on. In a group with several consumers one of
// them seeks; the others, which have entries of the place before and may tell a loss, are paused
// first, and call [Consumer.Reposition] before they are resumed.
//
// In log mode a consumer that is restarted in another process before it has passed them tells
// entries behind the place that were deleted by their IDs (XDEL) as a loss: an offset does not say
// how it came about.
//
// Trouble with Redis and the store is waited for until ctx is done; then the place may have been
// set or not, and the error says so. An error that no waiting can mend comes back at once, such
// as [ErrNoReset]; the consumer goes on where it was. Seek waits for handlers, so that a handler
// must not call it. It may be called from several goroutines, and takes the Redis rights
//
//	~<topic> +xrevrange                                   in log mode, and those of Reset
//	~<topic> +xinfo|stream +xinfo|groups +xrange
//	         +xgroup|create +xgroup|setid +eval +evalsha  in group mode
func (c *Consumer[T]) Seek(ctx context.Context, to Start) error {
	if ctx == nil {
		return errNoContext("Seek")
	}
	if err := to.problem("Seek"); err != nil {
		return invalid("%w", err)
	}
	return c.engine.seek(ctx, &to.at)
}

// Reposition has a consumer in group mode take up the place of the group anew, after another
// consumer of the group has called [Consumer.Seek]. What was read and not begun is handed back,
// handlers at work return and are settled, and no [LossError] tells of entries that the group has
// passed. In log mode, where no other consumer has the label, and while no Run is at work, it does
// nothing. Like Seek it waits for handlers, until ctx is done, and changes nothing in Redis.
func (c *Consumer[T]) Reposition(ctx context.Context) error {
	if ctx == nil {
		return errNoContext("Reposition")
	}
	if !c.engine.inGroup() {
		return nil
	}
	return c.engine.seek(ctx, nil)
}

func errNoContext(of string) error {
	return fmt.Errorf("stream: %s was given no context; pass one that ends when nothing is to be waited for any longer", of)
}

// steering is what operators ask of a consumer while it runs: pauses and seeks. mu guards the
// fields below it; the lock of a window may be taken under it.
type steering struct {
	// seeking is held by one seek at a time, and while a Run begins: the place that is stored is
	// set by the Run at work, or else by the seek itself.
	seeking task.Lock

	mu sync.Mutex
	// paused is the pause, nil if there is none.
	paused *pause
	active bool // a Run is at work
	// at is the leg at work, once its mode is open, and cut ends its reading.
	at  *run
	cut context.CancelFunc
	// next is what the Run is to do when the leg has ended, nil if nothing; turning is set from then
	// on until the next leg.
	next    *turn
	turning bool
	// sought is set when the place was set while no Run was at work, until the next Run.
	sought bool
}

// pause is a pause of a consumer.
type pause struct {
	reason string
	until  time.Time
	timer  *time.Timer // ends it
}

// turn is what happens between two legs of a Run: the place is set, or looked up anew.
type turn struct {
	take func(parent context.Context, r *run) error // parent is the context of the Run
	done chan struct{}                              // closed when err has the result
	err  error
}

// errRunEnded is the result of a turn that the Run did not come to.
var errRunEnded = errors.New("the Run has ended")

// pause begins a pause.
func (e *engine) pause(reason string, until time.Time) error {
	var problems []error
	if reason == "" {
		problems = append(problems, invalid("Pause: the reason is blank: say why, for those who look at Health"))
	}
	left := time.Until(until)
	if until.IsZero() {
		problems = append(problems, invalid("Pause: there is no end: give a time in the future, such as time.Now().Add(30 * time.Minute)"))
	} else if left <= 0 {
		problems = append(problems, invalid("Pause: the end, %s, is %v ago: give a time in the future, or call Resume to end a pause", until.UTC().Format(time.RFC3339), -left.Round(time.Second)))
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	p := &pause{reason: reason, until: until}
	s := &e.steering
	s.mu.Lock()
	if s.paused != nil {
		s.paused.timer.Stop()
	}
	s.paused = p
	p.timer = time.AfterFunc(left, func() { e.endPause(p) })
	if s.at != nil {
		s.at.window.SetPaused(true)
		s.at.mode.Source.Recall()
	}
	s.mu.Unlock()
	e.log.Info("paused", "reason", reason, "until", until.UTC())
	return nil
}

// endPause ends a pause, nil any.
func (e *engine) endPause(p *pause) {
	s := &e.steering
	s.mu.Lock()
	ends := s.paused != nil && (p == nil || s.paused == p)
	if ends {
		s.paused.timer.Stop()
		s.paused = nil
		if s.at != nil {
			s.at.window.SetPaused(false)
		}
	}
	s.mu.Unlock()
	if ends {
		e.log.Info("resumed")
	}
}

// pausedUntil returns the end of the pause, zero if there is none, and its reason.
func (s *steering) pausedUntil() (until time.Time, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused == nil {
		return time.Time{}, ""
	}
	return s.paused.until, s.paused.reason
}

// begin notes that a Run begins, once no seek is at work, and reports whether the place was set
// since the Run before. It fails if ctx is done first.
func (s *steering) begin(ctx context.Context) (sought bool, err error) {
	if !s.seeking.TryLock() {
		if err := s.seeking.Lock(ctx); err != nil {
			return false, err
		}
	}
	defer s.seeking.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	sought, s.active, s.sought = s.sought, true, false
	return sought, nil
}

// end notes that the Run has ended.
func (s *steering) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active, s.turning = false, false
	if s.next != nil {
		s.next.err = errRunEnded
		close(s.next.done)
		s.next = nil
	}
}

// enter notes the leg at work, whose mode is open. cut ends its reading.
func (s *steering) enter(r *run, cut context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.cut = r, cut
	if s.paused != nil {
		r.window.SetPaused(true)
	}
	if s.turning = s.next != nil; s.turning {
		cut()
	}
}

// leave notes that the leg has ended.
func (s *steering) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.cut = nil, nil
}

// request has the Run at work take a turn. It reports false if there is no Run.
func (s *steering) request(t *turn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.active {
		return false
	}
	s.next, s.turning = t, true
	if s.cut != nil {
		s.cut()
	}
	return true
}

// begun returns the turn that is to be taken, which begins. It is nil if the caller has given up.
func (s *steering) begun() *turn {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.next
	s.next = nil
	return t
}

// isTurning reports whether the Run takes a turn, or ends a leg for that.
func (s *steering) isTurning() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turning
}

// withdraw takes back a turn, and reports whether the Run has not begun it.
func (s *steering) withdraw(t *turn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != t {
		return false
	}
	s.next = nil
	return true
}

// seek has the Run at work take a turn, or does what is to be done without one. to is nil to look
// the place up anew.
func (e *engine) seek(ctx context.Context, to *mode.Start) error {
	if _, ok := e.store.(offset.Resetter); to != nil && !e.inGroup() && !ok {
		return ErrNoReset
	}
	s := &e.steering
	if s.seeking.Lock(ctx) != nil {
		return fmt.Errorf("stream: %s is where it was: another seek was waited for: %w", e.name, context.Cause(ctx))
	}
	defer s.seeking.Unlock()
	for {
		t := &turn{done: make(chan struct{}), take: func(run context.Context, r *run) error {
			ctx, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			defer context.AfterFunc(run, func() { cancel(errRunEnded) })()
			return r.setPlace(ctx, to)
		}}
		if !s.request(t) {
			return e.seekIdle(ctx, to)
		}
		select {
		case <-t.done:
		case <-ctx.Done():
			if s.withdraw(t) {
				return fmt.Errorf("stream: %s is where it was: handlers at work were waited for: %w", e.name, context.Cause(ctx))
			}
			<-t.done // the same context ends it
		}
		if !errors.Is(t.err, errRunEnded) {
			return t.err
		}
	}
}

// seekIdle sets the place while no Run is at work.
func (e *engine) seekIdle(ctx context.Context, to *mode.Start) (err error) {
	if to == nil {
		return nil // the next Run looks it up
	}
	r := e.newRun(ctx, ctx, func(error) {})
	var disconnect func()
	r.conns, disconnect = feed.ConnsOf(ctx)
	defer disconnect()
	if err := r.connect(); err != nil {
		return err
	}
	if r.mode, err = e.open(ctx, r); err != nil {
		return err
	}
	defer func() { _ = r.mode.Source.Close() }() // nothing was read
	if err := r.setPlace(ctx, to); err != nil {
		return err
	}
	e.steering.mu.Lock()
	defer e.steering.mu.Unlock()
	e.steering.sought = true
	return nil
}

// setPlace sets the place that is stored, unless to is nil.
func (r *run) setPlace(ctx context.Context, to *mode.Start) error {
	if to == nil {
		return nil
	}
	var from, at string
	err := r.persist(ctx, "setting the consumer to another place", func(ctx context.Context) (err error) {
		from, at, err = r.mode.Seek(ctx, *to)
		return err
	}, true)
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("stream: %s may have been set to another place, or not: %w", r.engine.name, context.Cause(ctx))
	case err != nil:
		return err
	}
	r.engine.meter.update(func(m *meter) { m.seeks++ })
	r.engine.log.Info("set to another place", "from", from, "to", at)
	return nil
}

// takeTurn takes the turn for which a leg has ended, and reports whether the place is another one.
func (r *run) takeTurn(parent context.Context) (sought bool) {
	t := r.engine.steering.begun()
	if t == nil {
		return false
	}
	t.err = t.take(parent, r)
	sought = t.err == nil
	close(t.done)
	return sought
}
