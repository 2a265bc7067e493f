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
// place, which is the lane's.
type waiter struct {
	stream string
	intake resp.Budget
	from   resp.Place
	take   Sink
	worked func() // is called for each read that worked
	// guard is for the first read here: something may have gone since the one before.
	guard Guarding
	// out is closed at the end: when take wants no more or there may be a batch
	// ready, when withdraw has been called, or when the read has failed with err.
	out chan struct{}
	err error

	lane      *lane
	since     time.Time // when something came for the last time
	asked     bool      // it is in the read that is on its way
	taking    bool      // its take is being called
	withdrawn bool
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
	joined  chan struct{}      // has something in it when there is somebody new
	// reads is the number of the last read; reading is set while it is on its way, interrupted
	// once somebody is ending it, and dropped once its connection was closed for that.
	reads                         int
	reading, interrupted, dropped bool
	demoted                       time.Time // when that was looked at

	// The fields below are used by run only.

	looked time.Time // when the server's role was looked at
	limit  replyLimit
}

func newLane(h *hub, r *conn.Reader) *lane {
	return &lane{hub: h, reader: r, waiters: make(map[string]*waiter), joined: make(chan struct{}, 1)}
}

// join takes a waiter in, and ends the read that is on its way without it. In group
// mode, where the server cannot do that, it waits until that has come back by itself:
// a read whose connection is closed may have brought something.
func (l *lane) join(w *waiter) {
	l.hub.mu.Lock()
	l.joinAndUnlock([]*waiter{w})
}

func (l *lane) joinAndUnlock(list []*waiter) {
	for _, w := range list {
		w.lane = l
		l.waiters[w.stream] = w
	}
	signal(l.joined)
	l.interruptAndUnlock(list[0].stream)
}

// signal puts something into a channel that only tells that there is something.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// interruptAndUnlock ends the read that is on its way, if there is one. Where the server
// cannot do that, it closes the connection, in group mode only for somebody who leaves.
func (l *lane) interruptAndUnlock(stream string) {
	if !l.reading || l.interrupted {
		l.hub.mu.Unlock()
		return
	}
	l.interrupted = true
	read := l.reads
	l.hub.mu.Unlock()
	_ = contain.Isolated(func() error {
		gaveUp := unblock(l.hub.conn, l.reader, stream, func() bool {
			l.hub.mu.Lock()
			defer l.hub.mu.Unlock()
			return l.reading && l.reads == read
		})
		l.hub.mu.Lock()
		defer l.hub.mu.Unlock()
		switch {
		case !gaveUp || !l.reading || l.reads != read:
		case l.hub.group == "" || l.isLeftLocked():
			l.dropped = true
			l.reader.Sockets.EndRead(read)
		default:
			l.interrupted = false // somebody may leave yet
		}
		return nil
	})
}

// isLeftLocked reports whether somebody is to leave who is waiting here.
func (l *lane) isLeftLocked() bool {
	for _, w := range l.waiters {
		if w.withdrawn {
			return true
		}
	}
	return false
}

// withdraw takes a waiter out of its lane. In group mode it returns when the read
// that asks for it has come back: what that brought is in the window then.
func (h *hub) withdraw(w *waiter) {
	h.mu.Lock()
	w.withdrawn = true
	switch {
	case w.taking:
		h.mu.Unlock()
		<-w.out
	case !w.asked:
		delete(w.lane.waiters, w.stream)
		h.mu.Unlock()
	case h.group == "":
		// The read may take as long as it likes: what it brings is not taken.
		h.mu.Unlock()
	default:
		w.lane.interruptAndUnlock(w.stream)
		<-w.out
	}
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
// somebody who has joined. To those who wait it is none: each of them would join again,
// and end the read of the others in turn.
var errDropped = errors.New("the read was ended")

// ask returns whom to read for, and notes that it is being done.
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

// guardsOf returns the guards for those that were not read for here yet.
func guardsOf(ctx context.Context, asked []*waiter) (all conn.Guards) {
	for _, w := range asked {
		if w.guard == nil || len(all) == mostGuards {
			continue
		}
		some, _ := w.guard(ctx, false)
		all, w.guard = append(all, some...), nil
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
		return resp.Budget{} // nobody has asked for it
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

// EndRead notes that a read has come back, and reports whether its connection was closed
// for a stream that joins or leaves.
func (l *lane) endRead() (dropped bool) {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	l.reading = false
	return l.dropped
}

// answer gives those who were asked for what there is for them.
func (l *lane) answer(asked []*waiter, batches []resp.Batch, err error, at time.Time) {
	brought := make(map[string]resp.Batch, len(batches))
	for _, b := range batches {
		brought[b.Stream] = b
	}
	h := l.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	var idle, busy []*waiter
	now := time.Now()
	failed := err != nil && err != errDropped //nolint:errorlint // our own, never wrapped
	for _, w := range asked {
		w.asked = false
		if err == nil {
			w.worked()
		}
		more := true
		if got := brought[w.stream]; got.Len() > 0 && (!w.withdrawn || h.group != "") {
			w.taking = true
			h.mu.Unlock()
			from := w.from
			if h.group == "" {
				from = resp.PlaceAfter(got.Entries) // before its memory may be used again
			}
			more = w.take(got, at) && !got.More
			h.mu.Lock()
			w.taking = false
			w.from, w.since = from, now
			busy = append(busy, w)
		} else if now.Sub(w.since) > coldAfter {
			idle = append(idle, w)
		}
		if failed || w.withdrawn || !more {
			l.dismissLocked(w, err)
		}
	}
	move := func(list []*waiter, to *lane) {
		list = l.stayingLocked(list)
		if to == nil || len(list) == 0 {
			return
		}
		for _, w := range list {
			delete(l.waiters, w.stream)
		}
		to.joinAndUnlock(list)
		h.mu.Lock()
	}
	move(busy, l.promote)
	if l.demote != nil && now.Sub(l.demoted) > coldAfter {
		l.demoted = now
		if len(idle) > minHot {
			move(idle, l.demote)
		}
	}
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
