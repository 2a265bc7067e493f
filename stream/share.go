package stream

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
)

// sharing is what the consumers that one Runner runs have in common, so that a
// thousand topics need no thousand connections. It travels in their context,
// because what a Runner runs may be a wrapper around a consumer.
type sharing struct {
	mu   sync.Mutex
	hubs map[hubKey]*hub
	// commands has something in it for each command at work, reads aside; moved is when
	// one of them has begun or ended.
	commands chan struct{}
	moved    movement
	// unblocking is held while a read is ended, so that only one is at a time.
	unblocking exclusive
}

// hubKey is what consumers that read together have in common.
type hubKey struct {
	client redis.UniversalClient
	tag    string // in a cluster, the hash tag of the streams
	asker
	// copy tells hubs apart that would otherwise read one stream twice.
	copy int
}

// maxCommands is how many commands of consumers that share are at work at once.
const maxCommands = 2

type sharingKey struct{}

// withSharing returns a context whose consumers share, if it is none already.
func withSharing(ctx context.Context) context.Context {
	if sharingOf(ctx) != nil {
		return ctx
	}
	return context.WithValue(ctx, sharingKey{}, &sharing{hubs: make(map[hubKey]*hub), commands: make(chan struct{}, maxCommands), unblocking: newExclusive()})
}

func sharingOf(ctx context.Context) *sharing {
	s, _ := ctx.Value(sharingKey{}).(*sharing)
	return s
}

// mayShare reports whether a stream can be read in one command with others. In a
// cluster that takes a hash tag: streams of different slots are not read together.
func mayShare(client redis.UniversalClient, stream string) bool {
	_, cluster := client.(*redis.ClusterClient)
	return !cluster || hashTag(stream) != stream
}

// join makes a member the feed of a hub that other consumers read with, too.
func (s *sharing) join(client redis.UniversalClient, a asker, m *member) (feed, error) {
	key := hubKey{client: client, asker: a}
	if _, cluster := client.(*redis.ClusterClient); cluster {
		key.tag = hashTag(m.stream)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; ; key.copy++ {
		h := s.hubs[key]
		if h == nil {
			var err error
			if h, err = newHub(s, client, a); err != nil {
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
func (s *sharing) leave(key hubKey, stream string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.hubs[key]; h.strike(stream) == 0 {
		delete(s.hubs, key)
		h.close()
	}
}

// inTurn returns do, for consumers that share in turns with the others.
func (s *sharing) inTurn(do func(context.Context) error) func(context.Context) error {
	if s == nil {
		return do
	}
	return func(ctx context.Context) (err error) {
		watchdog := watchdogOf(ctx)
		watchdog.waits(&s.moved)
		select {
		case s.commands <- struct{}{}:
			s.moved.note()
			watchdog.begin()
			elsewhere(func() { err = do(ctx) })
			<-s.commands
			s.moved.note()
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// elsewhere does something on a goroutine of its own, and waits for it. A command
// takes more of a stack than all else that a consumer's goroutines do, and what a
// stack has once grown to it keeps, a thousand times.
func elsewhere(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	<-done
}
