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

// Cluster is a Redis Cluster of three primaries with one replica each, for one test. Its
// methods fail the test if an operation fails, and are for the test's own goroutine.
type Cluster struct {
	// Nodes are all six nodes. Failovers change their roles, and [Cluster.MoveSlot] changes
	// their slots.
	Nodes []*Redis

	t testing.TB
	// elected has the time at which a failover made a node a primary.
	elected map[*Redis]time.Time
}

// electionMemory is the time for which a node remembers an election that it has won: four times
// the node timeout. In a new election within this time the node counts the old votes (Redis
// 7.0). It becomes a primary without being elected, and has to give way again, while clients of
// the old primary have to wait for five seconds.
const electionMemory = 4 * time.Second

// StartCluster starts a cluster for the test, and waits until all nodes agree about it. The
// given arguments are added to the command line of each node. Without a redis-server on the
// PATH, StartCluster skips or fails the test as [StartRedis] does.
//
// A node takes another node for dead after one second of silence; the default of Redis is 15
// seconds.
func StartCluster(t testing.TB, args ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t, elected: make(map[*Redis]time.Time)}
	args = append([]string{
		"--cluster-enabled", "yes", "--cluster-node-timeout", "1000",
		// A replica takes over however old its data is: in a test, a primary has no other
		// replica.
		"--cluster-replica-validity-factor", "0",
		// A replica counts when it has received a first byte. Before the first write, that byte
		// is a ping.
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
		for _, other := range c.Nodes[:i] { // each with each: gossip alone takes seconds
			host, port, _ := net.SplitHostPort(other.Addr)
			c.do(node, "CLUSTER", "MEET", host, port)
		}
	}
	for i := range 3 {
		primary := c.id(c.Nodes[i])
		awaitNil(t, "a replica joins its primary", func() error { // the replica has to know it
			_, err := c.Nodes[i+3].ask("CLUSTER", "REPLICATE", primary)
			return err
		})
	}
	c.AwaitAgreed()
	return c
}

// Client returns a client of the cluster. The client is closed when the test is over.
func (c *Cluster) Client() *redis.ClusterClient {
	client := redis.NewClusterClient(c.Options())
	c.t.Cleanup(func() { _ = client.Close() })
	return client
}

// Options returns the options of [Cluster.Client], for a client that differs in some of them.
// With these options a client loads the state of the cluster once a second. By default go-redis
// v9.23 loads the state once a minute. Until then the client goes on dialling a dead primary,
// although another node has long taken over (https://github.com/redis/go-redis/issues/3979).
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

// Failover makes the primary that serves a key give way to its replica, in the given way, and
// waits until the running nodes agree about the new primary. It returns the old primary, for a
// [Redis.Start] or [Redis.Thaw]. Before the next failover, call [Cluster.AwaitAgreed]: the new
// primary needs a replica again. If an earlier failover made the replica a primary, Failover
// first waits until four seconds have passed since then.
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
			again = time.Now().Add(6 * time.Second) // a node gives up silently after five
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

// MoveSlot moves the slot of a key, with all keys in it, to the next primary, and waits until
// the nodes agree. Clients can go on in the meantime. MoveSlot returns the new primary of the
// key.
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
	// The new owner comes first: in the other order, the slot would have no owner for a moment.
	c.do(to, "CLUSTER", "SETSLOT", slot, "NODE", toID)
	for _, node := range primaries {
		c.do(node, "CLUSTER", "SETSLOT", slot, "NODE", toID)
	}
	c.AwaitAgreed()
	return to
}

// AwaitAgreed waits until all running nodes see the same primary and the same replicas for
// every slot, and every replica is in step with its primary. All these nodes have to run, and
// each running node has to be one of them. A frozen node does not count as running.
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

// checkNode returns an error if the ranges do not cover all slots, if the node is not in the
// role that the ranges give it, or if a replica is not in step with its primary.
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

// serving returns the nodes that have a key, the primary first, in the view of a running node.
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

// primaries returns the primaries that have slots, in the order of their addresses.
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
