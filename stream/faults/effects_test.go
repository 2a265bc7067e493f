package faults_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/offset"
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

// effectsForm is a kind of consumers with effects.
type effectsForm struct {
	mode mode
	opts []stream.Option
}

// effectsForms are the consumers of a group, whose processes have names of the engine's making, or
// all one name, one in log mode, and a relay.
var effectsForms = map[string]effectsForm{
	"own names": {groupMode, []stream.Option{stream.WithConsumerName("")}},
	"one name":  {groupMode, []stream.Option{stream.WithConsumerName("twin")}},
	"log":       {logMode, nil},
	"relay":     {relayMode, nil},
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
			breakEffects(t, effectsForms[form].mode)
		})
	}
}

// The control: a handler that publishes by itself publishes twice, if its process is killed before
// the entry is settled.
func TestWithoutEffectsOutputsRepeat(t *testing.T) {
	t.Parallel()
	for _, m := range []mode{logMode, groupMode} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			if addr := os.Getenv(childAddr); addr != "" {
				deriveUntilKilled(t, addr, effectsForm{mode: m}, true)
				return
			}
			e := newEffectsTrial(t, m)
			e.publish(100)
			streamtest.StartChild(t, childAddr+"="+e.addrs, childPoint+"=published@5").AwaitKilled()
			e.start(0)
			e.awaitSettled()
			if found := e.account(); found.repeated == 0 || found.missing != 0 {
				t.Errorf("%+v, want outputs that repeat, and no other finding", found)
			}
		})
	}
}

// effectsTrial is one test of consumers with effects.
type effectsTrial struct {
	t      *testing.T
	mode   mode
	server *streamtest.Redis
	admin  *redis.Client
	// target has the outputs; it is another server for a relay alone.
	target    *streamtest.Redis
	out       *redis.Client
	addrs     string // of server and, of a relay, target, as the children know them
	producer  *stream.Producer[transfer]
	children  []*streamtest.Child
	replaced  []*streamtest.Child // others have their label now
	published int
	cut       bool // entries are gone with the end of the append-only file
}

func newEffectsTrial(t *testing.T, m mode) *effectsTrial {
	t.Helper()
	rows, children := []string{"with `WithEffects`, for outputs `O` and counters `C`"}, 3
	switch m {
	case logMode:
		rows, children = append(rows, "with `WithEffects` in log mode"), 1
	case relayMode:
		rows, children = nil, 1
	}
	e := &effectsTrial{
		t: t, mode: m, children: make([]*streamtest.Child, children),
		server: streamtest.StartRedis(t, withUsers(t, transfers.Name, rows...)...),
	}
	e.admin, e.addrs = e.server.Client(), e.server.Addr
	e.target, e.out = e.server, e.admin
	if m == relayMode {
		e.target = streamtest.StartRedis(t, withUsers(t, transfers.Name, "a `Relay` to `O`, at the target")...)
		e.out = e.target.Client()
	}
	var err error
	if m == groupMode {
		err = e.admin.XGroupCreateMkStream(t.Context(), transfers.Name, group, "0").Err()
	}
	if err != nil {
		t.Fatal(err)
	}
	if e.producer, err = stream.NewProducer(e.admin, transfers); err != nil {
		t.Fatal(err)
	}
	return e
}

// start starts a child in the place of another one.
func (e *effectsTrial) start(i int) {
	e.children[i] = streamtest.StartChild(e.t, childAddr+"="+e.addrs)
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

// awaitSettled waits until all was read and is settled.
func (e *effectsTrial) awaitSettled() {
	e.t.Helper()
	until := time.Now().Add(time.Duration(pick(60, 600)) * time.Second)
	for {
		settled, state := e.isSettled()
		if settled {
			return
		}
		if time.Now().After(until) {
			e.logChildren()
			e.t.Fatal("not everything is settled: ", state)
		}
		_ = last(e.t.Context(), 20*time.Millisecond)
	}
}

// isSettled reports whether all was read and is settled, and what there is, to be told.
func (e *effectsTrial) isSettled() (settled bool, state string) {
	ctx := e.t.Context()
	if e.mode != groupMode {
		offsets := "millrace:offsets"
		if e.mode == relayMode {
			offsets = stream.RelayOffsets(effectsOutput)
		}
		info, err := e.admin.XInfoStream(ctx, transfers.Name).Result()
		at, atErr := e.out.HGet(ctx, offsets, transfers.Name).Result()
		return err == nil && atErr == nil && at == info.LastGeneratedID, fmt.Sprint("offset ", at, ", ", info, err, atErr)
	}
	groups, err := e.admin.XInfoGroups(ctx, transfers.Name).Result()
	pending, _ := e.admin.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: transfers.Name, Group: group, Start: "-", End: "+", Count: 10}).Result()
	return err == nil && len(groups) == 1 && groups[0].Pending == 0 && groups[0].Lag == 0, fmt.Sprintf("%+v, %v; pending are %+v", groups, err, pending)
}

func (e *effectsTrial) logChildren() {
	for _, child := range append(e.children, e.replaced...) {
		if child != nil {
			e.t.Log(child.Output())
		}
	}
}

// effectsFound is what the checker has found.
type effectsFound struct {
	entries, outputs, letters int
	repeated, missing         int
	disordered                int // in log mode
	counted                   string
}

// account compares what was published with the outputs and dead letters, and the counter with the
// outputs.
func (e *effectsTrial) account() (found effectsFound) {
	e.t.Helper()
	ctx, times := e.t.Context(), make(map[string]int)
	outputs, err := e.out.XRange(ctx, effectsOutput, "-", "+").Result()
	if err != nil {
		e.t.Fatal(err)
	}
	before := ""
	for _, entry := range outputs {
		of := fmt.Sprint(entry.Values["of"])
		if e.mode == relayMode {
			of = fmt.Sprint(entry.Values[stream.HeaderSourceID])
		}
		times[of]++
		if e.mode != groupMode && compare(of, before) <= 0 {
			found.disordered++
		}
		before = of
	}
	letters, err := e.admin.XRange(ctx, stream.DeadLetterStream(transfers.Name), "-", "+").Result()
	if err != nil {
		e.t.Fatal(err)
	}
	written := make(map[string]bool)
	for _, entry := range letters {
		of := fmt.Sprint(entry.Values["millrace.id"])
		if e.mode == logMode && written[of] {
			continue // they are written before the offset moves, and repeat if that is lost
		}
		written[of] = true
		times[of]++
	}
	entries, err := e.admin.XRange(ctx, transfers.Name, "-", "+").Result()
	if err != nil {
		e.t.Fatal(err)
	}
	for _, entry := range entries {
		number, _ := strconv.Atoi(fmt.Sprint(entry.Values["number"]))
		switch n := times[entry.ID]; {
		case n == 0 && e.cut && isHopeless(number):
			// The letter was in the end of the file that was cut off, and nothing else: as in a
			// failover, which consumers without effects do not notice either.
		case n == 0:
			found.missing++
		case n > 1:
			found.repeated += n - 1
		}
	}
	found.entries, found.outputs, found.letters = len(entries), len(outputs), len(letters)
	if found.counted = e.admin.HGet(ctx, effectsCounters, "all").Val(); e.mode == relayMode {
		found.counted = fmt.Sprint(found.outputs) // it counts nothing
	}
	return found
}

func breakEffects(t *testing.T, m mode) {
	t.Helper()
	begun, dice := time.Now(), dice(t)
	e := newEffectsTrial(t, m)
	proxies := []*streamtest.Proxy{streamtest.StartProxy(t, e.server.Addr)}
	e.addrs = proxies[0].Addr
	if e.target != e.server {
		proxies = append(proxies, streamtest.StartProxy(t, e.target.Addr))
		e.addrs += "," + proxies[1].Addr
	}
	for i := range e.children {
		e.start(i)
	}
	var urn []effectsFault
	kinds := e.kinds(proxies, dice)
	for _, kind := range kinds {
		for range kind.often {
			urn = append(urn, kind)
		}
	}
	faults := make(map[string]int)
	for n := range pick(14, 500) {
		e.publish(pick(100, 200))
		_ = last(e.t.Context(), time.Duration(dice.IntN(60))*time.Millisecond)
		kind := urn[dice.IntN(len(urn))]
		if n < len(kinds) {
			kind = kinds[n] // each once
		}
		kind.do(dice.IntN(len(e.children)))
		faults[kind.name]++
	}
	e.awaitSettled()
	found := e.account()
	if found.repeated != 0 || found.missing != 0 || found.disordered != 0 || found.counted != fmt.Sprint(found.outputs) || found.entries < e.published && !e.cut {
		t.Errorf("%+v, want each entry once in the outputs or the dead letters, and the counter at the number of outputs", found)
		e.logChildren()
	}
	for _, child := range e.replaced {
		child.AwaitOutput(fenced)
	}
	for _, refusal := range append(refusals(t, e.admin), refusals(t, e.out)...) {
		t.Error("refused: ", refusal)
	}
	t.Logf("%+v; %v; %v", found, faults, time.Since(begun).Round(time.Second))
}

// effectsFault is a kind of fault, which is injected into a child or all of them while entries are
// at work.
type effectsFault struct {
	name  string
	often int
	do    func(i int)
}

func (e *effectsTrial) kinds(proxies []*streamtest.Proxy, dice *rand.Rand) []effectsFault {
	servers := []*streamtest.Redis{e.server, e.target} // the same, or each in turn
	commit := "\r\nof\r\n"
	if e.mode == relayMode {
		commit = stream.HeaderSourceID
	}
	both := []effectsFault{
		{"killed", 3, func(i int) {
			e.children[i].Kill()
			e.start(i)
		}},
		{"redis killed", 1, func(int) {
			server := servers[dice.IntN(2)]
			server.Kill()
			server.Start()
		}},
		{"connections cut", 2, func(int) {
			proxy := proxies[dice.IntN(len(proxies))]
			proxy.Reset()
			proxy.Pass()
		}},
		{"reply of a commit cut", 2, func(int) { proxies[len(proxies)-1].CutReply(commit, int64(dice.IntN(2))) }},
	}
	if e.mode == groupMode {
		return append(both, effectsFault{"frozen", 2, func(i int) {
			e.children[i].Freeze()
			e.publish(50) // what the others do meanwhile
			_ = last(e.t.Context(), 2*effectsClaimIdle)
			e.children[i].Thaw()
		}})
	}
	return append(both,
		effectsFault{"frozen, and replaced", 2, func(i int) {
			old := e.children[i]
			old.AwaitOutput(running) // or it would be the last to begin
			old.Freeze()
			e.start(i)
			e.publish(50)
			e.children[i].AwaitOutput(running)
			old.Thaw()
			e.replaced = append(e.replaced, old)
		}},
		effectsFault{"end of the append-only file cut off", 1, func(int) {
			// They would not know whether they were replaced, or the server has fallen back.
			for _, child := range e.replaced {
				child.AwaitOutput(fenced)
			}
			e.cutAppendOnlyFile(servers[dice.IntN(2)], int64(dice.IntN(40_000)))
		}})
}

// cutAppendOnlyFile takes up to n bytes off the end of the append-only file, as a failover may lose
// the last writes. The file is written anew then: Redis 7.0 would execute the first half of a script
// that was cut with its next start.
func (e *effectsTrial) cutAppendOnlyFile(server *streamtest.Redis, n int64) {
	e.t.Helper()
	ctx, admin := e.t.Context(), e.admin
	if server == e.target {
		admin = e.out
	}
	folder := admin.ConfigGet(ctx, "dir").Val()["dir"]
	server.Kill()
	files, err := filepath.Glob(filepath.Join(folder, "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) == 0 {
		e.t.Fatal("no append-only file: ", err)
	}
	newest := files[0]
	size := func(file string) (n int64, at time.Time) {
		info, err := os.Stat(file)
		if err != nil {
			e.t.Fatal(err)
		}
		return info.Size(), info.ModTime()
	}
	for _, file := range files {
		_, at := size(file)
		if _, best := size(newest); at.After(best) {
			newest = file
		}
	}
	all, _ := size(newest)
	if err := os.Truncate(newest, max(all-n, all/2)); err != nil {
		e.t.Fatal(err)
	}
	e.cut = true
	server.Start()
	rewrites := func() string {
		info := admin.InfoMap(ctx, "persistence")
		return info.Item("Persistence", "aof_rewrites") + info.Item("Persistence", "aof_rewrite_in_progress")
	}
	if err := admin.BgRewriteAOF(ctx).Err(); err != nil {
		e.t.Fatal(err)
	}
	streamtest.Await(e.t, "the append-only file is written anew", func() bool { return rewrites() == "10" })
	// A consumer that is killed before it has noticed that the topic has lost entries, and no commit,
	// would begin at the start.
	e.publish(10)
	e.awaitSettled()
}

// The texts that a child prints.
const (
	running = "consumer runs"
	fenced  = "consumer is fenced"
)

// isHopeless reports whether a transfer becomes a dead letter.
func isHopeless(number int) bool { return number%97 == 13 }

// errRetried is a failure that a handler has once.
var errRetried = errors.New("once more")

// deriveUntilKilled is what a child does. By itself, the handler publishes at once.
func deriveUntilKilled(t *testing.T, addr string, form effectsForm, byItself bool) {
	t.Helper()
	if form.mode == relayMode {
		relayUntilKilled(t, addr)
		return
	}
	kill, err := streamtest.ParseKillPoint(os.Getenv(childPoint))
	if err != nil {
		t.Fatal(err)
	}
	client := as(t, string(form.mode), redis.Options{Addr: addr})
	output, err := stream.NewOutput(derivations)
	if err != nil {
		t.Fatal(err)
	}
	counters, err := stream.NewCounters(effectsCounters)
	if err != nil {
		t.Fatal(err)
	}
	handle := func(ctx context.Context, msg *stream.Message[transfer]) error {
		if err := errors.Join(output.Publish(ctx, msg, derived{Of: msg.ID}), counters.Add(ctx, msg, "all", 1)); err != nil {
			return err
		}
		switch number := msg.Value.Number; {
		case number%89 == 7 && msg.Deliveries == 1:
			return errRetried
		case isHopeless(number):
			return stream.Permanent(errors.New("hopeless"))
		}
		return nil
	}
	opts := append([]stream.Option{
		stream.WithReadCount(50), stream.WithConcurrency(4),
		stream.WithBackoff(stream.Backoff{Min: 5 * time.Millisecond, Max: 20 * time.Millisecond}),
		stream.WithMiddleware(middleware.DeadLetter(middleware.DeadLetterConfig{})),
	}, form.opts...)
	if !byItself {
		opts = append(opts, stream.WithEffects(output, counters))
	} else {
		handle = publishingByItself(t, addr, kill)
	}
	consumer, err := effectsConsumer(client, form.mode, handle, opts)
	if err != nil {
		t.Fatal(err)
	}
	runUntilKilled(t, consumer)
}

func runUntilKilled(t *testing.T, consumer stream.Runnable) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute) // should it not be killed
	defer stop()
	if err := consumer.Run(ctx); errors.Is(err, stream.ErrFenced) {
		fmt.Println(fenced)
	} else if err != nil {
		t.Error(err)
	}
}

// relayUntilKilled is what the child of a relay does.
func relayUntilKilled(t *testing.T, addrs string) {
	t.Helper()
	from, to, _ := strings.Cut(addrs, ",")
	var first sync.Once
	relay, err := stream.NewRelay(
		stream.RelayEnd{Client: as(t, "log", redis.Options{Addr: from}), Stream: transfers.Name},
		stream.RelayEnd{Client: as(t, "log", redis.Options{Addr: to}), Stream: effectsOutput},
		stream.WithReadCount(50), stream.WithCheckpoint(20, 5*time.Millisecond),
		stream.WithMiddleware(func(next stream.EntryHandler) stream.EntryHandler {
			return func(ctx context.Context, entry *stream.Entry) error {
				first.Do(func() { fmt.Println(running) })
				return next(ctx, entry)
			}
		}))
	if err != nil {
		t.Fatal(err)
	}
	runUntilKilled(t, relay)
}

// publishingByItself returns a handler that publishes at once.
func publishingByItself(t *testing.T, addr string, kill *streamtest.KillPoint) stream.Handler[transfer] {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = client.Close() })
	producer, err := stream.NewProducer(client, derivations)
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, msg *stream.Message[transfer]) error {
		_, err := producer.Publish(ctx, derived{Of: msg.ID})
		kill.Pass("published")
		return err
	}
}

func effectsConsumer(client *redis.Client, m mode, handle stream.Handler[transfer], opts []stream.Option) (*stream.Consumer[transfer], error) {
	if m == groupMode {
		return stream.NewGroupConsumer(client, transfers, group, handle, append(opts, stream.WithClaimIdle(effectsClaimIdle))...)
	}
	store, err := offset.NewRedis(client, "")
	if err != nil {
		return nil, err
	}
	var first sync.Once
	return stream.NewConsumer(client, transfers, store, func(ctx context.Context, msg *stream.Message[transfer]) error {
		first.Do(func() { fmt.Println(running) })
		return handle(ctx, msg)
	}, append(opts, stream.WithCheckpoint(20, 5*time.Millisecond))...)
}
