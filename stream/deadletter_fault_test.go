package stream_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// unanswered is a client whose next writes to a stream have no answer: every second one
// is carried out all the same.
type unanswered struct {
	inert
	stream string
	left   atomic.Int64
	failed atomic.Int64
}

func (h *unanswered) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if !slices.ContainsFunc(cmd.Args(), func(arg any) bool { return arg == h.stream }) || h.left.Add(-1) < 0 {
			return next(ctx, cmd)
		}
		if h.failed.Add(1)%2 == 0 {
			if err := next(ctx, cmd); err != nil {
				return err
			}
		}
		cmd.SetErr(io.ErrUnexpectedEOF)
		return io.ErrUnexpectedEOF
	}
}

// An entry is not settled by a dead letter whose write had no answer: it may not have
// been written. In either mode, by a script and through this process.
func TestDeadLetterWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		group, elsewhere bool
		letters          int // of each entry, at the most
	}{
		{group: true, letters: 1}, // one step with the ack
		{group: true, elsewhere: true, letters: 2},
		{letters: 2},
		{elsewhere: true, letters: 2},
	} {
		t.Run(fmt.Sprintf("%+v", test), func(t *testing.T) {
			t.Parallel()
			server := streamtest.StartRedis(t, "--appendonly", "no")
			admin := server.Client()
			hook := &unanswered{stream: stream.DeadLetterStream(orders.Name)}
			client := redis.NewClient(optionsOf(admin))
			client.AddHook(hook)
			t.Cleanup(func() { _ = client.Close() })
			var own redis.UniversalClient
			if test.elsewhere {
				own = client
			}
			rec := giveUp(stream.DeadLetterError{Client: own})
			store := &offset.Memory{}
			consumer := newConsumer(t, client, store, rec.Handle)
			if test.group {
				consumer = newGroup(t, client, rec.Handle)
			}
			hook.left.Store(2)
			start(t, consumer)
			var ids []string
			for i := range 4 {
				ids = append(ids, add(t, admin, fmt.Sprint(i)))
				eventually(t, "it is settled", func() bool {
					at, _, _ := store.Load(t.Context(), orders.Name)
					return test.group && consumer.Stats().DeadLettered > int64(i) && len(pending(t, admin)) == 0 || at == ids[i]
				})
				letters := make(map[string]int)
				for _, pairs := range deadLetters(t, admin, hook.stream) {
					letters[pairs[slices.Index(pairs, stream.DeadLetterID)+1]]++
				}
				if n := letters[ids[i]]; n < 1 || n > test.letters {
					t.Errorf("entry %d is settled, and is %d times in the dead letters", i, n)
				}
				hook.left.Store(int64(i)) // none, one, two fail
			}
			if n := hook.failed.Load(); n < 3 {
				t.Errorf("only %d writes had no answer", n)
			}
		})
	}
}

// Nothing ever shortens the dead letters but their owner.
func TestDeadLettersAreNotTrimmed(t *testing.T) {
	t.Parallel()
	for _, group := range []bool{false, true} {
		for _, elsewhere := range []bool{false, true} {
			t.Run(fmt.Sprintf("group %v, elsewhere %v", group, elsewhere), func(t *testing.T) {
				t.Parallel()
				client := streamtest.StartRedis(t, "--appendonly", "no").Client()
				monitor := startMonitor(t, client.Options().Addr)
				var own redis.UniversalClient
				if elsewhere {
					own = client
				}
				rec := giveUp(stream.DeadLetterError{Client: own})
				consumer := newConsumer(t, client, &offset.Memory{}, rec.Handle)
				if group {
					consumer = newGroup(t, client, rec.Handle)
				}
				start(t, consumer)
				letters := stream.DeadLetterStream(orders.Name)
				const total = 10
				for i := range total {
					add(t, client, fmt.Sprint(i))
				}
				eventually(t, "all are dead letters", func() bool { return consumer.Stats().DeadLettered == total })
				if n := client.XLen(t.Context(), letters).Val(); n != total {
					t.Errorf("there are %d dead letters, want %d", n, total)
				}
				for seen := 0; seen < total; {
					line := strings.ToLower(monitor())
					if !strings.Contains(line, letters) || strings.Contains(line, `"eval`) {
						continue // the commands of a script have lines of their own
					}
					if strings.Contains(line, `"xadd"`) {
						seen++
					}
					for _, word := range []string{`"maxlen"`, `"minid"`, `"xtrim"`, `"xdel"`, `"expire"`, `"pexpire"`, `"del"`} {
						if strings.Contains(line, word) {
							t.Errorf("dead letters are shortened: %s", line)
						}
					}
				}
			})
		}
	}
}

// startMonitor returns a function that returns the next command that a server carries
// out, those of scripts too.
func startMonitor(t testing.TB, addr string) (next func() string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(20 * time.Second))
	}
	if err == nil {
		_, err = conn.Write([]byte("MONITOR\r\n"))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	lines := bufio.NewReader(conn)
	next = func() string {
		t.Helper()
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return line
	}
	if line := next(); line != "+OK\r\n" {
		t.Fatalf("MONITOR: %s", line)
	}
	return next
}

// A dead letter has no answer, and its group goes before it is written again: an entry that
// is not pending was then not necessarily acked by the first write.
func TestDeadLetterWhoseGroupGoes(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t, "--appendonly", "no")
	admin := server.Client()
	letters := stream.DeadLetterStream(orders.Name)
	client := redis.NewClient(optionsOf(admin))
	client.AddHook(&beforeLetters{stream: letters, do: func() {
		if err := admin.XGroupDestroy(t.Context(), orders.Name, "billing").Err(); err != nil {
			t.Error(err)
		}
		eventually(t, "the group is made again", func() bool {
			groups, err := admin.XInfoGroups(t.Context(), orders.Name).Result()
			return err == nil && len(groups) == 1
		})
	}})
	t.Cleanup(func() { _ = client.Close() })
	consumer := newGroup(t, client, giveUp(stream.DeadLetterError{}).Handle)
	start(t, consumer)
	id := add(t, admin, "a")
	eventually(t, "it is a dead letter", func() bool { return consumer.Stats().DeadLettered > 0 })
	found := deadLetters(t, admin, letters)
	if len(found) != 1 || !slices.Contains(found[0], id) {
		t.Errorf("the dead letters are %q, want one of %s", found, id)
	}
}

// beforeLetters does something at the first write to a stream, which is then lost.
type beforeLetters struct {
	inert
	stream string
	do     func()
	done   atomic.Bool
}

func (h *beforeLetters) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		isWrite := slices.ContainsFunc(cmd.Args(), func(arg any) bool { return arg == h.stream })
		if !isWrite || h.done.Swap(true) {
			return next(ctx, cmd)
		}
		h.do()
		cmd.SetErr(io.ErrUnexpectedEOF)
		return io.ErrUnexpectedEOF
	}
}

// The first write of a dead letter has no answer, and the second one fails in the middle:
// by that the entry was pending still. That it is pending on nobody at the third does then
// not mean that the first has acked it: the consumer was removed.
func TestDeadLetterThatWasFoundPending(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t, "--appendonly", "no")
	admin := server.Client()
	letters := stream.DeadLetterStream(orders.Name)
	client := redis.NewClient(optionsOf(admin))
	client.AddHook(&beforeLetters{stream: letters, do: func() { admin.Set(t.Context(), letters, "no stream", 0) }})
	client.AddHook(&afterRefusal{do: func() {
		admin.Del(t.Context(), letters)
		if n := admin.XGroupDelConsumer(t.Context(), orders.Name, "billing", "me").Val(); n != 1 {
			t.Errorf("%d entries were pending on the consumer", n)
		}
	}})
	t.Cleanup(func() { _ = client.Close() })
	id := add(t, admin, "a")
	consumer := newGroup(t, client, giveUp(stream.DeadLetterError{}).Handle, stream.WithConsumerName("me"), stream.WithClaimIdle(time.Hour))
	start(t, consumer)
	eventually(t, "it is a dead letter", func() bool { return consumer.Stats().DeadLettered > 0 })
	streamtest.AssertDeadLettered(t, admin, letters, id)
}

// afterRefusal does something when a command was refused for the type of its key, once.
type afterRefusal struct {
	inert
	do   func()
	done atomic.Bool
}

func (h *afterRefusal) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if err != nil && strings.HasPrefix(err.Error(), "WRONGTYPE") && !h.done.Swap(true) {
			h.do()
		}
		return err
	}
}
