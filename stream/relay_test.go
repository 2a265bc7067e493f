package stream_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// relayEnds are the two topics of a relay between servers.
type relayEnds struct {
	t        *testing.T
	from, to *redis.Client
	log      logs
}

func newRelayEnds(t *testing.T) *relayEnds {
	t.Helper()
	return &relayEnds{t: t, from: streamtest.StartRedis(t).Client(), to: streamtest.StartRedis(t).Client()}
}

func (e *relayEnds) relay(opts ...stream.RelayOption) *stream.Relay {
	e.t.Helper()
	relay, err := stream.NewRelay(
		stream.RelayEnd{Client: e.from, Stream: orders.Name}, stream.RelayEnd{Client: e.to, Stream: "copies"},
		append([]stream.RelayOption{stream.WithLogger(e.log.Logger())}, opts...)...)
	if err != nil {
		e.t.Fatal(err)
	}
	return relay
}

// await waits until all has been copied.
func (e *relayEnds) await() {
	e.t.Helper()
	eventually(e.t, "all is copied", func() bool {
		info, err := e.from.XInfoStream(context.Background(), orders.Name).Result()
		at, atErr := e.to.HGet(context.Background(), stream.RelayOffsets("copies"), orders.Name).Result()
		return err == nil && atErr == nil && at == info.LastGeneratedID
	})
}

// copies returns the fields of each copy, as they are.
func (e *relayEnds) copies() (list [][]string) {
	e.t.Helper()
	reply, err := e.to.Do(context.Background(), "xrange", "copies", "-", "+").Slice()
	if err != nil {
		e.t.Fatal(err)
	}
	for _, entry := range reply {
		var pairs []string
		for _, text := range entry.([]any)[1].([]any) {
			pairs = append(pairs, text.(string))
		}
		list = append(list, pairs)
	}
	return list
}

// A copy has the fields as they are: in their order, repeated names, bytes that are no text, headers,
// those of a dead letter and of an entry that was redriven for one reader.
func TestRelayCopiesEntries(t *testing.T) {
	t.Parallel()
	e := newRelayEnds(t)
	var want [][]string
	publish := func(pairs ...string) {
		id := addFields(t, e.from, pairs...)
		want = append(want, append([]string{stream.HeaderSourceID, id}, pairs...))
	}
	publish("z", "\x00\xff\r\n", "a", "1", "a", "2", "", "", "traceparent", "00-1")
	publish("id", "x", stream.HeaderFor, "group:other")
	publish("id", "x", stream.DeadLetterID, "1-1", stream.DeadLetterTime, "2026-01-01T00:00:00Z")
	for _, id := range threeDigits(300) {
		publish("id", id)
	}
	stop := start(t, e.relay())
	e.await()
	if err := stop(); err != nil {
		t.Error(err)
	}
	publish("id", "later")
	relay := e.relay()
	start(t, relay)
	e.await()
	if got := e.copies(); !reflect.DeepEqual(got, want) {
		t.Errorf("%d copies, want %d; the first are %q", len(got), len(want), got[:3])
	}
	if got := relay.String(); got != `relay of orders to copies as "orders"` || relay.Identity().Stream != orders.Name {
		t.Errorf("it is called %q, and is %+v", got, relay.Identity())
	}
	if lag, err := relay.Lag(t.Context()); err != nil || lag.Time != 0 {
		t.Errorf("it lags behind by %+v, %v", lag, err)
	}
	eventually(t, "it is ready", func() bool { return relay.Health().Ready })
	if n := relay.Stats().Handled; n != 1 {
		t.Errorf("it has handled %d entries", n)
	}
}

// The options of consumers and of retention are taken, and what a middleware skips is not copied.
func TestRelayOptions(t *testing.T) {
	t.Parallel()
	e := newRelayEnds(t)
	for _, id := range threeDigits(20) {
		add(t, e.from, id)
	}
	even := func(next stream.EntryHandler) stream.EntryHandler {
		return func(ctx context.Context, entry *stream.Entry) error {
			if id, _ := entry.Fields.Get("id"); strings.Contains("13579", id[2:]) {
				return stream.Skip("odd")
			}
			return next(ctx, entry)
		}
	}
	start(t, e.relay(stream.WithExactMaxLen(3), stream.WithMiddleware(even), stream.WithLabel(orders.Name), nil))
	e.await()
	var ids []string
	for _, pairs := range e.copies() {
		ids = append(ids, pairs[3])
	}
	if !slices.Equal(ids, []string{"014", "016", "018"}) {
		t.Errorf("copies of %q", ids)
	}
}

// Of two relays with one label, the one that was started last goes on.
func TestRelayOfTwoWithOneLabel(t *testing.T) {
	t.Parallel()
	e := newRelayEnds(t)
	ended := make(chan error, 1)
	older := e.relay()
	go func() { ended <- older.Run(t.Context()) }()
	add(t, e.from, "a")
	e.await()
	newer := e.relay(stream.WithStart(stream.FromEnd()))
	start(t, newer)
	eventually(t, "the newer one has begun", func() bool { return newer.Health().Ready })
	add(t, e.from, "b")
	e.await()
	if err := <-ended; !errors.Is(err, stream.ErrFenced) {
		t.Errorf("Run returned %v", err)
	}
	if n := len(e.copies()); n != 2 {
		t.Errorf("%d copies of 2 entries", n)
	}
}

// An entry with more values than a script takes is held, and others behind it; a dead-letter
// middleware takes it.
func TestRelayOfAnEntryWithTooManyFields(t *testing.T) {
	t.Parallel()
	e := newRelayEnds(t)
	addFields(t, e.from, slices.Repeat([]string{"f", "v"}, 4000)...)
	add(t, e.from, "behind")
	stop := start(t, e.relay())
	eventually(t, "it is told", func() bool { return e.log.lines("no more than 7900") != nil })
	if err := stop(); err != nil {
		t.Error(err)
	}
	if n := e.to.XLen(t.Context(), "copies").Val(); n != 0 {
		t.Errorf("%d copies", n)
	}
	start(t, e.relay(stream.WithMiddleware(middleware.DeadLetter(middleware.DeadLetterConfig{}))))
	e.await()
	if dead, copied := e.from.XLen(t.Context(), stream.DeadLetterStream(orders.Name)).Val(), len(e.copies()); dead != 1 || copied != 1 {
		t.Errorf("%d dead letters, %d copies", dead, copied)
	}
}

func TestRelayIsCheckedAtConstruction(t *testing.T) {
	t.Parallel()
	here := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:2"}})
	t.Cleanup(func() { _, _ = here.Close(), cluster.Close() })
	from, to := stream.RelayEnd{Client: here, Stream: "a"}, stream.RelayEnd{Client: cluster, Stream: "b"}
	if _, err := stream.NewRelay(from, to); err != nil {
		t.Error(err)
	}
	counters, err := stream.NewCounters("c")
	if err != nil {
		t.Fatal(err)
	}
	for i, refused := range []struct {
		says     string
		from, to stream.RelayEnd
		option   stream.RelayOption
	}{
		{"client is nil", stream.RelayEnd{Stream: "a"}, to, nil},
		{"Topic.Name", stream.RelayEnd{Client: here}, to, nil},
		{"the target: stream: invalid option: client is nil", from, stream.RelayEnd{Stream: "b"}, nil},
		{"the target's Stream", from, stream.RelayEnd{Client: here}, nil},
		{"never end", from, from, nil},
		{"WithMaxLen(0)", from, to, stream.WithMaxLen(0)},
		{"WithLabel", from, to, stream.WithLabel(" ")},
		{"WithClaimIdle", from, to, stream.WithClaimIdle(1)},
		{"WithEffects is not for a relay", from, to, stream.WithEffects(counters)},
		{"WithMaxEntryBytes is not for a relay", from, to, stream.WithMaxEntryBytes(1)},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			_, err := stream.NewRelay(refused.from, refused.to, refused.option)
			wantProblem(t, err, refused.says)
		})
	}
}
