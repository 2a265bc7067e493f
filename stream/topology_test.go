package stream_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// startClusterNode starts a server that is a cluster by itself.
func startClusterNode(t *testing.T) *streamtest.Redis {
	t.Helper()
	server := streamtest.StartRedis(t, "--cluster-enabled", "yes")
	node := server.Client()
	if err := node.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	streamtest.Await(t, "the cluster is up", func() bool {
		info, err := node.ClusterInfo(t.Context()).Result()
		return err == nil && strings.Contains(info, "cluster_state:ok")
	})
	return server
}

func clusterClient(t *testing.T) redis.UniversalClient {
	t.Helper()
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{startClusterNode(t).Addr}, ReadOnly: true})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func sentinelClient(t *testing.T) redis.UniversalClient {
	t.Helper()
	return streamtest.StartSentinel(t).Client()
}

// Both modes, with dead letters in the topic's slot and in another.
func TestTopologies(t *testing.T) {
	t.Parallel()
	for where, connect := range map[string]func(*testing.T) redis.UniversalClient{"cluster": clusterClient, "sentinel": sentinelClient} {
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
	cluster := streamtest.StartCluster(t)
	client := cluster.Client()
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
		cluster.MoveSlot(orders.Name)
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
