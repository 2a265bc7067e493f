package batch

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"millrace/stream/internal/contain"
	"millrace/stream/internal/resp"
)

// Settings are those of an assembler.
type Settings struct {
	// Base has the values of a batch's context, which belong to no single message. Its end is
	// of no effect: a batch ends with its messages.
	Base context.Context //nolint:containedctx // its values, for the time of a run
	// Handle handles the messages of a batch, in the order of the stream. It returns an
	// error for each of them, or nil and one for all. It does not panic.
	Handle func(ctx context.Context, messages []any) (each []error, failure error)
	Size   int           // messages in a batch
	Wait   time.Duration // for so many, from the first on
	Limit  int           // batches that are handled at once
	// Ordered has the batches follow the stream: none begins before a unit that has failed
	// has ended, nor leaves out an entry.
	Ordered bool
}

// Assembler makes batches, for a batch handler, of the entries that are being
// processed at the same time. A batch that has begun is a unit until each of its
// entries is passed or claimed away: those that fail come back together.
type Assembler struct {
	Settings
	mu      sync.Locker // guards all of it, also the members and units
	wake    func()
	repeats func() bool
	stopped bool
	paused  bool

	// line has the entries that were begun and are not passed, in the order in which
	// they were begun first, which is that of the stream in ordered mode. left is how
	// many of it are to be taken out.
	line []*Member
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
	members []*Member
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
	n := len(u.members) - u.left
	return !u.running && n > 0 && u.arrived == n
}

// Member is an entry for the assembler, from its first delivery until it is passed or
// claimed away. The assembler's lock guards it.
type Member struct {
	of   *Assembler
	id   string
	left bool // it is passed or claimed away
	// working is set while a worker has the entry; cancel ends the worker's context.
	working bool
	cancel  context.CancelCauseFunc
	unit    *unit // the one that it belongs to, once that has begun
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

// New returns an assembler under a lock of the caller's, which each exported method needs
// held, but for Add. wake has workers take entries while there is room, and repeats
// reports whether there are entries to be delivered again, held ones too; both are called
// with the lock held.
func New(s Settings, lock sync.Locker, wake func(), repeats func() bool) *Assembler {
	return &Assembler{Settings: s, mu: lock, wake: wake, repeats: repeats}
}

// RoomLocked returns how many entries may be begun that were not before. In ordered
// mode those are for the next batch only: behind one that fails nothing is begun.
func (a *Assembler) RoomLocked() int {
	if a.Ordered && (a.failed > 0 || a.units >= a.Limit) {
		return 0
	}
	return max(0, a.Size-a.loose)
}

// MostLocked returns how many workers there may be. Entries of units have their own,
// so that no unit waits for a worker which waits for another unit.
func (a *Assembler) MostLocked() int { return a.Size + a.bound }

// TakeLocked notes that a worker has taken an entry, whose context cancel ends. member is
// nil for one that was never delivered; the entry's member is returned.
func (a *Assembler) TakeLocked(member *Member, id string, cancel context.CancelCauseFunc) *Member {
	if member == nil {
		member = &Member{of: a, id: id}
		a.line = append(a.line, member)
	}
	member.working, member.cancel = true, cancel
	if member.counted == nowhere {
		member.counted = asLoose
		a.loose++
	}
	if a.Ordered && member.counted == asBound && !a.repeats() {
		a.wake() // nothing was begun as long as something was held
	}
	return member
}

// BeDueLocked notes that an entry which was held is about to be taken.
func (a *Assembler) BeDueLocked(member *Member) {
	if member != nil && member.counted == nowhere {
		member.counted = asBound
		a.bound++
	}
}

// Add puts the message of an entry, which is at work, into a batch, and returns its result.
func (m *Member) Add(ctx context.Context, message any) error {
	a := m.of
	arr, err := a.admit(ctx, m, message)
	if err != nil {
		return err
	}
	select {
	case <-arr.done:
	case <-ctx.Done():
		if a.withdraw(m, arr, context.Cause(ctx)) {
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

func (a *Assembler) admit(ctx context.Context, m *Member, message any) (*arrival, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case m.left || !m.working:
		return nil, errEnded
	case m.message != nil:
		return m.message, nil // middleware may call twice at a time
	case a.stopped:
		m.cancel(context.Canceled) // or middleware would try again, or give it up
		return nil, errStopped
	}
	m.message = &arrival{ctx: ctx, message: message, at: time.Now(), done: make(chan struct{})}
	if u := m.unit; u != nil {
		u.arrived++
		a.noteLocked(u)
	} else {
		a.arrived++
		a.ripenLocked(a.Wait)
	}
	a.beginLocked()
	return m.message, nil
}

// withdraw takes a message back that is not being handled; it reports whether it
// could.
func (a *Assembler) withdraw(m *Member, arr *arrival, cause error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.message != arr || m.unit != nil && m.unit.running {
		return false
	}
	a.withdrawLocked(m, cause)
	return true
}

func (a *Assembler) withdrawLocked(m *Member, cause error) {
	m.message.err = cause
	close(m.message.done)
	m.message = nil
	if u := m.unit; u != nil {
		u.arrived--
		a.noteLocked(u)
	} else if a.arrived--; a.arrived == 0 {
		a.ripe = false
		a.stopTimerLocked()
	}
}

// ripenLocked has waiting messages begin after d, if nothing has them begin sooner.
func (a *Assembler) ripenLocked(d time.Duration) {
	if a.timer != nil || a.ripe {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.timer == timer {
			a.timer, a.ripe = nil, true
			a.beginLocked()
		}
	})
	a.timer = timer
}

func (a *Assembler) stopTimerLocked() {
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
}

// noteLocked keeps the list of units that can be handled again.
func (a *Assembler) noteLocked(u *unit) {
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
func (a *Assembler) beginLocked() {
	for a.running < a.Limit && !a.stopped && !a.paused && (len(a.whole) > 0 || a.arrived >= a.Size || a.ripe) {
		u := a.nextLocked()
		if u == nil {
			return
		}
		u.running = true
		a.running++
		u.members = slices.DeleteFunc(u.members, func(m *Member) bool { return m.left })
		u.left = 0
		a.noteLocked(u)
		arrivals := make([]*arrival, len(u.members))
		for i, m := range u.members {
			arrivals[i] = m.message
		}
		ids := a.idsLocked(u)
		go a.run(u, arrivals, ids)
	}
}

// idsLocked returns the IDs of a unit's entries where they are not in order.
func (a *Assembler) idsLocked(u *unit) []string {
	if a.Ordered {
		return nil
	}
	ids := make([]string, len(u.members))
	for i, m := range u.members {
		ids[i] = m.id
	}
	return ids
}

// nextLocked returns the unit that is to be handled next, nil if there is none.
func (a *Assembler) nextLocked() *unit {
	if len(a.whole) > 0 && !a.Ordered {
		return a.whole[0]
	}
	var batch []*Member
gather:
	for _, m := range a.line {
		switch u := m.unit; {
		case m.left:
		case u == nil && m.message != nil:
			if batch = append(batch, m); len(batch) == a.Size {
				break gather
			}
		case !a.Ordered || u != nil && u.running && !u.failed:
			// It is in the way of no other.
		case u != nil && u.whole && len(batch) == 0:
			return u
		default:
			break gather
		}
	}
	if len(batch) == 0 || len(batch) < a.Size && !a.ripe {
		return nil
	}
	return a.unitLocked(batch)
}

// unitLocked makes a unit of a batch that is to begin.
func (a *Assembler) unitLocked(batch []*Member) *unit {
	u := &unit{members: batch, arrived: len(batch)}
	a.units++
	for _, m := range batch {
		m.unit = u
		if m.counted == asLoose {
			m.counted = asBound
			a.loose--
			a.bound++
		}
	}
	a.arrived -= len(batch)
	a.ripe = false
	a.stopTimerLocked()
	if a.arrived > 0 {
		var first time.Time
		for _, m := range a.line {
			if m.unit == nil && m.message != nil && (first.IsZero() || m.message.at.Before(first)) {
				first = m.message.at
			}
		}
		a.ripenLocked(time.Until(first.Add(a.Wait)))
	}
	a.wake()
	return u
}

// run has a batch handled. The messages have a result even if the handler ends its
// goroutine.
func (a *Assembler) run(u *unit, arrivals []*arrival, ids []string) {
	order := inOrder(ids, len(arrivals))
	messages, ctxs := make([]any, len(order)), make([]context.Context, len(order))
	for i, at := range order {
		messages[i], ctxs[i] = arrivals[at].message, arrivals[at].ctx
	}
	ctx, end := whileAny(a.Base, ctxs)
	each, failure := []error(nil), contain.ErrGoexit
	defer func() {
		end()
		for i, at := range order {
			arrivals[at].err = failure
			if each != nil {
				arrivals[at].err = each[i]
			}
		}
		a.finish(u, arrivals)
	}()
	each, failure = a.Handle(ctx, messages)
}

// inOrder returns the order of the stream for n entries, nil IDs are in order already.
func inOrder(ids []string, n int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	if ids != nil {
		resp.SortByID(order, func(i int) string { return ids[i] })
	}
	return order
}

// finish hands out the results of a batch.
func (a *Assembler) finish(u *unit, arrivals []*arrival) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range u.members {
		m.message = nil
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

func (a *Assembler) failLocked(u *unit) {
	if !u.failed {
		u.failed = true
		a.failed++
	}
}

// overLocked ends a unit of which nothing is left.
func (a *Assembler) overLocked(u *unit) {
	if u.over || u.running || u.left < len(u.members) {
		return
	}
	u.over = true
	a.units--
	if u.failed {
		a.failed--
	}
	a.wake()
}

// ReturnLocked notes that a worker has given an entry back.
func (a *Assembler) ReturnLocked(m *Member) {
	if m == nil {
		return
	}
	m.working, m.cancel = false, nil
	a.uncountLocked(m)
	if m.message != nil && (m.unit == nil || !m.unit.running) { // by a call whose result is not awaited any more
		a.withdrawLocked(m, errEnded)
	}
}

func (a *Assembler) uncountLocked(m *Member) {
	switch m.counted {
	case asLoose:
		a.loose--
	case asBound:
		a.bound--
	}
	m.counted = nowhere
}

// HoldLocked notes that an entry is held, after its worker has given it back, and returns
// when it is due: the entries of a unit have one back-off.
func (a *Assembler) HoldLocked(m *Member, due time.Time) time.Time {
	if !m.InUnitLocked() {
		return due
	}
	u := m.unit
	a.failLocked(u)
	if u.due.After(time.Now()) {
		return u.due
	}
	u.due = due
	return due
}

// HastenLocked returns when an entry is due that is held: with those of its unit, if one of
// them is due sooner. Otherwise the unit gets the time of the entry.
func (a *Assembler) HastenLocked(m *Member, due time.Time) time.Time {
	if !m.InUnitLocked() {
		return due
	}
	if m.unit.due.After(due) {
		m.unit.due = due
	}
	return m.unit.due
}

// InUnitLocked reports whether an entry belongs to a batch that has begun. A nil member
// does not.
func (m *Member) InUnitLocked() bool { return m != nil && m.unit != nil }

// WithLocked reports whether two entries belong to the same batch that has begun.
func (m *Member) WithLocked(other *Member) bool {
	return m.InUnitLocked() && other.InUnitLocked() && m.unit == other.unit
}

// LeaveLocked notes that an entry is passed or claimed away: it is not delivered again, and
// has no member any more.
func (a *Assembler) LeaveLocked(m *Member) {
	if m == nil {
		return
	}
	m.left = true
	a.uncountLocked(m)
	if m.message != nil && (m.unit == nil || !m.unit.running) {
		a.withdrawLocked(m, errEnded)
	}
	if u := m.unit; u != nil {
		u.left++
		a.noteLocked(u)
		a.overLocked(u)
	}
	if a.left++; a.left > len(a.line)/2 {
		a.line = slices.DeleteFunc(a.line, func(m *Member) bool { return m.left })
		a.left = 0
	}
	a.beginLocked()
}

// SetPausedLocked keeps batches and units from being begun, or ends that: then those begin
// that are full, or have waited long enough.
func (a *Assembler) SetPausedLocked(paused bool) {
	a.paused = paused
	a.beginLocked()
}

// StopLocked calls off waiting batches and units: nothing is begun after a stop.
func (a *Assembler) StopLocked() {
	a.stopped = true
	a.stopTimerLocked()
	for _, m := range a.line {
		if !m.left && m.message != nil && (m.unit == nil || !m.unit.running) {
			m.cancel(context.Canceled)
		}
	}
}

// whileAny returns a context with the values of base that is done when all of ctxs are, with
// the cause of the last.
func whileAny(base context.Context, ctxs []context.Context) (context.Context, func()) {
	all, cancel := context.WithCancelCause(context.WithoutCancel(base))
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
