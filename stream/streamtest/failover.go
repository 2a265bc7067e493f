package streamtest

// Failover is the way in which a primary is made to give way to its replica, for
// [Sentinel.Failover] and [Cluster.Failover].
type Failover int

const (
	// Planned is a failover by command, while the primary is in good health. Although it is
	// short, a planned failover can lose acknowledged writes.
	Planned Failover = iota
	// ByKill kills the primary, as kill -9 does. [Redis.Start] can start the server again,
	// which then becomes a replica.
	ByKill
	// ByFreeze freezes the primary. After [Redis.Thaw] the server goes on, believes for a
	// moment that it is still the primary, and then becomes a replica.
	ByFreeze
)

// String returns the way of the failover in one word, for the names of subtests and faults.
func (f Failover) String() string {
	switch f {
	case Planned:
		return "planned"
	case ByKill:
		return "kill"
	case ByFreeze:
		return "freeze"
	}
	return "unknown"
}

// strike kills or freezes a primary, as f says. It does nothing for a failover by command.
func (f Failover) strike(primary *Redis) {
	primary.t.Helper()
	switch f {
	case ByKill:
		primary.Kill()
	case ByFreeze:
		primary.Freeze()
	}
}
