package streamtest

// Failover is how a primary is made to give way to its replica, for
// [Sentinel.Failover] and [Cluster.Failover].
type Failover int

const (
	// Planned is a failover by command, while the primary is in good health.
	// Short as it is, it can lose writes that were acknowledged.
	Planned Failover = iota
	// ByKill kills the primary, as kill -9 does. It can be started again with
	// [Redis.Start], and becomes a replica then.
	ByKill
	// ByFreeze freezes the primary. With [Redis.Thaw] it goes on, still
	// believes that it is the primary for a moment, and becomes a replica.
	ByFreeze
)

// String says in one word how, for the names of subtests and faults.
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

// strike does to a primary what f says, other than a command.
func (f Failover) strike(primary *Redis) {
	primary.t.Helper()
	switch f {
	case ByKill:
		primary.Kill()
	case ByFreeze:
		primary.Freeze()
	}
}
