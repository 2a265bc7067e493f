package feed

import (
	"context"
	"errors"
	"time"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/contain"
	"millrace/stream/internal/resp"
)

// waiter is a stream that waits in a lane for entries behind a place. Its fields
// are guarded by the hub's lock, but for those that never change, and for the
// place and since, which are the lane's.
type waiter struct {
	stream string
	intake resp.Budget
	from   resp.Place
	take   Sink
	worked func() // is called for each read that worked
	// guard is for the first read here, because something may have gone since the one before,
	// and for those that follow if it guards all. guarded is set behind the first.
	guard   Guarding
	guarded bool // the lane's own
	// out is closed at the end: when take wants no more or there may be a batch
	// ready, when withdraw has been called, or when the read has failed with err.
	out chan struct{}
	err error

	since     time.Time // when something came for the last time
	lane      *lane
	asked     bool // it is in the read that is on its way
	taking    bool // it is being told how a read has ended
	withdrawn bool
	// patient is set while it can wait until the read comes back by itself.
	patient bool
}

// lane is one connection, on which all its waiters wait in one blocking read. Its
// fields are guarded by the hub's lock, but for those that never change.
type lane struct {
	hub    *hub
	reader *conn.Reader
	// demote is where waiters go when nothing has come for long, promote where
	// they go when something has; nil is nowhere.
	demote, promote *lane

	waiters map[string]*waiter // by stream
	joined  chan struct{}      // has something in it when a waiter is new
	// reads is the number of the last read; reading is set while it is on its way, interrupted
	// once a goroutine is ending it, and dropped once its connection was closed for that.
	reads                         int
	reading, interrupted, dropped bool

	// The fields below are used by run only.

	looked  time.Time // when the server's role was looked at
	demoted time.Time // when it was looked who is to wait in the cold lane
	limit   replyLimit
}

func newLane(h *hub, r *conn.Reader) *lane {
	return &lane{hub: h, reader: r, waiters: make(map[string]*waiter), joined: make(chan struct{}, 1)}
}

// join takes a waiter in, and ends the read that is on its way without it. In group
// mode, where the server cannot do that, it waits until that has come back by itself:
// a read whose connection is closed may have brought something.
func (l *lane) join(w *waiter) {
	l.hub.mu.Lock()
	end := l.joinLocked([]*waiter{w})
	l.hub.mu.Unlock()
	end.carryOut()
}

// joinLocked takes waiters in, and returns the end of the read that is on its way.
func (l *lane) joinLocked(list []*waiter) *readEnd {
	for _, w := range list {
		w.lane = l
		l.waiters[w.stream] = w
	}
	signal(l.joined)
	return l.interruptLocked(list[0].stream)
}

// signal puts something into a channel that only tells that there is something.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// readEnd is the end of a read that is on its way. It takes a command, so that it is
// carried out without the hub's lock.
type readEnd struct {
	lane   *lane
	read   int    // its number
	stream string // one of those that it is for
}

// interruptLocked returns the end of the read that is on its way, nil if there is none, or
// another goroutine is ending it.
func (l *lane) interruptLocked(stream string) *readEnd {
	if !l.reading || l.interrupted {
		return nil
	}
	l.interrupted = true
	return &readEnd{l, l.reads, stream}
}

// carryOut ends the read. Where the server cannot do that, it closes the connection, in
// group mode only for a stream that leaves.
func (e *readEnd) carryOut() {
	if e == nil {
		return
	}
	l := e.lane
	_ = contain.Isolated(func() error {
		gaveUp := unblock(l.hub.conn, l.reader, e.stream, func() bool {
			l.hub.mu.Lock()
			defer l.hub.mu.Unlock()
			return l.reading && l.reads == e.read
		})
		l.hub.mu.Lock()
		defer l.hub.mu.Unlock()
		switch {
		case !gaveUp || !l.reading || l.reads != e.read:
		case l.hub.group == "" || l.isLeftLocked():
			l.dropped = true
			l.reader.Sockets.EndRead(e.read)
		default:
			l.interrupted = false // a stream may leave yet
		}
		return nil
	})
}

// isLeftLocked reports whether a stream is to leave that waits here.
func (l *lane) isLeftLocked() bool {
	for _, w := range l.waiters {
		if w.withdrawn && !w.patient {
			return true
		}
	}
	return false
}

// withdraw takes a waiter out of its lane. In group mode it returns when the read
// that asks for it has come back: its entries are in the window then.
func (h *hub) withdraw(w *waiter) {
	h.mu.Lock()
	w.patient = false
	end, comesOut := h.withdrawLocked(w)
	h.mu.Unlock()
	end.carryOut()
	if comesOut {
		<-w.out
	}
}

// recall is withdraw without a connection that is closed, which the others in the read would
// pay for. It reports whether the waiter comes out once the read has come back.
func (h *hub) recall(w *waiter) (comesOut bool) {
	h.mu.Lock()
	w.patient = true
	end, comesOut := h.withdrawLocked(w)
	h.mu.Unlock()
	end.carryOut()
	return comesOut
}

// withdrawLocked returns the read that is to be ended for it, and whether the waiter is
// answered yet.
func (h *hub) withdrawLocked(w *waiter) (end *readEnd, comesOut bool) {
	w.withdrawn = true
	switch {
	case w.taking:
		return nil, true
	case !w.asked:
		delete(w.lane.waiters, w.stream)
		return nil, false
	case h.group == "":
		return nil, false // the read may take as long as it likes: its entries are not taken
	}
	return w.lane.interruptLocked(w.stream), true
}

// run reads for the waiters until ctx is done.
func (l *lane) run(ctx context.Context) {
	for ctx.Err() == nil {
		asked := l.ask()
		if len(asked) == 0 {
			select {
			case <-l.joined:
			case <-ctx.Done():
			}
			continue
		}
		streams := make([]string, 0, 2*len(asked))
		for _, w := range asked {
			streams = append(streams, w.stream)
		}
		for _, w := range asked {
			streams = append(streams, w.from.ID)
		}
		at := time.Now()
		// Each stream that waits here has few entries, if any: it is asked for as many
		// as ever. One with large entries cannot make the others' reads smaller, and those
		// of its entries that do not fit are left. After a reply that broke off, each stream
		// is asked by itself.
		count := l.limit.of(l.hub.count, at)
		guards := guardsOf(ctx, asked)
		over := guards.With(l.reader)
		var batches []resp.Batch
		err := contain.Caught(func() (err error) {
			batches, err = l.hub.read(ctx, l.reader, streams, l.hub.block, count, intakesOf(asked))
			return err
		})
		over()
		guards.Over()
		err = l.limited(count, err)
		if err == nil && at.Sub(l.looked) >= l.hub.inspect {
			l.looked = at
			err = contain.Caught(func() error { return conn.CheckRole(ctx, l.reader) })
		}
		l.reader.DropIfStale(err)
		if dropped := l.endRead(); err != nil && dropped && l.hub.group == "" {
			err = errDropped
		}
		if len(asked) > 1 && conn.Classify(err).OfOne {
			l.askEach(ctx, asked)
			continue
		}
		l.answer(asked, batches, err, at)
	}
}

// limited looks at how a read of so many entries of each stream has ended.
func (l *lane) limited(count int, err error) error {
	if err == nil {
		l.limit.worked()
	}
	if cut, is := contain.As[*conn.CutError](err); is {
		if !l.limit.cut(count, cut.Begun, time.Now()) {
			return cut.Err
		}
		cut.Asked = count
	}
	return err
}

// errDropped is the failure of a read in log mode whose connection was closed for
// a stream that has joined. To those that wait it is none: each of them would join again,
// and end the read of the others in turn.
var errDropped = errors.New("the read was ended")

// ask returns the waiters to read for, and notes that it is being done.
func (l *lane) ask() []*waiter {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	asked := make([]*waiter, 0, len(l.waiters))
	for _, w := range l.waiters {
		w.asked = true
		asked = append(asked, w)
	}
	if len(asked) > 0 {
		l.beginReadLocked()
	}
	return asked
}

// mostGuards is how many streams are guarded in one read.
const mostGuards = 8

// guardsOf returns the guards for those that were not read for here yet, or have each read
// guarded.
func guardsOf(ctx context.Context, asked []*waiter) (all conn.Guards) {
	for _, w := range asked {
		if w.guard == nil || len(all) == mostGuards || w.guarded && !w.guard.GuardsAll() {
			continue
		}
		some, _ := w.guard.Guard(ctx, false)
		all, w.guarded = append(all, some...), true
	}
	return all
}

// intakesOf returns the intakes of a read for waiters.
func intakesOf(asked []*waiter) resp.Budgets {
	var byStream map[string]*waiter // made when it turns out to be needed: most reads bring nothing
	return func(stream string) resp.Budget {
		if byStream == nil {
			byStream = make(map[string]*waiter, len(asked))
			for _, w := range asked {
				byStream[w.stream] = w
			}
		}
		if w := byStream[stream]; w != nil {
			return w.intake
		}
		return resp.Budget{} // no waiter has asked for it
	}
}

// askEach reads for each alone: the server refuses a read of many streams for what
// is wrong with one of them, and does not say with which.
func (l *lane) askEach(ctx context.Context, asked []*waiter) {
	l.hub.mu.Lock()
	for _, w := range asked {
		w.asked = false // the refused read has brought nothing: no stream that leaves has to wait
	}
	l.hub.mu.Unlock()
	for i, w := range asked {
		if !l.beginAlone(w) {
			continue
		}
		at := time.Now()
		var batches []resp.Batch
		err := contain.Caught(func() (err error) {
			batches, err = l.hub.read(ctx, l.reader, []string{w.stream, w.from.ID}, noWait, l.hub.count, w.intake.For)
			return err
		})
		l.endRead()
		l.answer(asked[i:i+1], batches, err, at)
	}
}

// beginAlone notes a read for one waiter, and reports false if that has left.
func (l *lane) beginAlone(w *waiter) bool {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	if l.waiters[w.stream] != w {
		return false
	}
	w.asked = true
	l.beginReadLocked()
	return true
}

func (l *lane) beginReadLocked() {
	l.reads = l.reader.Sockets.BeginRead()
	l.reading, l.interrupted, l.dropped = true, false, false
}

// endRead notes that a read has come back, and reports whether its connection was closed
// for a stream that joins or leaves.
func (l *lane) endRead() (dropped bool) {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	l.reading = false
	return l.dropped
}

// answer gives the waiters of a read their entries, or its error.
func (l *lane) answer(asked []*waiter, batches []resp.Batch, err error, at time.Time) {
	brought := make(map[string]resp.Batch, len(batches))
	for _, b := range batches {
		brought[b.Stream] = b
	}
	var idle, busy []*waiter
	now := time.Now()
	for _, w := range asked {
		if l.give(w, brought[w.stream], err, at, now) {
			busy = append(busy, w)
		} else if now.Sub(w.since) > coldAfter {
			idle = append(idle, w)
		}
	}
	l.move(busy, l.promote)
	if l.demote != nil && now.Sub(l.demoted) > coldAfter {
		l.demoted = now
		if len(idle) > minHot {
			l.move(idle, l.demote)
		}
	}
}

// give tells a waiter how its read has ended, and reports whether it has taken entries.
// Its fields are in use meanwhile without the lock: taking keeps it here.
func (l *lane) give(w *waiter, got resp.Batch, err error, at, now time.Time) (taken bool) {
	h := l.hub
	h.mu.Lock()
	w.asked = false
	w.taking = !w.withdrawn || h.group != "" // else it has left without waiting for the read
	here := w.taking
	h.mu.Unlock()
	more := true
	if here && err == nil {
		w.worked()
	}
	if taken = here && got.Len() > 0; taken {
		from := w.from
		if h.group == "" {
			from = resp.PlaceAfter(got.Entries) // before its memory may be used again
		}
		more = w.take(got, at) && !got.More
		w.from, w.since = from, now
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	w.taking = false
	failed := err != nil && err != errDropped //nolint:errorlint // our own, never wrapped
	if failed || w.withdrawn || !more {
		l.dismissLocked(w, err)
	}
	return taken
}

// move has those that still wait here wait in another lane, if there is one.
func (l *lane) move(list []*waiter, to *lane) {
	if to == nil {
		return
	}
	l.hub.mu.Lock()
	var end *readEnd
	if list = l.stayingLocked(list); len(list) > 0 {
		for _, w := range list {
			delete(l.waiters, w.stream)
		}
		end = to.joinLocked(list)
	}
	l.hub.mu.Unlock()
	end.carryOut()
}

// dismissLocked ends the waiting of one.
func (l *lane) dismissLocked(w *waiter, err error) {
	if l.waiters[w.stream] == w { // not one that has come since
		delete(l.waiters, w.stream)
	}
	w.err = err
	close(w.out)
}

// stayingLocked returns those that still wait here.
func (l *lane) stayingLocked(list []*waiter) (staying []*waiter) {
	for _, w := range list {
		if l.waiters[w.stream] == w && !w.withdrawn {
			staying = append(staying, w)
		}
	}
	return staying
}
