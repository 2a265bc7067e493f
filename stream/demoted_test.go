package stream_test

import (
	"context"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// switched is a client whose connections go to one of two servers: the first one,
// and its replica once that has been promoted and the first one cut off from it.
type switched struct {
	*redis.Client
	old, promoted *redis.Client
	addr          atomic.Value
	next          string
}

func newSwitched(t *testing.T) *switched {
	t.Helper()
	first, second := streamtest.StartRedis(t, "--repl-diskless-sync-delay", "0"), streamtest.StartRedis(t)
	s := &switched{old: first.Client(), promoted: second.Client(), next: second.Addr}
	host, port, _ := net.SplitHostPort(first.Addr)
	command(t, s.promoted, "REPLICAOF", host, port)
	s.addr.Store(first.Addr)
	s.Client = redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.addr.Load().(string))
	}})
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// promote makes the replica a master, with everything that the first one has.
func (s *switched) promote(t *testing.T) {
	t.Helper()
	conn := s.old.Conn() // it waits for what was written on it
	defer func() { _ = conn.Close() }()
	eventually(t, "the replica has everything", func() bool {
		command(t, conn, "SET", "mark", "1")
		n, err := conn.Do(t.Context(), "WAIT", 1, 100).Int()
		return err == nil && n == 1
	})
	command(t, s.promoted, "REPLICAOF", "NO", "ONE")
}

// cutOff makes the first one a replica that has lost its master, and has new
// connections go to the other.
func (s *switched) cutOff(t *testing.T) {
	t.Helper()
	command(t, s.old, "REPLICAOF", "127.0.0.1", "1")
	s.addr.Store(s.next)
}

// A master that becomes a replica, and is cut off from the new master, goes on to
// answer reads: with nothing, for ever. It is left for the new one, wherever the
// client finds that.
func TestADemotedMasterIsLeft(t *testing.T) {
	t.Parallel()
	for _, mode := range bothModes() {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			client := newSwitched(t)
			rec := newRecorder()
			release := make(chan struct{})
			rec.handle = func(context.Context, *stream.Message[order]) error { <-release; return nil }
			// A read that blocks would be ended, and its connection closed.
			stop := start(t, mode.make(t, client.Client, orders.Name, rec.Handle, stream.WithReadCount(1), stream.WithWindow(1),
				stream.WithBlock(20*time.Millisecond), stream.WithInspection(50*time.Millisecond)))
			add(t, client.old, "before")
			rec.await(t, 1)
			client.promote(t)
			client.cutOff(t)
			add(t, client.promoted, "after")
			close(release)
			if seen := rec.await(t, 2); !slices.Equal(seen, []string{"before", "after"}) {
				t.Errorf("delivered %v", seen)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// The new master lacks the last writes. The commands of a consumer go where its reads go: a
// connection for commands that was left on the old master would find the lost entries
// there, and no loss would be told. The user's client may still be connected to it.
func TestCommandsFollowTheReader(t *testing.T) {
	t.Parallel()
	client := newSwitched(t)
	rec := newRecorder()
	var out logs
	consumer := newConsumer(t, client.Client, &offset.Memory{}, rec.Handle, stream.WithLogger(out.Logger()),
		stream.WithBlock(20*time.Millisecond), stream.WithInspection(50*time.Millisecond))
	stop := start(t, consumer)
	add(t, client.old, "both have it")
	rec.await(t, 1) // by a read of its own, behind which it can go on
	client.promote(t)
	add(t, client.old, "only the old one has it")
	rec.await(t, 2)
	client.cutOff(t)
	add(t, client.promoted, "after")
	if seen := rec.await(t, 3); seen[len(seen)-1] != "after" {
		t.Errorf("delivered %v", seen)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if len(out.lines("ERROR", "entries lost")) != 1 {
		t.Errorf("the loss was not told once:\n%s", out.String())
	}
	if trouble := out.lines("one is not the master"); len(trouble) > 0 {
		t.Errorf("reads and commands went to different servers: %v", trouble)
	}
}
