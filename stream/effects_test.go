package stream_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/middleware"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// bill is what handlers of these tests publish.
type bill struct {
	Order string `mapstructure:"order" validate:"required"`
}

var billTopic = stream.Topic[bill]{Name: "bills"}

// billing is a group whose handlers publish a bill for each order, and count it.
type billing struct {
	t      *testing.T
	admin  *redis.Client
	bills  *stream.Output[bill]
	counts *stream.Counters
	log    logs
}

func newBilling(t *testing.T, admin *redis.Client) *billing {
	t.Helper()
	bills, err := stream.NewOutput(billTopic)
	if err != nil {
		t.Fatal(err)
	}
	counts, err := stream.NewCounters("counts")
	if err != nil {
		t.Fatal(err)
	}
	return &billing{t: t, admin: admin, bills: bills, counts: counts}
}

// bill publishes a bill, and counts it.
func (b *billing) bill(ctx context.Context, msg *stream.Message[order]) error {
	if err := b.counts.Add(ctx, msg, "bills", 1); err != nil {
		return err
	}
	return b.bills.Publish(ctx, msg, bill{Order: msg.Value.ID}, stream.WithHeader("traceparent", "trace-"+msg.Value.ID))
}

func (b *billing) options(opts []stream.Option) []stream.Option {
	return append([]stream.Option{
		stream.WithLogger(b.log.Logger()), stream.WithEffects(b.bills, b.counts),
		stream.WithBackoff(stream.Backoff{Min: time.Millisecond, Max: 10 * time.Millisecond}),
	}, opts...)
}

// start runs a consumer of the group.
func (b *billing) start(client redis.UniversalClient, handle stream.Handler[order], opts ...stream.Option) (stop func() error) {
	b.t.Helper()
	consumer, err := stream.NewGroupConsumer(client, orders, "billing", handle, b.options(opts)...)
	if err != nil {
		b.t.Fatal(err)
	}
	return start(b.t, consumer)
}

// billed returns the orders for which there are bills, in their order.
func (b *billing) billed() (list []string) {
	b.t.Helper()
	entries, err := b.admin.XRange(context.Background(), billTopic.Name, "-", "+").Result()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, entry := range entries {
		list = append(list, fmt.Sprint(entry.Values["order"]))
		if got := entry.Values["traceparent"]; got != "trace-"+list[len(list)-1] {
			b.t.Errorf("the header of %v is %v", entry.Values["order"], got)
		}
	}
	return list
}

// await waits until all is settled, and then wants these bills, in any order, as many on the counter,
// and nothing pending.
func (b *billing) await(want ...string) {
	b.t.Helper()
	eventually(b.t, "all is settled", func() bool {
		groups, err := b.admin.XInfoGroups(context.Background(), orders.Name).Result()
		return err == nil && len(groups) == 1 && groups[0].Pending == 0 && groups[0].Lag == 0
	})
	b.want(want...)
}

func (b *billing) want(want ...string) {
	b.t.Helper()
	got := b.billed()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		b.t.Errorf("bills %q, want %q", got, want)
	}
	if n, err := b.admin.HGet(context.Background(), "counts", "bills").Int(); (err != nil || n != len(want)) && len(want) > 0 {
		b.t.Errorf("the counter is %d, %v, want %d", n, err, len(want))
	}
}

func TestEffectsHappenWithTheSettling(t *testing.T) {
	t.Parallel()
	b := newBilling(t, streamtest.StartRedis(t).Client())
	var want []string
	for i := range 250 { // more than one commit
		id := fmt.Sprintf("%03d", i)
		add(t, b.admin, id)
		if i%5 != 0 {
			want = append(want, id)
		}
	}
	stop := b.start(b.admin, func(ctx context.Context, msg *stream.Message[order]) error {
		if strings.HasSuffix(msg.Value.ID, "0") || strings.HasSuffix(msg.Value.ID, "5") {
			return nil // no effect
		}
		return b.bill(ctx, msg)
	})
	b.await(want...)
	if got := b.billed(); !slices.IsSorted(got) {
		t.Errorf("bills %q are not in the order of the stream", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// A run of the handler that does not succeed has no effects.
func TestEffectsOfFailuresAreDropped(t *testing.T) {
	t.Parallel()
	b := newBilling(t, streamtest.StartRedis(t).Client())
	var failed [8]atomic.Bool
	first := func(i int) bool { return failed[i].CompareAndSwap(false, true) }
	handle := func(ctx context.Context, msg *stream.Message[order]) error {
		if err := b.bill(ctx, msg); err != nil {
			return err
		}
		switch {
		case msg.Value.ID == "error" && first(0), msg.Value.ID == "in place" && first(1):
			return errors.New(msg.Value.ID)
		case msg.Value.ID == "panic" && first(2):
			panic("a panic")
		case msg.Value.ID == "goexit" && first(3):
			goexit()
		case msg.Value.ID == "skipped":
			return stream.Skip("of no concern")
		case msg.Value.ID == "dead":
			return &stream.DeadLetterError{Err: errors.New("hopeless")}
		}
		return nil
	}
	// This one fails outside of the handler, and the handler has succeeded.
	outside := func(next stream.EntryHandler) stream.EntryHandler {
		return func(ctx context.Context, entry *stream.Entry) error {
			err := next(ctx, entry)
			if id, _ := entry.Fields.Get("id"); err == nil && id == "outside" && first(4) {
				return errors.New("outside")
			} else if id == "passed" && err == nil {
				return stream.Skip("outside")
			}
			return err
		}
	}
	inPlace := middleware.Retry(middleware.RetryConfig{
		Attempts: 2, Backoff: stream.Backoff{Min: time.Millisecond, Max: time.Millisecond},
		If: func(err error) bool { return err.Error() == "in place" },
	})
	stop := b.start(b.admin, handle, stream.WithMiddleware(outside, inPlace))
	for _, id := range []string{"error", "in place", "panic", "goexit", "skipped", "passed", "dead", "outside", "well"} {
		add(t, b.admin, id)
	}
	b.await("error", "goexit", "in place", "outside", "panic", "well")
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// Each output of a batch belongs to the message that it was given.
func TestEffectsOfABatch(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"partial", "bisect"} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			b := newBilling(t, streamtest.StartRedis(t).Client())
			var once atomic.Bool
			handle := func(ctx context.Context, batch []*stream.Message[order]) error {
				errs, bad := make([]error, len(batch)), error(nil)
				for i, msg := range batch {
					if err := b.bill(ctx, msg); err != nil {
						return err
					}
					if msg.Value.ID == "03" && once.CompareAndSwap(false, true) || msg.Value.ID == "07" {
						errs[i] = stream.Skip("bad")
						if msg.Value.ID == "03" {
							errs[i] = errors.New("bad")
						}
						bad = errs[i]
					}
				}
				if form == "partial" {
					return stream.Partial(errs)
				}
				if len(batch) == 1 {
					return errs[0]
				}
				return bad
			}
			if form == "bisect" {
				handle = stream.Bisect(handle)
			}
			consumer, err := stream.NewGroupBatchConsumer(b.admin, orders, "billing", handle, b.options([]stream.Option{stream.WithBatch(10, 20*time.Millisecond)})...)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for i := range 10 {
				id := fmt.Sprintf("%02d", i)
				add(t, b.admin, id)
				if i != 7 {
					want = append(want, id)
				}
			}
			start(t, consumer)
			b.await(want...)
		})
	}
}

// An effect that cannot be is an error, and never another message's.
func TestNoEffects(t *testing.T) {
	t.Parallel()
	b := newBilling(t, streamtest.StartRedis(t).Client())
	other, err := stream.NewOutput(stream.Topic[bill]{Name: "other"})
	if err != nil {
		t.Fatal(err)
	}
	kept := make(chan *stream.Message[order], 3)
	late := make(chan error, 3)
	b.start(b.admin, func(ctx context.Context, msg *stream.Message[order]) error {
		if len(kept) > 0 { // a handler that has returned long ago publishes now
			late <- b.bill(ctx, <-kept)
		}
		kept <- msg
		if err := other.Publish(ctx, msg, bill{Order: "x"}); !errors.Is(err, stream.ErrNoEffects) || !strings.Contains(err.Error(), "WithEffects") {
			t.Errorf("an output that was not declared: %v", err)
		}
		return b.bill(ctx, msg)
	})
	for _, id := range []string{"a", "b", "c"} {
		add(t, b.admin, id)
	}
	b.await("a", "b", "c")
	late <- b.bill(t.Context(), <-kept)
	close(late)
	for err := range late {
		if !errors.Is(err, stream.ErrNoEffects) {
			t.Errorf("a message that was kept: %v", err)
		}
	}
	for _, msg := range []*stream.Message[order]{{Value: order{ID: "x"}}, nil} {
		if err := b.bills.Publish(t.Context(), msg, bill{Order: "x"}); !errors.Is(err, stream.ErrNoEffects) {
			t.Errorf("a message of a test: %v", err)
		}
	}
	plain := make(chan error, 1)
	consumer, err := stream.NewGroupConsumer(b.admin, orders, "plain", func(ctx context.Context, msg *stream.Message[order]) error {
		select {
		case plain <- b.bill(ctx, msg):
		default:
		}
		return nil
	}, stream.WithLogger(b.log.Logger()))
	if err != nil {
		t.Fatal(err)
	}
	start(t, consumer)
	if err := <-plain; !errors.Is(err, stream.ErrNoEffects) {
		t.Errorf("a consumer without effects: %v", err)
	}
}

// wideCodec makes as many fields of a bill as its text has letters.
type wideCodec struct{ codec.Codec[bill] }

func (wideCodec) Encode(b bill) ([]string, error) {
	return slices.Repeat([]string{"f", "v"}, len(b.Order)), nil
}

func TestAnOutputThatCannotBe(t *testing.T) {
	t.Parallel()
	wide, err := stream.NewOutput(stream.Topic[bill]{Name: "wide", Codec: wideCodec{codec.Struct[bill]()}}, stream.WithMaxLen(10))
	if err != nil {
		t.Fatal(err)
	}
	bills := newBilling(t, nil).bills
	msg := new(stream.Message[order])
	effects := streamtest.Effects(t, msg)
	for _, err := range []error{
		bills.Publish(t.Context(), msg, bill{}),
		bills.Publish(t.Context(), msg, bill{Order: "1"}, stream.WithHeader("order", "2")),
		wide.Publish(t.Context(), msg, bill{Order: strings.Repeat("x", 4000)}),
	} {
		if !isEncodeError(err) {
			t.Errorf("got %v", err)
		}
	}
	if err := wide.Publish(t.Context(), msg, bill{Order: strings.Repeat("x", 3940)}); err != nil {
		t.Error(err)
	}
	if got := effects.Output("wide"); len(got) != 1 || got[0].Len() != 3940 || len(effects.Output("bills")) != 0 {
		t.Errorf("%d outputs", len(got))
	}
}

func TestEffectsOfAMessageOfATest(t *testing.T) {
	t.Parallel()
	b := newBilling(t, nil)
	msg := &stream.Message[order]{Value: order{ID: "1"}}
	for range 2 {
		effects := streamtest.Effects(t, msg)
		if err := errors.Join(b.bill(t.Context(), msg), b.counts.Add(t.Context(), msg, "bills", -3)); err != nil {
			t.Fatal(err)
		}
		got := effects.Output("bills")
		if len(got) != 1 || effects.Counter("counts", "bills") != -2 || effects.Counter("counts", "none") != 0 {
			t.Fatalf("outputs %v, counter %d", got, effects.Counter("counts", "bills"))
		}
		if value, err := codec.Struct[bill]().Decode(got[0]); err != nil || value.Order != "1" {
			t.Errorf("decoded %v, %v", value, err)
		}
	}
}

func TestEffectsAreCheckedAtConstruction(t *testing.T) {
	t.Parallel()
	b := newBilling(t, nil)
	again, err := stream.NewOutput(billTopic)
	if err != nil {
		t.Fatal(err)
	}
	onTopic, err := stream.NewCounters(orders.Name)
	if err != nil {
		t.Fatal(err)
	}
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	defer func() { _ = cluster.Close() }()
	handle := func(context.Context, *stream.Message[order]) error { return nil }
	_, err = stream.NewGroupConsumer(cluster, orders, "g", handle, stream.WithEffects(b.bills, again, nil, onTopic, b.bills))
	for _, text := range []string{"number 3 is nil", `key "bills" is given twice`, "hash tag", "of the counters is the topic"} {
		wantProblem(t, err, text)
	}
	if err != nil && strings.Count(err.Error(), "given twice") != 1 {
		t.Errorf("one output that is given again is no problem: %v", err)
	}
	tagged, err := stream.NewOutput(stream.Topic[bill]{Name: "{orders}:bills"}, stream.WithExactMaxLen(3))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.NewGroupConsumer(cluster, stream.Topic[order]{Name: "{orders}"}, "g", handle, stream.WithEffects(tagged)); err != nil {
		t.Error(err)
	}
	_, err = stream.NewOutput(stream.Topic[bill]{}, stream.WithMaxLen(0))
	wantProblem(t, err, "WithMaxLen(0)")
	wantProblem(t, err, "Topic.Name")
	_, err = stream.NewCounters(" ")
	wantProblem(t, err, "NewCounters")
}

// The reply of a commit is lost: it has happened, and does not happen again.
func TestEffectsOfALostReply(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	b := newBilling(t, server.Client())
	proxy := streamtest.StartProxy(t, server.Addr)
	b.start(proxy.Client(), b.bill)
	add(t, b.admin, "a") // which the server learns the script by
	b.await("a")
	proxy.CutReply("traceparent", 0)
	for _, id := range []string{"b", "c", "d"} {
		add(t, b.admin, id)
	}
	b.await("a", "b", "c", "d")
	if len(b.log.lines("acking entries failed")) == 0 {
		t.Error("no reply was lost")
	}
	if found := b.log.lines("level=WARN", "entry finished"); found != nil {
		t.Errorf("told of %q", found)
	}
}

// Who is not the pending owner any more writes nothing.
func TestEffectsAreFenced(t *testing.T) {
	t.Parallel()
	claimFor := func(b *billing, consumer, id string, count int64) {
		if err := b.admin.Do(context.Background(), "xclaim", orders.Name, "billing", consumer, 0, id, "retrycount", count, "justid").Err(); err != nil {
			t.Error(err)
		}
	}
	t.Run("claimed", func(t *testing.T) {
		t.Parallel()
		b := newBilling(t, streamtest.StartRedis(t).Client())
		b.start(b.admin, func(ctx context.Context, msg *stream.Message[order]) error {
			claimFor(b, "other", msg.ID, 1)
			return b.bill(ctx, msg)
		})
		id := add(t, b.admin, "a")
		eventually(t, "the commit is refused", func() bool { return len(b.log.lines("its effects are not written")) > 0 })
		b.want()
		streamtest.AssertPending(t, b.admin, orders.Name, "billing", id)
	})
	t.Run("another process of this name", func(t *testing.T) {
		t.Parallel()
		b := newBilling(t, streamtest.StartRedis(t).Client())
		var deliveries atomic.Int64
		b.start(b.admin, func(ctx context.Context, msg *stream.Message[order]) error {
			if deliveries.Store(msg.Deliveries); msg.Deliveries == 1 {
				claimFor(b, "me", msg.ID, 7)
			}
			return b.bill(ctx, msg)
		}, stream.WithConsumerName("me"), stream.WithClaimIdle(300*time.Millisecond), stream.WithBlock(50*time.Millisecond))
		add(t, b.admin, "a")
		b.await("a") // and it is taken up again
		if n := deliveries.Load(); n < 8 || len(b.log.lines("its effects are not written")) == 0 {
			t.Errorf("committed with delivery %d, want one behind the seventh", n)
		}
	})
}

// A consumer that an operator removes takes its entries back, and they have their effects once.
func TestEffectsOfAConsumerThatIsRemoved(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "named"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBilling(t, streamtest.StartRedis(t).Client())
			handle := func(ctx context.Context, msg *stream.Message[order]) error {
				if msg.Value.ID == "b" {
					consumers, err := b.admin.XInfoConsumers(ctx, orders.Name, "billing").Result()
					if err != nil {
						return err
					}
					for _, one := range consumers {
						b.admin.XGroupDelConsumer(ctx, orders.Name, "billing", one.Name)
					}
				}
				return b.bill(ctx, msg)
			}
			for _, id := range []string{"a", "b", "c"} {
				add(t, b.admin, id)
			}
			seen := &seenLosses{}
			stop := b.start(b.admin, handle, stream.WithConsumerName(name), stream.WithObserver(seen))
			if name == "" {
				eventually(t, "all have their effects", func() bool { return len(b.billed()) >= 3 })
				b.await("a", "b", "c")
			} else { // two processes with one name would look the same
				eventually(t, "the loss is told", func() bool { return seen.n.Load() > 0 })
				if got := b.billed(); slices.Contains(got, "b") {
					t.Errorf("bills %q, though it cannot be known whose b is", got)
				}
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

type seenLosses struct{ n atomic.Int64 }

func (s *seenLosses) OnLoss(stream.Identity, error) { s.n.Add(1) }

// A commit that cannot be is refused before the first write, and tried until it works.
func TestEffectsAreRefusedBeforeTheFirstWrite(t *testing.T) {
	t.Parallel()
	do := func(t *testing.T, client *redis.Client, args ...any) {
		t.Helper()
		if err := client.Do(context.Background(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, trouble := range []struct {
		name, says  string
		breaks, end [][]any
	}{
		{"another type", "WRONGTYPE", [][]any{{"set", "bills", "x"}}, [][]any{{"del", "bills"}}},
		{"counters of another type", "WRONGTYPE", [][]any{{"set", "counts", "x"}}, [][]any{{"del", "counts"}}},
		{"text", "no integer", [][]any{{"hset", "counts", "bills", "many"}}, [][]any{{"hdel", "counts", "bills"}}},
		{"a number that is no integer", "no integer", [][]any{{"hset", "counts", "bills", "007"}}, [][]any{{"hdel", "counts", "bills"}}},
		{"overflow", "64 bits", [][]any{{"hset", "counts", "bills", math.MaxInt64 - 1}}, [][]any{{"hdel", "counts", "bills"}}},
		{"no memory", "OOM", [][]any{{"config", "set", "maxmemory", "1"}}, [][]any{{"config", "set", "maxmemory", "0"}}},
		{"no replicas", "NOREPLICAS", [][]any{{"config", "set", "min-replicas-to-write", "1"}}, [][]any{{"config", "set", "min-replicas-to-write", "0"}}},
		{"no right to the output", "NOPERM", [][]any{{"acl", "setuser", "default", "-xadd"}}, [][]any{{"acl", "setuser", "default", "+xadd"}}},
		{"no right to count", "NOPERM", [][]any{{"acl", "setuser", "default", "-hincrby"}}, [][]any{{"acl", "setuser", "default", "+hincrby"}}},
		{"no right to ack", "NOPERM", [][]any{{"acl", "setuser", "default", "-xack"}}, [][]any{{"acl", "setuser", "default", "+xack"}}},
	} {
		t.Run(trouble.name, func(t *testing.T) {
			t.Parallel()
			b := newBilling(t, streamtest.StartRedis(t).Client())
			do(t, b.admin, "acl", "setuser", "root", "on", "nopass", "+@all", "~*")
			opts := optionsOf(b.admin)
			opts.Username, opts.Password = "root", "x"
			root := redis.NewClient(opts)
			t.Cleanup(func() { _ = root.Close() })
			var broke atomic.Bool
			stop := b.start(b.admin, func(ctx context.Context, msg *stream.Message[order]) error {
				if broke.CompareAndSwap(false, true) {
					for _, args := range trouble.breaks {
						do(t, root, args...)
					}
				}
				if trouble.name == "another type" { // of the output: the counter would be the half that is written
					return b.bill(ctx, msg)
				}
				if err := b.bills.Publish(ctx, msg, bill{Order: msg.Value.ID}, stream.WithHeader("traceparent", "trace-"+msg.Value.ID)); err != nil {
					return err
				}
				return b.counts.Add(ctx, msg, "bills", 1)
			})
			for _, id := range []string{"a", "b"} {
				add(t, root, id)
			}
			eventually(t, "the trouble is told", func() bool { return len(b.log.lines("acking entries failed", trouble.says)) > 0 })
			if root.Type(context.Background(), "bills").Val() == "stream" || root.HGet(context.Background(), "counts", "bills").Val() == "1" {
				t.Error("something was written")
			}
			for _, args := range trouble.end {
				do(t, root, args...)
			}
			b.await("a", "b")
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A settling of several commits, of which the second is refused, goes on behind the first.
func TestEffectsOfSeveralCommits(t *testing.T) {
	t.Parallel()
	b := newBilling(t, streamtest.StartRedis(t).Client())
	if err := b.admin.HSet(t.Context(), "counts", "later", "text").Err(); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 250 {
		want = append(want, fmt.Sprintf("%03d", i))
		add(t, b.admin, want[i])
	}
	b.start(b.admin, func(ctx context.Context, msg *stream.Message[order]) error {
		if msg.Value.ID >= "150" {
			if err := b.counts.Add(ctx, msg, "later", 1); err != nil {
				return err
			}
		}
		return b.bill(ctx, msg)
	})
	// The first commit has a hundred entries, or fewer if not more have ended.
	eventually(t, "a commit is refused behind another", func() bool {
		return len(b.log.lines("acking entries failed")) > 0 && len(b.billed()) > 0
	})
	if err := b.admin.HDel(t.Context(), "counts", "later").Err(); err != nil {
		t.Fatal(err)
	}
	b.await(want...)
	if found := b.log.lines("level=WARN", "entry finished"); found != nil {
		t.Errorf("told of %d entries, the first %s", len(found), found[0])
	}
	if n, err := b.admin.HGet(t.Context(), "counts", "later").Int(); n != 100 || err != nil {
		t.Errorf("the other counter is %d, %v, want 100", n, err)
	}
}

// A command that fails behind another one, which no check can foresee, ends Run: a try again would
// write the first half once more. The entry stays pending.
func TestHalfOfACommit(t *testing.T) {
	t.Parallel()
	b := newBilling(t, streamtest.StartRedis(t).Client())
	if err := b.admin.Do(t.Context(), "xadd", "bills", "18446744073709551615-18446744073709551615", "f", "v").Err(); err != nil {
		t.Fatal(err)
	}
	consumer, err := stream.NewGroupConsumer(b.admin, orders, "billing", b.bill, b.options(nil)...)
	if err != nil {
		t.Fatal(err)
	}
	id := add(t, b.admin, "a")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := consumer.Run(ctx); err == nil || !strings.Contains(err.Error(), "behind others") {
		t.Errorf("Run returned %v", err)
	}
	streamtest.AssertPending(t, b.admin, orders.Name, "billing", id)
	if n := b.admin.HGet(t.Context(), "counts", "bills").Val(); n != "1" {
		t.Errorf("the first half was written %s times", n)
	}
}

// A settling that a worker gives up, because its entry is claimed away, is taken on by the settler:
// or nothing would be begun any more.
func TestSettlingThatAWorkerHasGivenUp(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	ctx := context.Background()
	do := func(c *redis.Client, args ...any) {
		t.Helper()
		if err := c.Do(ctx, args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	do(client, "acl", "setuser", "root", "on", "nopass", "+@all", "~*")
	opts := optionsOf(client)
	opts.Username, opts.Password = "root", "x"
	root := redis.NewClient(opts)
	t.Cleanup(func() { _ = root.Close() })
	var log logs
	over, rec := make(chan struct{}), newRecorder()
	rec.handle = func(ctx context.Context, msg *stream.Message[order]) error {
		switch {
		case msg.Value.ID == "long":
			<-over
		case msg.Value.ID == "held" && msg.Deliveries == 1:
			return errors.New("held")
		}
		return nil
	}
	consumer, err := stream.NewGroupConsumer(client, orders, "g", rec.Handle, stream.WithLogger(log.Logger()),
		stream.WithConcurrency(2), stream.WithCheckpoint(1000, time.Hour), stream.WithClaimIdle(time.Second),
		stream.WithBackoff(stream.Backoff{Min: 500 * time.Millisecond, Max: 500 * time.Millisecond}))
	if err != nil {
		t.Fatal(err)
	}
	start(t, consumer)
	defer close(over)
	add(t, root, "first")
	rec.await(t, 1)
	eventually(t, "the first is acked", func() bool { return root.XPending(ctx, orders.Name, "g").Val().Count == 0 })
	do(root, "acl", "setuser", "default", "-xack")
	add(t, root, "long")
	rec.await(t, 2)
	held := add(t, root, "held")
	rec.await(t, 3)
	add(t, root, "good")
	rec.await(t, 4)
	eventually(t, "a worker settles", func() bool { return len(log.lines("acking entries failed")) > 0 })
	do(root, "xclaim", orders.Name, "g", "other", 0, held)
	eventually(t, "the worker gives up", func() bool { return len(log.lines("another consumer", "entry_id="+held)) > 0 })
	do(root, "acl", "setuser", "default", "+xack")
	add(t, root, "last")
	rec.await(t, 5)
}

// In virtual time, on the Redis in memory of users' tests.
func TestEffectsInABubble(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, bubble *streamtest.Bubble) {
		b := newBilling(t, bubble.Client)
		stop := b.start(bubble.Client, b.bill)
		for _, id := range []string{"a", "b"} {
			add(t, bubble.Client, id)
		}
		bubble.Advance(3 * time.Second)
		b.want("a", "b")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
