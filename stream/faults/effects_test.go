package faults_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// The keys of effects, as the README's table of rights calls them.
const (
	effectsOutput   = "O"
	effectsCounters = "C"
)

// derived is what a handler publishes for a transfer: the ID of its entry.
type derived struct {
	Of string `mapstructure:"of" validate:"required"`
}

var derivations = stream.Topic[derived]{Name: effectsOutput}

// effectsClaimIdle is the claim idle time of the consumers with effects.
const effectsClaimIdle = 400 * time.Millisecond

// effectsForms are consumers with effects, whose processes have names of the engine's making, or
// all one name.
var effectsForms = map[string][]stream.Option{
	"own names": {stream.WithConsumerName("")},
	"one name":  {stream.WithConsumerName("twin")},
}

// Processes of consumers with effects are killed and frozen, Redis is killed, connections and
// replies are cut: each entry has its effects once, or is a dead letter.
func TestEffectsUnderFaults(t *testing.T) {
	t.Parallel()
	for _, form := range slices.Sorted(maps.Keys(effectsForms)) {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			if addr := os.Getenv(childAddr); addr != "" {
				deriveUntilKilled(t, addr, effectsForms[form], false)
				return
			}
			breakEffects(t)
		})
	}
}

// The control: a handler that publishes by itself publishes twice, if its process is killed before
// the entry is acked.
func TestWithoutEffectsOutputsRepeat(t *testing.T) {
	t.Parallel()
	if addr := os.Getenv(childAddr); addr != "" {
		deriveUntilKilled(t, addr, nil, true)
		return
	}
	e := newEffectsTrial(t)
	e.publish(100)
	streamtest.StartChild(t, childAddr+"="+e.server.Addr, childPoint+"=before xack@1").AwaitKilled()
	e.start(0, e.server.Addr)
	e.awaitSettled()
	if found := e.account(); found.repeated == 0 || found.missing != 0 {
		t.Errorf("%+v, want outputs that repeat, and no other finding", found)
	}
}

// effectsTrial is one test of consumers with effects.
type effectsTrial struct {
	t         *testing.T
	server    *streamtest.Redis
	admin     *redis.Client
	producer  *stream.Producer[transfer]
	children  [3]*streamtest.Child
	published int
}

func newEffectsTrial(t *testing.T) *effectsTrial {
	t.Helper()
	args := append(withUsers(t, transfers.Name, "with `WithEffects`, for outputs `O` and counters `C`"), "--appendonly", "yes", "--appendfsync", "always")
	e := &effectsTrial{t: t, server: streamtest.StartRedis(t, args...)}
	e.admin = e.server.Client()
	if err := e.admin.XGroupCreateMkStream(t.Context(), transfers.Name, group, "0").Err(); err != nil {
		t.Fatal(err)
	}
	var err error
	if e.producer, err = stream.NewProducer(e.admin, transfers); err != nil {
		t.Fatal(err)
	}
	return e
}

// start starts a child in the place of another one.
func (e *effectsTrial) start(i int, addr string) {
	e.children[i] = streamtest.StartChild(e.t, childAddr+"="+addr)
}

// publish publishes transfers, some of them twice if Redis is killed.
func (e *effectsTrial) publish(n int) {
	values := make([]transfer, n)
	for i := range values {
		values[i] = transfer{Number: e.published + i, Account: accountOf(i), Secret: canary}
	}
	e.published += n
	if _, err := e.producer.PublishAll(e.t.Context(), values); err != nil {
		e.t.Fatal(err)
	}
}

// awaitSettled waits until nothing is pending, and all was read.
func (e *effectsTrial) awaitSettled() {
	e.t.Helper()
	until := time.Now().Add(time.Duration(pick(60, 600)) * time.Second)
	for {
		groups, err := e.admin.XInfoGroups(e.t.Context(), transfers.Name).Result()
		if err == nil && len(groups) == 1 && groups[0].Pending == 0 && groups[0].Lag == 0 {
			return
		}
		if time.Now().After(until) {
			pending, _ := e.admin.XPendingExt(e.t.Context(), &redis.XPendingExtArgs{Stream: transfers.Name, Group: group, Start: "-", End: "+", Count: 10}).Result()
			for _, child := range e.children {
				if child != nil {
					e.t.Log(child.Output())
				}
			}
			e.t.Fatalf("not everything is settled: %+v, %v; pending are %+v", groups, err, pending)
		}
		_ = last(e.t.Context(), 20*time.Millisecond)
	}
}

// effectsFound is what the checker has found.
type effectsFound struct {
	entries, outputs, letters int
	repeated, missing         int
	counted                   string
}

// account compares what was published with the outputs and dead letters, and the counter with the
// outputs.
func (e *effectsTrial) account() (found effectsFound) {
	e.t.Helper()
	ctx, times := e.t.Context(), make(map[string]int)
	outputs, err := e.admin.XRange(ctx, effectsOutput, "-", "+").Result()
	if err != nil {
		e.t.Fatal(err)
	}
	for _, entry := range outputs {
		times[fmt.Sprint(entry.Values["of"])]++
	}
	letters, err := e.admin.XRange(ctx, stream.DeadLetterStream(transfers.Name), "-", "+").Result()
	if err != nil {
		e.t.Fatal(err)
	}
	for _, entry := range letters {
		times[fmt.Sprint(entry.Values["millrace.id"])]++
	}
	ids := streamtest.EntryIDs(e.t, e.admin, transfers.Name)
	for _, id := range ids {
		switch n := times[id]; {
		case n == 0:
			found.missing++
		case n > 1:
			found.repeated += n - 1
		}
	}
	found.entries, found.outputs, found.letters = len(ids), len(outputs), len(letters)
	found.counted = e.admin.HGet(ctx, effectsCounters, "all").Val()
	return found
}

func breakEffects(t *testing.T) {
	t.Helper()
	begun, dice := time.Now(), dice(t)
	e := newEffectsTrial(t)
	proxy := streamtest.StartProxy(t, e.server.Addr)
	for i := range e.children {
		e.start(i, proxy.Addr)
	}
	faults := make(map[string]int)
	for range pick(14, 500) {
		e.publish(pick(100, 200))
		faults[e.fault(proxy, dice)]++
	}
	e.awaitSettled()
	found := e.account()
	if found.repeated != 0 || found.missing != 0 || found.counted != fmt.Sprint(found.outputs) || found.entries < e.published {
		t.Errorf("%+v, want each entry once in the outputs or the dead letters, and the counter at the number of outputs", found)
		for _, child := range e.children {
			t.Log(child.Output())
		}
	}
	for _, refusal := range refusals(t, e.admin) {
		t.Error("refused: ", refusal)
	}
	t.Logf("%+v; %v; %v", found, faults, time.Since(begun).Round(time.Second))
}

// fault injects one fault, while entries are at work.
func (e *effectsTrial) fault(proxy *streamtest.Proxy, dice *rand.Rand) (kind string) {
	i := dice.IntN(len(e.children))
	_ = last(e.t.Context(), time.Duration(dice.IntN(60))*time.Millisecond)
	switch n := dice.IntN(10); {
	case n < 3:
		e.children[i].Kill()
		e.start(i, proxy.Addr)
		return "killed"
	case n < 5:
		e.children[i].Freeze()
		e.publish(50) // what the others do meanwhile
		_ = last(e.t.Context(), 2*effectsClaimIdle)
		e.children[i].Thaw()
		return "frozen"
	case n < 6:
		e.server.Kill()
		e.server.Start()
		return "redis killed"
	case n < 8:
		proxy.Reset()
		proxy.Pass()
		return "connections cut"
	default:
		proxy.CutReply("\r\nof\r\n", int64(dice.IntN(2)))
		return "reply of a commit cut"
	}
}

// errRetried is a failure that a handler has once.
var errRetried = errors.New("once more")

// deriveUntilKilled is what a child does. By itself, the handler publishes at once.
func deriveUntilKilled(t *testing.T, addr string, opts []stream.Option, byItself bool) {
	t.Helper()
	kill, err := streamtest.ParseKillPoint(os.Getenv(childPoint))
	if err != nil {
		t.Fatal(err)
	}
	client := kill.Client(as(t, "group", redis.Options{Addr: addr}))
	output, err := stream.NewOutput(derivations)
	if err != nil {
		t.Fatal(err)
	}
	counters, err := stream.NewCounters(effectsCounters)
	if err != nil {
		t.Fatal(err)
	}
	producer, err := stream.NewProducer(client, derivations)
	if err != nil {
		t.Fatal(err)
	}
	handle := func(ctx context.Context, msg *stream.Message[transfer]) error {
		value := derived{Of: msg.ID}
		if byItself {
			_, err := producer.Publish(ctx, value)
			return err
		}
		if err := errors.Join(output.Publish(ctx, msg, value), counters.Add(ctx, msg, "all", 1)); err != nil {
			return err
		}
		switch number := msg.Value.Number; {
		case number%89 == 7 && msg.Deliveries == 1:
			return errRetried
		case number%97 == 13:
			return stream.Permanent(errors.New("hopeless"))
		}
		return nil
	}
	opts = append([]stream.Option{
		stream.WithReadCount(50), stream.WithConcurrency(4), stream.WithClaimIdle(effectsClaimIdle),
		stream.WithBackoff(stream.Backoff{Min: 5 * time.Millisecond, Max: 20 * time.Millisecond}),
		stream.WithMiddleware(middleware.DeadLetter(middleware.DeadLetterConfig{})),
	}, opts...)
	if !byItself {
		opts = append(opts, stream.WithEffects(output, counters))
	}
	consumer, err := stream.NewGroupConsumer(client, transfers, group, handle, opts...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute) // should it not be killed
	defer stop()
	if err := consumer.Run(ctx); err != nil {
		t.Error(err)
	}
}
