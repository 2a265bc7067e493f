package stream_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// startCluster starts a cluster of one node.
func startCluster(t *testing.T) *redis.ClusterClient {
	t.Helper()
	server := streamtest.StartRedis(t, "--cluster-enabled", "yes")
	node := server.Client()
	if err := node.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the cluster is up", func() bool {
		info, err := node.ClusterInfo(t.Context()).Result()
		return err == nil && strings.Contains(info, "cluster_state:ok")
	})
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr}, ReadOnly: true})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// startSentinel starts a server and a sentinel that watches it.
func startSentinel(t *testing.T) *redis.Client {
	t.Helper()
	server := streamtest.StartRedis(t)
	host, port, _ := net.SplitHostPort(server.Addr)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	_ = listener.Close()
	_, sentinelPort, _ := net.SplitHostPort(addr)
	config := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("port %s\nbind 127.0.0.1\nsentinel monitor it %s %s 1\n", sentinelPort, host, port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("redis-server", config, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "it", SentinelAddrs: []string{addr}})
	t.Cleanup(func() { _ = client.Close() })
	eventually(t, "the sentinel knows its server", func() bool { return client.Ping(t.Context()).Err() == nil })
	return client
}

// Both modes, with dead letters in the topic's slot and in another.
func TestTopologies(t *testing.T) {
	t.Parallel()
	for where, connect := range map[string]func(*testing.T) redis.UniversalClient{
		"cluster":  func(t *testing.T) redis.UniversalClient { t.Helper(); return startCluster(t) },
		"sentinel": func(t *testing.T) redis.UniversalClient { t.Helper(); return startSentinel(t) },
	} {
		for _, mode := range []string{"log", "group"} {
			t.Run(where+"/"+mode, func(t *testing.T) {
				t.Parallel()
				client := connect(t)
				for _, id := range []string{"a", "dead", "far", "b"} {
					add(t, client, id)
				}
				rec := newRecorder()
				rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
					switch msg.Value.ID {
					case "dead":
						return &stream.DeadLetterError{Attempts: 1, Err: io.ErrUnexpectedEOF}
					case "far": // in another slot than the topic
						return &stream.DeadLetterError{Stream: "elsewhere", Attempts: 1, Err: io.ErrUnexpectedEOF}
					}
					return nil
				}
				var consumer *stream.Consumer[order]
				if mode == "group" {
					consumer = newGroup(t, client, rec.Handle)
				} else {
					store, err := offset.NewRedis(client, "")
					if err != nil {
						t.Fatal(err)
					}
					consumer = newConsumer(t, client, store, rec.Handle)
				}
				stop := start(t, consumer)
				if seen := rec.await(t, 4); !slices.Equal(seen, []string{"a", "dead", "far", "b"}) {
					t.Errorf("delivered %v", seen)
				}
				if mode == "group" {
					settled(t, client)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
				for _, key := range []string{"{orders}:dead", "elsewhere"} {
					if n, err := client.XLen(t.Context(), key).Result(); n != 1 || err != nil {
						t.Errorf("%s has %d entries, %v, want 1", key, n, err)
					}
				}
				if mode == "group" {
					if names := consumers(t, client); len(names) != 0 {
						t.Errorf("after the stop there are consumers %q", names)
					}
				}
			})
		}
	}
}

// The slot of the stream moves from node to node while a group consumes it: a
// blocked reader is told the same as when the stream is deleted. Nothing is lost,
// nothing is handled twice, and the group is not made again.
func TestGroupSlotMoves(t *testing.T) {
	t.Parallel()
	servers := []*streamtest.Redis{
		streamtest.StartRedis(t, "--cluster-enabled", "yes"),
		streamtest.StartRedis(t, "--cluster-enabled", "yes"),
	}
	nodes := []*redis.Client{servers[0].Client(), servers[1].Client()}
	do := func(node *redis.Client, args ...any) {
		t.Helper()
		if err := node.Do(t.Context(), args...).Err(); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
	}
	do(nodes[0], "CLUSTER", "ADDSLOTSRANGE", 0, 8000) // that of the stream is 105
	do(nodes[1], "CLUSTER", "ADDSLOTSRANGE", 8001, 16383)
	host, port, _ := net.SplitHostPort(servers[1].Addr)
	do(nodes[0], "CLUSTER", "MEET", host, port)
	for _, node := range nodes {
		eventually(t, "the nodes know each other", func() bool {
			info := node.ClusterInfo(t.Context()).Val()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:2")
		})
	}
	slot := nodes[0].ClusterKeySlot(t.Context(), "orders").Val()
	name := func(node *redis.Client) string { return node.Do(t.Context(), "CLUSTER", "MYID").Val().(string) }
	move := func(from, to int) {
		host, port, _ := net.SplitHostPort(servers[to].Addr)
		do(nodes[to], "CLUSTER", "SETSLOT", slot, "IMPORTING", name(nodes[from]))
		do(nodes[from], "CLUSTER", "SETSLOT", slot, "MIGRATING", name(nodes[to]))
		do(nodes[from], "MIGRATE", host, port, "orders", 0, 5000)
		for _, node := range []int{to, from} {
			do(nodes[node], "CLUSTER", "SETSLOT", slot, "NODE", name(nodes[to]))
		}
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{servers[0].Addr, servers[1].Addr}})
	defer func() { _ = client.Close() }()
	var out logs
	rec := newRecorder()
	start(t, newGroup(t, client, rec.Handle, stream.WithBlock(time.Minute), stream.WithClaimIdle(time.Hour), stream.WithLogger(out.Logger())))
	var want []string
	for round := range 4 {
		for i := range 50 {
			want = append(want, fmt.Sprint(round, "-", i))
			add(t, client, want[len(want)-1])
		}
		rec.await(t, len(want)-10)
		move(round%2, 1-round%2)
	}
	add(t, client, "last")
	seen := rec.await(t, len(want)+1)
	settled(t, client)
	slices.Sort(seen)
	if distinct := slices.Compact(slices.Clone(seen)); len(seen) != len(want)+1 || len(distinct) != len(seen) {
		t.Errorf("%d deliveries of %d entries, want each of %d once", len(seen), len(distinct), len(want)+1)
	}
	if len(out.lines("has been made again")) > 0 {
		t.Errorf("the group was made again:\n%s", out.String())
	}
}
