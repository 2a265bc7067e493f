package stream_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
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
	killedWindow = 2*killedBatch + 1 // the default
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
		for n := range handledBeforeKill(t, server.Addr, rand.IntN(150), total-1) {
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

// handledBeforeKill runs a consumer in a process of its own, and kills it after
// it has handled some entries, or the last one. It yields what was handled.
func handledBeforeKill(t *testing.T, addr string, entries, last int) func(yield func(int) bool) {
	t.Helper()
	return func(yield func(int) bool) {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestConsumerKilled$")
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
			if entries == 0 || n == last {
				// What it handles until the signal arrives is read, too.
				_ = child.Process.Kill()
			}
			if !yield(n) {
				return
			}
		}
	}
}

func runUntilKilled(t *testing.T, addr string) {
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
		}, stream.WithBatchSize(killedBatch), stream.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // should nobody kill it
	defer cancel()
	_ = consumer.Run(ctx)
}
