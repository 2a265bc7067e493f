package faults_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
	"millrace/stream/streamtest/history"
)

// The environment of a consumer process.
const (
	childAddr    = "MILLRACE_FAULTS_ADDR"
	childPoint   = "MILLRACE_FAULTS_POINT"   // where it is killed
	childHistory = "MILLRACE_FAULTS_HISTORY" // the file to append to
)

const (
	killedBatch     = 20
	killedClaimIdle = 300 * time.Millisecond
	killedSlow      = 5 * time.Millisecond
)

// killedForm is a consumer in one form: how it works, what order it promises, what
// its window holds by default, and at which points it is killed.
type killedForm struct {
	name        string
	mode        mode
	concurrency int
	order       history.Order
	opts        []stream.Option
	points      []string
}

func (f killedForm) window() int {
	if f.mode == groupMode {
		return 2*killedBatch + f.concurrency
	}
	return 4*killedBatch + f.concurrency
}

func (f killedForm) options() []stream.Option {
	opts := []stream.Option{
		stream.WithReadCount(killedBatch), stream.WithConcurrency(f.concurrency),
		stream.WithBackoff(stream.Backoff{Min: 5 * time.Millisecond, Max: 20 * time.Millisecond}),
	}
	if f.mode == groupMode {
		// A name of the engine's making, as a process without a fixed name has it.
		opts = append(opts, stream.WithClaimIdle(killedClaimIdle), stream.WithConsumerName(""))
	}
	return append(opts, f.opts...)
}

// The points of a kill besides those that a KillPoint's client knows.
const (
	inHandler    = "in the handler"
	afterHandler = "after the handler, before it is settled"
	takenOver    = "entries taken over and not begun"
	stopCommand  = "before a command of the stop"
	stopAnswer   = "after a command of the stop"
)

// claim is in the request of a script that claims, and in no other: its argument is the
// claim idle time.
var claim = fmt.Sprintf("\r\n%d\r\n", killedClaimIdle.Milliseconds())

var killedForms = []killedForm{
	{
		name: "log", mode: logMode, concurrency: 1, order: history.InOrder, points: pointsOf("xread", offset.DefaultKey),
	},
	{
		name: "log, ordered by key", mode: logMode, concurrency: 8, order: history.ByKey, points: pointsOf("xread", offset.DefaultKey),
		opts: []stream.Option{stream.WithOrderKey(stream.Field("account"))},
	},
	{
		name: "group", mode: groupMode, concurrency: 4, points: append(pointsOf("xreadgroup", "xack"),
			"before "+claim, "sent "+claim, "after "+claim, takenOver, "sent xpending"),
	},
}

// pointsOf returns the points of a consumer that reads with one command, and records
// what has ended with requests that contain a word.
func pointsOf(read, settle string) []string {
	letters := stream.DeadLetterStream(transfers.Name)
	return []string{
		"sent " + read, "after " + read, inHandler, afterHandler,
		"before " + settle, "sent " + settle, "after " + settle,
		"before " + letters, "sent " + letters, "after " + letters,
		stopCommand, stopAnswer,
	}
}

// Consumer processes are killed with SIGKILL, one after the other, at every point of
// an entry's way and of a stop: nothing is lost or skipped, the order holds, and no
// more is handled again than the window of each held.
func TestConsumersKilled(t *testing.T) {
	t.Parallel()
	for _, form := range killedForms {
		t.Run(form.name, func(t *testing.T) {
			t.Parallel()
			if addr := os.Getenv(childAddr); addr != "" {
				consumeUntilKilled(t, form, addr)
				return
			}
			killConsumers(t, form)
		})
	}
}

func killConsumers(t *testing.T, form killedForm) {
	t.Helper()
	begun, dice := time.Now(), dice(t)
	server := streamtest.StartRedis(t, withUsers(t, transfers.Name)...)
	admin := server.Client()
	tr := newTrial(t, form.mode)
	path := filepath.Join(t.ArtifactDir(), "history.jsonl")
	file, err := history.Append(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	tr.rec.Out = file
	if form.mode == groupMode {
		if err := admin.XGroupCreateMkStream(t.Context(), transfers.Name, group, "0").Err(); err != nil {
			t.Fatal(err)
		}
	}
	source, stopSource := tr.startSource(as(t, "producer", *admin.Options()))
	// In group mode another one is there for two of three kills, to live with them.
	survivor := streamtest.NewInstance(t, as(t, string(form.mode), *admin.Options()))
	tr.handle = (&fates{elsewhere: survivor.Client, slow: killedSlow}).handle
	stopSurvivor := func() {
		if err := survivor.Stop(); err != nil {
			t.Error(err)
		}
	}

	kills := pick(len(form.points)+3, 200)
	for kill, point := range drawPoints(form.points, kills, dice.IntN, dice.Shuffle) {
		source.reach(t, 60*kill, 60*(kill+1))
		times := 1 + dice.IntN(3)
		switch point {
		case takenOver:
			stopSurvivor()
			leaveToGhost(t, admin)
			times = 1
		case "sent xpending": // once, at the start
			times = 1
		}
		tr.inject("killed: "+point, history.Fault{Repeats: form.window()}, func() {
			child := streamtest.StartChild(t, childAddr+"="+server.Addr, fmt.Sprintf("%s=%s@%d", childPoint, point, times), childHistory+"="+path)
			child.AwaitKilled()
			_, _ = tr.journal.Write([]byte(child.Output()))
		})
		if form.mode == groupMode {
			switch kill % 3 {
			case 0:
				stopSurvivor()
				survivor.Start(tr.consumer(survivor.Client, fmt.Sprint("survivor ", kill), form.options()...))
			case 1:
				stopSurvivor()
			}
		}
	}
	stopSource()
	stopSurvivor()
	survivor.Start(tr.consumer(survivor.Client, "the last", form.options()...))
	ledger, log := tr.newLedger(admin), streamtest.EntryIDs(t, admin, transfers.Name)
	streamtest.Await(t, "everything is settled", func() bool { return ledger.hasSettled(log) })
	stopSurvivor()

	events, err := history.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range events {
		if event.Kind == history.Handled && event.Passed {
			tr.ended[event.ID] = time.Now()
		}
	}
	tr.judge(history.Rules{Order: form.order}, events, log)
	for _, refusal := range refusals(t, admin) {
		t.Error("refused: ", refusal)
	}
	t.Logf("%s; window %d; %v", ledger.close(), form.window(), time.Since(begun).Round(time.Second))
}

// drawPoints returns n points in a random order, each as often as the others.
func drawPoints(points []string, n int, intN func(int) int, shuffle func(int, func(i, j int))) []string {
	var drawn []string
	for len(drawn) < n {
		if n-len(drawn) >= len(points) {
			drawn = append(drawn, points...)
		} else {
			drawn = append(drawn, points[intN(len(points))])
		}
	}
	shuffle(n, func(i, j int) { drawn[i], drawn[j] = drawn[j], drawn[i] })
	return drawn
}

// leaveToGhost has some entries pending on a consumer that will never do anything, so
// that there is something to claim.
func leaveToGhost(t *testing.T, admin *redis.Client) {
	t.Helper()
	// More are published until it is killed.
	err := admin.XReadGroup(t.Context(), &redis.XReadGroupArgs{
		Group: group, Consumer: "ghost", Streams: []string{transfers.Name, ">"}, Count: 10, Block: 10 * time.Second,
	}).Err()
	if err != nil {
		t.Fatal(err)
	}
}

// consumeUntilKilled is what a child does.
func consumeUntilKilled(t *testing.T, form killedForm, addr string) {
	t.Helper()
	kill, err := streamtest.ParseKillPoint(os.Getenv(childPoint))
	if err != nil {
		t.Fatal(err)
	}
	file, err := history.Append(os.Getenv(childHistory))
	if err != nil {
		t.Fatal(err)
	}
	tr := newTrial(t, form.mode)
	tr.rec.Out, tr.journal.out = file, os.Stdout
	client := kill.Client(as(t, string(form.mode), redis.Options{Addr: addr}))
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second) // should it not be killed
	defer stop()
	client.AddHook(stopHook{kill, func() bool { return ctx.Err() != nil }})

	fmt.Println("to be killed at", os.Getenv(childPoint))
	happens := (&fates{elsewhere: client, slow: killedSlow}).handle
	tr.handle = func(handling context.Context, msg *stream.Message[transfer]) error {
		kill.Pass(inHandler)
		return happens(handling, msg)
	}
	stopping := strings.Contains(os.Getenv(childPoint), "of the stop")
	watch := &killingObserver{kill: kill, stop: func(handled int) {
		if stopping && handled == 2*killedBatch {
			stop()
		}
	}}
	err = tr.consumer(client, fmt.Sprint("child ", os.Getpid()), append(form.options(), stream.WithObserver(watch))...).Run(ctx)
	if err != nil {
		t.Error(err)
	}
	for range 3 { // a stop may have needed fewer commands
		kill.Pass(stopCommand)
		kill.Pass(stopAnswer)
	}
}

// killingObserver passes the points that no command shows.
type killingObserver struct {
	kill    *streamtest.KillPoint
	handled atomic.Int64
	stop    func(handled int)
}

func (o *killingObserver) OnEnd(end stream.DeliveryEnded) {
	if end.Outcome <= stream.OutcomeDiscarded {
		o.kill.Pass(afterHandler)
		o.stop(int(o.handled.Add(1)))
	}
}

func (o *killingObserver) OnClaim(stream.EntriesClaimed) { o.kill.Pass(takenOver) }

// stopHook passes the points around the commands that are sent after a stop.
type stopHook struct {
	kill     *streamtest.KillPoint
	stopping func() bool
}

func (h stopHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h stopHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h stopHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if !h.stopping() {
			return next(ctx, cmd)
		}
		h.kill.Pass(stopCommand)
		err := next(ctx, cmd)
		h.kill.Pass(stopAnswer)
		return err
	}
}
