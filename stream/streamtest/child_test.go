//go:build unix

package streamtest_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
	"millrace/stream/streamtest/history"
)

// The environment of children.
const (
	childAddr    = "MILLRACE_STREAMTEST_ADDR"
	childPoint   = "MILLRACE_STREAMTEST_POINT"
	childHistory = "MILLRACE_STREAMTEST_HISTORY"
	childServes  = "MILLRACE_STREAMTEST_SERVES"
)

// A consumer process is killed at each kind of point. The common history of this process and
// its successors has no violation.
func TestChildrenKilledAtPoints(t *testing.T) {
	t.Parallel()
	if addr := os.Getenv(childAddr); addr != "" {
		consumeInChild(t, addr)
		return
	}
	server := streamtest.StartRedis(t)
	client := server.Client()
	path := filepath.Join(t.TempDir(), "history.jsonl")
	file, err := history.Append(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	recorder := history.Recorder{Out: file}
	const batch = 10
	for round, point := range []string{"before xread@2", "sent xread@2", "after xread@2", "handling@7", "before evalsha@1", "after evalsha@3", "before evalsha@3"} {
		for n := range 3 * batch {
			key := fmt.Sprint(round, "-", n)
			if _, err := recorder.Publish("test", key, func() (string, error) { return add(t, client, key), nil }); err != nil {
				t.Error(err)
			}
		}
		over := recorder.Inject(history.Fault{Name: point, Repeats: 4*batch + 1}) // the window
		child := streamtest.StartChild(t, childAddr+"="+server.Addr, childPoint+"="+point, childHistory+"="+path)
		child.AwaitKilled()
		over()
	}
	last := streamtest.StartChild(t, childAddr+"="+server.Addr, childHistory+"="+path)
	log := streamtest.EntryIDs(t, client, orders.Name)
	streamtest.Await(t, "the last entry's offset is saved", func() bool {
		return client.HGet(t.Context(), offset.DefaultKey, orders.Name).Val() == log[len(log)-1]
	})
	last.Kill()
	events, err := history.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	findings := history.Verify(t, history.Rules{Order: history.InOrder}, events, log)
	t.Logf("%d events, %d repeats", len(events), len(findings.Of(history.Repeated)))
}

func consumeInChild(t *testing.T, addr string) {
	t.Helper()
	point, err := streamtest.ParseKillPoint(os.Getenv(childPoint))
	if err != nil {
		t.Fatal(err)
	}
	file, err := history.Append(os.Getenv(childHistory))
	if err != nil {
		t.Fatal(err)
	}
	recorder := history.Recorder{Out: file}
	client := point.Client(redis.NewClient(&redis.Options{Addr: addr}))
	store := must[*offset.Redis](t)(offset.NewRedis(client, ""))
	name := fmt.Sprint("child ", os.Getpid())
	consumer := must[*stream.Consumer[order]](t)(stream.NewConsumer(client, orders, recorder.Store(name, store),
		func(context.Context, *stream.Message[order]) error {
			point.Pass("handling")
			return nil
		}, quietly, stream.WithReadCount(10), stream.WithMiddleware(recorder.Middleware(name))))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // without a kill
	defer cancel()
	if err := consumer.Run(ctx); err != nil {
		t.Error(err)
	}
}

// A test binary that is killed leaves no server behind.
func TestServersDieWithTheirTest(t *testing.T) {
	t.Parallel()
	if os.Getenv(childServes) != "" {
		fmt.Println("serves at", streamtest.StartRedis(t).Addr, ".")
		<-t.Context().Done() // until the child is killed
		return
	}
	streamtest.StartRedis(t) // skips the test without a redis-server
	child := streamtest.StartChild(t, childServes+"=yes")
	child.AwaitOutput(" .\n")
	_, rest, _ := strings.Cut(child.Output(), "serves at ")
	addr, _, _ := strings.Cut(rest, " ")
	dials := func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}
	if !dials() {
		t.Fatalf("there is no server at %q", addr)
	}
	child.Kill()
	streamtest.Await(t, "the server is gone", func() bool { return !dials() })
}

func TestChildIsFrozen(t *testing.T) {
	t.Parallel()
	if os.Getenv(childServes) != "" {
		for n := range 1_000_000 {
			fmt.Println("alive", n)
			time.Sleep(time.Millisecond)
		}
		return
	}
	child := streamtest.StartChild(t, childServes+"=yes")
	child.AwaitOutput("alive 3")
	child.Freeze()
	said := ""
	streamtest.Await(t, "what it had said is read", func() bool {
		before := said
		said = child.Output()
		return before == said
	})
	streamtest.StartRedis(t) // this takes a while
	if more := strings.TrimPrefix(child.Output(), said); more != "" {
		t.Errorf("a frozen child says %q", more)
	}
	child.Thaw()
	streamtest.Await(t, "it goes on", func() bool { return len(child.Output()) > len(said) })
}

func TestKillPointsAreChecked(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"x", "x@", "x@0", "x@-1", "x@y"} {
		if _, err := streamtest.ParseKillPoint(text); err == nil {
			t.Errorf("%q is taken for a kill point", text)
		}
	}
}
