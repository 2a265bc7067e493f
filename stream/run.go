package stream

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream/internal/batch"
	"millrace/stream/internal/commit"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/feed"
	"millrace/stream/internal/later"
	"millrace/stream/internal/mode"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/task"
	"millrace/stream/internal/window"
)

// engine runs one consumer of any type. All that changes is in a run, but for the
// meter, which outlives it.
type engine struct {
	config   config
	meter    meter
	steering steering
	identity Identity
	name     string // for people
	client   redis.UniversalClient
	store    offset.Store // nil in group mode
	chain    EntryHandler
	// open makes the mode of a run, whose reading ends with the context.
	open func(ctx context.Context, r *run) (mode.Mode, error)
	// lag asks Redis how far it is behind.
	lag func(ctx context.Context, e *engine) (Lag, error)
	// log says in each line whose it is.
	log *slog.Logger
}

// inGroup reports whether it is a consumer of a group.
func (e *engine) inGroup() bool { return e.identity.Group != "" }

// run is one leg of a Run of a consumer: usually all of it, but a Seek ends one leg, and the next
// one begins where it has set the place. The goroutine of Run reads ahead into the window,
// workers process the entries in there, and the settler settles those that have ended.
// It is the mode's Host.
type run struct {
	engine *engine
	// client sends the commands, in the place of the user's client, and store is the
	// user's store with such a client.
	client redis.UniversalClient
	store  offset.Store
	conn   *conn.Client // of the client
	conns  *conn.Clients
	watch  *later.Watch

	// reader is the identity of the run. The lock of the meter guards the change at its start,
	// when the consumer gets its name.
	reader *reader
	window *window.Window
	mark   *window.LowMark // the window's ledger in log mode
	leases *window.Leases  // the same in group mode
	mode   mode.Mode
	// settler has one settling on its way while the next entries are processed.
	settler task.Task
	leg     leg
	cut     context.CancelFunc // ends the reading of the leg
	// settling is held while something is settled.
	settling task.Lock
	letters  *commit.Letters
	workers  sync.WaitGroup
	// reads watches the goroutine of Run, from the start on, settles the settler.
	reads, settles task.Watchdog
}

const startingWhat = "finding the place to start"

// stopTimeout is how long the server may be silent while the entries that are left are
// settled and handed back, once the handlers have returned.
const stopTimeout = time.Second

// run runs one leg after another.
func (e *engine) run(parent context.Context) (err error) {
	sought, err := e.steering.begin(parent)
	if err != nil {
		return nil //nolint:nilerr // parent is done: a clean stop
	}
	defer e.steering.end()
	defer func() { e.meter.end(err) }()
	l := leg{first: true, sought: sought}
	if e.config.until != nil {
		l.bound = mode.NewBound(e.config.until.at)
	}
	for {
		turned, err := e.runLeg(parent, &l)
		if !turned {
			return err
		}
		l.first = false
	}
}

// leg is what a leg of a Run is given.
type leg struct {
	first bool
	bound *mode.Bound // of WithUntil, nil is none
	// sought says that the leg before has ended with another place, which is not to be told as a
	// loss.
	sought bool
}

// runLeg runs a leg until parent is done or the bound is reached, or until a turn was taken: then
// another leg follows.
func (e *engine) runLeg(parent context.Context, l *leg) (turned bool, err error) {
	ctx, fail := context.WithCancelCause(parent)
	defer fail(nil)
	reading, cut := context.WithCancel(ctx)
	defer cut()
	handling, endHandling := e.handling(ctx, reading.Done())
	defer endHandling()
	r := e.newRun(reading, handling, fail)
	r.leg, r.cut = *l, cut
	e.meter.begin(r)
	defer r.window.Close()
	var disconnect func()
	r.conns, disconnect = feed.ConnsOf(ctx)
	defer disconnect()
	if err := r.connect(); err != nil {
		return false, err
	}
	var endWatch func()
	r.watch, endWatch = feed.WatchOf(ctx, r.conn)
	defer endWatch()
	if r.mode, err = e.open(reading, r); err != nil {
		return false, err
	}
	e.meter.update(func(*meter) { r.reader = e.readerNamed(r.mode.Consumer) })
	defer func() { _ = r.mode.Source.Close() }() // it was only read with: nothing can be lost in it
	r.letters = commit.NewLetters(handling, r.window, r.mode.Settler, r.outageOfLetters)
	e.steering.enter(r, cut)
	defer e.steering.leave()

	if err = r.persist(task.WithWatchdog(reading, &r.reads), startingWhat, r.mode.Source.Start, l.first); err != nil {
		err = unlessDone(reading, err)
	} else {
		e.meter.update(func(m *meter) { m.started = true })
		ended := r.consume(reading, fail)
		endHandling()
		if err = context.Cause(ctx); err == nil || parent.Err() != nil { // else no waiting can mend it
			err = r.stop(ctx, ended)
		}
		if turned = ctx.Err() == nil && reading.Err() != nil; !turned {
			e.log.Info("consumer stopped")
		}
	}
	if ctx.Err() != nil || reading.Err() == nil {
		return false, err
	}
	if err != nil {
		e.log.Warn("what was done could not be settled, and is delivered again", "err", err)
	}
	l.sought = r.takeTurn(parent)
	return true, nil
}

// StartOver ends the leg; another one follows.
func (r *run) StartOver() { r.cut() }

// newRun makes a run, which begins nothing. fail ends ctx.
func (e *engine) newRun(ctx, handling context.Context, fail context.CancelCauseFunc) *run {
	r := &run{engine: e, settling: task.NewLock(), reader: e.readerNamed(e.config.consumerName)}
	r.settler.Do = func(ctx context.Context) {
		if err := unlessDone(ctx, r.settle(task.WithWatchdog(ctx, &r.settles))); err != nil {
			fail(err)
		}
	}
	r.openWindow(handling, window.Hooks{
		Settle:      r.settler.Request,
		StartWorker: func() { r.startWorker(ctx, handling) },
		LetterTaken: func() { r.letters.Sweep() },
	})
	return r
}

// readerNamed returns the reader of a run whose consumer has that name.
func (e *engine) readerNamed(consumer string) *reader {
	r := &reader{Identity: e.identity, maxDeliveries: e.config.maxDeliveries, discard: e.config.discard, inOrder: e.config.inOrder()}
	r.Consumer = consumer
	return r
}

// openWindow makes the window of the run.
func (r *run) openWindow(handling context.Context, h window.Hooks) {
	c := &r.engine.config
	l := c.limits(r.engine.inGroup())
	if c.orderKey != nil {
		l.Key = &orderKeys{stream: r.engine.identity.Stream, key: c.orderKey}
	}
	if r.engine.inGroup() {
		r.window, r.leases = window.NewLeased(l, h)
	} else {
		r.window, r.mark = window.NewMarked(l, h)
	}
	if c.handleBatch != nil {
		r.window.Gather(batch.Settings{
			Base: handling, Handle: c.handleBatch, Size: c.bulk, Wait: c.bulkWait, Limit: c.batches, Ordered: l.Serial,
		})
	}
}

// connect makes the clients of the run.
func (r *run) connect() (err error) {
	stream := r.engine.identity.Stream
	if err := conn.CheckHooks(r.engine.client, stream); err != nil {
		return err
	}
	if r.conn, err = r.conns.Of(r.engine.client); err != nil {
		return err
	}
	r.client = r.conn.Client
	r.store, err = r.conns.Bind(r.engine.store, stream)
	return err
}

// settings returns the part of the run that both modes need.
func (r *run) settings() mode.Settings {
	c := &r.engine.config
	return mode.Settings{
		Host: r, Log: r.engine.log, Window: r.window, Start: c.start.at, MaxEntry: c.maxEntry,
		Sought: r.leg.sought, Bound: r.leg.bound, Effects: c.targets, Watch: r.watch,
		Letters: commit.NewLetterWriter(r.client, r.conns, r.engine.identity.Stream),
		Feed: feed.Settings{
			Client: r.engine.client, Commands: r.conn, Stream: r.engine.identity.Stream,
			Group: r.engine.identity.Group, Consumer: c.consumerName,
			Count: r.window.Batch, Block: c.block, Inspect: c.inspectEvery, ClaimIdle: c.claimIdle,
			Budget: r.budget(), Worked: r.readWorked, HasRoomAhead: r.window.HasRoomAhead,
		},
	}
}

// budget returns the budget of one read: half of that of the window. The other half is
// being processed meanwhile.
func (r *run) budget() resp.Budget {
	b := resp.Budget{MaxEntry: resp.SizeLimit(r.engine.config.maxEntry), Room: int64(r.window.Bytes - r.window.Bytes/2), Least: 1}
	if r.engine.inGroup() && r.window.Key != nil {
		b.Key = r.window.Key.Of
	}
	return b
}

// stop settles the entries that are left. The end of the context must not stop this too. Many
// consumers of a Runner that stop together wait for each other's commands, and a server that
// stands still is waited for no longer by many than by one.
func (r *run) stop(ctx context.Context, ended time.Time) error {
	stopping, cancel := task.Patience(context.WithoutCancel(ctx), stopTimeout, ended)
	defer cancel()
	settle := func() error { return caught(func() error { return r.mode.Source.Stop(stopping) }) }
	err := settle()
	if stopping.Err() == nil && conn.Unanswered(err) && !conn.NeverRan(stopping, err) {
		err = settle() // the connection may have been dead for long
	}
	return shown(err)
}

// consume reads, processes and settles until ctx is done, or everything up to the bound is settled,
// and until the handlers in flight have returned. It fails with an error that no waiting can mend, and returns when
// the last handler had returned.
func (r *run) consume(ctx context.Context, fail context.CancelCauseFunc) (ended time.Time) {
	defer context.AfterFunc(ctx, r.window.Stop)() // nothing more is begun
	defer context.AfterFunc(ctx, r.letters.Stop)()
	// Entries that have ended are settled, and leases are renewed, for as long as a
	// handler outlasts the stop.
	tending, stopTending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopTending()
	tasks := append([]*task.Task{&r.settler}, r.mode.Tasks...)
	for _, t := range tasks {
		t.Begin(tending)
	}
	over, err := r.read(ctx)
	if err != nil {
		fail(err)
	}
	if over {
		_ = r.window.Drain(ctx) // the only error is that ctx is done: then the stop settles
	}
	r.mode.Source.Interrupt()
	r.window.Stop() // no worker is started any more
	r.workers.Wait()
	ended = time.Now()
	r.letters.Stop()
	r.letters.Finish()
	stopTending()
	for _, t := range tasks {
		t.Stop()
	}
	return ended
}

// handling returns the context of handlers: it ends the drain timeout after ctx. Waits before a
// handler end with stopped.
func (e *engine) handling(ctx context.Context, stopped <-chan struct{}) (context.Context, context.CancelFunc) {
	stopping := context.WithValue(ctx, stoppingKey{}, stopped)
	if e.config.drain <= 0 {
		return context.WithCancel(stopping)
	}
	handling, cancel := context.WithCancelCause(context.WithoutCancel(stopping))
	forget := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(e.config.drain, func() { cancel(context.Cause(ctx)) })
		context.AfterFunc(handling, func() { timer.Stop() })
	})
	return handling, func() {
		forget()
		cancel(context.Canceled)
	}
}

// read fetches until ctx is done, and returns no error then, or until everything up to the bound was
// read. It returns an error only if the first read shows an error that no waiting can mend.
func (r *run) read(ctx context.Context) (over bool, err error) {
	ctx = task.WithWatchdog(ctx, &r.reads)
	fetch := func(ctx context.Context) error {
		err := r.mode.Source.Fetch(ctx)
		if err == mode.ErrOver { //nolint:errorlint // our own, never wrapped
			over = true
			r.engine.meter.update(func(m *meter) { m.reading = time.Time{} })
			return nil
		}
		if err == nil {
			r.readWorked()
		} else if ctx.Err() == nil {
			r.engine.meter.update(func(m *meter) { m.unreadable = true })
		}
		return err
	}
	for first := r.leg.first; !over; first = false {
		if err := r.persist(ctx, "reading", fetch, first); err != nil {
			return false, unlessDone(ctx, err)
		}
	}
	return true, nil
}

// readWorked notes that the server has answered a read.
func (r *run) readWorked() {
	r.reads.Progress()
	r.engine.meter.update(func(m *meter) {
		if m.unreadable {
			m.unreadable = false
			m.reconnects++
		}
		m.lastRead = time.Now()
	})
}

// ReadsFail reports whether reading fails now.
func (r *run) ReadsFail() bool {
	m := &r.engine.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.unreadable
}

// fewEntries is how many entries are a trickle, of which each is waited for.
const fewEntries = 16

// Take takes in entries that were read at the given time, and reports whether there
// is room for another batch.
func (r *run) Take(b resp.Batch, at time.Time) (more bool) {
	n := b.Len() // before the memory of the entries may be used again
	r.tellRead(b, at)
	more = r.window.AddRead(b, at)
	if n < fewEntries {
		// The worker that was woken is next in line behind this goroutine, which would
		// first send the next read: a third of the time that an entry takes from XADD
		// to its handler. With many, to have the read on its way is worth more.
		runtime.Gosched()
	}
	return more
}

// AwaitRoom waits until a batch fits into the window; it reports false if ctx is
// done before.
func (r *run) AwaitRoom(ctx context.Context) bool {
	r.engine.meter.update(func(m *meter) { m.reading = time.Time{} })
	r.reads.End() // handlers take as long as they take
	if !r.window.AwaitRoom(ctx, r.reportFull) {
		return false
	}
	r.reads.Begin()
	r.engine.meter.update(func(m *meter) { m.reading = time.Now() })
	return true
}

// NoteAnswer notes that the server has answered where a fetch goes on.
func (r *run) NoteAnswer() {
	r.engine.meter.update(func(m *meter) { m.lastRead = time.Now() })
}

// unlessDone drops an error that only says that ctx is done.
func unlessDone(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return nil
	}
	return err
}
