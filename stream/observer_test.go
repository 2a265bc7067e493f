package stream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// recorded is an observer of everything.
type recorded struct {
	silent bool // it keeps nothing
	mu     sync.Mutex
	events []string
	// then is called after each event.
	then func()
}

func (r *recorded) note(format string, args ...any) {
	r.mu.Lock()
	r.events = append(r.events, fmt.Sprintf(format, args...))
	r.mu.Unlock()
	if r.then != nil {
		r.then()
	}
}

func (r *recorded) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// of returns the events that begin with the word.
func (r *recorded) of(word string) (found []string) {
	for _, event := range r.all() {
		if strings.HasPrefix(event, word+" ") {
			found = append(found, event)
		}
	}
	return found
}

func (r *recorded) OnDelivery(d stream.DeliveryBegun) {
	if !r.silent {
		r.note("delivery %s%s/%s %s %d", d.Stream, d.Label, d.Group, d.EntryID, d.Attempt)
	}
}

func (r *recorded) OnEnd(e stream.DeliveryEnded) {
	if !r.silent {
		r.note("end %s %d %v %v %v", e.EntryID, e.Attempt, e.Outcome, e.Duration, e.Err != nil)
	}
}

func (r *recorded) OnRead(read stream.EntriesRead) {
	if !r.silent {
		r.note("read %d %s", read.Entries, read.LastID)
	}
}

func (r *recorded) OnSettle(s stream.EntriesSettled) {
	if !r.silent {
		r.note("settle %d %s", s.Entries, s.LastID)
	}
}
func (r *recorded) OnClaim(c stream.EntriesClaimed) { r.note("claim %d %v", c.Entries, c.HandedBack) }
func (r *recorded) OnLoss(of stream.Identity, err error) {
	r.note("loss %s/%s %v", of.Stream, of.Group, err)
}

func (r *recorded) OnTrouble(t stream.Outage) {
	r.note("trouble %s %d %v", t.What, t.Failures, t.Err)
}

func (r *recorded) OnRecovery(t stream.Outage) {
	r.note("recovery %s %d %v", t.What, t.Failures, time.Since(t.Since))
}
func (r *recorded) OnFull(f stream.WindowFull) { r.note("full %s %d", f.EntryID, f.Size) }

// fixed adds orders with the IDs 1-0, 2-0 and so on.
func fixed(t testing.TB, client redis.UniversalClient, ids ...string) {
	t.Helper()
	for i, id := range ids {
		args := &redis.XAddArgs{Stream: orders.Name, ID: fmt.Sprintf("%d-0", i+1), Values: []string{"id", id, "amount", "1"}}
		if id == "" {
			args.Values = []string{"amount", "1"} // the ID is required
		}
		if err := client.XAdd(context.Background(), args).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// fates is a handler that does with an order what its ID says.
func fates() *recorder {
	failed := make(map[string]bool)
	r := newRecorder()
	r.handle = func(_ context.Context, msg *stream.Message[order]) error {
		time.Sleep(time.Millisecond) // a bubble's
		switch id := msg.Value.ID; {
		case id == "skip":
			return stream.Skip("of no concern")
		case id == "bury":
			return stream.Permanent(errors.New("secret of the handler"))
		case id == "once" && !failed[id]:
			failed[id] = true
			return errors.New("secret of the handler")
		}
		return nil
	}
	return r
}

// buryPermanent sends to the dead letters what was marked as permanent.
func buryPermanent(next stream.EntryHandler) stream.EntryHandler {
	return func(ctx context.Context, entry *stream.Entry) error {
		err := next(ctx, entry)
		var permanent *stream.PermanentError
		if errors.As(err, &permanent) {
			return &stream.DeadLetterError{Attempts: entry.Deliveries, Err: err}
		}
		return err
	}
}

func TestObserverSeesEverything(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		fixed(t, client, "a", "", "skip", "bury", "once", "b")
		seen := &recorded{}
		consumer := newConsumer(t, client, &offset.Memory{}, fates().Handle,
			stream.WithLabel("/l"), stream.WithObserver(seen), stream.WithMiddleware(buryPermanent))
		stop := start(t, consumer)
		time.Sleep(10 * time.Second)
		if err := stop(); err != nil {
			t.Error(err)
		}
		want := []string{
			"read 6 6-0",
			"delivery orders/l/ 1-0 1", "end 1-0 1 handled 1ms false",
			"delivery orders/l/ 2-0 1", "end 2-0 1 absorbed 0s true",
			"delivery orders/l/ 3-0 1", "end 3-0 1 skipped 1ms true",
			"delivery orders/l/ 4-0 1", "end 4-0 1 dead-lettered 1ms true",
			"delivery orders/l/ 5-0 1", "end 5-0 1 held 1ms true",
			"delivery orders/l/ 5-0 2", "end 5-0 2 handled 1ms false",
			"delivery orders/l/ 6-0 1", "end 6-0 1 handled 1ms false",
		}
		settled := 0
		for _, event := range seen.of("settle") {
			var n int
			var last string
			if _, err := fmt.Sscanf(event, "settle %d %s", &n, &last); err != nil || last != fmt.Sprintf("%d-0", settled+n) {
				t.Errorf("after %d entries: %s", settled, event)
			}
			settled += n
		}
		if settled != 6 {
			t.Errorf("%d entries were settled, want 6", settled)
		}
		got := slices.DeleteFunc(seen.all(), func(event string) bool { return strings.HasPrefix(event, "settle ") })
		if !slices.Equal(got, want) {
			t.Errorf("seen:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestObserverSeesTroubleOnceAndItsEnd(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		fixed(t, client, "a")
		seen := &recorded{}
		store := &failingStore{until: time.Now().Add(5 * time.Second)}
		stop := start(t, newConsumer(t, client, store, newRecorder().Handle, stream.WithObserver(seen)))
		time.Sleep(10 * time.Second)
		trouble, recovery := seen.of("trouble"), seen.of("recovery")
		if len(trouble) != 1 || trouble[0] != `trouble saving the offset 1 saving the offset "orders": the store is away` {
			t.Errorf("trouble: %q", trouble)
		}
		if len(recovery) != 1 || !strings.HasPrefix(recovery[0], "recovery saving the offset ") {
			t.Errorf("recovery: %q", recovery)
		}
		if got := seen.of("settle"); len(got) != 1 {
			t.Errorf("settled: %q", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// failingStore is a store that cannot save until a certain time.
type failingStore struct {
	offset.Memory
	until time.Time
	slow  time.Duration
}

func (s *failingStore) Save(ctx context.Context, label, id string) error {
	if time.Now().Before(s.until) {
		time.Sleep(s.slow)
		return errors.New("the store is away")
	}
	return s.Memory.Save(ctx, label, id)
}

func TestObserverSeesAFullWindow(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		fixed(t, client, "a", "b", "c")
		seen := &recorded{}
		release := make(chan struct{})
		r := newRecorder()
		r.handle = func(context.Context, *stream.Message[order]) error { <-release; return nil }
		var consumer *stream.Consumer[order]
		seen.then = func() { _, _ = consumer.Stats(), consumer.Health() } // with no lock held
		consumer = newConsumer(t, client, &offset.Memory{}, r.Handle,
			stream.WithObserver(seen), stream.WithWindow(2), stream.WithReadCount(2))
		stop := start(t, consumer)
		time.Sleep(25 * time.Second)
		if got := seen.of("full"); !slices.Equal(got, []string{"full 1-0 2", "full 1-0 2"}) {
			t.Errorf("seen: %q", got)
		}
		close(release)
		synctest.Wait()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

type clumsy struct{}

func (clumsy) OnDelivery(stream.DeliveryBegun) { panic("observer's mistake") }
func (clumsy) OnEnd(stream.DeliveryEnded)      { panic("observer's mistake") }
func (clumsy) OnRead(stream.EntriesRead)       { panic("observer's mistake") }
func (clumsy) OnSettle(stream.EntriesSettled)  { panic("observer's mistake") }

func TestObserverThatPanicsChangesNothing(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		fixed(t, client, "a", "b", "c")
		log, after := &logs{}, &recorded{}
		store := &offset.Memory{}
		consumer := newConsumer(t, client, store, newRecorder().Handle,
			stream.WithObserver(clumsy{}, after), stream.WithLogger(log.Logger()))
		stop := start(t, consumer)
		time.Sleep(time.Second)
		if got := consumer.Stats(); got.Handled != 3 || got.Settled != "3-0" || got.Working != 0 {
			t.Errorf("stats: %+v", got)
		}
		if got := after.of("end"); len(got) != 3 {
			t.Errorf("the observer behind it was told %q", got)
		}
		if got := log.lines("an observer panicked", "observer's mistake"); len(got) != 1 {
			t.Errorf("logged %d times, want once: %q", len(got), got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestObserverWithoutMethodsIsRefused(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = client.Close() })
	for _, useless := range []stream.Observer{nil, struct{}{}, (*recorded)(nil)} {
		_, err := stream.NewConsumer(client, orders, &offset.Memory{}, newRecorder().Handle, stream.WithObserver(&recorded{}, useless))
		wantProblem(t, err, fmt.Sprintf("a %T has none of the methods", useless))
	}
}

// A method that would never be called is a mistake, of which its author would hear
// nothing otherwise.
func TestObserverWithAWrongMethodIsRefused(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = client.Close() })
	for _, test := range []struct {
		observer stream.Observer
		want     []string
	}{
		{halfRight{}, []string{"a stream_test.halfRight has the method OnRead(*stream.EntriesRead), which would never be called; make it OnRead(stream.EntriesRead)"}},
		{&halfRight{}, []string{"a *stream_test.halfRight has the method OnRead(*stream.EntriesRead)"}},
		{allWrong{}, []string{"OnLoss(error), which would never be called; make it OnLoss(stream.Identity, error)", "OnEnd(stream.DeliveryEnded) error, which"}},
		{recorded{}, []string{"a stream_test.recorded lacks methods that a pointer to it has: OnDelivery(stream.DeliveryBegun), OnEnd(stream.DeliveryEnded), ", "give a *stream_test.recorded"}},
		{mixed{}, []string{"a stream_test.mixed lacks methods that a pointer to it has: OnEnd(stream.DeliveryEnded); give"}},
	} {
		_, err := stream.NewConsumer(client, orders, &offset.Memory{}, newRecorder().Handle, stream.WithObserver(test.observer))
		for _, want := range test.want {
			wantProblem(t, err, want)
		}
	}
	if _, err := stream.NewConsumer(client, orders, &offset.Memory{}, newRecorder().Handle, stream.WithObserver(&mixed{})); err != nil {
		t.Errorf("an observer that has all it needs is refused: %v", err)
	}
}

type halfRight struct{}

func (halfRight) OnEnd(stream.DeliveryEnded) {}
func (halfRight) OnRead(*stream.EntriesRead) {}

type allWrong struct{}

func (allWrong) OnLoss(error)                      {}
func (*allWrong) OnEnd(stream.DeliveryEnded) error { return nil }
func (allWrong) OnSomethingElse(time.Time)         {}

type mixed struct{}

func (mixed) OnRead(stream.EntriesRead)   {}
func (*mixed) OnEnd(stream.DeliveryEnded) {}

// What group mode adds: claims, what was handed back, losses, and the limit of
// deliveries.
func TestObserverAndStatsInGroupMode(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	client := server.Client()
	ctx := context.Background()
	fixed(t, client, "a", "bury", "", "gone", "stubborn", "b")
	if err := client.XGroupCreate(ctx, orders.Name, "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	// A consumer that dies with the first five, one of which is deleted.
	if err := client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "dead", Streams: []string{orders.Name, ">"}, Count: 5}).Err(); err != nil {
		t.Fatal(err)
	}
	client.XDel(ctx, orders.Name, "4-0")

	seen := &recorded{}
	r := newRecorder()
	r.handle = func(ctx context.Context, msg *stream.Message[order]) error {
		switch msg.Value.ID {
		case "bury":
			return stream.Permanent(errors.New("no"))
		case "stubborn":
			return errors.New("no")
		case "slow":
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	consumer, err := stream.NewGroupConsumer(client, orders, "g", r.Handle,
		stream.WithLogger(slog.New(slog.DiscardHandler)), stream.WithObserver(seen), stream.WithMiddleware(buryPermanent),
		stream.WithClaimIdle(50*time.Millisecond), stream.WithMaxDeliveries(3), stream.WithDiscard(),
		stream.WithBackoff(stream.Backoff{Min: time.Millisecond, Max: time.Millisecond}))
	if err != nil {
		t.Fatal(err)
	}
	stop := start(t, consumer)
	streamtest.Await(t, "all has ended", func() bool {
		s := consumer.Stats()
		return s.Handled == 2 && s.DeadLettered == 1 && s.Absorbed == 1 && s.Discarded == 1 && s.Lost == 1 && s.Window == 0 && len(seen.of("claim")) == 1
	})
	s := consumer.Stats()
	// 5-0 is delivered a second and a third time, both fail, and a fourth.
	if s.Claimed != 4 || s.Failed != 2 || s.Redelivered != 6 || s.Read != 1 || s.Position != "6-0" || s.Settled != "" || s.HandedBack != 0 {
		t.Errorf("stats: %+v", s)
	}
	if got := seen.of("claim"); !slices.Equal(got, []string{"claim 4 false"}) {
		t.Errorf("claims: %q", got)
	}
	if got := seen.of("loss"); len(got) != 1 || !strings.HasPrefix(got[0], `loss orders/g stream: entries of orders lost for group "g": a pending entry was trimmed or deleted (from 4-0 to 4-0; 1)`) {
		t.Errorf("losses: %q", got)
	}
	for _, want := range []string{"end 1-0 2 handled", "end 2-0 2 dead-lettered", "end 3-0 2 absorbed", "end 5-0 2 held", "end 5-0 3 held", "end 5-0 4 discarded", "end 6-0 1 handled"} {
		if n := strings.Count(strings.Join(seen.all(), "\n"), want); n != 1 {
			t.Errorf("%q was seen %d times, want once", want, n)
		}
	}

	// What it has not finished it hands back, and the next one takes.
	addTo1(t, client, orders.Name, "slow")
	streamtest.Await(t, "a handler is at work", func() bool { return consumer.Stats().Working == 1 })
	if err := stop(); err != nil {
		t.Error(err)
	}
	if s := consumer.Stats(); s.HandedBack != 1 || s.Working != 0 || s.Handled != 2 || s.LagTime < 0 {
		t.Errorf("stats after the stop: %+v", s)
	}
	stop = start(t, consumer)
	streamtest.Await(t, "it is taken over", func() bool { return consumer.Stats().Working == 1 && len(seen.of("claim")) == 2 })
	if got := seen.of("claim"); !slices.Equal(got, []string{"claim 4 false", "claim 1 true"}) {
		t.Errorf("claims: %q", got)
	}
	if s := consumer.Stats(); s.Claimed != 5 {
		t.Errorf("stats: %+v", s)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := seen.of("end"); !strings.Contains(got[len(got)-1], "interrupted") {
		t.Errorf("the last end: %q", got)
	}
}

// An entry over the limit of deliveries that nobody takes, and one that another
// consumer takes away from a handler.
func TestObserverSeesWhatIsParkedAndWhatIsClaimed(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	ctx := context.Background()
	fixed(t, client, "stubborn")
	seen := &recorded{}
	r := newRecorder()
	r.handle = func(ctx context.Context, msg *stream.Message[order]) error {
		if msg.Value.ID == "slow" {
			<-ctx.Done()
		}
		return errors.New("no")
	}
	consumer, err := stream.NewGroupConsumer(client, orders, "g", r.Handle,
		stream.WithLogger(slog.New(slog.DiscardHandler)), stream.WithObserver(seen), stream.WithMaxDeliveries(1),
		stream.WithClaimIdle(100*time.Millisecond), stream.WithBackoff(stream.Backoff{Min: time.Millisecond, Max: time.Millisecond}))
	if err != nil {
		t.Fatal(err)
	}
	stop := start(t, consumer)
	streamtest.Await(t, "it is parked", func() bool { s := consumer.Stats(); return s.Parked == 1 && s.Working == 0 })
	if s := consumer.Stats(); s.Discarded != 0 || s.Held != 0 || s.Window != 0 || s.Failed != 1 || s.Redelivered != 1 {
		t.Errorf("stats: %+v", s)
	}
	id := addTo1(t, client, orders.Name, "slow")
	streamtest.Await(t, "a handler is at work", func() bool { return consumer.Stats().Working == 1 })
	if err := client.XClaim(ctx, &redis.XClaimArgs{Stream: orders.Name, Group: "g", Consumer: "thief", Messages: []string{id}}).Err(); err != nil {
		t.Fatal(err)
	}
	streamtest.Await(t, "it is given up", func() bool { return consumer.Stats().Window == 0 })
	for _, want := range []string{"end 1-0 1 held", "end 1-0 2 parked", "end " + id + " 1 claimed"} {
		if n := strings.Count(strings.Join(seen.all(), "\n"), want); n != 1 {
			t.Errorf("%q was seen %d times, want once, in %q", want, n, seen.all())
		}
	}
	if s := consumer.Stats(); s.Handled != 0 || s.Failed != 1 {
		t.Errorf("stats: %+v", s)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
