package conn

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/contain"
	"millrace/stream/internal/task"
)

// A read learns nothing of a failover from a master that stands still: for as long as it
// may wait, the silence of that looks like an idle stream. So while one waits for its
// reply, it is asked from time to time who the master is.

// followInterval is how long a read waits before that is asked, and from then to then.
const followInterval = time.Second

// behindSentinels is the address that go-redis gives a client that asks sentinels for it.
const behindSentinels = "FailoverClient"

// follow ends the reads of a reader that wait on a server which is not the master any
// more, until stop is called.
func (r *Reader) follow(ctx context.Context) (stop func()) {
	if r.masters == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(followInterval, func() {
		for ctx.Err() == nil {
			var masters []string
			err := contain.Caught(func() (err error) { // it may be the user's dialer
				masters, err = r.masters(ctx)
				return err
			})
			if err == nil && ctx.Err() == nil {
				if r.Sockets.dropOthers(masters) { // in a cluster go-redis may read on, at the same one
					r.Commands.follow(masters)
				}
			}
			task.Sleep(ctx, followInterval)
		}
	})
	return func() {
		timer.Stop()
		cancel()
	}
}

// masterBySentinel finds the master as the client of the options does when it connects:
// it does so, because only that asks the sentinels.
func masterBySentinel(dial dialFunc) mastersFunc {
	return func(ctx context.Context) ([]string, error) {
		ctx, cancel := context.WithTimeout(ctx, AnswerTimeout)
		defer cancel()
		conn, err := dial(ctx, "tcp", behindSentinels)
		if err != nil {
			return nil, err
		}
		defer func() { _ = conn.Close() }()
		return []string{conn.RemoteAddr().String()}, nil
	}
}

// mastersOf asks a cluster for its masters.
func mastersOf(client *redis.ClusterClient) mastersFunc {
	return func(ctx context.Context) (addrs []string, err error) {
		var mu sync.Mutex
		err = client.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			addrs = append(addrs, node.Options().Addr)
			return nil
		})
		return addrs, err
	}
}

// dropOthers closes the sockets on which a read waits for a server that is none of
// these, and reports whether there were any.
func (s *sockets) dropOthers(masters []string) (dropped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for kept := range s.open {
		if !kept.armed.Load() || slices.Contains(masters, kept.addr) || !s.drops[kept.addr].again(now) {
			continue
		}
		s.drops[kept.addr] = s.drops[kept.addr].next(now)
		_ = kept.Conn.Close()
		delete(s.open, kept)
		dropped = true
	}
	return dropped
}

// drops is how often in a row connections to one address were dropped because it is no
// master's. If it is dialled again and again, it may be another name of a master's.
type drops struct {
	n    int
	last time.Time
}

const (
	mostDrops = 3
	// inARow is how soon one has to follow on the other, vain for how long none follows
	// on the last.
	inARow = 5 * followInterval
	vain   = 10 * time.Minute
)

// again reports whether there may be another one.
func (d drops) again(now time.Time) bool { return d.n < mostDrops || now.Sub(d.last) > vain }

func (d drops) next(now time.Time) drops {
	if now.Sub(d.last) > inARow {
		d.n = 0
	}
	return drops{d.n + 1, now}
}

// Relocate has a client of a cluster look anew who has what, after an error that no
// server has answered with. By default it would go on for up to a minute to ask a
// master that is dead, though another has long taken over.
func Relocate(client redis.UniversalClient, err error) {
	if cluster, ok := client.(*redis.ClusterClient); ok && Unanswered(err) {
		cluster.ReloadState(context.Background()) // it does not wait
	}
}

// Unanswered reports whether an error is none that a server has answered with.
func Unanswered(err error) bool { return err != nil && !Classify(err).Answered() }

// peerOf returns the address by which the server behind a connection is told from
// others: the one that it was dialled with or, where that names no server, its own.
func peerOf(conn net.Conn, addr string) string {
	if addr == behindSentinels && conn.RemoteAddr() != nil {
		return conn.RemoteAddr().String()
	}
	return addr
}

// ErrOtherServer is the error of a read when it has found less than the server
// has that the client asks: after a failover, connections to the old master can be
// left over.
var ErrOtherServer = errors.New("the last entry that was read is not on the server that is read from, and is on the one that the client asks: one is not the master; if this lasts, have the client connect anew")

// CheckRole finds out whether the server that a reader is connected to was made a
// replica that has lost its master: it would answer reads for ever, with nothing.
func CheckRole(ctx context.Context, r *Reader) error {
	if _, cluster := r.UniversalClient.(*redis.ClusterClient); cluster {
		return nil // there, such a server refers to the right one
	}
	reply, err := r.Do(ctx, "ROLE").Slice()
	if err != nil {
		if Classify(err).Answered() {
			return nil // no right to ask; all that can be found out without is
		}
		return err
	}
	if len(reply) > 3 && reply[0] == "slave" && reply[3] != "connected" {
		return errStale
	}
	return nil
}

// DropIfStale has the next read find the server anew if an error says that the one
// that was asked is not the master.
func (r *Reader) DropIfStale(err error) {
	if Classify(err).Class == stale {
		r.Sockets.drop()
		r.Commands.dropIdle()
	}
}

// errStale is the error of a read on a server that is not the master any more.
var errStale = errors.New("the server has become a replica, and is cut off from its master; connecting anew")

// PrimaryOf returns a client that asks the primary that has the key: a client of a cluster
// may be one that asks replicas.
func PrimaryOf(ctx context.Context, client redis.UniversalClient, key string) (redis.UniversalClient, error) {
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		return client, nil
	}
	if opts := cluster.Options(); !opts.ReadOnly && !opts.RouteByLatency && !opts.RouteRandomly {
		return client, nil
	}
	return cluster.MasterForKey(ctx, key)
}
