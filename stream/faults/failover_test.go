package faults_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
	"millrace/stream/streamtest/history"
)

// topology is servers that fail over.
type topology interface {
	// client returns a client of the primary that logs in as a user.
	client(user string) redis.UniversalClient
	// primary and replica return the servers that have the topic.
	primary() *streamtest.Redis
	replica() *streamtest.Redis
	// failOver makes the primary give way, and returns it.
	failOver(how streamtest.Failover) (old *streamtest.Redis)
	// agree waits until there are a primary and a replica, and all know it.
	agree()
	servers() []*streamtest.Redis
}

// behindSentinels are two servers that sentinels watch.
type behindSentinels struct {
	*streamtest.Sentinel
	t *testing.T
}

func startSentinel(t *testing.T) topology {
	t.Helper()
	s := &behindSentinels{streamtest.StartSentinel(t), t}
	for _, server := range s.Servers {
		giveUsers(t, server, transfers.Name)
	}
	return s
}

func (s *behindSentinels) client(user string) redis.UniversalClient {
	opts := *s.Options()
	opts.Username, opts.Password = login(user)
	opts.Protocol, opts.DisableIdentity = 2, true
	client := redis.NewFailoverClient(&opts)
	s.t.Cleanup(func() { _ = client.Close() })
	return client
}

func (s *behindSentinels) primary() *streamtest.Redis   { return s.Primary() }
func (s *behindSentinels) replica() *streamtest.Redis   { return s.Replica() }
func (s *behindSentinels) agree()                       { s.AwaitAgreed() }
func (s *behindSentinels) servers() []*streamtest.Redis { return s.Servers }
func (s *behindSentinels) failOver(how streamtest.Failover) *streamtest.Redis {
	return s.Failover(how)
}

// inCluster are the nodes of a cluster.
type inCluster struct {
	*streamtest.Cluster
	t *testing.T
}

func startCluster(t *testing.T) topology {
	t.Helper()
	return &inCluster{streamtest.StartCluster(t, withUsers(t, transfers.Name, inACluster)...), t}
}

// client returns one that finds out about a failover as it does by default, but does
// not wait for five seconds, twice, for the answer of a node that stands still.
func (c *inCluster) client(user string) redis.UniversalClient {
	opts := *c.Options()
	opts.ClusterStateReloadInterval, opts.ReadTimeout = 0, 500*time.Millisecond
	opts.Username, opts.Password = login(user)
	opts.Protocol, opts.DisableIdentity = 2, true
	client := redis.NewClusterClient(&opts)
	c.t.Cleanup(func() { _ = client.Close() })
	return client
}

func (c *inCluster) primary() *streamtest.Redis   { return c.Primary(transfers.Name) }
func (c *inCluster) replica() *streamtest.Redis   { return c.Replica(transfers.Name) }
func (c *inCluster) agree()                       { c.AwaitAgreed() }
func (c *inCluster) servers() []*streamtest.Redis { return c.Nodes }
func (c *inCluster) failOver(how streamtest.Failover) *streamtest.Redis {
	return c.Failover(transfers.Name, how)
}

// login returns how a user logs in; an admin is nobody.
func login(user string) (name, secret string) {
	if user == superuser {
		return "", ""
	}
	return user, password(user)
}

const superuser = "admin"

// vanished are the causes of a loss that is of what was read, the last of all.
var vanished = []stream.LossCause{stream.LossAhead, stream.LossReplaced, stream.LossRecreated}

// resumption is how long after an election each consumer has something from the new
// primary, and has handled it, at the most. If it has read all that the new primary has,
// that is how long after the first entry since: what is published waits for the producer's
// client, which has a failover of its own to get over.
const resumption = 3 * time.Second

// recovery is how long after an election the new primary had something that was not read
// yet, and how long after it all consumers were back.
type recovery struct{ published, back time.Duration }

// waited is for how long consumers have let entries wait.
func (r recovery) waited() time.Duration {
	if r.published > r.back {
		return r.back // they were brought what they had read, and the new primary had forgotten
	}
	return r.back - r.published
}

// unreplicated is how many acks, or read entries, may not have reached the replica when it
// takes over: more than are published in the second that a planned failover can take.
const unreplicated = 200

// changing is servers that change their roles, with consumers and a publisher.
type changing struct {
	*trial
	topology
	dice      *rand.Rand
	admin     redis.UniversalClient
	ledger    *ledger
	source    *source
	stop      func() // ends the source
	instances []*streamtest.Instance
	elections map[string][]recovery // by kind of fault
	// seen is how much each witness had told of when it was looked at last.
	seen map[*witness]struct{ passed, losses int }
}

func newChanging(t *testing.T, m mode, servers topology) *changing {
	t.Helper()
	awaitInStep(t, servers)
	c := &changing{
		trial: newTrial(t, m), topology: servers, dice: dice(t), admin: servers.client(superuser),
		elections: make(map[string][]recovery), seen: make(map[*witness]struct{ passed, losses int }),
	}
	c.ledger = c.newLedger(c.admin)
	c.source, c.stop = c.startSource(c.client("producer"))
	consumers, slow := 1, time.Millisecond
	opts := []stream.Option{
		stream.WithReadCount(standBatch), stream.WithBackoff(stream.Backoff{Min: 5 * time.Millisecond, Max: 20 * time.Millisecond}),
		// A read that waits is not to be what brings a consumer back.
		stream.WithBlock(time.Minute),
	}
	if m == groupMode {
		consumers, slow = standConsumers, 20*time.Millisecond
		// A primary that was frozen takes acks for a moment before it hears that it is none
		// any more. What they were for is claimed, before this suite gives up waiting.
		opts = append(opts, stream.WithConcurrency(standConcurrency), stream.WithClaimIdle(10*time.Second))
	}
	if m == logMode { // with a client of their own
		store, err := offset.NewRedis(c.client(string(m)), "")
		if err != nil {
			t.Fatal(err)
		}
		c.store = store
	}
	c.handle = (&fates{elsewhere: c.client(string(m)), slow: slow}).handle
	for n := range consumers {
		// With a client of its own, as a process has it, whose connections go-redis
		// closes when it hears of a failover: not the instance's.
		client := c.client(string(m))
		instance := streamtest.NewInstance(t, client)
		instance.Start(c.consumer(client, fmt.Sprint("consumer ", n+1), opts...))
		c.instances = append(c.instances, instance)
	}
	return c
}

// Primaries give way to their replicas, and slots move, while consumers are at work:
// delivery goes on within three seconds of the election, everything that the new primary
// has is handled, and of what it lacks each consumer that had handled some of it tells.
//
// Not parallel to other tests, because it measures a time.
func TestFailovers(t *testing.T) {
	for name, start := range map[string]func(*testing.T) topology{"sentinel": startSentinel, "cluster": startCluster} {
		t.Run(name, func(t *testing.T) {
			for _, m := range []mode{logMode, groupMode} {
				t.Run(string(m), func(t *testing.T) {
					t.Parallel()
					newChanging(t, m, start(t)).run()
				})
			}
		})
	}
}

func (c *changing) run() {
	c.t.Helper()
	begun := time.Now()
	faults, entries := pick(len(c.kinds()), 40), pick(1000, 20_000)
	for i, k := range draw(c.dice, c.kinds(), faults) {
		share := entries / faults
		c.source.reach(c.t, share*i+share/2+c.dice.IntN(share/2), share*(i+1))
		c.suffer(k)
	}
	c.source.reach(c.t, entries, entries)
	c.stop()
	rules := history.Rules{}
	if c.mode == logMode {
		rules.Order = history.InOrder
	}
	c.verify(c.admin, rules, c.instances...)
	for _, server := range c.servers() {
		for _, refusal := range refusals(c.t, server.Client()) {
			c.t.Error("refused: ", refusal)
		}
	}
	c.t.Logf("%s; %d claimed, %d losses told; %v", c.ledger.close(), c.claimed, len(c.losses), time.Since(begun).Round(time.Second))
	for _, kind := range slices.Sorted(maps.Keys(c.elections)) {
		of := func(what func(recovery) time.Duration) string {
			var all []time.Duration
			for _, r := range c.elections[kind] {
				all = append(all, what(r).Round(10*time.Millisecond))
			}
			slices.Sort(all)
			return fmt.Sprintf("median %v, at the most %v", all[len(all)/2], all[len(all)-1])
		}
		c.t.Logf("%-40s all back after the election: %s; after the first entry since: %s", kind,
			of(func(r recovery) time.Duration { return r.back }), of(recovery.waited))
	}
}

// kinds are all there are.
func (c *changing) kinds() (list []kind) {
	for _, how := range []streamtest.Failover{streamtest.Planned, streamtest.ByKill, streamtest.ByFreeze} {
		name := how.String() + " failover"
		list = append(list, kind{name: name, do: func() { c.giveWay(name, how) }})
	}
	const behind = "failover to a replica that is behind"
	list = append(list, kind{name: behind, do: func() { c.fallBehind(behind) }})
	for i := range list {
		list[i].often = 1
		list[i].may = effect{Fault: history.Fault{Loses: true, Repeats: unreplicated}}
	}
	if cluster, ok := c.topology.(*inCluster); ok {
		list = append(list, kind{name: "slot moved", often: 1, do: func() { cluster.MoveSlot(transfers.Name) }})
	}
	return list
}

// suffer goes through one fault, waits until everything works again and is settled,
// and looks whether what has vanished was told of.
func (c *changing) suffer(k kind) {
	c.t.Helper()
	c.inject(k.name, k.may.Fault, k.do)
	c.awaitAll(k.name)
	c.source.publishing.Lock()
	defer c.source.publishing.Unlock()
	streamtest.Await(c.t, "everything is settled after "+k.name, c.ledger.isComplete)
	there := make(map[string]bool)
	for _, id := range streamtest.EntryIDs(c.t, c.admin, transfers.Name) {
		there[id] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.witnesses {
		seen := c.seen[w]
		phantom := ""
		for _, id := range w.passed[seen.passed:] {
			if !there[id] && (phantom == "" || compare(id, phantom) > 0) {
				phantom = id
			}
		}
		told := slices.ContainsFunc(w.losses[seen.losses:], func(loss *stream.LossError) bool {
			return slices.Contains(vanished, loss.Cause) && compare(loss.From, phantom) >= 0
		})
		if phantom != "" && !told {
			c.t.Errorf("after %s, %s does not tell that what it had handled has vanished, the last was %s", k.name, w.by, phantom)
		}
		seen.passed, seen.losses = len(w.passed), len(w.losses)
		c.seen[w] = seen
	}
}

// giveWay has the primary give way, in one way, and come back as a replica.
func (c *changing) giveWay(name string, how streamtest.Failover) {
	c.t.Helper()
	said := c.journal.mark()
	back := c.timeElection(c.replica())
	old := c.failOver(how)
	took := <-back
	c.elections[name] = append(c.elections[name], took)
	if took.waited() > resumption {
		c.t.Errorf("%s: it took %v after the election until all consumers were back, and the new primary had something for them after %v; until %v they said\n%s",
			name, took.back, took.published, time.Now().Format(time.RFC3339Nano), c.journal.since(said))
	}
	switch how {
	case streamtest.ByKill:
		old.Start()
	case streamtest.ByFreeze:
		old.Thaw()
	case streamtest.Planned:
	}
	c.agree()
	awaitInStep(c.t, c)
}

// awaitInStep waits until what is written to the primary reaches the replica: one that
// has just joined is sent nothing for up to a second after it has got all there is.
func awaitInStep(t testing.TB, servers topology) {
	t.Helper()
	primary := servers.primary().Client()
	streamtest.Await(t, "the replica is in step", func() bool {
		conn := primary.Conn()
		defer func() { _ = conn.Close() }()
		if err := conn.Set(t.Context(), "{"+transfers.Name+"}:mark", "", 0).Err(); err != nil {
			return false
		}
		n, err := conn.Wait(t.Context(), 1, 200*time.Millisecond).Result()
		return err == nil && n > 0
	})
}

// fallBehind keeps from the replica what is written and handled from then on, and has
// the primary die with that.
func (c *changing) fallBehind(name string) {
	c.t.Helper()
	primary, replica := c.primary(), c.replica()
	replica.Freeze()
	if err := primary.Client().ClientKillByFilter(c.t.Context(), "TYPE", "replica").Err(); err != nil {
		c.t.Fatal(err)
	}
	c.awaitAll(name)
	primary.Kill()
	replica.Thaw()
	c.giveWay(name, streamtest.ByKill)
}

// timeElection tells how long after the replica has become a primary it has had an entry
// to be read, and each consumer has been brought something, and has handled something.
func (c *changing) timeElection(replica *streamtest.Redis) <-chan recovery {
	c.t.Helper()
	ctx, client, recovered := c.t.Context(), replica.Client(), make(chan recovery, 1)
	until := func(done func() bool) {
		for ctx.Err() == nil && !done() {
			_ = last(ctx, time.Millisecond)
		}
	}
	lastAdded := func() string { return client.XInfoStream(ctx, transfers.Name).Val().LastGeneratedID }
	go func() {
		until(func() bool {
			role, err := client.Do(ctx, "ROLE").Slice()
			return err == nil && role[0] == "master"
		})
		elected, before := time.Now(), lastAdded()
		var r recovery
		var all sync.WaitGroup
		if c.hasRead(before) {
			all.Go(func() {
				until(func() bool { return lastAdded() != before })
				r.published = time.Since(elected)
			})
		}
		back := make([]time.Duration, len(c.witnesses))
		for i, w := range c.witnesses {
			reads, ends := w.reads.Load(), w.ends.Load()
			all.Go(func() {
				until(func() bool { return w.reads.Load() > reads && w.ends.Load() > ends })
				back[i] = time.Since(elected)
			})
		}
		all.Wait()
		r.back = slices.Max(back)
		recovered <- r
	}()
	return recovered
}
