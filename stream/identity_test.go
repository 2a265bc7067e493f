package stream_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/offset"
	"millrace/stream"
)

// ends is an observer that has the last outcome of each entry, and the identity in it.
type ends struct {
	mu   sync.Mutex
	all  []stream.DeliveryEnded
	read []stream.EntriesRead
}

func (e *ends) OnEnd(end stream.DeliveryEnded) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, end)
}

func (e *ends) OnRead(read stream.EntriesRead) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.read = append(e.read, read)
}

// ended returns what was observed so far.
func (e *ends) ended() []stream.DeliveryEnded {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.all)
}

func (e *ends) reads() []stream.EntriesRead {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.read)
}

// A middleware is told which consumer it works for, under the name that the server knows.
func TestEntryTellsItsReader(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		add(t, client, "x")
		var mu sync.Mutex
		got := make(map[string]stream.Identity)
		tell := func(name string) stream.Option {
			return stream.WithMiddleware(func(next stream.EntryHandler) stream.EntryHandler {
				return func(ctx context.Context, entry *stream.Entry) error {
					mu.Lock()
					defer mu.Unlock()
					got[name] = entry.Reader()
					return next(ctx, entry)
				}
			})
		}
		named := newGroup(t, client, newRecorder().Handle, tell("named"), stream.WithConsumerName("pod-1"))
		logged := newConsumer(t, client, new(offset.Memory), newRecorder().Handle, tell("log"), stream.WithLabel("search"))
		unnamed, err := stream.NewGroupConsumer(client, orders, "mail", newRecorder().Handle, quietly([]stream.Option{tell("unnamed")})...)
		if err != nil {
			t.Fatal(err)
		}
		if id := named.Identity(); id != (stream.Identity{Stream: "orders", Group: "billing", Consumer: "pod-1"}) {
			t.Errorf("before Run, the consumer is %+v", id)
		}
		if id := unnamed.Identity(); id != (stream.Identity{Stream: "orders", Group: "mail"}) {
			t.Errorf("before Run, the consumer without a name is %+v", id)
		}
		for _, c := range []*stream.Consumer[order]{named, logged, unnamed} {
			start(t, c)
		}
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		want := map[string]stream.Identity{
			"named": {Stream: "orders", Group: "billing", Consumer: "pod-1"},
			"log":   {Stream: "orders", Label: "search"},
		}
		for name, id := range want {
			if got[name] != id {
				t.Errorf("%s: the entry's reader is %+v, want %+v", name, got[name], id)
			}
		}
		if id := got["unnamed"]; id.Group != "mail" || !strings.HasPrefix(id.Consumer, "millrace:") || id != unnamed.Identity() {
			t.Errorf("unnamed: the entry's reader is %+v, and the consumer %+v", id, unnamed.Identity())
		}
		consumers, err := client.XInfoConsumers(t.Context(), "orders", "mail").Result()
		if err != nil || len(consumers) != 1 || consumers[0].Name != got["unnamed"].Consumer {
			t.Errorf("the server knows %v, %v", consumers, err)
		}
	})
	if id := new(stream.Entry).Reader(); id != (stream.Identity{}) {
		t.Errorf("an entry that nobody reads has the reader %+v", id)
	}
}

// A handler that stores the position with its effects has to know whether all before an entry are done.
func TestEntryTellsWhetherItIsInOrder(t *testing.T) {
	t.Parallel()
	key := stream.WithOrderKey(stream.Field("id"))
	bubble(t, func(t *testing.T, client *redis.Client) {
		add(t, client, "x")
		store := new(offset.Memory)
		for _, row := range []struct {
			name    string
			inOrder bool
			opts    []stream.Option
		}{
			{"alone", true, nil},
			{"concurrent", false, []stream.Option{stream.WithConcurrency(2)}},
			{"keyed", false, []stream.Option{key}},
		} {
			seen := make(chan bool, 1)
			handle := func(_ context.Context, msg *stream.Message[order]) error {
				seen <- msg.InOrder()
				return nil
			}
			start(t, newConsumer(t, client, store, handle, append(row.opts, stream.WithLabel(row.name))...))
			if got := <-seen; got != row.inOrder {
				t.Errorf("%s: an entry is in order: %t, want %t", row.name, got, row.inOrder)
			}
		}
		seen := make(chan bool, 2)
		handle := func(_ context.Context, msg *stream.Message[order]) error {
			seen <- msg.InOrder()
			return nil
		}
		start(t, newGroup(t, client, handle))
		batch, err := stream.NewBatchConsumer(client, orders, store, func(_ context.Context, list []*stream.Message[order]) error {
			seen <- list[0].InOrder()
			return nil
		}, stream.WithLabel("batch"))
		if err != nil {
			t.Fatal(err)
		}
		start(t, batch)
		for range 2 {
			if <-seen {
				t.Error("an entry of a group, or of a batch, is in order")
			}
		}
	})
	if new(stream.Entry).InOrder() {
		t.Error("an entry that no consumer has read is in order")
	}
}

// The time of a delivery is that of the entry alone: not what its worker waited before, nor what an
// observer did.
func TestEntryTellsItsTime(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]stream.Option{
		"alone":            nil,
		"with an observer": {stream.WithObserver(slowObserver{})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, client *redis.Client) {
				for _, id := range []string{"a", "b", "c"} {
					add(t, client, id)
				}
				var mu sync.Mutex
				var seen []string
				handle := func(_ context.Context, msg *stream.Message[order]) error {
					time.Sleep(time.Second)
					if msg.Value.ID == "b" && msg.Deliveries == 1 {
						return errors.New("not now")
					}
					return nil
				}
				measure := func(next stream.EntryHandler) stream.EntryHandler {
					return func(ctx context.Context, entry *stream.Entry) error {
						begun := time.Now()
						err := next(ctx, entry)
						took := entry.Elapsed()
						mu.Lock()
						defer mu.Unlock()
						seen = append(seen, fmt.Sprintf("%v %v", entry.Deliveries, took))
						if off := begun.Sub(entry.Begun()); off < 0 || off > 100*time.Millisecond {
							t.Errorf("a delivery began %v before the middleware", off)
						}
						return err
					}
				}
				start(t, newConsumer(t, client, new(offset.Memory), handle, append(opts, stream.WithMiddleware(measure))...))
				time.Sleep(time.Minute)
				add(t, client, "d")
				time.Sleep(time.Minute)
				mu.Lock()
				defer mu.Unlock()
				if want := []string{"1 1s", "1 1s", "2 1s", "1 1s", "1 1s"}; !slices.Equal(seen, want) {
					t.Errorf("the deliveries took %v, want %v", seen, want)
				}
			})
		})
	}
	if entry := new(stream.Entry); !entry.Begun().IsZero() || entry.Elapsed() != 0 {
		t.Errorf("an entry that nobody reads began at %v, and took %v", entry.Begun(), entry.Elapsed())
	}
}

// slowObserver takes long for each delivery.
type slowObserver struct{}

func (slowObserver) OnDelivery(stream.DeliveryBegun) { time.Sleep(time.Second) }

func (slowObserver) OnEnd(end stream.DeliveryEnded) {
	if end.Duration != time.Second {
		panic(fmt.Sprintf("it took %v", end.Duration))
	}
	time.Sleep(time.Second)
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for want, id := range map[string]stream.Identity{
		"group:billing": {Stream: "orders", Group: "billing", Consumer: "pod-1"},
		"label:search":  {Stream: "orders", Label: "search"},
	} {
		if got := id.Address(); got != want {
			t.Errorf("the address is %q, want %q", got, want)
		}
	}
}

// The outcome that a middleware sees is that of the engine, for every kind of end.
func TestMiddlewareSeesTheOutcome(t *testing.T) {
	t.Parallel()
	var watched ends
	var mu sync.Mutex
	var seen []stream.Outcome
	watch := func(next stream.EntryHandler) stream.EntryHandler {
		return func(ctx context.Context, entry *stream.Entry) error {
			err := next(ctx, entry)
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, entry.Outcome(ctx, err))
			return err
		}
	}
	run := func(client *redis.Client, ids []string, opts ...stream.Option) {
		for _, id := range ids {
			add(t, client, id)
		}
		handle := func(ctx context.Context, msg *stream.Message[order]) error {
			switch msg.Value.ID {
			case "skip":
				return stream.Skip("of no concern")
			case "letter":
				return &stream.DeadLetterError{Err: errors.New("of no use")}
			case "fail":
				return errors.New("try again")
			case "panic":
				panic("as it were")
			case "wait":
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		consumer := newGroup(t, client, handle, append([]stream.Option{
			stream.WithMiddleware(watch), stream.WithObserver(&watched), stream.WithBackoff(stream.Backoff{Min: time.Hour, Max: time.Hour}),
		}, opts...)...)
		stop := start(t, consumer)
		time.Sleep(10 * time.Second)
		_ = stop()
	}
	bubble(t, func(t *testing.T, client *redis.Client) {
		addFields(t, client, "id", "", "amount", "7") // which does not validate
		run(client, []string{"good", "skip", "letter", "fail", "panic", "wait"}, stream.WithConcurrency(2))
	})
	for _, discard := range []bool{false, true} {
		bubble(t, func(t *testing.T, client *redis.Client) {
			add(t, client, "fail")
			client.XGroupCreate(t.Context(), "orders", "billing", "0")
			client.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "billing", Consumer: "pod-1", Streams: []string{"orders", ">"}})
			opts := []stream.Option{stream.WithConsumerName("pod-1"), stream.WithMaxDeliveries(1)}
			if discard {
				opts = append(opts, stream.WithDiscard())
			}
			run(client, nil, opts...)
		})
	}
	var told []stream.Outcome
	for _, end := range watched.ended() {
		told = append(told, end.Outcome)
	}
	slices.Sort(told)
	slices.Sort(seen)
	want := []stream.Outcome{
		stream.OutcomeHandled, stream.OutcomeAbsorbed, stream.OutcomeSkipped, stream.OutcomeDeadLettered, stream.OutcomeDiscarded,
		stream.OutcomeHeld, stream.OutcomeHeld, stream.OutcomeParked, stream.OutcomeInterrupted,
	}
	if !slices.Equal(told, want) || !slices.Equal(seen, want) {
		t.Errorf("the engine told of %v, and middleware saw %v; want %v", told, seen, want)
	}
}

// The context of a batch belongs to no message: its values are those of the run.
func TestContextOfABatch(t *testing.T) {
	t.Parallel()
	type key struct{ name string }
	bubble(t, func(t *testing.T, client *redis.Client) {
		for i := range 3 {
			add(t, client, fmt.Sprint(i))
		}
		mark := func(next stream.EntryHandler) stream.EntryHandler {
			return func(ctx context.Context, entry *stream.Entry) error {
				return next(context.WithValue(ctx, key{"message"}, entry.ID), entry)
			}
		}
		var got []string
		handle := func(ctx context.Context, batch []*stream.Message[order]) error {
			got = append(got, fmt.Sprintf("%d %v %v %v", len(batch), ctx.Value(key{"message"}), ctx.Value(key{"run"}), ctx.Err()))
			select {
			case <-stream.Stopping(ctx):
				got = append(got, "it is stopping")
			default:
			}
			return nil
		}
		consumer, err := stream.NewGroupBatchConsumer(client, orders, "billing", handle, quietly([]stream.Option{
			stream.WithMiddleware(mark), stream.WithBatch(3, time.Second),
		})...)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{"run"}, "r"), time.Minute)
		defer cancel()
		if err := consumer.Run(ctx); err != nil {
			t.Error(err)
		}
		if want := []string{"3 <nil> r <nil>"}; !slices.Equal(got, want) {
			t.Errorf("the batch handler got %q, want %q", got, want)
		}
	})
}

// A read tells how long it took, and whether that may be a wait for entries.
func TestDurationOfReads(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		var watched ends
		consumer := newConsumer(t, client, new(offset.Memory), newRecorder().Handle, stream.WithObserver(&watched), stream.WithBlock(10*time.Second), stream.WithReadCount(2))
		start(t, consumer)
		time.Sleep(12 * time.Second)
		for i := range 5 {
			add(t, client, fmt.Sprint(i))
		}
		time.Sleep(time.Minute)
		var entries int
		var longest time.Duration
		for _, read := range watched.reads() {
			entries += read.Entries
			longest = max(longest, read.Duration)
			if !read.Waited && read.Duration >= time.Second {
				t.Errorf("a read that does not wait took %v", read.Duration)
			}
		}
		if entries != 5 || longest != 2*time.Second {
			t.Errorf("%d entries, and at most %v for a read, which waited for two seconds: %+v", entries, longest, watched.reads())
		}
	})
}

// Each number of Stats is in Each, once, by a name of its own.
func TestStatsEach(t *testing.T) {
	t.Parallel()
	var s stream.Stats
	value := reflect.ValueOf(&s).Elem()
	want := make(map[float64]string)
	for i := range value.NumField() {
		field, name := value.Field(i), value.Type().Field(i).Name
		switch {
		case name == "LagTime":
			field.SetInt(int64(time.Duration(i+1) * time.Second))
		case field.CanInt():
			field.SetInt(int64(i + 1))
		default:
			continue
		}
		want[float64(i+1)] = name
	}
	names := make(map[string]bool)
	s.Each(func(name, unit, kind string, value float64) {
		if names[name] || name == "" || unit == "" || kind != "counter" && kind != "gauge" {
			t.Errorf("%q, %q, %q is given twice, or lacks something", name, unit, kind)
		}
		names[name] = true
		if name == "paused" && value == 0 { // of a time
			return
		}
		if _, ok := want[value]; !ok {
			t.Errorf("%s has the value %v, which no field has, or one that was given before", name, value)
		}
		delete(want, value)
	})
	if len(want) > 0 {
		t.Errorf("Each leaves out %v", want)
	}
	s.PausedUntil = time.Now()
	s.Each(func(name, _, _ string, value float64) {
		if name == "paused" && value != 1 {
			t.Errorf("%s is %v in a pause", name, value)
		}
	})
}

func TestRunnerMembers(t *testing.T) {
	t.Parallel()
	var outer, inner, innermost stream.Runner
	a, b, c := &idle{"a"}, &idle{"b"}, &idle{"c"}
	innermost.Add(c, &outer) // which can only be a mistake
	inner.Add(b, &innermost)
	outer.Add(a, &inner, &inner)
	if got := slices.Collect(outer.Members()); !slices.Equal(got, []stream.Runnable{a, b, c}) {
		t.Errorf("the members are %v", got)
	}
	outer.Add(loose{})
	if got := slices.Collect(outer.Members()); len(got) != 4 {
		t.Errorf("a function is left out: %v", got)
	}
	if got := slices.Collect(new(stream.Runner).Members()); len(got) > 0 {
		t.Errorf("a Runner without members has %v", got)
	}
}

// loose cannot be compared.
type loose []string

func (loose) Run(context.Context) error { return nil }

type idle struct{ name string }

func (n *idle) Run(context.Context) error { return nil }

// A redriven entry is for the reader that had given it up: the others settle it as skipped, and
// a reader of the dead letters gets it when it is given up again.
func TestRedrivenEntriesAreForTheirReader(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		for _, to := range []string{"group:billing", "label:search", "group:other", ""} {
			pairs := []string{"id", "for " + to, "amount", "7"}
			if to != "" {
				pairs = append(pairs, stream.HeaderFor, to, stream.HeaderRedrives, "1")
			}
			addFields(t, client, pairs...)
		}
		letters := func(next stream.EntryHandler) stream.EntryHandler {
			return func(ctx context.Context, entry *stream.Entry) error {
				_ = next(ctx, entry)
				return &stream.DeadLetterError{Err: errors.New("of no use")}
			}
		}
		strict := stream.Topic[order]{Name: orders.Name, Codec: codec.Struct[order](codec.DisallowUnknownFields())}
		var out logs
		billing, search, repair := newRecorder(), newRecorder(), newRecorder()
		group, err := stream.NewGroupConsumer(client, strict, "billing", billing.Handle, stream.WithLogger(out.Logger()), stream.WithMiddleware(letters))
		if err != nil {
			t.Fatal(err)
		}
		label := newConsumer(t, client, new(offset.Memory), search.Handle, stream.WithLabel("search"))
		strict.Name = stream.DeadLetterStream("orders")
		dead, err := stream.NewGroupConsumer(client, strict, "repair", repair.Handle, quietly(nil)...)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []*stream.Consumer[order]{group, label, dead} {
			start(t, c)
		}
		time.Sleep(time.Minute)
		for name, got := range map[string][]string{"billing": billing.Seen(), "repair": repair.Seen()} {
			if want := []string{"for group:billing", "for "}; !slices.Equal(got, want) {
				t.Errorf("%s handled %q, want %q", name, got, want)
			}
		}
		if got, want := search.Seen(), []string{"for label:search", "for "}; !slices.Equal(got, want) {
			t.Errorf("search handled %q, want %q", got, want)
		}
		stats := group.Stats()
		if stats.Skipped != 2 || stats.Failed != 0 || stats.DeadLettered != 2 {
			t.Errorf("billing: %d skipped, %d failed, %d dead letters", stats.Skipped, stats.Failed, stats.DeadLettered)
		}
		if lines := out.lines("INFO", "entry passed: skipped", "redriven for group:other"); len(lines) != 1 {
			t.Errorf("the log has %d lines of the entry for another reader:\n%s", len(lines), out.String())
		}
		if pending, err := client.XPending(t.Context(), "orders", "billing").Result(); err != nil || pending.Count != 0 {
			t.Errorf("pending: %+v, %v", pending, err)
		}
	})
}
