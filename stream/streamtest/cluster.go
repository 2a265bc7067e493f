package streamtest

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Cluster is three primaries and a replica of each, which belong to one test.
// Its methods fail the test when something goes wrong, and are for the test's
// own goroutine.
type Cluster struct {
	// Nodes are all six. Who is a primary, and of what, changes.
	Nodes []*Redis

	t testing.TB
	// elected is when a node was made a primary by a failover.
	elected map[*Redis]time.Time
}

// electionMemory is for how long a node remembers an election that it has won, four
// times the node timeout. Until then it takes the votes of that for those of a new one
// (Redis 7.0), becomes a primary that nobody has elected, and has to give way again,
// while clients of the old primary are kept waiting for five seconds.
const electionMemory = 4 * time.Second

// StartCluster starts a cluster for the test, and waits until all nodes agree
// about it. The given arguments are added to the command line of each node.
// Where there is no redis-server, it does as [StartRedis].
//
// The nodes take each other for dead after a second of silence, where it is 15
// by default.
func StartCluster(t testing.TB, args ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t, elected: make(map[*Redis]time.Time)}
	args = append([]string{
		"--cluster-enabled", "yes", "--cluster-node-timeout", "1000",
		// However old its data, a replica takes over: in a test it is the only one.
		"--cluster-replica-validity-factor", "0",
		// A replica counts when it has had a first byte, and before anything is
		// written that is a ping.
		"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1",
	}, args...)
	for i := range 6 {
		node := StartRedis(t, args...)
		c.Nodes = append(c.Nodes, node)
		c.do(node, "CLUSTER", "SET-CONFIG-EPOCH", i+1)
	}
	for i := range 3 {
		c.do(c.Nodes[i], "CLUSTER", "ADDSLOTSRANGE", i*slots/3, (i+1)*slots/3-1)
	}
	for i, node := range c.Nodes {
		for _, other := range c.Nodes[:i] { // each with each: waiting for gossip takes seconds
			host, port, _ := net.SplitHostPort(other.Addr)
			c.do(node, "CLUSTER", "MEET", host, port)
		}
	}
	for i := range 3 {
		primary := c.id(c.Nodes[i])
		awaitNil(t, "a replica joins its primary", func() error { // of which it has to have heard
			_, err := c.Nodes[i+3].ask("CLUSTER", "REPLICATE", primary)
			return err
		})
	}
	c.AwaitAgreed()
	return c
}

// Client returns a client of the cluster that is closed when the test is over.
func (c *Cluster) Client() *redis.ClusterClient {
	client := redis.NewClusterClient(c.Options())
	c.t.Cleanup(func() { _ = client.Close() })
	return client
}

// Options returns what [redis.NewClusterClient] needs, for clients that are to
// differ from [Cluster.Client]. They have the client look at the cluster again
// once a second. By default go-redis v9.23 does so once a minute, and in between
// goes on dialling a primary that is dead, though another has long taken over
// (https://github.com/redis/go-redis/issues/3979).
func (c *Cluster) Options() *redis.ClusterOptions {
	opts := &redis.ClusterOptions{ClusterStateReloadInterval: time.Second}
	for _, node := range c.Nodes {
		opts.Addrs = append(opts.Addrs, node.Addr)
	}
	return opts
}

// Primary returns the primary that serves a key.
func (c *Cluster) Primary(key string) *Redis {
	c.t.Helper()
	return c.serving(key)[0]
}

// Replica returns the replica of the primary that serves a key.
func (c *Cluster) Replica(key string) *Redis {
	c.t.Helper()
	nodes := c.serving(key)
	if len(nodes) < 2 {
		c.t.Fatalf("the primary of %q has no replica now", key)
	}
	return nodes[1]
}

// Failover makes the primary that serves a key give way to its replica, in the
// given way, and waits until the nodes that run agree about that. It returns the
// old primary, for a Start or Thaw. Before the next failover, call
// [Cluster.AwaitAgreed]: there has to be a replica again. It waits until four seconds
// have passed since the replica was a primary's successor for the last time.
func (c *Cluster) Failover(key string, how Failover) (old *Redis) {
	c.t.Helper()
	old, replica := c.Primary(key), c.Replica(key)
	awaitNil(c.t, "the replica forgets its last election", func() error {
		if time.Since(c.elected[replica]) < electionMemory {
			return errors.New("not yet")
		}
		return nil
	})
	how.strike(old)
	var again time.Time
	awaitNil(c.t, how.String()+" failover", func() error {
		role, _, _, err := replica.role()
		if err == nil && role != "master" {
			err = errors.New("the replica is still a replica")
		}
		if err != nil && how == Planned && time.Now().After(again) {
			again = time.Now().Add(6 * time.Second) // it is given up after five, without a word
			if _, err := replica.ask("CLUSTER", "FAILOVER"); err != nil {
				return err
			}
		}
		return err
	})
	c.elected[replica] = time.Now()
	c.AwaitAgreed()
	return old
}

// MoveSlot moves the slot of a key, with all that is in it, to the next of the
// primaries, while clients go on, and waits until the nodes agree. It returns the
// key's new primary.
func (c *Cluster) MoveSlot(key string) *Redis {
	c.t.Helper()
	from := c.Primary(key)
	primaries := c.primaries()
	to := primaries[(slices.Index(primaries, from)+1)%len(primaries)]
	slot, fromID, toID := c.slot(key), c.id(from), c.id(to)
	host, port, _ := net.SplitHostPort(to.Addr)
	c.do(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID)
	c.do(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID)
	for {
		keys := c.do(from, "CLUSTER", "GETKEYSINSLOT", slot, 100).([]any)
		if len(keys) == 0 {
			break
		}
		c.do(from, append([]any{"MIGRATE", host, port, "", 0, 5000, "KEYS"}, keys...)...)
	}
	// The new owner first: the other way round, for a moment nobody has the slot.
	c.do(to, "CLUSTER", "SETSLOT", slot, "NODE", toID)
	for _, node := range primaries {
		c.do(node, "CLUSTER", "SETSLOT", slot, "NODE", toID)
	}
	c.AwaitAgreed()
	return to
}

// AwaitAgreed waits until all nodes that run see the same primary and replicas
// of every slot, each of which runs, and each node that runs among them; and until
// every replica is in step with its primary.
func (c *Cluster) AwaitAgreed() {
	c.t.Helper()
	awaitNil(c.t, "the nodes agree", func() error {
		view := ""
		for _, node := range c.Nodes {
			if !node.answers() {
				continue
			}
			ranges, err := slotRanges(node)
			if err != nil {
				return err
			}
			if seen := describe(ranges); view == "" {
				view = seen
			} else if seen != view {
				return fmt.Errorf("one node sees %s, %s sees %s", view, node.Addr, seen)
			}
			info, err := node.ask("CLUSTER", "INFO")
			if err != nil {
				return err
			}
			if !strings.Contains(info.(string), "cluster_state:ok") {
				return fmt.Errorf("for %s the cluster is not complete", node.Addr)
			}
			if err := c.checkNode(node, ranges); err != nil {
				return err
			}
		}
		for _, node := range c.Nodes {
			if node.answers() != strings.Contains(view, node.Addr) {
				return fmt.Errorf("that %s runs is %t, and all see %s", node.Addr, node.answers(), view)
			}
		}
		return nil
	})
}

// checkNode says what is wrong with a node of which the others believe what is
// in ranges.
func (c *Cluster) checkNode(node *Redis, ranges []slotRange) error {
	role, master, link, err := node.role()
	if err != nil {
		return err
	}
	covered := 0
	for _, r := range ranges {
		covered += r.end - r.start + 1
		for i, member := range r.nodes {
			if member != node.Addr {
				continue
			}
			if primary := i == 0; primary != (role == "master") {
				return fmt.Errorf("%s is a %s", node.Addr, role)
			}
			if i > 0 && (master != r.nodes[0] || link != "connected") {
				return fmt.Errorf("%s follows %s, %s", node.Addr, master, link)
			}
		}
	}
	if covered != slots {
		return fmt.Errorf("%s knows who has %d slots", node.Addr, covered)
	}
	return nil
}

// serving returns the nodes that have a key, the primary first, as a node sees
// it that runs.
func (c *Cluster) serving(key string) []*Redis {
	c.t.Helper()
	slot := c.slot(key)
	for _, r := range c.view() {
		if r.start > slot || r.end < slot {
			continue
		}
		var nodes []*Redis
		for _, member := range r.nodes {
			nodes = append(nodes, c.at(member))
		}
		return nodes
	}
	c.t.Fatalf("nobody has slot %d", slot)
	return nil
}

// primaries returns the nodes that have slots.
func (c *Cluster) primaries() []*Redis {
	c.t.Helper()
	var primaries []*Redis
	for _, r := range c.view() {
		if node := c.at(r.nodes[0]); !slices.Contains(primaries, node) {
			primaries = append(primaries, node)
		}
	}
	slices.SortFunc(primaries, func(a, b *Redis) int { return strings.Compare(a.Addr, b.Addr) })
	return primaries
}

func (c *Cluster) view() []slotRange {
	c.t.Helper()
	ranges, err := slotRanges(c.anyNode())
	if err != nil {
		c.t.Fatal(err)
	}
	return ranges
}

func (c *Cluster) slot(key string) int {
	c.t.Helper()
	return int(c.do(c.anyNode(), "CLUSTER", "KEYSLOT", key).(int64))
}

func (c *Cluster) id(node *Redis) string {
	c.t.Helper()
	return c.do(node, "CLUSTER", "MYID").(string)
}

// anyNode returns a node that answers.
func (c *Cluster) anyNode() *Redis {
	c.t.Helper()
	for _, node := range c.Nodes {
		if node.answers() {
			return node
		}
	}
	c.t.Fatal("no node of the cluster runs")
	return nil
}

func (c *Cluster) at(addr string) *Redis {
	c.t.Helper()
	for _, node := range c.Nodes {
		if node.Addr == addr {
			return node
		}
	}
	c.t.Fatalf("the cluster has a node at %q that is none of the test's", addr)
	return nil
}

func (c *Cluster) do(node *Redis, args ...any) any {
	c.t.Helper()
	reply, err := node.ask(args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return reply
}
