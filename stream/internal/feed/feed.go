package feed

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/contain"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/task"
)

// Feed is where the entries of one stream come from: a connection of the
// consumer's own, or one that it shares with others.
type Feed interface {
	// Fetch waits for entries behind a place and gives them to take. It returns
	// after the block time, or when take wants no more; with ErrNoWitness if it
	// finds that the entry at the place is gone. Now and then, when nothing comes,
	// it calls idle, and returns if that says so, with its error.
	Fetch(ctx context.Context, from resp.Place, take Sink, idle Idle) error
	// Failed has the next fetch come back at once, and so tell that reading works again: a
	// step before or behind a fetch has failed.
	Failed()
	// Schedule has renewer requested, in group mode, at its interval, and when there may be
	// something to do.
	Schedule(renewer *task.Task)
	// MayBeHandedBack reports whether a consumer may have handed back entries of the
	// stream, IsDue whether it is time to look around; both since they were asked last,
	// by the claimer.
	MayBeHandedBack() bool
	IsDue() bool
	// Recall has a fetch that waits come back soon, where it would bring entries that are not
	// wanted now. Another fetch may wait. It may be called at any time, and does not wait.
	Recall()
	// Interrupt ends a fetch that waits, and keeps another one from waiting. It
	// may be called at any time, and more than once.
	Interrupt()
	// Close comes after everything else.
	Close() error
}

// Sink takes entries that were asked for at the given time, at least one, and
// reports whether there is room for more now. It is called by one goroutine at a
// time, in log mode perhaps at the same time as idle.
type Sink func(b resp.Batch, at time.Time) (more bool)

// Idle is called now and then while nothing comes, and reports whether to go on waiting.
type Idle func(ctx context.Context) (wait bool, err error)

// asker is who reads, and how much at a time. Those that are equal, and use one
// client, may read together.
type asker struct {
	group, consumer string // empty in log mode
	count           int
	block, inspect  time.Duration
}

// noWait is the block time of a read that does not wait for entries.
const noWait = -1

// read reads streams from positions: first all names, then all positions. If there
// is nothing yet it waits for the block time. Of each stream it asks for as many
// entries as count says, and takes in as much as its budget says.
func (a asker) read(ctx context.Context, r *conn.Reader, streams []string, block time.Duration, count int, want resp.Budgets) (batches []resp.Batch, err error) {
	if a.group == "" {
		batches, err = r.Read(ctx, &redis.XReadArgs{Streams: streams, Count: int64(count), Block: block}, want)
	} else {
		batches, err = r.ReadGroup(ctx, &redis.XReadGroupArgs{
			Group: a.group, Consumer: a.consumer, Streams: streams, Count: int64(count), Block: block,
		}, want)
	}
	for i := range batches {
		b := &batches[i]
		b.More, b.Waited = b.Len() >= count || len(b.Left) > 0, block != noWait
	}
	return batches, err
}

// readNow reads one stream, without waiting for entries. It asks for the entry at
// the place as well: only if that is still there can nothing have been trimmed away
// behind it, which XREAD itself does not tell. Where a reply can have but one entry, it
// is asked for afterwards.
func (a asker) readNow(ctx context.Context, r *conn.Reader, stream string, from resp.Place, p pace) (resp.Batch, error) {
	if !from.Seen || p.alone {
		b, err := conn.Only(a.read(ctx, r, []string{stream, from.ID}, noWait, p.count, p.For))
		if err != nil || !from.Seen {
			return b, err
		}
		if there, err := conn.HasEntry(ctx, r, stream, from, p.EntryLimit()); err != nil || !there {
			return resp.Batch{}, cmp.Or(err, ErrNoWitness)
		}
		return b, nil
	}
	want := p.Budget
	want.Least++
	b, err := conn.Only(a.read(ctx, r, []string{stream, resp.Before(from.ID)}, noWait, p.count+1, want.For))
	if err != nil {
		return resp.Batch{}, err
	}
	if len(b.Entries) == 0 || !from.Is(b.Entries[0]) {
		return resp.Batch{}, ErrNoWitness
	}
	b.Bytes -= max(b.Entries[0].Bytes(), int64(b.Entries[0].Size))
	b.Entries = slices.Delete(b.Entries, 0, 1) // not a part of it: the memory is used again
	return b, nil
}

// Settings are those of a feed.
type Settings struct {
	Client          redis.UniversalClient // the user's
	Commands        *conn.Client
	Stream          string
	Group, Consumer string // empty in log mode
	Count           int    // entries that one read asks for, at the most
	Block, Inspect  time.Duration
	ClaimIdle       time.Duration
	Budget          resp.Budget
	// Worked is called when a read has worked, without fetch coming back.
	Worked func()
	Guard  Guarding // makes the guards of reads; nil is none
	// HasRoomAhead reports whether there is room for the batch behind the one being read.
	HasRoomAhead func() bool
}

// Open opens a feed, whose reading ends with ctx. It shares the connections of the
// Runner in the context, if there is one.
func Open(ctx context.Context, s Settings) (Feed, error) {
	a := asker{group: s.Group, consumer: s.Consumer, count: s.Count, block: s.Block, inspect: s.Inspect}
	p, every := newPace(s.Budget, a.count), intervalsOf(s.ClaimIdle)
	if shared := sharingOf(ctx); shared != nil && mayShare(s.Client, s.Stream) {
		return shared.join(s.Client, s.Commands, a, &member{stream: s.Stream, worked: s.Worked, pace: p, eager: true, guard: s.Guard, recalled: make(chan struct{}, 1), scheduled: scheduled{every: every}})
	}
	reader, err := conn.NewReader(ctx, s.Client, s.Block, s.Group != "")
	if err != nil {
		return nil, err
	}
	reader.Commands = s.Commands
	f := &own{asker: a, stream: s.Stream, conn: s.Commands, reader: reader, every: every, pace: p, eager: true, guard: s.Guard}
	f.end = f.reader.Sockets.Close
	if s.Group == "" {
		f.reader.Sockets.Eager = s.HasRoomAhead
	} else {
		f.end = sync.OnceFunc(f.unblock)
	}
	f.forget = context.AfterFunc(ctx, f.end)
	return f, nil
}

// own reads one stream on a connection of its own.
type own struct {
	asker
	stream string
	conn   *conn.Client
	reader *conn.Reader
	every  intervals
	due    time.Time // IsDue's own: when it was the last time
	// end ends a read that blocks. The end of the run's context calls it, unless
	// forget is called before.
	end    func()
	forget func() bool
	// reading is set while a read is on its way.
	reading atomic.Bool

	// The reading goroutine's own.

	pace pace
	// eager is set when the stream may have a batch ready, or may have lost what
	// was there: at the start, behind a full batch, after a failure, and after a
	// pause. Then it is not waited for.
	eager bool
	guard Guarding // of reads behind which something may have gone; nil is none
	// came is when the last read has come back.
	came time.Time
	// looked is when it was looked whether all is as it should be.
	looked time.Time
}

func (f *own) Fetch(ctx context.Context, from resp.Place, take Sink, idle Idle) (err error) {
	f.reading.Store(true)
	defer f.reading.Store(false)
	if ctx.Err() != nil { // after reading was set, or unblock could miss this read
		return ctx.Err()
	}
	defer func() {
		if err != nil {
			f.eager = true
			f.reader.DropIfStale(err)
			err = f.pace.failed(err)
		}
	}()
	at := time.Now()
	var b resp.Batch
	if f.eager && from.Seen {
		f.eager = false
		if b, err = f.readNow(ctx, f.reader, f.stream, from, f.pace); err != nil {
			return err
		}
	}
	if f.guard != nil && (f.eager || time.Since(f.came) > soon || f.guard.GuardsAll()) {
		f.eager = false
		guards, err := f.guard.Guard(ctx, true)
		if err != nil {
			return err
		}
		defer guards.Over()
		defer guards.With(f.reader)()
	}
	if b.Len() == 0 {
		if b, err = conn.Only(f.read(ctx, f.reader, []string{f.stream, from.ID}, f.block, f.pace.count, f.pace.For)); err != nil {
			return err
		}
	}
	f.came = time.Now()
	if b.Len() > 0 {
		f.pace.learn(b)
		room := take(b, at)
		f.eager = b.More || !room
		return nil
	}
	if now := time.Now(); now.Sub(f.looked) >= f.inspect {
		f.looked = now
		if err := conn.CheckRole(ctx, f.reader); err != nil {
			return err
		}
		wait, err := idle(ctx)
		f.eager = f.eager || !wait
		return err
	}
	return nil
}

// soon is how soon a read has to follow on one that has brought all that there was, to
// need no guard.
const soon = time.Millisecond

func (f *own) Failed() { f.eager = true }

func (f *own) Schedule(renewer *task.Task) { renewer.Every(f.every.renew) }

func (f *own) MayBeHandedBack() bool { return true }

func (f *own) IsDue() bool {
	now := time.Now()
	if now.Sub(f.due) < f.every.check {
		return false
	}
	f.due = now
	return true
}

// Recall ends the read of a group. In log mode nothing needs to be done: the sink does not take
// the entries of a read that comes too late.
func (f *own) Recall() {
	if f.group == "" {
		return
	}
	go func() {
		_ = contain.Isolated(func() error {
			unblock(f.conn, f.reader, f.stream, f.reading.Load)
			return nil
		})
	}()
}

func (f *own) Interrupt() { f.end() }

func (f *own) Close() error {
	f.forget()
	return f.reader.Close()
}

// unblockTimeout is how long a read may take to come back by itself.
const unblockTimeout = 100 * time.Millisecond

// unblock ends a read of a group in a way that loses nothing. Closing the socket
// under it, the last resort, would leave the entries that it may have got at that
// very moment pending on us without anybody knowing.
func (f *own) unblock() {
	defer f.reader.Sockets.Close()
	unblock(f.conn, f.reader, f.stream, f.reading.Load)
}

// unblock has a blocking read come back, with what it may have got just now (CLIENT
// UNBLOCK), for as long as it is reading. It gives up after the unblock timeout,
// and where the server does not allow it. On a server, one read at a time is ended.
func unblock(c *conn.Client, r *conn.Reader, stream string, reading func() bool) (gaveUp bool) {
	ctx, cancel := context.WithTimeout(context.Background(), unblockTimeout)
	defer cancel()
	s, err := c.ServerOf(ctx, stream)
	if err != nil {
		return true
	}
	if s.Unblocking.Lock(ctx) != nil {
		return reading()
	}
	defer s.Unblocking.Unlock()
	var node redis.UniversalClient
	err = contain.Caught(func() (err error) {
		node, err = nodeOf(ctx, c.Client, stream)
		return err
	})
	if err != nil {
		return true
	}
	for reading() {
		// Again and again, because it does nothing to a read that is on its way, perhaps
		// on a connection that is being made.
		id := r.ConnID.Load()
		if id == conn.Unidentified || id > 0 && contain.Caught(func() error { return node.ClientUnblock(ctx, id).Err() }) != nil || !task.Sleep(ctx, time.Millisecond) {
			return reading()
		}
	}
	return false
}

// nodeOf returns the client of the server that has the key.
func nodeOf(ctx context.Context, client redis.UniversalClient, key string) (redis.UniversalClient, error) {
	if cluster, ok := client.(*redis.ClusterClient); ok {
		return cluster.MasterForKey(ctx, key)
	}
	return client, nil
}

// ErrNoWitness is the error of a feed when the entry that was read last is not in
// the stream any more, so that there may be a gap behind it.
var ErrNoWitness = errors.New("the last entry that was read is not in the stream any more")

// Guarding makes the guards of reads.
type Guarding interface {
	// Guard makes the guards of a read. One that is patient waits for another look that is on
	// its way, and has the server learn the script.
	Guard(ctx context.Context, patient bool) (conn.Guards, error)
	// GuardsAll reports whether each read is to be guarded, not only those behind which
	// something may have gone.
	GuardsAll() bool
}
