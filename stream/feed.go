package stream

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// feed is where the entries of one stream come from: a connection of the
// consumer's own, or one that it shares with others.
type feed interface {
	// fetch waits for entries behind position and gives them to take. It returns
	// after the block time, or when take wants no more.
	fetch(ctx context.Context, position string, take taker) error
	// mayBeHandedBack reports whether, in group mode, a consumer may have handed
	// back entries of the stream.
	mayBeHandedBack() bool
	// interrupt ends a fetch that waits, and keeps another one from waiting. It
	// may be called at any time, and more than once.
	interrupt()
	// close comes after everything else.
	close() error
}

// taker takes entries that were asked for at the given time. It returns the
// position behind them, and whether there is room for more now. It is called by
// one goroutine at a time.
type taker func(entries []Entry, at time.Time) (position string, more bool)

// asker is who reads, and how much at a time. Those that are equal, and use one
// client, may read together.
type asker struct {
	group, consumer string // empty in log mode
	count           int
	block           time.Duration
}

// read reads streams from positions: first all names, then all positions. With
// wait it waits for the block time if there is nothing yet.
func (a asker) read(ctx context.Context, r *reader, streams []string, wait bool) ([]batch, error) {
	block := a.block
	if !wait {
		block = -1
	}
	if a.group == "" {
		return r.read(ctx, &redis.XReadArgs{Streams: streams, Count: int64(a.count), Block: block})
	}
	return r.readGroup(ctx, &redis.XReadGroupArgs{
		Group: a.group, Consumer: a.consumer, Streams: streams, Count: int64(a.count), Block: block,
	})
}

// newFeed makes a feed for the run, whose reading ends with ctx.
func (r *run) newFeed(ctx context.Context, group, consumer string) (feed, error) {
	a := asker{group: group, consumer: consumer, count: r.window.batch, block: r.block}
	if s := sharingOf(ctx); s != nil && mayShare(r.client, r.stream) {
		return s.join(r.client, r.stream, a, r.readWorked)
	}
	reader, err := newReader(ctx, r.client, group != "")
	if err != nil {
		return nil, err
	}
	f := &ownFeed{asker: a, stream: r.stream, client: r.client, reader: reader}
	f.end = f.reader.sockets.close
	if group != "" {
		f.end = sync.OnceFunc(f.unblock)
	}
	f.forget = context.AfterFunc(ctx, f.end)
	return f, nil
}

// ownFeed reads one stream on a connection of its own.
type ownFeed struct {
	asker
	stream string
	client redis.UniversalClient
	reader *reader
	// end ends a read that blocks. The end of the run's context calls it, unless
	// forget is called before.
	end    func()
	forget func() bool
	// reading is set while a read is on its way.
	reading atomic.Bool
}

func (f *ownFeed) fetch(ctx context.Context, position string, take taker) error {
	f.reading.Store(true)
	defer f.reading.Store(false)
	if ctx.Err() != nil { // after reading was set, or unblock could miss this read
		return ctx.Err()
	}
	at := time.Now()
	entries, err := entriesOf(f.read(ctx, f.reader, []string{f.stream, position}, true))
	if len(entries) > 0 {
		take(entries, at)
	}
	return err
}

func (f *ownFeed) mayBeHandedBack() bool { return true }

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
	unblock(f.client, f.reader, f.stream, f.reading.Load)
}

// unblock has a blocking read come back, with what it may have got just now (CLIENT
// UNBLOCK), for as long as it is reading. It gives up after the unblock timeout,
// and where the server does not allow it.
func unblock(client redis.UniversalClient, r *reader, stream string, reading func() bool) (gaveUp bool) {
	ctx, cancel := context.WithTimeout(context.Background(), unblockTimeout)
	defer cancel()
	node, err := nodeOf(ctx, client, stream)
	if err != nil {
		return true
	}
	for reading() {
		// Again and again, because it does nothing to a read that is on its way.
		id := r.clientID.Load()
		if id == 0 || node.ClientUnblock(ctx, id).Err() != nil || !sleep(ctx, time.Millisecond) {
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
