package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"millrace/offset"
	"millrace/stream/internal/contain"
)

// assembler makes batches, for a batch handler, of the entries that are being
// processed at the same time. A batch that has begun is a unit until each of its
// entries is passed or claimed away: those that fail come back together.
//
// With ordered set, in log mode without an order key, the batches follow the stream:
// none begins before a unit that has failed has ended, nor leaves out an entry.
//
// All of it is guarded by the window's lock, also the pieces and units.
type assembler struct {
	w       *window
	handle  func(ctx context.Context, messages []any) error
	size    int
	wait    time.Duration
	limit   int // batches that are handled at once
	ordered bool

	// line has the entries that were begun and are not passed, in the order in which
	// they were begun first, which is that of the stream in ordered mode. left is how
	// many of it are to be taken out.
	line []*piece
	left int
	// loose is how many entries count against the batch that is being gathered,
	// bound how many are at work, or about to be, besides those.
	loose, bound int
	// arrived is how many messages wait that belong to no unit. ripe is set once the
	// first of them has waited long enough.
	arrived int
	ripe    bool
	timer   *time.Timer

	running int // batches that are being handled
	units   int // that are not over
	failed  int // of these, have failed
	// whole has the units of which each message has come back.
	whole []*unit
}

// unit is a batch from its beginning on.
type unit struct {
	pieces  []*piece
	left    int // of these, are passed or claimed away
	arrived int // of these, have their message back
	running bool
	failed  bool
	whole   bool
	over    bool
	due     time.Time // when those of its entries that are held are delivered again
}

// isWhole reports whether all that is left of a unit can be handled again.
func (u *unit) isWhole() bool {
	n := len(u.pieces) - u.left
	return !u.running && n > 0 && u.arrived == n
}

// piece is an entry for the assembler, from its first delivery until it is passed or
// lost.
type piece struct {
	of   *assembler
	one  *item // nil afterwards
	unit *unit // the one that it belongs to, once that has begun
	// message has got as far as the handler; nil means that none has.
	message *arrival
	counted counted
}

// counted says in which number of the assembler a piece is.
type counted uint8

const (
	nowhere counted = iota
	asLoose
	asBound
)

// arrival is a message that waits to be handled, or is being handled.
type arrival struct {
	ctx     context.Context //nolint:containedctx // that of the batch follows from those of its messages
	message any
	at      time.Time
	done    chan struct{} // closed when err has the result
	err     error
}

type pieceKey struct{}

// newAssembler returns nil for a consumer without a batch handler.
func newAssembler(w *window, c *config) *assembler {
	if c.handleBatch == nil {
		return nil
	}
	return &assembler{w: w, handle: c.handleBatch, size: c.bulk, wait: c.bulkWait, limit: c.batches, ordered: w.serial}
}

// roomLocked returns how many entries may be begun that were not before. In ordered
// mode those are for the next batch only: behind one that fails nothing is begun.
func (a *assembler) roomLocked() int {
	if a.ordered && (a.failed > 0 || a.units >= a.limit) {
		return 0
	}
	return max(0, a.size-a.loose)
}

// maxWorkersLocked returns how many workers there may be. Entries of units have their own,
// so that no unit waits for a worker which waits for another unit.
func (a *assembler) mostLocked() int { return a.size + a.bound }

// takenLocked notes that a worker has taken an entry.
func (a *assembler) takenLocked(it *item) {
	if it.piece == nil {
		it.piece = &piece{of: a, one: it}
		a.line = append(a.line, it.piece)
	}
	if it.piece.counted == nowhere {
		it.piece.counted = asLoose
		a.loose++
	}
	if a.ordered && it.piece.counted == asBound && a.w.redeliver.len() == 0 && len(a.w.waiting) == 0 {
		a.wakeLocked() // nothing was begun as long as something was held
	}
}

// dueLocked notes that an entry which was held is about to be taken.
func (a *assembler) dueLocked(it *item) {
	if p := it.piece; p != nil && p.counted == nowhere {
		p.counted = asBound
		a.bound++
	}
}

// add puts a message into a batch, and returns its result.
func (a *assembler) add(ctx context.Context, p *piece, message any) error {
	arr, err := a.admit(ctx, p, message)
	if err != nil {
		return err
	}
	select {
	case <-arr.done:
	case <-ctx.Done():
		if a.withdraw(p, arr, context.Cause(ctx)) {
			return context.Cause(ctx)
		}
		<-arr.done
	}
	return arr.err
}

var (
	errEnded   = errors.New("the entry was handed to the batch handler when its processing had ended")
	errStopped = errors.New("the consumer stopped before the batch began")
)

func (a *assembler) admit(ctx context.Context, p *piece, message any) (*arrival, error) {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	switch {
	case p.one == nil || p.one.state != working:
		return nil, errEnded
	case p.message != nil:
		return p.message, nil // middleware may call twice at a time
	case a.w.stopped:
		p.one.cancel(context.Canceled) // or middleware would try again, or give it up
		return nil, errStopped
	}
	p.message = &arrival{ctx: ctx, message: message, at: time.Now(), done: make(chan struct{})}
	if u := p.unit; u != nil {
		u.arrived++
		a.noteLocked(u)
	} else {
		a.arrived++
		a.ripenLocked(a.wait)
	}
	a.beginLocked()
	return p.message, nil
}

// withdraw takes a message back that is not being handled; it reports whether it
// could.
func (a *assembler) withdraw(p *piece, arr *arrival, cause error) bool {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	if p.message != arr || p.unit != nil && p.unit.running {
		return false
	}
	a.withdrawLocked(p, cause)
	return true
}

func (a *assembler) withdrawLocked(p *piece, cause error) {
	p.message.err = cause
	close(p.message.done)
	p.message = nil
	if u := p.unit; u != nil {
		u.arrived--
		a.noteLocked(u)
	} else if a.arrived--; a.arrived == 0 {
		a.ripe = false
		a.stopTimerLocked()
	}
}

// ripenLocked has waiting messages begin after d, if nothing has them begin sooner.
func (a *assembler) ripenLocked(d time.Duration) {
	if a.timer != nil || a.ripe {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		a.w.mu.Lock()
		defer a.w.mu.Unlock()
		if a.timer == timer {
			a.timer, a.ripe = nil, true
			a.beginLocked()
		}
	})
	a.timer = timer
}

func (a *assembler) stopTimerLocked() {
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
}

// noteLocked keeps the list of units that can be handled again.
func (a *assembler) noteLocked(u *unit) {
	switch whole := u.isWhole(); {
	case whole == u.whole:
	case whole:
		u.whole = true
		a.whole = append(a.whole, u)
	default:
		u.whole = false
		a.whole = slices.DeleteFunc(a.whole, func(other *unit) bool { return other == u })
	}
}

// beginLocked begins the units of which each message has come back, and the batches that
// are full or whose time has come.
func (a *assembler) beginLocked() {
	for a.running < a.limit && !a.w.stopped && (len(a.whole) > 0 || a.arrived >= a.size || a.ripe) {
		u := a.nextLocked()
		if u == nil {
			return
		}
		u.running = true
		a.running++
		u.pieces = slices.DeleteFunc(u.pieces, func(p *piece) bool { return p.one == nil })
		u.left = 0
		a.noteLocked(u)
		arrivals := make([]*arrival, len(u.pieces))
		for i, p := range u.pieces {
			arrivals[i] = p.message
		}
		ids := a.idsLocked(u)
		go a.run(u, arrivals, ids)
	}
}

// idsLocked returns the IDs of a unit's entries where they are not in order.
func (a *assembler) idsLocked(u *unit) []string {
	if a.ordered {
		return nil
	}
	ids := make([]string, len(u.pieces))
	for i, p := range u.pieces {
		ids[i] = p.one.id
	}
	return ids
}

// nextLocked returns the unit that is to be handled next, nil if there is none.
func (a *assembler) nextLocked() *unit {
	if len(a.whole) > 0 && !a.ordered {
		return a.whole[0]
	}
	var batch []*piece
gather:
	for _, p := range a.line {
		switch u := p.unit; {
		case p.one == nil:
		case u == nil && p.message != nil:
			if batch = append(batch, p); len(batch) == a.size {
				break gather
			}
		case !a.ordered || u != nil && u.running && !u.failed:
			// It is in the way of no other.
		case u != nil && u.whole && len(batch) == 0:
			return u
		default:
			break gather
		}
	}
	if len(batch) == 0 || len(batch) < a.size && !a.ripe {
		return nil
	}
	return a.unitLocked(batch)
}

// unitLocked makes a unit of a batch that is to begin.
func (a *assembler) unitLocked(batch []*piece) *unit {
	u := &unit{pieces: batch, arrived: len(batch)}
	a.units++
	for _, p := range batch {
		p.unit = u
		if p.counted == asLoose {
			p.counted = asBound
			a.loose--
			a.bound++
		}
	}
	a.arrived -= len(batch)
	a.ripe = false
	a.stopTimerLocked()
	if a.arrived > 0 {
		var first time.Time
		for _, p := range a.line {
			if p.unit == nil && p.message != nil && (first.IsZero() || p.message.at.Before(first)) {
				first = p.message.at
			}
		}
		a.ripenLocked(time.Until(first.Add(a.wait)))
	}
	a.wakeLocked()
	return u
}

// run has a batch handled. The messages have a result even if the handler panics or ends
// its goroutine.
func (a *assembler) run(u *unit, arrivals []*arrival, ids []string) {
	order := inOrder(ids, len(arrivals))
	messages, ctxs := make([]any, len(order)), make([]context.Context, len(order))
	for i, at := range order {
		messages[i], ctxs[i] = arrivals[at].message, arrivals[at].ctx
	}
	ctx, end := whileAny(ctxs)
	failure, each := contain.ErrGoexit, []error(nil)
	defer func() {
		if value := recover(); value != nil {
			failure, each = newPanicError(value), nil
		}
		end()
		for i, at := range order {
			arrivals[at].err = failure
			if each != nil {
				arrivals[at].err = each[i]
			}
		}
		a.finish(u, arrivals)
	}()
	failure = contain.Harmless(a.handle(ctx, messages))
	if each = perMessage(failure, len(messages)); each != nil {
		return
	}
	var partial *BatchError
	if errors.As(failure, &partial) {
		failure = fmt.Errorf("the batch handler told of %d messages, of a batch of %d; give Partial one error for each", len(partial.Errs), len(messages))
	}
}

// inOrder returns the order of the stream for n entries, nil IDs are in order already.
func inOrder(ids []string, n int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	if ids != nil {
		parsed := make([]offset.ID, n)
		for i, id := range ids {
			parsed[i], _ = offset.Parse(id)
		}
		slices.SortFunc(order, func(i, j int) int { return parsed[i].Compare(parsed[j]) })
	}
	return order
}

// finish hands out the results of a batch.
func (a *assembler) finish(u *unit, arrivals []*arrival) {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	for _, p := range u.pieces {
		p.message = nil
	}
	u.running, u.arrived = false, 0
	a.running--
	for _, arr := range arrivals {
		if arr.err != nil {
			a.failLocked(u)
		}
		close(arr.done)
	}
	a.overLocked(u)
	a.beginLocked()
}

func (a *assembler) failLocked(u *unit) {
	if !u.failed {
		u.failed = true
		a.failed++
	}
}

// overLocked ends a unit of which nothing is left.
func (a *assembler) overLocked(u *unit) {
	if u.over || u.running || u.left < len(u.pieces) {
		return
	}
	u.over = true
	a.units--
	if u.failed {
		a.failed--
	}
	a.wakeLocked()
}

// wakeLocked has workers take entries while there is room.
func (a *assembler) wakeLocked() { a.w.wakeLocked(a.w.countReadyLocked()) }

// returnedLocked notes that a worker has given an entry back.
func (a *assembler) returnedLocked(it *item) {
	p := it.piece
	if p == nil {
		return
	}
	a.uncountLocked(p)
	if p.message != nil && (p.unit == nil || !p.unit.running) { // by a call whose result is not awaited any more
		a.withdrawLocked(p, errEnded)
	}
}

func (a *assembler) uncountLocked(p *piece) {
	switch p.counted {
	case asLoose:
		a.loose--
	case asBound:
		a.bound--
	}
	p.counted = nowhere
}

// heldLocked notes that an entry is held, after its worker has given it back. The
// entries of a unit have one back-off.
func (a *assembler) heldLocked(it *item) {
	p := it.piece
	if p == nil || p.unit == nil {
		return
	}
	u := p.unit
	a.failLocked(u)
	if u.due.After(time.Now()) {
		it.due = u.due
	} else {
		u.due = it.due
	}
}

// hastenLocked gives an entry that is held the time of those of its unit, if one of them
// is due sooner, and the unit that of the entry otherwise.
func (a *assembler) hastenLocked(it *item) {
	if p := it.piece; p != nil && p.unit != nil {
		if p.unit.due.After(it.due) {
			p.unit.due = it.due
		}
		it.due = p.unit.due
	}
}

// leaveLocked notes that an entry is passed or claimed away: it is not delivered again.
func (a *assembler) leaveLocked(it *item) {
	p := it.piece
	if p == nil {
		return
	}
	it.piece, p.one = nil, nil
	a.uncountLocked(p)
	if p.message != nil && (p.unit == nil || !p.unit.running) {
		a.withdrawLocked(p, errEnded)
	}
	if u := p.unit; u != nil {
		u.left++
		a.noteLocked(u)
		a.overLocked(u)
	}
	if a.left++; a.left > len(a.line)/2 {
		a.line = slices.DeleteFunc(a.line, func(p *piece) bool { return p.one == nil })
		a.left = 0
	}
	a.beginLocked()
}

// stopLocked calls off waiting batches and units: nothing is begun after a stop.
func (a *assembler) stopLocked() {
	a.stopTimerLocked()
	for _, p := range a.line {
		if p.one != nil && p.message != nil && (p.unit == nil || !p.unit.running) {
			p.one.cancel(context.Canceled)
		}
	}
}

// whileAny returns a context that is done when all of ctxs are, with the cause of
// the last.
func whileAny(ctxs []context.Context) (context.Context, func()) {
	all, cancel := context.WithCancelCause(context.WithoutCancel(ctxs[0]))
	var left atomic.Int64
	left.Store(int64(len(ctxs)))
	forget := make([]func() bool, len(ctxs))
	for i, ctx := range ctxs {
		forget[i] = context.AfterFunc(ctx, func() {
			if left.Add(-1) == 0 {
				cancel(context.Cause(ctx))
			}
		})
	}
	return all, func() {
		for _, f := range forget {
			f()
		}
		cancel(nil)
	}
}
