package conn

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// errStale is what a read fails with on a server that is not the master any more.
var errStale = errors.New("the server has become a replica, and is cut off from its master; connecting anew")

// ErrOtherServer is what a read fails with when it has found less than the server
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
			return nil // no right to ask; what can be found out without is
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
