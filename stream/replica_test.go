package stream_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// replicaRoutes are the options with which a client of a cluster asks replicas.
var replicaRoutes = map[string]func(*redis.ClusterOptions){
	"ReadOnly":       func(o *redis.ClusterOptions) { o.ReadOnly = true },
	"RouteByLatency": func(o *redis.ClusterOptions) { o.RouteByLatency = true },
	"RouteRandomly":  func(o *redis.ClusterOptions) { o.RouteRandomly = true },
}

// cutOffReplicas stops replication in a cluster: the replicas answer, and learn nothing
// more.
func cutOffReplicas(t *testing.T, cluster *streamtest.Cluster, keys ...string) {
	t.Helper()
	for _, key := range keys {
		replica := cluster.Replica(key).Client()
		// The primary has no password, and refuses one.
		command(t, replica, "CONFIG", "SET", "masterauth", "wrong")
		command(t, cluster.Primary(key).Client(), "CLIENT", "KILL", "TYPE", "replica")
		eventually(t, "the replica is cut off", func() bool {
			reply, err := replica.Do(t.Context(), "ROLE").Slice()
			return err == nil && len(reply) > 3 && reply[3] != "connected"
		})
	}
}

// No command of a consumer or a store goes to a replica, also if the client sends its own
// there: one that is behind would show entries as lost, and have an older offset.
func TestReplicasAreNotAsked(t *testing.T) {
	t.Parallel()
	for name, route := range replicaRoutes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := streamtest.StartCluster(t)
			opts := cluster.Options()
			route(opts)
			client, plain := redis.NewClusterClient(opts), cluster.Client()
			t.Cleanup(func() { _ = client.Close() })
			store, err := offset.NewRedis(client, "")
			if err != nil {
				t.Fatal(err)
			}
			var handled Counts
			var out logs
			logged := stream.WithLogger(out.Logger())
			inLog := func(handle stream.Handler[order], opts ...stream.Option) *stream.Consumer[order] {
				// Alone, and asked often whether all is as it should be.
				return newConsumer(t, client, store, handle, append(opts, logged,
					stream.WithBlock(20*time.Millisecond), stream.WithInspection(50*time.Millisecond))...)
			}
			inGroup, err := stream.NewGroupConsumer(client, orders, "g", func(context.Context, *stream.Message[order]) error { return nil },
				logged, stream.WithBlock(20*time.Millisecond), stream.WithInspection(50*time.Millisecond), stream.WithClaimIdle(200*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			consumer := inLog(handled.Handle)
			stop, stopGroup := start(t, consumer), start(t, inGroup)
			add(t, plain, "before")
			eventually(t, "it is handled", func() bool { return handled.distinct() == 1 })
			cutOffReplicas(t, cluster, orders.Name, offset.DefaultKey)

			for i := range 5 {
				add(t, plain, fmt.Sprint(i))
			}
			eventually(t, "all are handled", func() bool { return handled.distinct() == 6 && inGroup.Stats().Handled == 6 })
			pass(500 * time.Millisecond) // it looks around
			if err := stop(); err != nil {
				t.Error(err)
			}
			if err := stopGroup(); err != nil {
				t.Error(err)
			}
			last := add(t, plain, "after a restart")
			for range 10 { // where a replica is asked at random
				if lag, err := consumer.Lag(t.Context()); err != nil || lag.Time == 0 {
					t.Fatalf("log mode: the lag is %+v, %v", lag, err)
				}
				if lag, err := inGroup.Lag(t.Context()); err != nil || lag.Time == 0 {
					t.Fatalf("group mode: the lag is %+v, %v", lag, err)
				}
			}
			var again Counts
			stop = start(t, inLog(again.Handle))
			eventually(t, "it is handled", func() bool { return again.distinct() >= 1 })
			pass(200 * time.Millisecond)
			if err := stop(); err != nil {
				t.Error(err)
			}
			if n := again.distinct(); n != 1 {
				t.Errorf("%d entries were handled after a restart, want 1", n)
			}
			for range 10 { // where a replica is asked at random
				if id, found, err := store.Load(t.Context(), orders.Name); err != nil || !found || id != last {
					t.Fatalf("the store has %q, %t, %v; want %q", id, found, err, last)
				}
			}
			if lost := out.lines("lost"); len(lost) > 0 {
				t.Errorf("told as lost: %v", lost)
			}
			if stats := consumer.Stats(); stats.Lost != 0 {
				t.Errorf("%d entries count as lost", stats.Lost)
			}
			// The commands of middleware go to primaries, too.
			dedup := middleware.Dedup(client, "l", func(e *stream.Entry) string { return e.ID }, middleware.DedupConfig{Prefix: orders.Name + "{orders}"})
			process := dedup(func(context.Context, *stream.Entry) error { return nil })
			if err := process(t.Context(), &stream.Entry{Stream: orders.Name, ID: "1-0"}); err != nil {
				t.Error(err)
			}
			if err := process(t.Context(), &stream.Entry{Stream: orders.Name, ID: "1-0"}); err == nil {
				t.Error("an event was handled twice")
			}
		})
	}
}
