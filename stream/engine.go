package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream/internal/batch"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/contain"
	"millrace/stream/internal/feed"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/task"
	"millrace/stream/internal/window"
)

// engine runs one consumer of any type. All that changes is in a run, but for the
// meter, which outlives it.
type engine struct {
	config
	meter    meter
	identity Identity
	name     string // for people
	stream   string
	client   redis.UniversalClient
	store    offset.Store // nil in group mode
	chain    EntryHandler
	group    bool
	// open makes the source of a run, whose reading ends with the context.
	open func(ctx context.Context, r *run) (source, error)
	// lag asks Redis how far it is behind.
	lag func(ctx context.Context, e *engine) (Lag, error)
	// attrs say in the log whose line it is.
	attrs []any
}

// run is one Run of a consumer. The goroutine of Run reads ahead into the window,
// workers process the entries in there, and the settler settles those that have ended.
type run struct {
	*engine
	// client sends the commands, in the place of the user's client, and store is the
	// user's store with such a client.
	client redis.UniversalClient
	store  offset.Store
	conn   *conn.Client // of the client
	conns  *conn.Clients
	window *window.Window
	mark   *window.LowMark // the window's ledger in log mode
	leases *window.Leases  // the same in group mode
	source source
	// settler has one settling on its way while the next entries are processed,
	// renewer renews the leases from time to time, and then requests claimer, which claims
	// entries of other consumers: leases are renewed however long a claim takes.
	settler, renewer, claimer task.Task
	letters                   *letters
	// newWorker starts a worker. It is set before anything is read.
	newWorker func()
	// settling is held while something is settled, carrying while a large entry that
	// is not kept in memory passes through here.
	settling, carrying task.Lock
	// guard makes the looks that are sent in front of some reads, round is called for each
	// read that has come back; nil in log mode.
	guard feed.Guarding
	round func()
	// storing is held while a store is at work that may not look at its context.
	storing task.Lock
	// reads watches the goroutine of Run, from the start on, settles the settler, claims
	// the claimer.
	reads, settles, claims task.Watchdog
}

// source is the one seam between log mode and group mode: where entries come
// from, and how it is recorded that they were processed.
type source interface {
	// start finds the place to begin at. It comes before everything else.
	start(ctx context.Context) error
	// fetch waits for room in the window, then for new entries, for at most the
	// block time, and puts them there. No entries and no error is the normal
	// outcome of an idle stream. It is called by the reading goroutine.
	fetch(ctx context.Context) error
	// begin makes an entry ready to be delivered once more. It reports false if
	// it is not to be, and has then taken it back from the worker.
	begin(ctx context.Context, it *window.Item) bool
	// writeLetter writes an entry to its dead-letter stream, in one try. It reports whether
	// that has settled it, too. With ErrClaimed the entry is another consumer's, with
	// errGone there is nothing left to write.
	writeLetter(ctx context.Context, letter *deadLetter) (settled bool, err error)
	// settle records, once, that the processing of entries has ended.
	settle(ctx context.Context, ended []*window.Item) error
	// maintain does the work that comes up from time to time while the consumer runs;
	// schedule has it requested. claimOthers claims the entries that others have left.
	maintain(ctx context.Context)
	schedule(renewer *task.Task)
	claimOthers(ctx context.Context)
	// stop settles the entries that are left, when everything else is over.
	stop(ctx context.Context) error
	// interrupt ends a fetch that waits, and keeps another one from waiting. It
	// may be called at any time, and more than once.
	interrupt()
	// close comes after everything else, and ends the source's connection.
	close() error
}

const startingWhat = "finding the place to start"

// stopTimeout is how long the server may be silent while the entries that are left are
// settled and handed back, once the handlers have returned.
const stopTimeout = time.Second

func (e *engine) run(parent context.Context) (err error) {
	ctx, fail := context.WithCancelCause(parent)
	r := &run{engine: e, settling: task.NewLock(), carrying: task.NewLock(), storing: task.NewLock()}
	r.openWindow()
	e.meter.begin(r)
	defer func() {
		r.window.Close()
		e.meter.end(err)
		fail(nil)
	}()
	var disconnect func()
	r.conns, disconnect = feed.ConnsOf(ctx)
	defer disconnect()
	if err := r.connect(); err != nil {
		return err
	}
	if r.source, err = e.open(ctx, r); err != nil {
		return err
	}
	defer func() { _ = r.source.close() }() // it was only read with: nothing can be lost in it

	if err := r.persist(task.WithWatchdog(ctx, &r.reads), startingWhat, r.source.start, true); err != nil {
		return unlessDone(ctx, err)
	}
	e.meter.update(func(m *meter) { m.started = true })
	defer func() { e.log().Info("consumer stopped") }()
	ended := r.consume(ctx, fail)
	if parent.Err() == nil {
		return context.Cause(ctx) // which no waiting can mend
	}
	return r.stop(ctx, ended)
}

// openWindow makes the window of the run.
func (r *run) openWindow() {
	l := r.limits(r.group)
	if r.orderKey != nil {
		l.Key = &orderKeys{stream: r.stream, key: r.orderKey}
	}
	h := window.Hooks{
		Settle:      r.settler.Request,
		StartWorker: func() { r.newWorker() },
		LetterTaken: func() { r.letters.sweeper.Request() },
	}
	if r.group {
		r.window, r.leases = window.NewLeased(l, h)
	} else {
		r.window, r.mark = window.NewMarked(l, h)
	}
	if r.handleBatch != nil {
		r.window.Gather(batch.Settings{
			Handle: r.handleBatch, Size: r.bulk, Wait: r.bulkWait, Limit: r.batches, Ordered: l.Serial,
		})
	}
}

// connect makes the clients of the run.
func (r *run) connect() (err error) {
	if err := conn.CheckHooks(r.engine.client, r.stream); err != nil {
		return err
	}
	if r.conn, err = r.conns.Of(r.engine.client); err != nil {
		return err
	}
	r.client = r.conn.Client
	r.store, err = r.conns.Bind(r.engine.store, r.stream)
	return err
}

// stop settles the entries that are left. The end of the context must not stop this too. Many
// consumers of a Runner that stop together wait for each other's commands, and a server that
// stands still is waited for no longer by many than by one.
func (r *run) stop(ctx context.Context, ended time.Time) error {
	stopping, cancel := task.Patience(context.WithoutCancel(ctx), stopTimeout, ended)
	defer cancel()
	settle := func() error { return caught(func() error { return r.source.stop(stopping) }) }
	err := settle()
	if stopping.Err() == nil && conn.Unanswered(err) && !conn.NeverRan(stopping, err) {
		err = settle() // the connection may have been dead for long
	}
	return err
}

// consume reads, processes and settles until ctx is done, and until the handlers in
// flight have returned. It fails with an error that no waiting can mend, and returns when
// the last handler had returned.
func (r *run) consume(ctx context.Context, fail context.CancelCauseFunc) (ended time.Time) {
	defer context.AfterFunc(ctx, r.window.Stop)() // nothing more is begun
	handling, endHandling := r.handling(ctx)
	defer endHandling()
	// Entries that have ended are settled, and leases are renewed, for as long as a
	// handler outlasts the stop.
	tending, stopTending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopTending()

	settling := task.WithWatchdog(tending, &r.settles)
	r.settler.Do = func() {
		if err := unlessDone(tending, r.settleNow(settling)); err != nil {
			fail(err)
		}
	}
	r.renewer.Do = func() { r.source.maintain(tending) }
	taking := task.WithWatchdog(tending, &r.claims)
	r.claimer.Do = func() { r.source.claimOthers(taking) }
	r.source.schedule(&r.renewer)
	r.letters = newLetters(handling, r)
	defer context.AfterFunc(ctx, r.letters.stop)()
	var workers sync.WaitGroup
	r.newWorker = func() { r.startWorker(ctx, handling, &workers) }
	if err := r.read(ctx); err != nil {
		fail(err)
	}
	r.source.interrupt()
	r.window.Stop() // no worker is started any more
	workers.Wait()
	ended = time.Now()
	r.letters.stop()
	r.letters.finish()
	stopTending()
	r.settler.Stop()
	r.renewer.Stop()
	r.claimer.Stop()
	return ended
}

// handling returns the context of handlers: it ends the drain timeout after ctx.
func (e *engine) handling(ctx context.Context) (context.Context, context.CancelFunc) {
	stopping := context.WithValue(ctx, stoppingKey{}, ctx.Done())
	if e.drain <= 0 {
		return context.WithCancel(stopping)
	}
	handling, cancel := context.WithCancelCause(context.WithoutCancel(stopping))
	forget := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(e.drain, func() { cancel(context.Cause(ctx)) })
		context.AfterFunc(handling, func() { timer.Stop() })
	})
	return handling, func() {
		forget()
		cancel(context.Canceled)
	}
}

// read fetches until ctx is done, and returns nil then. It returns an error only if
// the first read shows an error that no waiting can mend.
func (r *run) read(ctx context.Context) error {
	ctx = task.WithWatchdog(ctx, &r.reads)
	fetch := func(ctx context.Context) error {
		err := r.source.fetch(ctx)
		if err == nil {
			r.readWorked()
		} else if ctx.Err() == nil {
			r.meter.update(func(m *meter) { m.unreadable = true })
		}
		return err
	}
	for first := true; ; first = false {
		if err := r.persist(ctx, "reading", fetch, first); err != nil {
			return unlessDone(ctx, err)
		}
	}
}

// readWorked notes that the server has answered a read.
func (r *run) readWorked() {
	r.reads.Progress()
	r.meter.update(func(m *meter) {
		if m.unreadable {
			m.unreadable = false
			m.reconnects++
		}
		m.lastRead = time.Now()
	})
	if r.round != nil {
		r.round()
	}
}

// fewEntries is how many entries are a trickle, of which each is waited for.
const fewEntries = 16

// take takes in entries that were read at the given time, and reports whether there
// is room for another batch.
func (r *run) take(b resp.Batch, at time.Time) (more bool) {
	n := b.Len() // before the memory of the entries may be used again
	if len(r.observers.read) > 0 {
		event := EntriesRead{Identity: r.identity, Entries: n, LastID: b.LastID()}
		tell(r.engine, r.observers.read, func(o ReadObserver) { o.OnRead(event) })
	}
	more = r.window.AddRead(b, at)
	if n < fewEntries {
		// The worker that was woken is next in line behind this goroutine, which would
		// first send the next read: a third of the time that an entry takes from XADD
		// to its handler. With many, to have the read on its way is worth more.
		runtime.Gosched()
	}
	return more
}

// awaitRoom waits until a batch fits into the window; it reports false if ctx is
// done before.
func (r *run) awaitRoom(ctx context.Context) bool {
	r.meter.update(func(m *meter) { m.reading = time.Time{} })
	r.reads.End() // handlers take as long as they take
	if !r.window.AwaitRoom(ctx, r.reportFull) {
		return false
	}
	r.reads.Begin()
	r.meter.update(func(m *meter) { m.reading = time.Now() })
	return true
}

// reportFull says that nothing more is read, and which entry is in the way.
func (r *run) reportFull(id string, stands window.State, bytes int64) {
	how := "is at work"
	if stands == window.Waiting {
		how = "failed, and waits to be delivered again"
	} else if stands == window.Writing {
		how = "waits for its dead letter to be written"
	} else if stands != window.Working {
		how = "waits to be begun or settled"
	}
	what := "the window is full"
	if bytes > int64(r.window.Bytes/2) {
		what = "the window is full of large entries"
	}
	r.log().Warn("reading paused: "+what+" behind an entry that "+how, "entry_id", id, "window", r.window.Size, "bytes", bytes, "window_bytes", r.window.Bytes)
	if len(r.observers.full) > 0 {
		event := WindowFull{Identity: r.identity, EntryID: id, Size: r.window.Size, Bytes: bytes, SizeBytes: int64(r.window.Bytes)}
		tell(r.engine, r.observers.full, func(o FullObserver) { o.OnFull(event) })
	}
}

// judge returns the outcome of a failure of the chain, and logs it if the entry is not
// held. It returns a dead letter that is to be written. The order matters: a dead letter's
// cause is often one of the others. ctx is the handler's.
func (e *engine) judge(ctx context.Context, entry *Entry, failure error) (Outcome, *DeadLetterError) {
	log := e.log().With("entry_id", entry.ID, "attempt", entry.Deliveries)
	if panicked, is := contain.As[*PanicError](failure); is {
		log = log.With("stack", string(panicked.Stack))
	}
	letter, isLetter := contain.As[*DeadLetterError](failure)
	skip, isSkip := contain.As[*SkipError](failure)
	wrong, isWrong := contain.As[*DecodeError](failure)
	switch {
	case isLetter && ctx.Err() == nil:
		return OutcomeDeadLettered, letter
	case isLetter:
		// The failure may come from the stop.
	case isSkip:
		if !entry.logged {
			log.Info("entry passed: skipped", "reason", skip.Reason)
		}
		return OutcomeSkipped, nil
	case isWrong && ctx.Err() == nil: // after a stop, no dead letter is made of it
		if !entry.logged {
			log.Warn("entry passed: it cannot be decoded", "err", contain.Harmless(wrong.Err))
		}
		return OutcomeAbsorbed, nil
	}
	if ctx.Err() != nil || isStopping(ctx) && contain.IsErr(failure, ErrStopping) {
		if !entry.logged {
			log.Info("entry left: stopped while it was processed")
		}
		return OutcomeInterrupted, nil
	}
	return OutcomeHeld, nil
}

// persist does something until it works. It gives up when ctx is done, and on
// errors that no waiting can mend; of the server's answers only those at the start
// count as such, because later the same words may come from an operator's
// mistake or a failover, and a consumer that has worked once should outlast it.
func (r *run) persist(ctx context.Context, what string, do func(context.Context) error, starting bool) error {
	var trouble *outage // made when there is some: most of this works at once
	defer func() { trouble.abandon() }()
	watchdog := task.WatchdogOf(ctx)
	for {
		watchdog.Begin()
		err := caught(func() error { return do(ctx) })
		watchdog.End()
		if err == nil {
			trouble.ends()
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if classify(err).Ends(starting) {
			return fmt.Errorf("stream: %s failed for %s: %w", what, r.stream, explain(err))
		}
		if trouble == nil {
			trouble = r.newOutage(what, r.log())
		}
		trouble.goesOn(err)
		if !task.Sleep(ctx, task.Recovery.Delay(trouble.Failures)) {
			return ctx.Err()
		}
		r.relocate(err) // once more: before, there may have been no other master
	}
}

func (e *engine) log() *slog.Logger {
	return e.logger.With(e.attrs...)
}

// unlessDone drops an error that only says that ctx is done.
func unlessDone(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return nil
	}
	return err
}
