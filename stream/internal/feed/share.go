package feed

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/later"
)

// Shared has the connections that the consumers of one Runner share, so that a
// thousand topics need no thousand connections. It travels in their context,
// because a Runner may run a wrapper around a consumer.
type Shared struct {
	mu   sync.Mutex
	hubs map[hubKey]*hub
	// conns are the connections for the commands of all, to each server a few at once.
	conns *conn.Clients
	// watches look for entries that wait for their time, by the client of their commands.
	watches map[*conn.Client]*later.Watch
}

// hubKey is equal for consumers that read together.
type hubKey struct {
	client redis.UniversalClient
	tag    string // in a cluster, the hash tag of the streams
	asker
	// copy tells hubs apart that would otherwise read one stream twice.
	copy int
}

// maxCommands is how many commands of consumers that share are at work at once on a
// server.
const maxCommands = 2

type sharingKey struct{}

// WithSharing returns a context whose consumers share, if it is none already. end comes
// when all of them have returned.
func WithSharing(ctx context.Context) (_ context.Context, end func()) {
	if sharingOf(ctx) != nil {
		return ctx, func() {}
	}
	s := &Shared{
		hubs: make(map[hubKey]*hub), conns: conn.NewClients(maxCommands), watches: make(map[*conn.Client]*later.Watch),
	}
	return context.WithValue(ctx, sharingKey{}, s), s.end
}

// end comes when no run is left.
func (s *Shared) end() {
	s.mu.Lock()
	watches := slices.Collect(maps.Values(s.watches))
	clear(s.watches)
	s.mu.Unlock()
	for _, w := range watches {
		w.End()
	}
	s.conns.Close()
}

// WatchOf returns the watch over entries that wait for their time, for a run with the context.
func WatchOf(ctx context.Context, commands *conn.Client) (_ *later.Watch, end func()) {
	s := sharingOf(ctx)
	if s == nil {
		alone := later.NewWatch(commands.Client)
		return alone, alone.End
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.watches[commands]
	if w == nil {
		w = later.NewWatch(commands.Client)
		s.watches[commands] = w
	}
	return w, func() {}
}

// ConnsOf returns the connections for the commands of a run with the context.
func ConnsOf(ctx context.Context) (_ *conn.Clients, end func()) {
	if s := sharingOf(ctx); s != nil {
		return s.conns, func() {}
	}
	alone := conn.NewClients(1)
	return alone, alone.Close
}

func sharingOf(ctx context.Context) *Shared {
	s, _ := ctx.Value(sharingKey{}).(*Shared)
	return s
}

// mayShare reports whether a stream can be read in one command with others. In a
// cluster that takes a hash tag: streams of different slots are not read together.
func mayShare(client redis.UniversalClient, stream string) bool {
	_, cluster := client.(*redis.ClusterClient)
	return !cluster || conn.HashTag(stream) != stream
}

// join makes a member the feed of a hub that other consumers read with, too.
func (s *Shared) join(client redis.UniversalClient, commands *conn.Client, a asker, m *member) (Feed, error) {
	key := hubKey{client: client, asker: a}
	if _, cluster := client.(*redis.ClusterClient); cluster {
		key.tag = conn.HashTag(m.stream)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; ; key.copy++ {
		h := s.hubs[key]
		if h == nil {
			var err error
			if h, err = newHub(client, commands, a); err != nil {
				return nil, err
			}
			s.hubs[key] = h
		}
		m.leave = func() { s.leave(key, m.stream) }
		if h.enroll(m) {
			return m, nil
		}
	}
}

// leave ends the hub when its last member leaves.
func (s *Shared) leave(key hubKey, stream string) {
	if h := s.strike(key, stream); h != nil {
		// Without the lock: a command of the hub's may be on its way to a server that
		// stands still.
		h.close()
	}
}

// strike removes a member from its hub, and returns that if there is none left.
func (s *Shared) strike(key hubKey, stream string) *hub {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hubs[key]
	if h.strike(stream) > 0 {
		return nil
	}
	delete(s.hubs, key)
	return h
}
