package streamtest

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// sentinelName is the name of the primary in the commands of the sentinels.
const sentinelName = "millrace"

// Sentinel is a primary and its replica, watched by three sentinels with a quorum of two, for
// one test. Its methods fail the test if an operation fails, and are for the test's own
// goroutine.
type Sentinel struct {
	// Servers are the primary and the replica, in any order. A failover changes their roles.
	Servers []*Redis
	// Sentinels are the three sentinels that watch the servers.
	Sentinels []*Redis

	t testing.TB
}

// StartSentinel starts a primary, its replica and three sentinels for the test, and waits until
// they all have found each other. The given arguments are added to the command lines of the
// primary and the replica. Without a redis-server on the PATH, StartSentinel skips or fails the
// test as [StartRedis] does.
//
// The sentinels take a server for dead after one second of silence. Their other intervals are
// shorter than the defaults, too, as far as the version of the server allows that, so that
// tests do not wait. A failover in production has the same steps, only later.
func StartSentinel(t testing.TB, args ...string) *Sentinel {
	t.Helper()
	s := &Sentinel{t: t}
	// The first synchronisation of the replica shall not wait for other replicas.
	args = append([]string{"--repl-diskless-sync-delay", "0"}, args...)
	for range 2 {
		s.Servers = append(s.Servers, StartRedis(t, args...))
	}
	host, port, _ := net.SplitHostPort(s.Servers[0].Addr)
	if _, err := s.Servers[1].ask("REPLICAOF", host, port); err != nil {
		t.Fatal(err)
	}
	awaitNil(t, "the replica is in step", func() error { return s.checkRoles(s.Servers[0].Addr) })
	config := fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s 2\n"+
		"sentinel down-after-milliseconds %[1]s 1000\n"+
		"sentinel failover-timeout %[1]s 3000\n", sentinelName, host, port)
	for range 3 {
		sentinel := startServer(t, config, "--sentinel")
		s.Sentinels = append(s.Sentinels, sentinel)
		s.hasten(sentinel)
	}
	s.AwaitAgreed()
	return s
}

// hasten shortens the intervals at which a sentinel looks at the others. A sentinel that a busy
// machine stops for a while does nothing for half a minute (TILT). With hasten the sentinel
// overlooks stops of up to 10 seconds, and does nothing for one second after a longer one.
// Before version 7 there is no such command, and a restart undoes the settings.
func (s *Sentinel) hasten(sentinel *Redis) {
	_, _ = sentinel.ask("SENTINEL", "DEBUG", "INFO-PERIOD", 500, "PING-PERIOD", 200, "ASK-PERIOD", 200,
		"PUBLISH-PERIOD", 300, "TILT-TRIGGER", 10000, "TILT-PERIOD", 1000)
}

// Client returns a client that finds the primary through the sentinels. The client is closed
// when the test is over.
func (s *Sentinel) Client() *redis.Client {
	client := redis.NewFailoverClient(s.Options())
	s.t.Cleanup(func() { _ = client.Close() })
	return client
}

// Options returns the options of [Sentinel.Client], for a client that differs in some of them.
func (s *Sentinel) Options() *redis.FailoverOptions {
	opts := &redis.FailoverOptions{MasterName: sentinelName}
	for _, sentinel := range s.Sentinels {
		opts.SentinelAddrs = append(opts.SentinelAddrs, sentinel.Addr)
	}
	return opts
}

// Primary returns the primary. It waits until the sentinels agree about the primary.
func (s *Sentinel) Primary() *Redis {
	s.t.Helper()
	var primary *Redis
	awaitNil(s.t, "the sentinels agree about the primary", func() (err error) {
		primary, err = s.named()
		return err
	})
	return primary
}

// Replica returns the server that is not the primary.
func (s *Sentinel) Replica() *Redis {
	s.t.Helper()
	if s.Primary() == s.Servers[0] {
		return s.Servers[1]
	}
	return s.Servers[0]
}

// Failover makes the primary give way to its replica, in the given way. It waits until the
// sentinels agree about the new primary, and until the new primary takes writes. It returns the
// old primary, for a [Redis.Start] or [Redis.Thaw]. Before the next failover, call
// [Sentinel.AwaitAgreed]: the new primary needs a replica again.
func (s *Sentinel) Failover(how Failover) (old *Redis) {
	s.t.Helper()
	old = s.Primary()
	how.strike(old)
	var again time.Time
	awaitNil(s.t, how.String()+" failover", func() error {
		primary, err := s.named()
		switch {
		case err != nil:
			return err
		case primary == old:
			if how == Planned && time.Now().After(again) {
				// A sentinel refuses the command while it knows of no replica in good health.
				// It gives the failover up, without an error, when the replica does not obey in
				// time.
				if _, err := s.anySentinel().ask("SENTINEL", "FAILOVER", sentinelName); err != nil {
					return err
				}
				again = time.Now().Add(5 * time.Second)
			}
			return errors.New("the sentinels still name the old primary")
		}
		role, _, _, err := primary.role()
		if err == nil && role != "master" {
			err = fmt.Errorf("the new primary says that it is a %s", role)
		}
		return err
	})
	return old
}

// AwaitAgreed waits until all running sentinels name the same primary and know each other, and
// the running servers have the roles that the sentinels name: the primary takes writes, and the
// other server follows the primary.
func (s *Sentinel) AwaitAgreed() {
	s.t.Helper()
	awaitNil(s.t, "sentinels and servers agree", func() error {
		primary, err := s.named()
		if err != nil {
			return err
		}
		if err := s.checkRoles(primary.Addr); err != nil {
			return err
		}
		for _, sentinel := range s.Sentinels {
			if !sentinel.answers() {
				continue
			}
			state, err := sentinel.ask("SENTINEL", "MASTER", sentinelName)
			if err != nil {
				return err
			}
			about := pairs(state)
			if about["flags"] != "master" || about["num-other-sentinels"] != "2" || about["num-slaves"] != "1" {
				return fmt.Errorf("%s sees flags %s, %s other sentinels, %s replicas",
					sentinel.Addr, about["flags"], about["num-other-sentinels"], about["num-slaves"])
			}
		}
		return nil
	})
}

// anySentinel returns a sentinel that answers.
func (s *Sentinel) anySentinel() *Redis {
	s.t.Helper()
	for _, sentinel := range s.Sentinels {
		if sentinel.answers() {
			return sentinel
		}
	}
	s.t.Fatal("no sentinel runs")
	return nil
}

// named returns the server that all running sentinels name as the primary.
func (s *Sentinel) named() (*Redis, error) {
	var named *Redis
	for _, sentinel := range s.Sentinels {
		if !sentinel.answers() {
			continue
		}
		reply, err := sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", sentinelName)
		if err != nil {
			return nil, err
		}
		addr := net.JoinHostPort(fmt.Sprint(reply.([]any)[0]), fmt.Sprint(reply.([]any)[1]))
		for _, server := range s.Servers {
			if server.Addr != addr {
				continue
			}
			if named != nil && named != server {
				return nil, errors.New("the sentinels name different primaries")
			}
			named = server
		}
	}
	if named == nil {
		return nil, errors.New("no sentinel names a primary")
	}
	return named, nil
}

// checkRoles returns an error if a running server is not in its role, where the primary is the
// server at the given address.
func (s *Sentinel) checkRoles(primary string) error {
	for _, server := range s.Servers {
		if !server.answers() {
			continue
		}
		role, master, link, err := server.role()
		if err != nil {
			return err
		}
		if server.Addr == primary {
			if role != "master" {
				return fmt.Errorf("%s is a %s", server.Addr, role)
			}
			continue
		}
		if role != "slave" || master != primary || link != "connected" {
			return fmt.Errorf("%s is a %s of %s, %s", server.Addr, role, master, link)
		}
	}
	return nil
}

// pairs makes a map of a flat reply of names and values.
func pairs(reply any) map[string]string {
	list, _ := reply.([]any)
	out := make(map[string]string, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		out[fmt.Sprint(list[i])] = fmt.Sprint(list[i+1])
	}
	return out
}
