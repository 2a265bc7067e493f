package stream

import (
	"cmp"
	"context"
	"hash/maphash"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/stream/internal/task"
)

// feed is where the entries of one stream come from: a connection of the
// consumer's own, or one that it shares with others.
type feed interface {
	// fetch waits for entries behind a place and gives them to take. It returns
	// after the block time, or when take wants no more; with errNoWitness if it
	// finds that the entry at the place is gone. Now and then, when nothing comes,
	// it calls idle, and returns its error.
	fetch(ctx context.Context, from place, take sink, idle func(context.Context) error) error
	// failed has the next fetch come back at once, and so tell that reading works again: a
	// step before or behind a fetch has failed.
	failed()
	// schedule has renewer requested, in group mode, at its interval, and when there may be
	// something to do.
	schedule(renewer *task.Task)
	// mayBeHandedBack reports whether a consumer may have handed back entries of the
	// stream, isDue whether it is time to look around; both since they were asked last,
	// by the claimer.
	mayBeHandedBack() bool
	isDue() bool
	// interrupt ends a fetch that waits, and keeps another one from waiting. It
	// may be called at any time, and more than once.
	interrupt()
	// close comes after everything else.
	close() error
}

// sink takes entries that were asked for at the given time, at least one, and
// reports whether there is room for more now. It is called by one goroutine at a
// time, in log mode perhaps at the same time as idle.
type sink func(b batch, at time.Time) (more bool)

// place is where to read on: behind an entry's ID or, in group mode, with ">".
type place struct {
	id string
	// witnessed says that the stream has had an entry with this ID, and sum tells
	// that entry from another one: a stream that is deleted and filled again within
	// a millisecond has the same IDs. 0 is not known, nor that of an entry over the
	// limit of size: it is told by its ID alone.
	witnessed bool
	sum       uint64
}

func placeAfter(entries []wireEntry) place {
	last := entries[len(entries)-1]
	return place{id: strings.Clone(last.ID), witnessed: true, sum: sumOf(last.Fields)}
}

// is reports whether an entry is the one at the place.
func (p place) is(entry wireEntry) bool {
	return entry.ID == p.id && (p.sum == 0 || entry.Fields == nil || p.sum == sumOf(entry.Fields))
}

var sumSeed = maphash.MakeSeed()

// sumOf returns a hash of fields, whatever their order.
func sumOf(fields codec.Fields) (sum uint64) {
	for name, value := range fields {
		text, _ := value.(string)
		sum += maphash.String(sumSeed, name) ^ bits.RotateLeft64(maphash.String(sumSeed, text), 1)
	}
	return sum
}

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
// entries as count says, and takes in what is wanted.
func (a asker) read(ctx context.Context, r *reader, streams []string, block time.Duration, count int, want intakes) (batches []batch, err error) {
	if a.group == "" {
		batches, err = r.read(ctx, &redis.XReadArgs{Streams: streams, Count: int64(count), Block: block}, want)
	} else {
		batches, err = r.readGroup(ctx, &redis.XReadGroupArgs{
			Group: a.group, Consumer: a.consumer, Streams: streams, Count: int64(count), Block: block,
		}, want)
	}
	for i := range batches {
		b := &batches[i]
		b.more = b.len() >= count || len(b.left) > 0
	}
	return batches, err
}

// readNow reads one stream, without waiting for entries. It asks for the entry at
// the place as well: only if that is still there can nothing have been trimmed away
// behind it, which XREAD itself does not tell. Where a reply can have but one entry, it
// is asked for afterwards.
func (a asker) readNow(ctx context.Context, r *reader, stream string, from place, p pace) (batch, error) {
	if !from.witnessed || p.alone {
		b, err := only(a.read(ctx, r, []string{stream, from.id}, noWait, p.count, p.wanted))
		if err != nil || !from.witnessed {
			return b, err
		}
		if there, err := from.isIn(ctx, r, stream, p.maxEntry()); err != nil || !there {
			return batch{}, cmp.Or(err, errNoWitness)
		}
		return b, nil
	}
	want := p.intake
	want.least++
	b, err := only(a.read(ctx, r, []string{stream, before(from.id)}, noWait, p.count+1, want.wanted))
	if err != nil {
		return batch{}, err
	}
	if len(b.entries) == 0 || !from.is(b.entries[0]) {
		return batch{}, errNoWitness
	}
	b.bytes -= max(b.entries[0].bytes(), int64(b.entries[0].size))
	b.entries = slices.Delete(b.entries, 0, 1) // not a part of it: the memory is used again
	return b, nil
}

// newFeed makes a feed for the run, whose reading ends with ctx.
func (r *run) newFeed(ctx context.Context, group, consumer string) (feed, error) {
	a := asker{group: group, consumer: consumer, count: r.window.batch, block: r.block, inspect: r.inspectEvery}
	p, w := newPace(r.intake(), a.count), intervalsOf(r.claimIdle)
	user := r.engine.client
	if s := sharingOf(ctx); s != nil && mayShare(user, r.stream) {
		return s.join(user, r.conn, a, &member{stream: r.stream, worked: r.readWorked, pace: p, eager: true, guard: r.guard, scheduled: scheduled{every: w}})
	}
	reader, err := newReader(ctx, user, r.block, group != "")
	if err != nil {
		return nil, err
	}
	reader.commands = r.conn
	f := &ownFeed{asker: a, stream: r.stream, conn: r.conn, reader: reader, every: w, pace: p, eager: true, guard: r.guard}
	f.end = f.reader.sockets.close
	if group == "" {
		f.reader.sockets.eager = r.window.hasRoomAhead
	} else {
		f.end = sync.OnceFunc(f.unblock)
	}
	f.forget = context.AfterFunc(ctx, f.end)
	return f, nil
}

// ownFeed reads one stream on a connection of its own.
type ownFeed struct {
	asker
	stream string
	conn   *conn
	reader *reader
	every  intervals
	due    time.Time // isDue's own: when it was the last time
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
	guard guarding // of reads behind which something may have gone; nil is none
	// came is when the last read has come back.
	came time.Time
	// looked is when it was looked whether all is as it should be.
	looked time.Time
}

func (f *ownFeed) fetch(ctx context.Context, from place, take sink, idle func(context.Context) error) (err error) {
	f.reading.Store(true)
	defer f.reading.Store(false)
	if ctx.Err() != nil { // after reading was set, or unblock could miss this read
		return ctx.Err()
	}
	defer func() {
		if err != nil {
			f.eager = true
			f.reader.dropIfStale(err)
			err = f.pace.failed(err)
		}
	}()
	at := time.Now()
	var b batch
	if f.eager && from.witnessed {
		f.eager = false
		if b, err = f.readNow(ctx, f.reader, f.stream, from, f.pace); err != nil {
			return err
		}
	}
	if f.guard != nil && (f.eager || time.Since(f.came) > soon) {
		f.eager = false
		guards, err := f.guard(ctx, true)
		if err != nil {
			return err
		}
		defer guards.over()
		defer guards.with(f.reader)()
	}
	if b.len() == 0 {
		if b, err = only(f.read(ctx, f.reader, []string{f.stream, from.id}, f.block, f.pace.count, f.pace.wanted)); err != nil {
			return err
		}
	}
	f.came = time.Now()
	if b.len() > 0 {
		f.pace.learn(b)
		room := take(b, at)
		f.eager = b.more || !room
		return nil
	}
	if now := time.Now(); now.Sub(f.looked) >= f.inspect {
		f.looked = now
		if err := checkRole(ctx, f.reader); err != nil {
			return err
		}
		return idle(ctx)
	}
	return nil
}

// soon is how soon a read has to follow on one that has brought all that there was, to
// need no guard.
const soon = time.Millisecond

func (f *ownFeed) failed() { f.eager = true }

func (f *ownFeed) schedule(renewer *task.Task) { renewer.Every(f.every.renew) }

func (f *ownFeed) mayBeHandedBack() bool { return true }

func (f *ownFeed) isDue() bool {
	now := time.Now()
	if now.Sub(f.due) < f.every.check {
		return false
	}
	f.due = now
	return true
}

func (f *ownFeed) interrupt() { f.end() }

func (f *ownFeed) close() error {
	f.forget()
	return f.reader.Close()
}

// unblockTimeout is how long a read may take to come back by itself.
const unblockTimeout = 100 * time.Millisecond

// unblock ends a read of a group in a way that loses nothing. Closing the socket
// under it, the last resort, would leave the entries that it may have got at that
// very moment pending on us without anybody knowing.
func (f *ownFeed) unblock() {
	defer f.reader.sockets.close()
	unblock(f.conn, f.reader, f.stream, f.reading.Load)
}

// unblock has a blocking read come back, with what it may have got just now (CLIENT
// UNBLOCK), for as long as it is reading. It gives up after the unblock timeout,
// and where the server does not allow it. On a server, one read at a time is ended.
func unblock(c *conn, r *reader, stream string, reading func() bool) (gaveUp bool) {
	ctx, cancel := context.WithTimeout(context.Background(), unblockTimeout)
	defer cancel()
	s, err := c.serverOf(ctx, stream)
	if err != nil {
		return true
	}
	if s.unblocking.Lock(ctx) != nil {
		return reading()
	}
	defer s.unblocking.Unlock()
	var node redis.UniversalClient
	err = caught(func() (err error) {
		node, err = nodeOf(ctx, c.client, stream)
		return err
	})
	if err != nil {
		return true
	}
	for reading() {
		// Again and again, because it does nothing to a read that is on its way, perhaps
		// on a connection that is being made.
		id := r.clientID.Load()
		if id == unidentified || id > 0 && caught(func() error { return node.ClientUnblock(ctx, id).Err() }) != nil || !task.Sleep(ctx, time.Millisecond) {
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
