package feed

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/contain"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/task"
)

// hub reads many streams on few connections. A stream that has more to bring than
// one read is read on its own, on a connection that the members take in turns; so
// a busy one holds up no other for longer than one batch. Those that have nothing
// wait together in one blocking read, the hot lane, or in a second one, the cold
// lane, where they end up when nothing has come for a while: so that a stream with
// something now and then does not have all names of the idle ones sent each time.
// A stream whose window is full is in neither.
type hub struct {
	asker
	conn    *conn.Client // for all but the reads
	end     context.CancelFunc
	work    sync.WaitGroup
	readers []*conn.Reader // of the lanes, and those that are taken in turns
	gate    gate
	turns   chan *conn.Reader
	moved   task.Movement // when a turn has begun or ended

	mu        sync.Mutex         // guards the fields below, the lanes and their waiters
	members   map[string]*member // by stream
	hot, cold *lane
}

// coldAfter is how long nothing has come for a stream that leaves the hot lane, and
// minHot how many have to stay there for that to be of use.
const (
	coldAfter = 5 * time.Second
	minHot    = 32
)

// newHub makes a hub. It connects when it is read from.
func newHub(client redis.UniversalClient, commands *conn.Client, a asker) (*hub, error) {
	ctx, cancel := context.WithCancel(context.Background())
	h := &hub{asker: a, conn: commands, members: make(map[string]*member), end: cancel}
	turns := min(runtime.GOMAXPROCS(0), 3)
	for range turns + 2 {
		r, err := conn.NewReader(ctx, client, a.block, true)
		if err != nil {
			cancel()
			return nil, err
		}
		r.Commands = commands
		h.readers = append(h.readers, r)
	}
	h.hot, h.cold = newLane(h, h.readers[0]), newLane(h, h.readers[1])
	h.turns = make(chan *conn.Reader, turns)
	for _, r := range h.readers[2:] {
		h.turns <- r
	}
	h.hot.demote, h.cold.promote = h.cold, h.hot
	h.work.Go(func() { h.hot.run(ctx) })
	h.work.Go(func() { h.cold.run(ctx) })
	if a.group != "" {
		h.work.Go(func() { h.tick(ctx) })
		h.work.Go(func() { h.checkStreams(ctx) })
	}
	return h, nil
}

// close ends the lanes and their connections. No stream waits in them any more.
func (h *hub) close() {
	h.end()
	for _, r := range h.readers {
		_ = r.Close() // it was only read with: nothing can be lost in it
	}
	h.work.Wait()
}

// enroll adds a member, and reports false if there is one for its stream.
func (h *hub) enroll(m *member) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.members[m.stream] != nil {
		return false
	}
	m.hub = h
	h.members[m.stream] = m
	return true
}

// strike removes the member of the stream, and returns how many are left.
func (h *hub) strike(stream string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.members, stream)
	return len(h.members)
}

// readNow reads one stream, without waiting for entries, and has take called if there
// are some.
func (h *hub) readNow(ctx context.Context, stream string, from resp.Place, p pace, g conn.Guards, take func(b resp.Batch, at time.Time)) (err error) {
	if !h.gate.enter(ctx) {
		return ctx.Err()
	}
	watchdog := task.WatchdogOf(ctx)
	watchdog.Waits(&h.moved)
	select {
	case r := <-h.turns:
		h.moved.Note()
		watchdog.Begin()
		err = contain.Isolated(func() error {
			var b resp.Batch
			at := time.Now()
			err := contain.Caught(func() (err error) {
				b, err = h.readOn(ctx, r, stream, from, p, g)
				return err
			})
			h.turns <- r
			h.moved.Note()
			h.gate.leave(ctx, err)
			if b.Len() > 0 {
				take(b, at)
			}
			return err
		})
	case <-ctx.Done():
		err = ctx.Err()
		h.gate.leave(ctx, err)
	}
	return err
}

func (h *hub) readOn(ctx context.Context, r *conn.Reader, stream string, from resp.Place, p pace, g conn.Guards) (resp.Batch, error) {
	defer g.With(r)()
	// It comes back at once, unless the server stands still. In group mode it is
	// given a moment, because it may bring entries.
	read := r.Sockets.BeginRead()
	defer context.AfterFunc(ctx, func() {
		if h.group == "" {
			r.Sockets.EndRead(read)
		} else {
			time.AfterFunc(unblockTimeout, func() { r.Sockets.EndRead(read) })
		}
	})()
	b, err := h.asker.readNow(ctx, r, stream, from, p)
	r.DropIfStale(err)
	return b, err
}

// member is the feed of one stream of a hub.
type member struct {
	hub    *hub
	stream string
	leave  func()
	// worked is called when a read for the stream has worked, without fetch coming
	// back.
	worked func()
	pace   pace // of the reads for this stream alone
	// eager is set when the stream may have a batch ready, and is not to be waited
	// for together with others.
	eager bool
	guard Guarding // of an eager read, and the first one in a lane; nil is none
	// recalled has something in it when a fetch that waits is to come back.
	recalled chan struct{}
	scheduled
}

func (m *member) Fetch(ctx context.Context, from resp.Place, take Sink, idle Idle) error {
	if m.eager {
		more := false
		var g conn.Guards
		if m.guard != nil {
			var err error
			if g, err = m.guard.Guard(ctx, true); err != nil {
				return err
			}
			defer g.Over()
		}
		err := m.hub.readNow(ctx, m.stream, from, m.pace, g, func(b resp.Batch, at time.Time) {
			m.pace.learn(b)
			more = !take(b, at) || b.More
		})
		m.eager = more || err != nil
		return m.pace.failed(err)
	}
	w := &waiter{stream: m.stream, from: from, intake: m.pace.Budget, worked: m.worked, guard: m.guard, out: make(chan struct{}), since: time.Now()}
	w.take = func(b resp.Batch, at time.Time) bool {
		m.pace.learn(b) // fetch waits meanwhile
		return take(b, at)
	}
	m.hub.hot.join(w)
	look := time.NewTicker(m.hub.inspect)
	defer look.Stop()
	for {
		select {
		case <-w.out:
			m.eager = true // it was full, or there was no room, or it failed
			return w.err
		case <-ctx.Done():
			m.hub.withdraw(w)
			return ctx.Err()
		case <-m.recalled:
			if !m.hub.recall(w) {
				m.eager = true
				return nil
			}
		case <-look.C:
			if wait, err := idle(ctx); !wait || err != nil {
				m.hub.withdraw(w)
				m.eager = true
				return err
			}
		}
	}
}

func (m *member) Failed() { m.eager = true }

func (m *member) Recall() { signal(m.recalled) }

// Interrupt does nothing: the end of the context ends a fetch.
func (m *member) Interrupt() {}

func (m *member) Close() error {
	m.leave()
	return nil
}
