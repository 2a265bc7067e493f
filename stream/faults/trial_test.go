package faults_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
	"millrace/stream/streamtest/history"
)

// transfer is what the suites publish.
type transfer struct {
	Number  int    `mapstructure:"number" validate:"gte=0"`
	Account string `mapstructure:"account" validate:"required"`
	Secret  string `mapstructure:"secret" validate:"required"`
}

var transfers = stream.Topic[transfer]{Name: "transfers"}

const group = "billing"

// errHeld is a failure that is neither tried again in place nor a dead letter: the
// engine holds the entry, and delivers it again.
var errHeld = errors.New("not now")

// mode is log mode or group mode, and the user that a consumer is.
type mode string

const (
	logMode   mode = "log"
	groupMode mode = "group"
	relayMode mode = "relay" // between two servers, a consumer in log mode at both
)

// trial is one test of consumers in one mode: their history, their log, and the
// faults that they went through.
type trial struct {
	t       testing.TB
	mode    mode
	rec     *history.Recorder
	journal journal
	handle  stream.Handler[transfer]
	// store keeps the offsets in log mode; nil is in the same Redis.
	store offset.Store

	mu     sync.Mutex
	faults map[string]int
	spans  []span
	// back is how long it took at the most, after a fault of a kind was over, until
	// every consumer had something from the server, and handled it.
	back     map[string]time.Duration
	losses   []*stream.LossError
	troubles []stream.Outage
	number   int
	// ended tells when the processing of an entry has come to its end, claimed how many
	// were taken over from another consumer.
	ended     map[string]time.Time
	claimed   int
	witnesses []*witness
	// gone is what streams had that are no more, as far as it was handled.
	gone []string
}

func newTrial(t testing.TB, m mode) *trial {
	t.Helper()
	tr := &trial{
		t: t, mode: m, rec: &history.Recorder{Key: "account"}, faults: make(map[string]int), ended: make(map[string]time.Time),
		back:   make(map[string]time.Duration),
		handle: func(context.Context, *stream.Message[transfer]) error { return nil },
	}
	tr.journal.keepIfFailed(t)
	return tr
}

// consumer returns a consumer with the usual middleware, whose history is recorded
// under the name by; in group mode that is the consumer's name, too.
func (tr *trial) consumer(client redis.UniversalClient, by string, opts ...stream.Option) *stream.Consumer[transfer] {
	tr.t.Helper()
	opts = append(tr.options(by,
		middleware.DeadLetter(middleware.DeadLetterConfig{}),
		middleware.Retry(middleware.RetryConfig{
			Attempts: 2,
			Backoff:  stream.Backoff{Min: time.Millisecond, Max: time.Millisecond},
			If:       func(err error) bool { return !errors.Is(err, errHeld) },
		}),
	), opts...)
	handle := func(ctx context.Context, msg *stream.Message[transfer]) error { return tr.handle(ctx, msg) }
	var (
		c   *stream.Consumer[transfer]
		err error
	)
	if tr.mode == groupMode {
		c, err = stream.NewGroupConsumer(client, transfers, group, handle, append([]stream.Option{stream.WithConsumerName(by)}, opts...)...)
	} else {
		store := tr.store
		if store == nil {
			store, err = offset.NewRedis(client, "")
		}
		if err == nil {
			c, err = stream.NewConsumer(client, transfers, tr.rec.Store(by, store), handle, opts...)
		}
	}
	if err != nil {
		tr.t.Fatal(err)
	}
	return c
}

// options are those by which a consumer is watched, with the middleware inside of
// that.
func (tr *trial) options(by string, stack ...stream.Middleware) []stream.Option {
	w := &witness{trial: tr, by: by}
	tr.witnesses = append(tr.witnesses, w)
	return []stream.Option{
		stream.WithLogger(tr.journal.logger()),
		stream.WithObserver(w),
		stream.WithMiddleware(append([]stream.Middleware{tr.rec.Middleware(by), middleware.Logging(tr.journal.logger())}, stack...)...),
	}
}

// witness is the observer of one consumer.
type witness struct {
	trial *trial
	by    string

	reads, ends atomic.Int64 // that brought something, and that passed an entry
	// The last entry that it was brought, what it has passed, and the losses that it has
	// told of, guarded by the trial's lock.
	read   string
	passed []string
	losses []*stream.LossError
}

// OnLoss records what the consumer tells of.
func (w *witness) OnLoss(_ stream.Identity, err error) {
	w.trial.journal.note(err)
	var loss *stream.LossError
	if errors.As(err, &loss) {
		w.trial.mu.Lock()
		w.trial.losses = append(w.trial.losses, loss)
		w.losses = append(w.losses, loss)
		w.trial.mu.Unlock()
		w.trial.rec.Report(w.by, string(loss.Cause), loss.From, loss.To)
	}
}

// OnEnd sees to it that errors are looked through for canaries, too.
func (w *witness) OnEnd(end stream.DeliveryEnded) {
	w.trial.journal.note(end.Err)
	if end.Outcome > stream.OutcomeDiscarded {
		return
	}
	w.ends.Add(1)
	w.trial.mu.Lock()
	w.trial.ended[end.EntryID] = time.Now()
	w.passed = append(w.passed, end.EntryID)
	w.trial.mu.Unlock()
}

// OnRead counts.
func (w *witness) OnRead(read stream.EntriesRead) {
	w.reads.Add(1)
	w.trial.mu.Lock()
	if compare(read.LastID, w.read) > 0 { // it may be brought something again
		w.read = read.LastID
	}
	w.trial.mu.Unlock()
}

// OnClaim counts.
func (w *witness) OnClaim(claim stream.EntriesClaimed) {
	w.trial.mu.Lock()
	w.trial.claimed += claim.Entries
	w.trial.mu.Unlock()
}

// OnTrouble keeps it.
func (w *witness) OnTrouble(trouble stream.Outage) {
	w.trial.journal.note(trouble.Err)
	w.trial.mu.Lock()
	w.trial.troubles = append(w.trial.troubles, trouble)
	w.trial.mu.Unlock()
}

// publish publishes n transfers, one after another, whatever becomes of them: an
// error is on record.
func (tr *trial) publish(ctx context.Context, producer *stream.Producer[transfer], n int) {
	for range n {
		if ctx.Err() != nil {
			return
		}
		number := tr.next()
		account := accountOf(number)
		_, err := tr.rec.Publish("producer", account, func() (string, error) {
			return producer.Publish(ctx, transfer{Number: number, Account: account, Secret: canary})
		})
		tr.journal.note(err)
	}
}

// next returns the number of the next transfer.
func (tr *trial) next() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	number := tr.number
	tr.number++
	return number
}

// accountOf returns the account that a transfer is for.
func accountOf(number int) string { return fmt.Sprint("account-", number%17) }

// producer returns a producer that gives up on a value quickly.
func (tr *trial) producer(client redis.UniversalClient) *stream.Producer[transfer] {
	tr.t.Helper()
	producer, err := stream.NewProducer(client, transfers)
	if err != nil {
		tr.t.Fatal(err)
	}
	return producer
}

// inject counts a fault of a kind, and has it on record while do does it.
func (tr *trial) inject(kind string, may history.Fault, do func()) {
	tr.mu.Lock()
	tr.faults[kind]++
	may.Name = fmt.Sprint(kind, " ", tr.faults[kind])
	tr.mu.Unlock()
	over := tr.rec.Inject(may)
	begun := time.Now()
	do()
	over()
	tr.mu.Lock()
	tr.spans = append(tr.spans, span{begun, time.Now(), may.Loses})
	tr.mu.Unlock()
}

// awaitAll waits until each consumer has been brought something that it did not have
// when a fault of a kind was over, which is now, and has handled something.
func (tr *trial) awaitAll(kind string) {
	tr.t.Helper()
	over := time.Now()
	for _, w := range tr.witnesses {
		reads, ends := w.reads.Load(), w.ends.Load()
		streamtest.Await(tr.t, w.by+" is back after "+kind, func() bool { return w.reads.Load() > reads && w.ends.Load() > ends })
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.back[kind] = max(tr.back[kind], time.Since(over))
}

// hasRead tells whether a consumer was brought an entry, or one after it.
func (tr *trial) hasRead(id string) bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.ContainsFunc(tr.witnesses, func(w *witness) bool { return compare(w.read, id) >= 0 })
}

// lossesTold returns how many losses there were told of.
func (tr *trial) lossesTold() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return len(tr.losses)
}

// claims returns how many entries were taken over.
func (tr *trial) claims() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.claimed
}

// remember takes note of the entries of a stream that is about to be no more.
func (tr *trial) remember(ids []string) { tr.gone = append(tr.gone, ids...) }

// verify waits until everything in the stream was handled, stops the instances,
// and then accounts for every entry. It prints what there was.
func (tr *trial) verify(admin redis.UniversalClient, rules history.Rules, instances ...*streamtest.Instance) history.Findings {
	tr.t.Helper()
	log := streamtest.EntryIDs(tr.t, admin, transfers.Name)
	tr.rec.AwaitHandled(log) // if not, Verify says so
	for _, instance := range instances {
		err := instance.Stop()
		tr.journal.note(err)
		if err != nil {
			tr.t.Error(err)
		}
	}
	events, err := tr.rec.Events()
	if err != nil {
		tr.t.Fatal(err)
	}
	return tr.judge(rules, events, append(slices.DeleteFunc(tr.gone, func(id string) bool { return !tr.hasEnded(id) }), log...))
}

// judge accounts for every entry, and prints what there was.
func (tr *trial) judge(rules history.Rules, events []history.Event, log []string) history.Findings {
	tr.t.Helper()
	found := history.Verify(tr.t, rules, events, log)
	tr.journal.expectNoCanary(tr.t)
	tr.journal.expectNoRival(tr.t)
	tr.t.Log(tr.report(len(log), found))
	return found
}

// report is what was injected and found, as a table.
func (tr *trial) report(entries int, found history.Findings) string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%s mode, %d entries\n", tr.mode, entries)
	all := 0
	for _, kind := range slices.Sorted(maps.Keys(tr.faults)) {
		fmt.Fprintf(&b, "  %5d  %-40s", tr.faults[kind], kind)
		if back, ok := tr.back[kind]; ok {
			fmt.Fprintf(&b, " all back after %v at the most", back.Round(10*time.Millisecond))
		}
		fmt.Fprintln(&b)
		all += tr.faults[kind]
	}
	fmt.Fprintf(&b, "  %5d  faults; found:\n", all)
	for _, verdict := range []history.Verdict{
		history.Lost, history.Skipped, history.OutOfOrder, history.AtOnce, history.Early, history.Silent, history.FalseReport,
		history.MovedBack, history.NoEntry, history.Phantom, history.Doubled, history.Altered, history.Repeated,
	} {
		of := found.Of(verdict)
		fmt.Fprintf(&b, "  %5d  %s (%d that no fault explains)\n", len(of), verdict, len(of.Violations()))
	}
	return b.String()
}
