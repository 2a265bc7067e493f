//go:build unix

package stream_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// The environment of a consumer process that kills itself.
const (
	childAddr  = "MILLRACE_TEST_CHILD_ADDR"
	childPoint = "MILLRACE_TEST_CHILD_POINT" // where it dies, and at which time there
)

// runChild runs this test in another process, which dies at the given point, and
// returns when it is dead.
func runChild(t *testing.T, addr, point string) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
	child.Env = append(os.Environ(), childAddr+"="+addr, childPoint+"="+point)
	var out bytes.Buffer
	child.Stdout, child.Stderr = &out, &out
	err := child.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the consumer at %s was not killed: %v\n%s", point, err, out.String())
	}
}

// killer kills this process when a point has been passed a number of times.
type killer struct {
	point string
	left  atomic.Int64
}

func newKiller(spec string) *killer {
	point, times, _ := strings.Cut(spec, "@")
	k := &killer{point: point}
	n, _ := strconv.Atoi(times)
	k.left.Store(int64(n))
	return k
}

func (k *killer) pass(point string) {
	if point == k.point && k.left.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it arrives
	}
}

// client is a client whose commands pass the points around them.
func (k *killer) client(addr string) *redis.Client {
	options := &redis.Options{Addr: addr, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &killerConn{Conn: conn, killer: k}, err
	}}
	client := redis.NewClient(options)
	client.AddHook(killerHook{k})
	return client
}

// killerConn passes a point when the reply to a read has begun to arrive.
type killerConn struct {
	net.Conn
	killer *killer
	reads  atomic.Bool
}

func (c *killerConn) Write(p []byte) (int, error) {
	c.reads.Store(bytes.Contains(p, []byte("xreadgroup")))
	return c.Conn.Write(p)
}

func (c *killerConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.reads.Load() && n > 10 {
		c.killer.pass("after read")
	}
	return n, err
}

type killerHook struct{ *killer }

func (h killerHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h killerHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h killerHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		point := map[string]string{"xack": "ack", "xadd": "dead letter"}[cmd.Name()]
		if strings.HasPrefix(cmd.Name(), "eval") && strings.Contains(fmt.Sprint(cmd.Args()...), "dead") {
			point = "dead-letter script"
		}
		h.pass("before " + point)
		err := next(ctx, cmd)
		h.pass("after " + point)
		return err
	}
}

var killPoints = []string{
	"after read", "in the handler", "after the handler", "before ack", "after ack",
	"before dead-letter script", "after dead-letter script", "before dead letter", "after dead letter",
}

const (
	killBatch       = 20
	killConcurrency = 4
)

// killedHandler counts how often each order was handled, in Redis, and gives up
// one of twenty, by turns in one step and in two.
func killedHandler(client, direct *redis.Client, k *killer) stream.Handler[order] {
	return func(ctx context.Context, msg *stream.Message[order]) error {
		k.pass("in the handler")
		n, _ := strconv.Atoi(msg.Value.ID)
		switch n % 40 {
		case 13:
			return &stream.DeadLetterError{Attempts: 1, Err: errors.New("no")}
		case 33:
			return &stream.DeadLetterError{Client: client, Attempts: 1, Err: errors.New("no")}
		}
		return direct.HIncrBy(ctx, "handled", msg.Value.ID, 1).Err()
	}
}

func killedConsumer(t *testing.T, client, direct *redis.Client, k *killer) *stream.Consumer[order] {
	t.Helper()
	consumer, err := stream.NewGroupConsumer(client, orders, "billing", killedHandler(client, direct, k),
		stream.WithBatchSize(killBatch), stream.WithConcurrency(killConcurrency), stream.WithClaimIdle(400*time.Millisecond),
		stream.WithLogger(slog.New(slog.DiscardHandler)),
		stream.WithMiddleware(func(next stream.EntryHandler) stream.EntryHandler {
			return func(ctx context.Context, entry *stream.Entry) error {
				err := next(ctx, entry)
				k.pass("after the handler")
				return err
			}
		}))
	if err != nil {
		t.Fatal(err)
	}
	return consumer
}

// One of two consumers is killed with SIGKILL, again and again, at every point of
// an entry's way: nothing is lost, and no more is handled twice than was in
// flight.
func TestGroupConsumerKilled(t *testing.T) {
	t.Parallel()
	if addr := os.Getenv(childAddr); addr != "" {
		k := newKiller(os.Getenv(childPoint))
		direct := redis.NewClient(&redis.Options{Addr: addr})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // should it not die
		defer cancel()
		_ = killedConsumer(t, k.client(addr), direct, k).Run(ctx)
		return
	}
	server := streamtest.StartRedis(t, "--appendonly", "no")
	client := server.Client()
	const total, kills = 20_000, 54
	nobody := newKiller("nowhere@0")
	if err := client.XGroupCreateMkStream(t.Context(), "orders", "billing", "0").Err(); err != nil {
		t.Fatal(err)
	}
	stop := func() error { return nil }
	n := 0
	for kill := range kills {
		pipe := client.Pipeline()
		for end := total * (kill + 1) / kills; n < end; n++ {
			pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: "orders", Values: []string{"id", strconv.Itoa(n)}})
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		// The other one starts when the first child has had its chance, and has
		// to live with all further ones.
		runChild(t, server.Addr, fmt.Sprint(killPoints[kill%len(killPoints)], "@", 1+rand.IntN(3)))
		switch kill % 3 {
		case 0:
			_ = stop()
			stop = start(t, killedConsumer(t, server.Client(), client, nobody))
		case 1:
			if err := stop(); err != nil { // so that the next child finds entries
				t.Error(err)
			}
		}
	}
	_ = stop()
	start(t, killedConsumer(t, server.Client(), client, nobody))
	settled(t, client)
	eventually(t, "everything was delivered", func() bool {
		groups, err := client.XInfoGroups(t.Context(), "orders").Result()
		return err == nil && groups[0].Lag == 0 && groups[0].Pending == 0
	})

	handled := client.HGetAll(t.Context(), "handled").Val()
	letters := make(map[string]int)
	for _, letter := range client.XRange(t.Context(), "{orders}:dead", "-", "+").Val() {
		letters[letter.Values["id"].(string)]++
	}
	lost, twice := 0, 0
	for i := range total {
		id := strconv.Itoa(i)
		times, _ := strconv.Atoi(handled[id])
		if i%20 == 13 {
			if times != 0 {
				t.Errorf("%s was handled and is to be a dead letter", id)
			}
			times = letters[id]
		}
		switch {
		case times == 0:
			lost++
		case times > 1:
			twice += times - 1
		}
	}
	// What a kill can repeat: what is at work, and what is finished and not acked.
	bound := kills * (killBatch + killConcurrency)
	t.Logf("%d entries, %d dead letters, %d kills at %d points: %d lost, %d handled again (bound %d)",
		total, len(letters), kills, len(killPoints), lost, twice, bound)
	if lost > 0 || twice > bound {
		t.Errorf("%d lost, %d handled again, want 0 and at most %d", lost, twice, bound)
	}
}

// An entry over which every consumer crashes reaches the limit of deliveries and
// becomes a dead letter; those that were pending beside it do not.
func TestGroupCrashLoop(t *testing.T) {
	t.Parallel()
	if addr := os.Getenv(childAddr); addr != "" {
		k := newKiller("in the handler@1")
		client := redis.NewClient(&redis.Options{Addr: addr})
		consumer := newGroup(t, client, func(ctx context.Context, msg *stream.Message[order]) error {
			if msg.Value.ID == "poison" {
				k.pass("in the handler")
			}
			if msg.Value.ID == "last" {
				k.point = "after ack"
				time.AfterFunc(200*time.Millisecond, func() { k.pass("after ack") })
			}
			return client.HIncrBy(ctx, "handled", msg.Value.ID, 1).Err()
		}, stream.WithConsumerName("me"), stream.WithMaxDeliveries(3), stream.WithClaimIdle(time.Hour),
			stream.WithMiddleware(middleware.DeadLetter(middleware.DeadLetterConfig{})))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_ = consumer.Run(ctx)
		return
	}
	server := streamtest.StartRedis(t, "--appendonly", "no")
	client := server.Client()
	for i := range 100 {
		add(t, client, fmt.Sprint(i))
		if i == 50 {
			add(t, client, "poison")
		}
	}
	add(t, client, "last")
	crashes := 0
	for client.HGet(t.Context(), "handled", "last").Val() == "" {
		runChild(t, server.Addr, "")
		if crashes++; crashes > 10 {
			t.Fatalf("the crash loop does not end: %v", pending(t, client))
		}
	}
	letters := client.XRange(t.Context(), "{orders}:dead", "-", "+").Val()
	if len(letters) != 1 || letters[0].Values["id"] != "poison" || letters[0].Values[stream.DeadLetterAttempts] != "3" {
		t.Errorf("%d dead letters, the last is %v", len(letters), letters[len(letters)-1:])
	}
	if n := client.HLen(t.Context(), "handled").Val(); n != 101 {
		t.Errorf("%d entries were handled, want 101", n)
	}
	if crashes != 4 { // three over the poison, one at the end
		t.Errorf("there were %d crashes", crashes)
	}
}

// A process stands still for longer than the claim idle time, and its entry is
// claimed. When it goes on and finishes, its result does not count: the entry
// stays pending on the consumer that is at work on it.
func TestGroupZombieSettlesNothing(t *testing.T) {
	t.Parallel()
	const idle = 300 * time.Millisecond
	if addr := os.Getenv(childAddr); addr != "" {
		client := redis.NewClient(&redis.Options{Addr: addr})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		consumer := newGroup(t, client, func(ctx context.Context, _ *stream.Message[order]) error {
			fmt.Println("begun")
			var line string
			_, _ = fmt.Scanln(&line) // whatever becomes of ctx: it finishes
			time.AfterFunc(idle, func() { fmt.Println("finished") })
			return nil
		}, stream.WithClaimIdle(idle))
		_ = consumer.Run(ctx)
		return
	}
	server := streamtest.StartRedis(t)
	client := server.Client()
	id := add(t, client, "x")
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
	child.Env = append(os.Environ(), childAddr+"="+server.Addr)
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	})
	says := bufio.NewScanner(stdout)
	awaitLine := func(want string) {
		t.Helper()
		for says.Scan() {
			if says.Text() == want {
				return
			}
		}
		t.Fatalf("the consumer's process has not said %q", want)
	}
	awaitLine("begun")
	if err := child.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	rec := newRecorder()
	rec.handle = func(context.Context, *stream.Message[order]) error { <-release; return nil }
	start(t, newGroup(t, client, rec.Handle, stream.WithClaimIdle(idle), stream.WithConsumerName("heir")))
	rec.await(t, 1)
	if _, err := io.WriteString(stdin, "go on\n"); err != nil {
		t.Fatal(err)
	}
	if err := child.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	awaitLine("finished")
	list, err := client.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: "orders", Group: "billing", Start: "-", End: "+", Count: 10}).Result()
	if err != nil || len(list) != 1 || list[0].ID != id || list[0].Consumer != "heir" {
		t.Errorf("pending is %+v, %v, want the entry on its heir", list, err)
	}
	close(release)
	settled(t, client)
}
