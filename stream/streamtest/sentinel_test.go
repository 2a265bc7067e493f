package streamtest_test

import (
	"testing"
	"time"

	"millrace/stream/streamtest"
)

// A plain client goes on after each kind of failover.
func TestSentinelFailsOver(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	lap := func(what string) {
		t.Logf("%s: %v", what, time.Since(begun).Round(time.Millisecond))
		begun = time.Now()
	}
	sentinel := streamtest.StartSentinel(t)
	lap("start")
	client := sentinel.Client()
	for _, how := range []streamtest.Failover{streamtest.Planned, streamtest.ByKill, streamtest.ByFreeze} {
		reader := readInBackground(t, client)
		reader.awaitMore()
		primary, replica := sentinel.Primary(), sentinel.Replica()
		begun = time.Now()
		old := sentinel.Failover(how)
		lap(how.String() + " failover")
		if old != primary || sentinel.Primary() != replica || sentinel.Replica() != primary {
			t.Errorf("after a %v failover primary and replica have not changed places", how)
		}
		reader.awaitMore()
		lap("read on")
		switch how {
		case streamtest.ByKill:
			old.Start()
		case streamtest.ByFreeze:
			old.Thaw()
		}
		sentinel.AwaitAgreed()
		lap("agreed")
		reader.awaitMore()
	}
}
