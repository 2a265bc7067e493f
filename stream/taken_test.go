package stream_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

// What is taken over, and its reply is lost, is taken up by who took it over: Redis has
// it as pending there, and to try again would bring nothing. What a read should have
// brought at the same time has not been tried, and is told from it.
func TestTakenOverAndReplyLost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ owner, command string }{
		"claimed":     {"dead", "local ids, last"},
		"handed back": {"millrace/handed-back", "for i, entry"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := streamtest.StartRedis(t)
			direct := server.Client()
			leave(t, direct, c.owner, "a", "b", "c")

			proxy := streamtest.StartProxy(t, server.Addr)
			var cut sync.Once
			proxy.OnRequest(c.command, func() {
				cut.Do(func() {
					awaitBlocked(t, direct, 1)
					open := proxy.Stats().Open
					proxy.Cut(streamtest.ToClient, 0)
					add(t, direct, "d")
					eventually(t, "the read was cut", func() bool { return proxy.Stats().Open < open })
					proxy.CutReply(c.command, 0)
				})
			})
			rec := newRecorder()
			rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
				want := int64(2) // another consumer had it
				if msg.Value.ID == "d" {
					want = 1
				}
				if msg.Deliveries != want {
					t.Errorf("order %s is at delivery %d, want %d", msg.Value.ID, msg.Deliveries, want)
				}
				return nil
			}
			consumer := newGroup(t, proxy.Client(), rec.Handle, stream.WithClaimIdle(time.Hour))
			stop := start(t, consumer)
			settled(t, direct)
			if n := consumer.Stats().Claimed; n != 3 {
				t.Errorf("%d entries were claimed, of 3", n)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			if seen := rec.Seen(); !slices.Equal(seen, []string{"a", "b", "c", "d"}) {
				t.Errorf("handled %v", seen)
			}
		})
	}
}

// leave has orders pending on a consumer that is no more, for longer than anybody waits.
func leave(t *testing.T, client *redis.Client, owner string, orders ...string) {
	t.Helper()
	if err := client.XGroupCreateMkStream(t.Context(), "orders", "billing", "0").Err(); err != nil {
		t.Fatal(err)
	}
	claim := []any{"XCLAIM", "orders", "billing", owner, 0}
	for _, id := range orders {
		claim = append(claim, add(t, client, id))
	}
	if err := client.XReadGroup(t.Context(), &redis.XReadGroupArgs{Streams: []string{"orders", ">"}, Group: "billing", Consumer: owner}).Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.Do(t.Context(), append(claim, "IDLE", (24*time.Hour).Milliseconds(), "JUSTID")...).Err(); err != nil {
		t.Fatal(err)
	}
}

// An entry that was just taken over, and has not arrived yet, is not taken for an unknown
// one when the reader looks for the entries of its own lost reply.
func TestTakenOverWhileLookingForOwn(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	direct := server.Client()
	leave(t, direct, "dead", "a", "b", "c")
	hook := &lateClaim{claimed: func() {
		awaitBlocked(t, direct, 1)
		if err := direct.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
			t.Error(err)
		}
	}}
	client := server.Client()
	client.AddHook(hook)
	rec := newRecorder()
	rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
		if msg.Deliveries != 2 {
			t.Errorf("order %s is at delivery %d, want 2", msg.Value.ID, msg.Deliveries)
		}
		return nil
	}
	consumer := newGroup(t, client, rec.Handle, stream.WithClaimIdle(time.Hour))
	start(t, consumer)
	settled(t, direct)
	if seen, n := rec.Seen(), consumer.Stats().Claimed; !slices.Equal(seen, []string{"a", "b", "c"}) || n != 3 {
		t.Errorf("handled %v, and %d were claimed", seen, n)
	}
}

// lateClaim is a client to which the reply to the first claim comes late: when the reader
// that is told of it meanwhile has had the time to look.
type lateClaim struct {
	inert
	claimed func()
	once    sync.Once
}

func (h *lateClaim) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if claim, ok := cmd.(interface{ Slice() ([]any, error) }); ok && stream.IsClaim(cmd) {
			if _, failure := claim.Slice(); failure == nil { // it has come to the server
				h.once.Do(func() {
					h.claimed()
					<-time.After(500 * time.Millisecond)
				})
			}
		}
		return err
	}
}
