package stream_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// longestStop limits a stop on a server that stands still, with time to spare for a loaded
// machine.
const longestStop = 1200*time.Millisecond + 300*time.Millisecond

// A server that stands still keeps nothing from stopping, in either mode, alone and in a
// Runner, at the start, when idle and with something to settle, wherever the offsets are.
func TestStopsOnAServerThatStandsStill(t *testing.T) {
	t.Parallel()
	elsewhere := inLogMode("log, offsets elsewhere", func(testing.TB, redis.UniversalClient) offset.Store { return &offset.Memory{} })
	mirrored := inLogMode("log, offsets mirrored", func(t testing.TB, client redis.UniversalClient) offset.Store {
		t.Helper()
		store, err := offset.NewRedis(client, "")
		if err != nil {
			t.Fatal(err)
		}
		mirror, err := stream.NewMirror(client, orders.Name, store)
		if err != nil {
			t.Fatal(err)
		}
		return mirror
	})
	for _, mode := range append(bothModes(), elsewhere, mirrored) {
		for _, many := range []int{0, 20} { // 0 is without a Runner
			for _, when := range []string{"at the start", "idle", "with something to settle"} {
				t.Run(fmt.Sprintf("%s, %d in a Runner, %s", mode.name, many, when), func(t *testing.T) {
					t.Parallel()
					server := streamtest.StartRedis(t)
					client := server.Client()
					var begun atomic.Int64
					release := make(chan struct{})
					handle := func(context.Context, *stream.Message[order]) error {
						begun.Add(1)
						if when != "idle" {
							<-release
						}
						return nil
					}
					var run runner
					names := []string{orders.Name}
					if many == 0 {
						run = mode.make(t, client, orders.Name, handle)
					} else {
						r := &stream.Runner{}
						names = topicNames(many)
						for _, name := range names {
							r.Add(mode.make(t, client, name, handle))
						}
						run = r
					}
					if when == "at the start" {
						server.Freeze()
					}
					for _, name := range names {
						if when != "at the start" {
							addTo(t, client, name, 1)
						}
					}
					stop := start(t, run)
					if when == "at the start" {
						pass(300 * time.Millisecond)
					} else {
						eventually(t, "all have begun", func() bool { return begun.Load() == int64(len(names)) })
						if when == "idle" {
							pass(300 * time.Millisecond) // all is settled, and read again
						}
						server.Freeze()
					}
					close(release)
					begin := time.Now()
					err := stop()
					took := time.Since(begin)
					t.Logf("it took %v: %.100v", took, err)
					if took > longestStop {
						t.Errorf("it took %v to stop: %v", took, err)
					}
					nothing := when == "at the start" || when == "idle" && mode.name != "group" || mode.name == elsewhere.name
					if nothing != (err == nil) {
						t.Errorf("Run returned %v", err)
					}
				})
			}
		}
	}
}

// pass lets real time pass, where something has to happen on a server in it.
func pass(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
}

// One server stands still: the topics on another one go on at their rate, in one Runner.
// Each limit of a Runner is one for each server.
func TestAServerThatStandsStillHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	for _, mode := range bothModes() {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			still, well := streamtest.StartRedis(t), streamtest.StartRedis(t)
			var r stream.Runner
			var beside Counts
			for _, name := range topicNames(20) {
				r.Add(mode.make(t, still.Client(), name, beside.Handle))
				addTo(t, still.Client(), name, 1)
			}
			latency := newLatency()
			names := topicNames(5)
			client := well.Client()
			for _, name := range names {
				r.Add(mode.make(t, client, name, latency.Handle))
			}
			start(t, &r)
			eventually(t, "all run", func() bool { return beside.distinct() == 20 })
			before, _ := latency.measure(t, client, names, time.Second)
			for _, name := range topicNames(20) {
				addTo(t, still.Client(), name, 1)
			}
			still.Freeze()
			after, bare := latency.measure(t, client, names, 6*time.Second)
			t.Logf("the longest of a delivery took %v before, and %v beside a server that stands still; of a bare loop %v", before, after, bare)
			if after > bare+500*time.Millisecond {
				t.Errorf("a delivery took %v beside a server that stands still, %v before, and %v of a bare loop", after, before, bare)
			}
			still.Thaw()
			eventually(t, "it goes on", func() bool { return beside.distinct() == 40 })
		})
	}
}

// In a cluster each node is a server.
func TestANodeThatStandsStillHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	for _, mode := range bothModes() {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			// No other node takes over meanwhile.
			cluster := streamtest.StartCluster(t, "--cluster-node-timeout", "60000", "--cluster-require-full-coverage", "no")
			client := cluster.Client()
			still := cluster.Primary("{still}")
			tag := "well"
			for i := 0; cluster.Primary("{"+tag+"}") == still; i++ {
				tag = fmt.Sprint("well", i)
			}
			var r stream.Runner
			var beside Counts
			on := func(tag string, n int) (names []string) {
				for i := range n {
					names = append(names, fmt.Sprintf("{%s}:%d", tag, i))
				}
				return names
			}
			memory := inLogMode("", func(testing.TB, redis.UniversalClient) offset.Store { return &offset.Memory{} })
			if mode.name == "log" {
				mode = memory // the hash with the offsets is on one node
			}
			for _, name := range on("still", 10) {
				r.Add(mode.make(t, client, name, beside.Handle))
				addTo(t, client, name, 1)
			}
			latency := newLatency()
			names := on(tag, 5)
			for _, name := range names {
				r.Add(mode.make(t, client, name, latency.Handle))
			}
			start(t, &r)
			eventually(t, "all run", func() bool { return beside.distinct() == 10 })
			before, _ := latency.measure(t, client, names, time.Second)
			for _, name := range on("still", 10) {
				addTo(t, client, name, 1)
			}
			still.Freeze()
			defer still.Thaw()
			after, bare := latency.measure(t, client, names, 6*time.Second)
			t.Logf("the longest of a delivery took %v before, and %v beside a node that stands still; of a bare loop %v", before, after, bare)
			if after > bare+500*time.Millisecond {
				t.Errorf("a delivery took %v beside a node that stands still, %v before, and %v of a bare loop", after, before, bare)
			}
		})
	}
}

// latency measures how long deliveries take.
type latency struct {
	handled chan string
}

func newLatency() *latency { return &latency{handled: make(chan string, 1000)} }

func (l *latency) Handle(_ context.Context, msg *stream.Message[order]) error {
	l.handled <- msg.Stream + msg.ID
	return nil
}

// measure adds an entry to each of the streams, again and again, and returns the longest
// that it took until all were handled. bare is the longest that a loop of XADD and XREAD
// took beside it, on the same server: a busy machine holds up that, too.
func (l *latency) measure(t *testing.T, client redis.UniversalClient, names []string, d time.Duration) (longest, bare time.Duration) {
	t.Helper()
	over := make(chan struct{})
	looped := make(chan time.Duration)
	go func() { looped <- bareRounds(t, client, names[0]+":bare", len(names), over) }()
	for begin := time.Now(); time.Since(begin) < d; pass(20 * time.Millisecond) {
		at := time.Now()
		var added []string
		for _, name := range names {
			added = append(added, name+addTo1(t, client, name, "x"))
		}
		for range names {
			select {
			case one := <-l.handled:
				if !slices.Contains(added, one) {
					t.Fatalf("%s was handled", one)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("nothing was delivered for 20s")
			}
		}
		longest = max(longest, time.Since(at))
	}
	close(over)
	return longest, <-looped
}

// bareRounds adds n entries to a stream and reads them, again and again until over is closed,
// and returns the longest that it took.
func bareRounds(t *testing.T, client redis.UniversalClient, name string, n int, over <-chan struct{}) (longest time.Duration) {
	ctx := context.WithoutCancel(t.Context())
	add := func() (id string) {
		id, err := client.XAdd(ctx, &redis.XAddArgs{Stream: name, Values: []string{"a", "b"}}).Result()
		if err != nil {
			t.Errorf("a bare loop: %v", err)
		}
		return id
	}
	for from := add(); ; pass(20 * time.Millisecond) {
		select {
		case <-over:
			return longest
		default:
		}
		at := time.Now()
		for range n {
			add()
		}
		read, err := client.XRead(ctx, &redis.XReadArgs{Streams: []string{name, from}, Block: -1}).Result()
		if err != nil || len(read[0].Messages) != n {
			t.Errorf("a bare loop has read something else: %v", err)
			return longest
		}
		from = read[0].Messages[n-1].ID
		longest = max(longest, time.Since(at))
	}
}
