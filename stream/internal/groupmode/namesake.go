package groupmode

import (
	"context"
	"fmt"
	"time"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/script"
)

// namesake finds out whether another live consumer of the group has the same name,
// which WithConsumerName makes possible. Redis does not tell: both read, and each takes
// the entries that are pending on the name for its own.
//
// A consumer that has begun leaves a probe in the group, a consumer without entries
// that no process runs, and a live consumer of the name removes any probe that it
// finds. So a probe that has gone, and one that has come, are each a sign of another
// consumer. A process that was killed gives none, and a stopped one removes its probe.
// While the signs go on, the one that probes goes on probing; a probe that stays is
// taken back, so that a consumer that is alone has none, but for a short one now and
// then.
//
// It is used by one goroutine at a time: that which takes over, and then the stop.
type namesake struct {
	probe  string // the name of the probe; empty if the consumer has a name of our making
	left   string // probePresent, probeAbsent, or empty: not known
	failed int64  // how many reads had failed when the probe was left
	stayed int    // at how many looks the probe was still there
	looked time.Time
	probed time.Time // when a probe was left last
	sign   time.Time // the last sign of another consumer
}

const (
	probePresent = "present"
	probeAbsent  = "absent"
)

const (
	// probesPerIdle is how often, in a claim idle time, a consumer looks for a probe. Of
	// two signs, the second comes at the fifth look at the latest.
	probesPerIdle = 8
	// probeStays is at how many looks a probe is still there that is taken back. One
	// would be too few: the other consumer may look a little less often.
	probeStays = 2
	// probeAgain times the claim idle time is how long none was left when a consumer
	// probes again.
	probeAgain = 10
)

// check looks for signs of another consumer with this name, and tells of it at
// the second. One alone may be the trace of a failover, or of a group that was made
// again.
func (n *namesake) check(ctx context.Context, c *consumer) {
	now := time.Now()
	since := now.Sub(n.looked)
	if n.probe == "" || since < c.claimIdle/probesPerIdle {
		return
	}
	if since > c.claimIdle || now.Sub(n.probed) > probeAgain*c.claimIdle {
		n.left = "" // a probe may have come and gone meanwhile
	}
	if failed := c.failed.Load(); failed != n.failed {
		n.left, n.failed = "", failed // the server, or the group, may be another one
	}
	left, leave := n.left, "always"
	switch {
	case left == probeAbsent:
		leave = "never"
	case left == probePresent && n.stayed+1 >= probeStays:
		leave = "again"
	}
	n.left, n.looked = "", now
	reply, err := script.Probe.Run(ctx, c.client, []string{c.stream}, c.group, n.probe, leave).StringSlice()
	if conn.Classify(err).Withheld {
		n.probe = ""
		c.log.Info("another live consumer of this name would not be noticed", "err", conn.Classify(err).Explain(err))
	}
	if err != nil || len(reply) != 2 {
		return // the other commands tell of any trouble
	}
	found := reply[0]
	n.left = reply[1]
	if n.left == probePresent {
		n.probed = now
	}
	if n.stayed++; left != probePresent || found != probePresent {
		n.stayed = 0
	}
	if left == "" || left == found || c.failed.Load() != n.failed {
		return
	}
	last := n.sign
	n.sign = now
	if now.Sub(last) <= c.claimIdle {
		c.host.NoteRival(c.log, fmt.Sprintf("another live consumer of the group %q has the name %q: each takes the entries of the other for its own, and they are handled twice; give each process a name of its own (WithConsumerName), or none", c.group, c.name), c.claimIdle)
	}
}

// leaveNoProbe removes the probe, if there may be one of ours.
func (n *namesake) leaveNoProbe(ctx context.Context, c *consumer) error {
	if n.probe == "" || n.looked.IsZero() || n.left == probeAbsent {
		return nil
	}
	return c.client.XGroupDelConsumer(ctx, c.stream, c.group, n.probe).Err()
}
