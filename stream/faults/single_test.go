package faults_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
	"millrace/stream/streamtest/history"
)

const (
	standBatch       = 50
	standConsumers   = 3 // in group mode
	standConcurrency = 4 // in group mode
	// standClaimIdle outlasts every fault but those that are to outlast it: what is
	// pending is renewed once it was not for a third of that time, for which a consumer
	// looks every quarter of it. So it is idle for 7/12 at the most when a fault begins,
	// and the rest, 1.25 seconds, is what a fault may take and have nothing claimed.
	standClaimIdle = 3 * time.Second
	// standWindow is the default in group mode.
	standWindow = 2*standBatch + standConcurrency
)

// stand is a server with consumers and a publisher, each behind a proxy of its own.
type stand struct {
	*trial
	dice      *rand.Rand
	server    *streamtest.Redis
	admin     *redis.Client
	ledger    *ledger
	source    *source
	stop      func() // ends the source
	consumers []*streamtest.Proxy
	publisher *streamtest.Proxy
	instances []*streamtest.Instance
}

func newStand(t *testing.T, m mode) *stand {
	t.Helper()
	s := &stand{trial: newTrial(t, m), dice: dice(t)}
	s.server = streamtest.StartRedis(t, append(withUsers(t, transfers.Name),
		"--enable-debug-command", "local", "--enable-protected-configs", "local",
		// A kill takes away nothing that was written, be it on the disk or not. To wait
		// for a disk that is busy with other things would be a fault that is in no list.
		"--appendfsync", "no")...)
	s.admin = s.server.Client()
	s.ledger = s.newLedger(s.admin)
	s.publisher = streamtest.StartProxy(t, s.server.Addr)
	s.source, s.stop = s.startSource(as(t, "producer", s.behind(s.publisher)))

	consumers, slow := 1, 4*time.Millisecond
	opts := []stream.Option{
		stream.WithReadCount(standBatch), stream.WithBlock(100 * time.Millisecond),
		stream.WithBackoff(stream.Backoff{Min: 5 * time.Millisecond, Max: 20 * time.Millisecond}),
	}
	if m == groupMode {
		consumers, slow = standConsumers, 50*time.Millisecond
		opts = append(opts, stream.WithConcurrency(standConcurrency), stream.WithClaimIdle(standClaimIdle))
	}
	s.handle = (&fates{elsewhere: s.writer(t), slow: slow}).handle
	for n := range consumers {
		proxy := streamtest.StartProxy(t, s.server.Addr)
		instance := streamtest.NewInstance(t, as(t, string(m), s.behind(proxy)))
		instance.Start(s.consumer(instance.Client, fmt.Sprint("consumer ", n+1), opts...))
		s.consumers, s.instances = append(s.consumers, proxy), append(s.instances, instance)
	}
	return s
}

// behind returns options with short timeouts: otherwise a test of lost replies
// waits most of the time.
func (s *stand) behind(proxy *streamtest.Proxy) redis.Options {
	return redis.Options{Addr: proxy.Addr, DialTimeout: 500 * time.Millisecond, ReadTimeout: 400 * time.Millisecond}
}

// writer returns a client for dead letters that are written in two steps.
func (s *stand) writer(t *testing.T) redis.UniversalClient {
	t.Helper()
	return as(t, string(s.mode), redis.Options{Addr: s.server.Addr})
}

// A single server, and the network before it, go through every kind of fault while
// consumers are at work: each entry is handled, in log mode in order, none is
// handled again, except where in group mode a fault outlasts the claim idle time,
// and what an emptied server has lost is told.
func TestSingleServer(t *testing.T) {
	t.Parallel()
	for _, m := range []mode{logMode, groupMode} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			begun := time.Now()
			s := newStand(t, m)
			faults, entries := pick(26, 310), pick(5_000, 102_000) // some go with an emptied server
			for i, k := range draw(s.dice, s.kinds(), faults) {
				share := entries / faults
				// The fault is to come while they are published at full speed.
				s.source.reach(t, share*i+s.dice.IntN(share/2), share*(i+1))
				s.suffer(k)
			}
			s.source.reach(t, entries, entries)
			s.stop()

			order := history.NoOrder
			if m == logMode {
				order = history.InOrder
			}
			found := s.verify(s.admin, history.Rules{Order: order}, s.instances...)
			for _, silent := range found.Of(history.Silent) {
				t.Error("a fault explains it, and still it must be told: ", silent)
			}
			if n := len(found.Of(history.Repeated)); n > s.claimed {
				t.Errorf("%d entries were handled again, and %d were claimed", n, s.claimed)
			}
			s.lookForRefusals()
			t.Logf("%s; %d claimed, %d losses told; %v", s.ledger.close(), s.claimed, len(s.losses), time.Since(begun).Round(time.Second))
		})
	}
}

// suffer goes through one fault, and waits until everything works again, and then
// until everything is settled. With nothing claimed in between, this says that the
// consumers themselves have taken up what a reply should have brought that was lost.
func (s *stand) suffer(k kind) {
	s.t.Helper()
	told, claimed := s.lossesTold(), s.claims()
	s.inject(k.name, k.may.Fault, k.do)
	s.awaitAll(k.name)
	if k.may.Loses {
		streamtest.Await(s.t, "the loss is told", func() bool { return s.lossesTold() > told })
	}
	s.source.publishing.Lock()
	defer s.source.publishing.Unlock()
	streamtest.Await(s.t, "everything is settled after "+k.name, s.ledger.isComplete)
	if n := s.claims() - claimed; n > 0 && !k.may.idles {
		s.t.Errorf("%d entries were claimed after %s", n, k.name)
	}
}

// lookForRefusals fails the test if the server that runs now has refused something.
func (s *stand) lookForRefusals() {
	s.t.Helper()
	for _, refusal := range refusals(s.t, s.admin) {
		s.t.Error("refused: ", refusal)
	}
}
