package streamtest_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/streamtest"
)

// A plain client goes on after each kind of failover, and while a slot moves.
func TestClusterFailsOverAndMovesSlots(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	lap := func(what string) {
		t.Logf("%s: %v", what, time.Since(begun).Round(time.Millisecond))
		begun = time.Now()
	}
	cluster := streamtest.StartCluster(t)
	lap("start")
	opts := cluster.Options()
	opts.ReadTimeout = 500 * time.Millisecond // the time that a freeze costs each attempt
	client := redis.NewClusterClient(opts)
	t.Cleanup(func() { _ = client.Close() })
	reader := readInBackground(t, client)
	reader.awaitMore()

	for range 3 {
		from := cluster.Primary("loop")
		begun = time.Now()
		to := cluster.MoveSlot("loop")
		lap("move")
		if to == from || cluster.Primary("loop") != to {
			t.Error("the slot has not moved")
		}
		reader.awaitMore()
		lap("read on")
	}

	for _, how := range []streamtest.Failover{streamtest.Planned, streamtest.ByKill, streamtest.ByFreeze} {
		primary, replica := cluster.Primary("loop"), cluster.Replica("loop")
		begun = time.Now()
		old := cluster.Failover("loop", how)
		lap(how.String() + " failover")
		if old != primary || cluster.Primary("loop") != replica {
			t.Errorf("after a %v failover the replica is not the primary", how)
		}
		reader.awaitMore()
		lap("read on")
		switch how {
		case streamtest.ByKill:
			old.Start()
		case streamtest.ByFreeze:
			old.Thaw()
		}
		cluster.AwaitAgreed()
		lap("agreed")
		if cluster.Replica("loop") != old {
			t.Errorf("after a %v failover the old primary is not the replica", how)
		}
	}
	instance := streamtest.NewInstance(t, client)
	if n, err := instance.Client.XLen(t.Context(), "loop").Result(); n == 0 || err != nil {
		t.Errorf("an instance sees %d entries, %v", n, err)
	}
	instance.Crash()
	if err := instance.Client.XLen(t.Context(), "loop").Err(); err == nil {
		t.Errorf("an instance that has crashed reaches the cluster")
	}
}
