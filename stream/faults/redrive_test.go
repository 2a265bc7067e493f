package faults_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	operate "millrace/stream/admin"
	"millrace/stream/streamtest"
)

// redriveTopic is what letters are redriven to.
const redriveTopic = "redriven"

var redriveLetters = stream.DeadLetterStream(redriveTopic)

// redrivers is how many people redrive at once.
const redrivers = 4

// Several redrivers work on the same letters while their connections are cut, before a command
// arrives and after it has run: nothing is lost, nothing is there twice, and the numbers that
// they return are those of the server.
func TestRedriveUnderCuts(t *testing.T) {
	t.Parallel()
	dice := dice(t)
	letters, cuts := pick(4000, 20_000), pick(40, 150)
	for run := range pick(1, 3) {
		server := streamtest.StartRedis(t, "--appendfsync", "no")
		client := server.Client()
		writeLetters(t, client, letters)
		left := &atomic.Int64{}
		left.Store(int64(cuts))
		plans := make([]*operate.Plan[operate.Redriven], redrivers)
		for i := range plans {
			proxy := streamtest.StartProxy(t, server.Addr)
			plans[i] = planRedrive(t, proxy.Client())
			cutNow := dice.Uint64()
			proxy.OnRequest("evalsha", cutter(proxy, left, rand.New(rand.NewPCG(cutNow, uint64(i)))))
		}
		var moved, unsure atomic.Int64
		var all sync.WaitGroup
		for _, p := range plans {
			all.Go(func() {
				done, err := p.Do(t.Context(), operate.By("ada", "a test"))
				if err != nil || done.Left != 0 || done.Moved+done.Gone != int64(letters) {
					t.Errorf("%+v, %v", done, err)
				}
				moved.Add(done.Moved)
				unsure.Add(done.Unsure)
			})
		}
		all.Wait()
		done := int64(cuts) - max(0, left.Load())
		lost, twice := countRedriven(t, client, letters)
		there := client.XLen(t.Context(), redriveLetters).Val()
		if lost > 0 || twice > 0 || there > 0 {
			t.Errorf("of %d letters %d are lost, %d are entries twice, %d are letters still", letters, lost, twice, there)
		}
		if m, u := moved.Load(), unsure.Load(); m < int64(letters) || m-u > int64(letters) || done < int64(cuts) {
			t.Errorf("%d letters were moved, as %d redrivers say, %d of these perhaps by others; %d cuts", m, redrivers, u, done)
		}
		t.Logf("run %d: %d letters, %d cuts; the redrivers say %d moved, %d of these perhaps by others", run+1, letters, done, moved.Load(), unsure.Load())
	}
}

// cutter returns a function that cuts the connection of some of the requests, as long as there
// are cuts left: before the request arrives, or after it has run.
func cutter(proxy *streamtest.Proxy, left *atomic.Int64, dice *rand.Rand) func() {
	var alone sync.Mutex
	return func() {
		alone.Lock()
		defer alone.Unlock()
		if dice.IntN(3) != 0 || left.Add(-1) < 0 {
			return
		}
		if dice.IntN(2) == 0 {
			proxy.Cut(streamtest.ToServer, 0)
		} else {
			proxy.CutReply("evalsha", 0)
		}
	}
}

func planRedrive(t testing.TB, client redis.UniversalClient) *operate.Plan[operate.Redriven] {
	t.Helper()
	a, err := operate.New(client, operate.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.Redrive(t.Context(), redriveTopic, operate.RedriveConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// lettersScript writes letters from the number in ARGV[1] up to before that in ARGV[2].
const lettersScript = `
for i = ARGV[1], ARGV[2] - 1 do
  redis.call('XADD', KEYS[1], '*', 'n', i, 'account', 'a-' .. i % 97, 'text', 'some text of an entry',
    'millrace.stream', ARGV[3], 'millrace.id', '1700000000000-' .. i, 'millrace.group', 'billing', 'millrace.attempts', '5',
    'millrace.error', 'handler: dial tcp 10.0.0.1:5432: connection refused', 'millrace.time', '2026-11-28T10:00:00.123456789Z')
end`

func writeLetters(t testing.TB, client *redis.Client, n int) {
	t.Helper()
	for from := 0; from < n; from += 5000 {
		err := client.Eval(t.Context(), lettersScript, []string{redriveLetters}, from, min(n, from+5000), redriveTopic).Err()
		if err != nil && err != redis.Nil { //nolint:errorlint // go-redis returns it as it is
			t.Fatal(err)
		}
	}
}

// countRedriven returns how many of the letters are no entries, and how many are more than
// one.
func countRedriven(t testing.TB, client *redis.Client, n int) (lost, twice int) {
	t.Helper()
	times := make([]int, n)
	for from := "-"; ; {
		page, err := client.XRangeN(t.Context(), redriveTopic, from, "+", 5000).Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range page {
			i, err := strconv.Atoi(fmt.Sprint(entry.Values["n"]))
			if err != nil {
				t.Fatal(err)
			}
			times[i]++
		}
		if len(page) < 5000 {
			break
		}
		from = "(" + page[len(page)-1].ID
	}
	for _, count := range times {
		if count == 0 {
			lost++
		} else if count > 1 {
			twice++
		}
	}
	return lost, twice
}

// A large redrive, as fast as it goes, is no burden for a consumer of another topic on the same
// server, whose handler takes some milliseconds: its latency, at the 99th percentile, does not
// double.
//
// Not parallel to other tests, because it measures a time. Only the long form judges it, as it
// takes a machine that does nothing else.
func TestRedriveBesideAConsumer(t *testing.T) {
	letters := pick(50_000, 1_000_000)
	server := streamtest.StartRedis(t, "--appendfsync", "no")
	client := server.Client()
	writeLetters(t, client, letters)
	live := startLive(t, client)
	measured := pick(200, 3000)
	before := live.percentile(t, measured)
	plan := planRedrive(t, client)
	redriving := make(chan error, 1)
	begun := time.Now()
	go func() {
		_, err := plan.Do(context.WithoutCancel(t.Context()), operate.By("ada", "a test"))
		redriving <- err
	}()
	during := live.percentile(t, measured)
	if err := <-redriving; err != nil {
		t.Error(err)
	}
	took := time.Since(begun)
	lost, twice := countRedriven(t, client, letters)
	t.Logf("%d letters in %v; the 99th percentile of a consumer was %v, and %v meanwhile", letters, took, before, during)
	if lost+twice > 0 {
		t.Errorf("%d lost, %d twice", lost, twice)
	}
	if *long && during > 2*before {
		t.Errorf("the 99th percentile was %v, and %v meanwhile", before, during)
	}
}

// liveTopic is a consumer at work, and its producer.
type liveTopic struct {
	producer *stream.Producer[liveEvent]
	latency  chan time.Duration
}

type liveEvent struct {
	At int64 `mapstructure:"at"`
}

// liveWork is how long its handler takes.
const liveWork = 5 * time.Millisecond

func startLive(t testing.TB, client *redis.Client) *liveTopic {
	t.Helper()
	topic := stream.Topic[liveEvent]{Name: "live"}
	l := &liveTopic{latency: make(chan time.Duration, 1)}
	consumer, err := stream.NewGroupConsumer(client, topic, "live", func(_ context.Context, msg *stream.Message[liveEvent]) error {
		work := time.NewTimer(liveWork)
		defer work.Stop()
		<-work.C
		l.latency <- time.Duration(time.Now().UnixNano() - msg.Value.At)
		return nil
	}, stream.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	if l.producer, err = stream.NewProducer(client, topic); err != nil {
		t.Fatal(err)
	}
	instance := streamtest.NewInstance(t, client)
	instance.Start(consumer)
	t.Cleanup(func() {
		if err := instance.Stop(); err != nil {
			t.Error(err)
		}
	})
	l.percentile(t, 100)
	return l
}

// percentile publishes events one after the other, and returns the 99th percentile of the time
// until they are handled.
func (l *liveTopic) percentile(t testing.TB, n int) time.Duration {
	t.Helper()
	all := make([]time.Duration, 0, n)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for range n {
		<-tick.C
		if _, err := l.producer.Publish(t.Context(), liveEvent{At: time.Now().UnixNano()}); err != nil {
			t.Fatal(err)
		}
		all = append(all, <-l.latency)
	}
	slices.Sort(all)
	return all[n*99/100]
}
