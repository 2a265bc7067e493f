package faults_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
	"millrace/stream/streamtest/history"
)

// poison is the number of the transfer over which each consumer crashes.
const poison = 50

// An entry over which every consumer crashes reaches the limit of deliveries, which
// outlives them, and becomes a dead letter; those that were pending beside it do not,
// and are handled.
func TestCrashLoop(t *testing.T) {
	t.Parallel()
	const limit = 3
	opts := []stream.Option{
		stream.WithConsumerName("me"), stream.WithMaxDeliveries(limit), stream.WithClaimIdle(time.Hour),
	}
	if addr := os.Getenv(childAddr); addr != "" {
		crashOverPoison(t, addr, opts)
		return
	}
	server := streamtest.StartRedis(t, withUsers(t, transfers.Name)...)
	admin := server.Client()
	tr := newTrial(t, groupMode)
	path := filepath.Join(t.TempDir(), "history.jsonl")
	file, err := history.Append(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	tr.rec.Out = file
	tr.publish(t.Context(), tr.producer(as(t, "producer", *admin.Options())), 2*poison)
	child := func() *streamtest.Child {
		return streamtest.StartChild(t, childAddr+"="+server.Addr, childHistory+"="+path)
	}
	for range limit {
		// What is done is not acked in the middle of a batch.
		tr.inject("killed: over the poison", history.Fault{Repeats: poison}, func() { child().AwaitKilled() })
	}
	last := child()
	ledger, log := tr.newLedger(admin), streamtest.EntryIDs(t, admin, transfers.Name)
	streamtest.Await(t, "everything is settled", func() bool { return ledger.hasSettled(log) })
	last.Kill()
	events, err := history.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tr.judge(history.Rules{}, events, log)
	letters := admin.XRange(t.Context(), stream.DeadLetterStream(transfers.Name), "-", "+").Val()
	if len(letters) != 1 || letters[0].Values["number"] != fmt.Sprint(poison) || letters[0].Values[stream.DeadLetterAttempts] != fmt.Sprint(limit) {
		t.Errorf("%d dead letters: %v, want the poison after %d attempts", len(letters), letters, limit)
	}
}

// crashOverPoison is what a child does.
func crashOverPoison(t *testing.T, addr string, opts []stream.Option) {
	t.Helper()
	kill, err := streamtest.ParseKillPoint("poison@1")
	if err != nil {
		t.Fatal(err)
	}
	file, err := history.Append(os.Getenv(childHistory))
	if err != nil {
		t.Fatal(err)
	}
	tr := newTrial(t, groupMode)
	tr.rec.Out, tr.journal.out = file, os.Stdout
	tr.handle = func(_ context.Context, msg *stream.Message[transfer]) error {
		if msg.Value.Number == poison {
			kill.Pass("poison")
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // should nobody kill it
	defer cancel()
	if err := tr.consumer(as(t, string(groupMode), redis.Options{Addr: addr}), fmt.Sprint("child ", os.Getpid()), opts...).Run(ctx); err != nil {
		t.Error(err)
	}
}
