package stream_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// killedAddr is set in the process that TestConsumerKilled starts and kills.
const killedAddr = "MILLRACE_TEST_KILLED_CONSUMER"

const (
	killedBatch  = 20
	killedWindow = 4*killedBatch + 1 // the default
)

// A consumer process is killed with SIGKILL again and again. Every entry is
// handled, in order, and after each kill at most the window comes again.
func TestConsumerKilled(t *testing.T) {
	t.Parallel()
	if addr := os.Getenv(killedAddr); addr != "" {
		runUntilKilled(t, addr)
		return
	}
	server := streamtest.StartRedis(t)
	client := server.Client()
	const total = 3000
	for i := range total {
		add(t, client, fmt.Sprint(i))
	}
	last, kills, again := -1, 0, 0
	for last < total-1 {
		first := true
		for n := range handledBeforeKill(t, "TestConsumerKilled", server.Addr, rand.IntN(150), func(n int) bool { return n == total-1 }) {
			if first {
				first = false
				if n > last+1 || n < last+1-killedWindow {
					t.Fatalf("after kill %d the consumer went on at %d, but %d was handled last", kills, n, last)
				}
				again += last + 1 - n
			} else if n != last+1 {
				t.Fatalf("%d was handled after %d", n, last)
			}
			last = n
		}
		kills++
	}
	t.Logf("%d entries, %d kills, %d handled again", total, kills, again)
	if kills < 10 {
		t.Errorf("there were only %d kills", kills)
	}
}

// With many handlers at once nothing is lost either, entries of one key are in
// order, and after a kill no more comes again than the window holds.
func TestConcurrentConsumerKilled(t *testing.T) {
	t.Parallel()
	if addr := os.Getenv(killedAddr); addr != "" {
		runUntilKilled(t, addr, stream.WithConcurrency(8), stream.WithOrderKey(keyOfOrder))
		return
	}
	server := streamtest.StartRedis(t)
	client := server.Client()
	const total, window = 3000, 4*killedBatch + 8
	for i := range total {
		add(t, client, fmt.Sprint(i))
	}
	done, handled := make([]bool, total), 0
	kills, again := 0, 0
	for handled < total {
		lastOf := make(map[int]int)
		// What comes again begins no further back than a window before the first
		// that was not handled, since the offset is right before the oldest.
		oldest := slices.Index(done, false)
		for n := range handledBeforeKill(t, "TestConcurrentConsumerKilled", server.Addr, rand.IntN(150), func(int) bool { return handled == total-1 }) {
			if n < oldest-window {
				t.Fatalf("after kill %d, %d was handled again, with all before %d done", kills, n, oldest)
			}
			key := n % orderKeys
			if before, has := lastOf[key]; has && n <= before {
				t.Fatalf("of key %d, %d was handled after %d", key, n, before)
			} else if !has && n >= orderKeys && !done[n-orderKeys] {
				t.Fatalf("of key %d, %d was handled before %d", key, n, n-orderKeys)
			}
			lastOf[key] = n
			if done[n] {
				again++
			} else {
				done[n] = true
				handled++
			}
		}
		kills++
	}
	t.Logf("%d entries, %d kills, %d handled again", total, kills, again)
	if kills < 10 || again > kills*window {
		t.Errorf("%d entries were handled again after %d kills, want at most %d each, and 10 kills", again, kills, window)
	}
}

// orderKeys is how many keys the orders of TestConcurrentConsumerKilled have.
const orderKeys = 7

func keyOfOrder(entry *stream.Entry) string {
	n, _ := strconv.Atoi(stream.Field("id")(entry))
	return strconv.Itoa(n % orderKeys)
}

// handledBeforeKill runs a consumer in a process of its own, which is the test of
// the given name, and kills it after it has handled some entries, or the last one.
// It yields what was handled.
func handledBeforeKill(t *testing.T, test, addr string, entries int, last func(int) bool) func(yield func(int) bool) {
	t.Helper()
	return func(yield func(int) bool) {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+test+"$")
		child.Env = append(os.Environ(), killedAddr+"="+addr)
		stdout, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = child.Process.Kill()
			_ = child.Wait()
		}()
		for lines := bufio.NewScanner(stdout); lines.Scan(); entries-- {
			n, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatalf("the consumer's process says %q", lines.Text())
			}
			if entries == 0 || last(n) {
				// What it handles until the signal arrives is read, too.
				_ = child.Process.Kill()
			}
			if !yield(n) {
				return
			}
		}
	}
}

func runUntilKilled(t *testing.T, addr string, opts ...stream.Option) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	store, err := offset.NewRedis(client, "")
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := stream.NewConsumer(client, orders, store,
		func(_ context.Context, msg *stream.Message[order]) error {
			_, err := fmt.Println(msg.Value.ID)
			return err
		}, append(quietly(opts), stream.WithBatchSize(killedBatch))...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // should nobody kill it
	defer cancel()
	_ = consumer.Run(ctx)
}
