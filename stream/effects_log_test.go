package stream_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// logBilling is billing in log mode.
type logBilling struct {
	*billing
}

func newLogBilling(t *testing.T, admin *redis.Client) *logBilling {
	t.Helper()
	return &logBilling{newBilling(t, admin)}
}

func (b *logBilling) store(client redis.UniversalClient) *offset.Redis {
	b.t.Helper()
	store, err := offset.NewRedis(client, "offsets")
	if err != nil {
		b.t.Fatal(err)
	}
	return store
}

func (b *logBilling) consumer(client redis.UniversalClient, handle stream.Handler[order], opts ...stream.Option) *stream.Consumer[order] {
	b.t.Helper()
	consumer, err := stream.NewConsumer(client, orders, b.store(client), handle, b.options(opts)...)
	if err != nil {
		b.t.Fatal(err)
	}
	return consumer
}

func (b *logBilling) start(client redis.UniversalClient, handle stream.Handler[order], opts ...stream.Option) (stop func() error) {
	b.t.Helper()
	return start(b.t, b.consumer(client, handle, opts...))
}

// offset returns the offset that is stored.
func (b *logBilling) offset() string {
	id, _ := b.admin.HGet(context.Background(), "offsets", orders.Name).Result()
	return id
}

// await waits until all is settled, and then wants these bills, in this order, and as many on the
// counter.
func (b *logBilling) await(want ...string) {
	b.t.Helper()
	eventually(b.t, "all is settled", func() bool {
		last, err := b.admin.XRevRangeN(context.Background(), orders.Name, "+", "-", 1).Result()
		return err == nil && len(last) == 1 && b.offset() == last[0].ID
	})
	if got := b.billed(); !slices.Equal(got, want) {
		b.t.Errorf("bills %q, want %q", got, want)
	}
	b.want(slices.Sorted(slices.Values(want))...)
}

// linksKey is the key of the links beside the offsets of logBilling.
const linksKey = "{offsets}:links"

// threeDigits are the texts of numbers of three digits, below n.
func threeDigits(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("%03d", i))
	}
	return list
}

func TestLogEffectsHappenWithTheOffset(t *testing.T) {
	t.Parallel()
	b := newLogBilling(t, streamtest.StartRedis(t).Client())
	var want []string
	for i, id := range threeDigits(350) { // more than one commit
		add(t, b.admin, id)
		if i%5 != 0 {
			want = append(want, id)
		}
	}
	handle := func(ctx context.Context, msg *stream.Message[order]) error {
		if strings.HasSuffix(msg.Value.ID, "0") || strings.HasSuffix(msg.Value.ID, "5") {
			return nil // no effect
		}
		return b.bill(ctx, msg)
	}
	stop := b.start(b.admin, handle, stream.WithConcurrency(4))
	b.await(want...)
	if err := stop(); err != nil {
		t.Error(err)
	}
	// Effects are switched off, and on again: the offset is where it always was.
	stop = start(t, newConsumer(t, b.admin, b.store(b.admin), func(context.Context, *stream.Message[order]) error { return nil }))
	add(t, b.admin, "without")
	b.await(want...)
	if err := stop(); err != nil {
		t.Error(err)
	}
	b.start(b.admin, handle)
	add(t, b.admin, "with")
	b.await(append(want, "with")...)
	if found := b.log.lines("level=WARN"); found != nil {
		t.Errorf("told of %q", found)
	}
}

// A run of the handler that does not succeed has no effects, and an entry that is held keeps back
// those of all behind it.
func TestLogEffectsOfFailures(t *testing.T) {
	t.Parallel()
	b := newLogBilling(t, streamtest.StartRedis(t).Client())
	held := atomic.Bool{}
	held.Store(true)
	b.start(b.admin, func(ctx context.Context, msg *stream.Message[order]) error {
		if err := b.bill(ctx, msg); err != nil {
			return err
		}
		switch {
		case msg.Value.ID == "held" && held.Load(), msg.Value.ID == "once" && msg.Deliveries == 1:
			return errors.New("not now")
		case msg.Value.ID == "skipped":
			return stream.Skip("of no concern")
		case msg.Value.ID == "dead":
			return &stream.DeadLetterError{Err: errors.New("hopeless")}
		case msg.Value.ID == "panic" && msg.Deliveries == 1:
			panic("a panic")
		}
		return nil
	}, stream.WithConcurrency(8))
	for _, id := range []string{"a", "once", "skipped", "dead", "panic", "held", "behind"} {
		add(t, b.admin, id)
	}
	eventually(t, "those before are settled", func() bool { return len(b.billed()) >= 3 })
	if got := b.billed(); !slices.Equal(got, []string{"a", "once", "panic"}) {
		t.Errorf("bills %q before the entry that is held", got)
	}
	held.Store(false)
	b.await("a", "once", "panic", "held", "behind")
	if n := b.admin.XLen(t.Context(), stream.DeadLetterStream(orders.Name)).Val(); n != 1 {
		t.Errorf("%d dead letters", n)
	}
}

func TestLogEffectsOfABatch(t *testing.T) {
	t.Parallel()
	b := newLogBilling(t, streamtest.StartRedis(t).Client())
	var once atomic.Bool
	handle := stream.Bisect(func(ctx context.Context, batch []*stream.Message[order]) error {
		for _, msg := range batch {
			if err := b.bill(ctx, msg); err != nil {
				return err
			}
			if msg.Value.ID == "003" && once.CompareAndSwap(false, true) {
				return errors.New("bad")
			}
		}
		return nil
	})
	consumer, err := stream.NewBatchConsumer(b.admin, orders, b.store(b.admin), handle, b.options([]stream.Option{stream.WithBatch(10, 20*time.Millisecond)})...)
	if err != nil {
		t.Fatal(err)
	}
	want := threeDigits(25)
	for _, id := range want {
		add(t, b.admin, id)
	}
	start(t, consumer)
	b.await(want...)
}

// The reply of a commit is lost: it has happened, and does not happen again. It is sent again as it
// was, though more entries have ended meanwhile, which it does not have; also by a stop.
func TestLogEffectsOfALostReply(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"goes on", "stops"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			server := streamtest.StartRedis(t)
			b := newLogBilling(t, server.Client())
			proxy := streamtest.StartProxy(t, server.Addr)
			var lost, others atomic.Bool
			two := make(chan struct{})
			stop := b.start(proxy.Client(), func(ctx context.Context, msg *stream.Message[order]) error {
				switch msg.Value.ID {
				case "b":
					<-two // both are begun, or the second would wait for the commit
				case "c":
					close(two)
					for !lost.Load() && ctx.Err() == nil {
						time.Sleep(time.Millisecond)
					}
					others.Store(true)
				}
				return b.bill(ctx, msg)
			}, stream.WithConcurrency(2), stream.WithCheckpoint(1, time.Millisecond))
			add(t, b.admin, "a") // which the server learns the script by
			b.await("a")
			var released atomic.Bool
			proxy.OnRequest("traceparent", func() {
				switch {
				case lost.CompareAndSwap(false, true):
					proxy.CutReply("traceparent", 0)
				case !released.Load():
					proxy.Cut(streamtest.ToServer, 0)
				}
			})
			for _, id := range []string{"b", "c"} {
				add(t, b.admin, id)
			}
			eventually(t, "a reply is lost, and more has ended", func() bool {
				return others.Load() && len(b.log.lines("saving the offset failed")) > 0
			})
			released.Store(true)
			if end == "stops" {
				if err := stop(); err != nil {
					t.Error(err)
				}
			}
			b.await("a", "b", "c")
			for _, text := range []string{"was moved on", "earlier state"} {
				if found := b.log.lines(text); found != nil {
					t.Errorf("told of %q", found)
				}
			}
		})
	}
}

// The consumer of a label that was started last goes on. The other one writes nothing more, and ends.
func TestLogEffectsOfTwoWithOneLabel(t *testing.T) {
	t.Parallel()
	b := newLogBilling(t, streamtest.StartRedis(t).Client())
	begun, goOn := make(chan struct{}), make(chan struct{})
	older := b.consumer(b.admin, func(ctx context.Context, msg *stream.Message[order]) error {
		if msg.Value.ID == "b" {
			close(begun)
			<-goOn
		}
		return b.bill(ctx, msg)
	})
	ended := make(chan error, 1)
	go func() { ended <- older.Run(t.Context()) }()
	add(t, b.admin, "a")
	b.await("a")
	add(t, b.admin, "b")
	<-begun
	b.start(b.admin, b.bill)
	b.await("a", "b")
	close(goOn)
	err := <-ended
	if !errors.Is(err, stream.ErrFenced) || !strings.Contains(err.Error(), "WithLabel") {
		t.Errorf("Run returned %v, want ErrFenced with advice", err)
	}
	add(t, b.admin, "c")
	b.await("a", "b", "c")
}

// The server falls back to an earlier state, as in a failover: link, offset and outputs together. The
// consumer goes on from there.
func TestLogEffectsOfAServerThatFallsBack(t *testing.T) {
	t.Parallel()
	for _, to := range []string{"its own chain", "the chain before", "nothing", "an empty label"} {
		t.Run(to, func(t *testing.T) {
			t.Parallel()
			server := streamtest.StartRedis(t)
			b := newLogBilling(t, server.Client())
			want := threeDigits(30)
			for _, id := range want {
				add(t, b.admin, id)
			}
			ctx, all := context.Background(), func() (dump map[string]string) {
				dump = make(map[string]string)
				for _, key := range []string{"offsets", linksKey, "bills", "counts"} {
					dump[key] = b.admin.Dump(context.Background(), key).Val()
				}
				return dump
			}
			if to == "the chain before" {
				stop := b.start(b.admin, b.bill, stream.WithUntil(stream.FromID(b.entry(9))))
				b.awaitBills(10)
				_ = stop()
			}
			old := all()
			hold := make(chan struct{})
			var parted atomic.Bool
			b.start(b.admin, func(ctx context.Context, msg *stream.Message[order]) error {
				if msg.Value.ID == "020" && parted.CompareAndSwap(false, true) {
					<-hold
				}
				return b.bill(ctx, msg)
			}, stream.WithCheckpoint(5, time.Millisecond))
			b.awaitBills(20)
			switch to {
			case "its own chain": // the last two steps of it are lost
				link := b.admin.HGet(ctx, linksKey, orders.Name).Val()
				name, _, _ := strings.Cut(link, ":")
				b.replace(map[string]string{"offsets": "", linksKey: "", "bills": "", "counts": ""})
				b.admin.HSet(ctx, linksKey, orders.Name, name+":0")
			case "an empty label":
				b.admin.Del(ctx, linksKey)
			default:
				b.replace(old)
			}
			close(hold)
			b.await(want...)
			if found := b.log.lines("earlier state"); found == nil {
				t.Errorf("it is not told:\n%s", b.log.String())
			}
			if found := b.log.lines("level=ERROR"); found != nil {
				t.Errorf("told of %q", found)
			}
		})
	}
}

// entry returns the ID of an order by its place in the stream.
func (b *logBilling) entry(n int64) string {
	b.t.Helper()
	list, err := b.admin.XRangeN(context.Background(), orders.Name, "-", "+", n+1).Result()
	if err != nil || int64(len(list)) != n+1 {
		b.t.Fatal(len(list), err)
	}
	return list[n].ID
}

func (b *logBilling) awaitBills(n int) {
	b.t.Helper()
	eventually(b.t, fmt.Sprintf("%d bills", n), func() bool { return b.admin.XLen(context.Background(), "bills").Val() == int64(n) })
}

// replace sets keys to what they were, in one step.
func (b *logBilling) replace(dumps map[string]string) {
	b.t.Helper()
	if _, err := b.admin.TxPipelined(context.Background(), func(p redis.Pipeliner) error {
		for key, dump := range dumps {
			if p.Del(context.Background(), key); dump != "" {
				p.Restore(context.Background(), key, 0, dump)
			}
		}
		return nil
	}); err != nil {
		b.t.Fatal(err)
	}
}

// The end of an append-only file is cut off while Redis is down: all of a commit is gone, or none.
func TestLogEffectsOfACutAppendOnlyFile(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	b := newLogBilling(t, server.Client())
	begin := make(chan struct{})
	b.start(b.admin, func(ctx context.Context, msg *stream.Message[order]) error {
		<-begin // the commits are the end of the file
		return b.bill(ctx, msg)
	}, stream.WithCheckpoint(5, time.Millisecond))
	want := threeDigits(40)
	for _, id := range want {
		add(t, b.admin, id)
	}
	folder := filepath.Join(b.admin.ConfigGet(t.Context(), "dir").Val()["dir"], "appendonlydir", "*.incr.aof")
	close(begin)
	b.awaitBills(len(want))
	server.Kill()
	files, err := filepath.Glob(folder)
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	info, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(files[0], info.Size()-3000); err != nil {
		t.Fatal(err)
	}
	server.Start()
	b.await(want...)
	if found := b.log.lines("earlier state"); found == nil {
		t.Error("nothing was lost")
	}
}

// A commit that cannot be is refused before the first write, and tried until it works.
func TestLogEffectsAreRefusedBeforeTheFirstWrite(t *testing.T) {
	t.Parallel()
	for _, trouble := range []struct {
		name, says  string
		breaks, end []any
	}{
		{"another type", "WRONGTYPE", []any{"set", "bills", "x"}, []any{"del", "bills"}},
		{"text", "no integer", []any{"hset", "counts", "bills", "many"}, []any{"hdel", "counts", "bills"}},
		{"no memory", "OOM", []any{"config", "set", "maxmemory", "1"}, []any{"config", "set", "maxmemory", "0"}},
		{"no replicas", "NOREPLICAS", []any{"config", "set", "min-replicas-to-write", "1"}, []any{"config", "set", "min-replicas-to-write", "0"}},
		{"no right to the output", "NOPERM", []any{"acl", "setuser", "default", "-xadd"}, []any{"acl", "setuser", "default", "+xadd"}},
		{"no right to the offsets", "NOPERM", []any{"acl", "setuser", "default", "-hset"}, []any{"acl", "setuser", "default", "+hset"}},
		{"links of another type", "WRONGTYPE", []any{"rename", linksKey, "elsewhere"}, []any{"rename", "elsewhere", linksKey}},
		{"a replica", "READONLY", []any{"replicaof", "127.0.0.1", "1"}, []any{"replicaof", "no", "one"}},
	} {
		t.Run(trouble.name, func(t *testing.T) {
			t.Parallel()
			b := newLogBilling(t, streamtest.StartRedis(t).Client())
			do := func(client *redis.Client, args ...any) {
				t.Helper()
				if err := client.Do(context.Background(), args...).Err(); err != nil {
					t.Error(err)
				}
			}
			do(b.admin, "acl", "setuser", "root", "on", "nopass", "+@all", "~*")
			opts := optionsOf(b.admin)
			opts.Username, opts.Password = "root", "x"
			root := redis.NewClient(opts)
			t.Cleanup(func() { _ = root.Close() })
			var broke atomic.Bool
			stop := b.start(b.admin, func(ctx context.Context, msg *stream.Message[order]) error {
				if broke.CompareAndSwap(false, true) {
					do(root, trouble.breaks...)
					if trouble.says == "WRONGTYPE" && trouble.breaks[0] == "rename" {
						do(root, "set", linksKey, "x")
					}
				}
				if err := b.bills.Publish(ctx, msg, bill{Order: msg.Value.ID}, stream.WithHeader("traceparent", "trace-"+msg.Value.ID)); err != nil {
					return err
				}
				return b.counts.Add(ctx, msg, "bills", 1)
			})
			for _, id := range []string{"a", "b"} {
				add(t, root, id)
			}
			eventually(t, "the trouble is told", func() bool { return len(b.log.lines("saving the offset failed", trouble.says)) > 0 })
			if root.Type(context.Background(), "bills").Val() == "stream" || root.HGet(context.Background(), "counts", "bills").Val() == "1" || b.offset() != "" {
				t.Error("something was written")
			}
			do(root, trouble.end...)
			b.await("a", "b")
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A command that fails behind another one, which no check can foresee, ends Run.
func TestHalfOfALogCommit(t *testing.T) {
	t.Parallel()
	b := newLogBilling(t, streamtest.StartRedis(t).Client())
	if err := b.admin.Do(t.Context(), "xadd", "bills", "18446744073709551615-18446744073709551615", "f", "v").Err(); err != nil {
		t.Fatal(err)
	}
	consumer := b.consumer(b.admin, b.bill)
	add(t, b.admin, "a")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := consumer.Run(ctx); err == nil || !strings.Contains(err.Error(), "behind others") {
		t.Errorf("Run returned %v", err)
	}
	if n := b.admin.HGet(t.Context(), "counts", "bills").Val(); n != "1" || b.offset() != "" {
		t.Errorf("the first half was written %s times, and the offset is %q", n, b.offset())
	}
}

// A seek sets the place, and nothing that was on its way moves it again.
func TestLogEffectsAfterASeek(t *testing.T) {
	t.Parallel()
	b := newLogBilling(t, streamtest.StartRedis(t).Client())
	for _, id := range threeDigits(5) {
		add(t, b.admin, id)
	}
	consumer := b.consumer(b.admin, b.bill)
	for _, at := range []string{"at work", "idle"} {
		var stop func() error
		if at == "at work" {
			stop = start(t, consumer)
			b.await(threeDigits(5)...)
		}
		if err := consumer.Seek(t.Context(), stream.FromID(b.entry(2))); err != nil {
			t.Fatal(err)
		}
		if at == "idle" {
			stop = start(t, consumer)
		}
		b.awaitBills(map[string]int{"at work": 7, "idle": 9}[at])
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
	if got := b.billed(); !slices.Equal(got[5:], []string{"003", "004", "003", "004"}) {
		t.Errorf("bills %q", got)
	}
}

// After a loss the policy sets the place, also back, and effects go on from there.
func TestLogEffectsAfterALoss(t *testing.T) {
	t.Parallel()
	b := newLogBilling(t, streamtest.StartRedis(t).Client())
	add(t, b.admin, "old")
	stop := b.start(b.admin, b.bill, stream.WithBlock(20*time.Millisecond), stream.WithInspection(50*time.Millisecond), stream.WithLossPolicy(stream.ResumeAtFirst))
	b.await("old")
	ctx := context.Background()
	if _, err := b.admin.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Del(ctx, orders.Name)
		p.XAdd(ctx, &redis.XAddArgs{Stream: orders.Name, ID: "5-1", Values: []string{"id", "new", "amount", "1"}})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	b.await("old", "new")
	if err := stop(); err != nil {
		t.Error(err)
	}
	b.start(b.admin, b.bill)
	if err := b.admin.XAdd(ctx, &redis.XAddArgs{Stream: orders.Name, ID: "5-2", Values: []string{"id", "newer", "amount", "1"}}).Err(); err != nil {
		t.Fatal(err)
	}
	b.await("old", "new", "newer")
}

func TestLogEffectsAreCheckedAtConstruction(t *testing.T) {
	t.Parallel()
	b := newLogBilling(t, nil)
	here := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	there := redis.NewClient(&redis.Options{Addr: "127.0.0.1:2"})
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	for _, client := range []redis.UniversalClient{here, there, cluster} {
		t.Cleanup(func() { _ = client.Close() })
	}
	handle := func(context.Context, *stream.Message[order]) error { return nil }
	at := func(client redis.UniversalClient, key string) offset.Store {
		store, err := offset.NewRedis(client, key)
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	counters := func(key string) *stream.Counters {
		c, err := stream.NewCounters(key)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, refused := range []struct {
		says    string
		client  redis.UniversalClient
		store   offset.Store
		effects stream.Effects
	}{
		{"which cannot move an offset in one step", here, new(offset.Memory), b.bills},
		{"another server", here, at(there, ""), b.bills},
		{"another server", cluster, at(here, ""), b.bills},
		{"hash slot", cluster, at(cluster, "{x}offsets"), b.bills},
		{"offset store's", here, at(here, "counts"), b.counts},
		{"offset store's", here, at(here, "o"), counters("{o}:links")},
	} {
		_, err := stream.NewConsumer(refused.client, orders, refused.store, handle, stream.WithEffects(refused.effects))
		wantProblem(t, err, refused.says)
	}
	// The topic may be in another slot.
	if _, err := stream.NewConsumer(cluster, orders, at(cluster, "{bills}"), handle, stream.WithEffects(b.bills)); err != nil {
		t.Error(err)
	}
}

// In virtual time, on the Redis in memory of users' tests.
func TestLogEffectsInABubble(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, bubble *streamtest.Bubble) {
		b := newLogBilling(t, bubble.Client)
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
