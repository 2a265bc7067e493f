package otelstream_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"millrace/middleware/otelstream"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// names are all metrics, with their units. A change of them breaks dashboards.
const names = `
messaging.client.consumed.messages {message}
messaging.client.operation.duration s
messaging.client.sent.messages {message}
messaging.process.duration s
millrace.behind s
millrace.claimed {entry}
millrace.entry.age s
millrace.handed-back {entry}
millrace.held {entry}
millrace.lag.entries {entry}
millrace.lag.time s
millrace.live {consumer}
millrace.lost {entry}
millrace.outcomes {entry}
millrace.parked {entry}
millrace.paused {consumer}
millrace.pending {entry}
millrace.read {entry}
millrace.ready {consumer}
millrace.reconnects {reconnect}
millrace.redelivered {entry}
millrace.seeks {seek}
millrace.window.bytes.size By
millrace.window.bytes.used By
millrace.window.size {entry}
millrace.window.used {entry}
millrace.working {handler}
`

// On a real server, whose lag is known, all metrics are there.
func TestMetricsOfARunner(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	w := watch(t, otelstream.Config{LagEvery: time.Millisecond}, nil)
	client := server.Client()
	handle := func(_ context.Context, msg *stream.Message[order]) error {
		switch msg.Value.ID {
		case "skip":
			return stream.Skip("of no concern")
		case "fail":
			return errors.New(secret)
		}
		return nil
	}
	var runner stream.Runner
	runner.Add(w.newGroup(client, handle, stream.WithBackoff(stream.Backoff{Min: time.Hour, Max: time.Hour})))
	if err := w.Register(&runner); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- runner.Run(ctx) }()
	producer := w.newProducer(client)
	streamtest.Await(t, "the lag is known", func() bool {
		_, known := w.numbers("millrace.lag.entries")["orders billing"]
		return known
	})
	for _, id := range []string{"A1", "A2", "skip", "fail"} {
		if _, err := producer.Publish(t.Context(), order{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	streamtest.Await(t, "all were delivered", func() bool { return w.numbers("messaging.client.consumed.messages")["orders billing process"] == 4 })
	outcomes := w.numbers("millrace.outcomes")
	want := map[string]float64{
		"orders billing handled": 2, "orders billing skipped": 1, "orders billing held": 1,
		"orders billing absorbed": 0, "orders billing dead-lettered": 0, "orders billing discarded": 0, "orders billing postponed": 0,
	}
	if !maps.Equal(outcomes, want) {
		t.Errorf("the outcomes are %v, want %v", outcomes, want)
	}
	streamtest.Await(t, "one is pending, behind and held", func() bool {
		return w.numbers("millrace.pending")["orders billing"] == 1 && w.numbers("millrace.lag.entries")["orders billing"] == 1 &&
			w.numbers("millrace.lag.time")["orders billing"] > 0 && w.numbers("millrace.held")["orders billing"] == 1
	})
	for _, name := range []string{"millrace.live", "millrace.ready"} {
		if got := w.numbers(name)["orders billing"]; got != 1 {
			t.Errorf("%s is %v", name, got)
		}
	}
	var found []string
	for name, m := range w.collect() {
		found = append(found, name+" "+m.Unit)
	}
	slices.Sort(found)
	if got := strings.Join(found, "\n"); got != strings.TrimSpace(names) {
		t.Errorf("the metrics are\n%s\nwant\n%s", got, names)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := w.numbers("millrace.ready")["orders billing"]; got != 0 {
		t.Errorf("after Run, ready is %v", got)
	}
}

// The histograms count each delivery once, and name the span of a sampled one.
func TestHistograms(t *testing.T) {
	t.Parallel()
	w := watch(t, otelstream.Config{}, nil)
	entry := entryOf("traceparent", sampled)
	for range 3 {
		_ = process(t.Context(), w.Middleware(), entryOf("id", "A1"), nil)
	}
	_ = process(t.Context(), w.Middleware(), entry, nil)
	_ = process(t.Context(), w.Middleware(), entry, errors.New(secret))
	_ = process(t.Context(), w.Middleware(), entryOf("id", "A1"), stream.Skip("of no concern")) // which has no age
	durations := w.histogram("messaging.process.duration")
	if fine, failed := durations["orders process"], durations["orders process *errors.errorString"]; fine.Count != 5 || failed.Count != 1 || len(durations) != 2 {
		t.Errorf("%d deliveries and %d failures in %d series", fine.Count, failed.Count, len(durations))
	}
	ages := w.histogram("millrace.entry.age")["orders"]
	if ages.Count != 4 || ages.Sum > 60 {
		t.Errorf("%d ages, of %v seconds", ages.Count, ages.Sum)
	}
	spans := w.ended()
	for name, exemplars := range map[string][]metricdata.Exemplar[float64]{
		"duration": durations["orders process"].Exemplars, "age": ages.Exemplars,
	} {
		if len(exemplars) != 1 || string(exemplars[0].TraceID) != string(idBytes(spans[0].SpanContext().TraceID())) || exemplars[0].Time.IsZero() {
			t.Errorf("%s has the exemplars %v", name, exemplars)
		}
	}
}

func idBytes(id [16]byte) []byte { return id[:] }

// A read that waited for entries tells nothing of the server.
func TestOperations(t *testing.T) {
	t.Parallel()
	w := watch(t, otelstream.Config{}, nil)
	id := stream.Identity{Stream: "orders", Group: "billing", Consumer: "pod-1"}
	w.OnRead(stream.EntriesRead{Identity: id, Duration: time.Hour, Waited: true})
	w.OnRead(stream.EntriesRead{Identity: id, Duration: time.Second})
	w.OnSettle(stream.EntriesSettled{Identity: id, Duration: 2 * time.Second})
	got := w.histogram("messaging.client.operation.duration")
	read, ack := got["orders billing receive"], got["orders billing ack"]
	if len(got) != 2 || read.Count != 1 || read.Sum != 1 || ack.Count != 1 || ack.Sum != 2 {
		t.Errorf("%d series, %d reads of %v seconds, %d acks of %v seconds", len(got), read.Count, read.Sum, ack.Count, ack.Sum)
	}
}

// Without a reader that takes the histograms, nothing is measured.
func TestNothingIsMeasuredForNobody(t *testing.T) {
	t.Parallel()
	tel, err := otelstream.New(otelstream.Config{})
	if err != nil {
		t.Fatal(err)
	}
	m := tel.Middleware()
	_ = process(t.Context(), m, entryOf(), nil)
	producer := tel.Producer()
	if metrics, err := producer.Produce(t.Context()); len(metrics) != 0 || err != nil {
		t.Errorf("it produces %v, %v", metrics, err)
	}
	_ = process(t.Context(), m, entryOf(), nil)
	if metrics, err := producer.Produce(t.Context()); len(metrics) != 1 || err != nil {
		t.Errorf("it produces %v, %v", metrics, err)
	}
}

// Consumers of one group are added up, and a counter does not shrink when one of them leaves.
func TestMembersComeAndGo(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
		w := watch(t, otelstream.Config{NoLag: true}, nil)
		handle := func(context.Context, *stream.Message[order]) error { return nil }
		var runner, nested stream.Runner
		first, second := w.newGroup(b.Client, handle), w.newGroup(b.Client, handle)
		other := w.newNamedGroup(b.Client, "mail", handle)
		nested.Add(second)
		runner.Add(first, &nested)
		if err := w.Register(&runner, first); err != nil { // first counts once
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- runner.Run(ctx) }()
		publish := func(n int) {
			for i := range n {
				add(t, b.Client, "id", fmt.Sprint(i))
			}
			b.Advance(5 * time.Second)
		}
		handled := func(when string, want map[string]float64) {
			t.Helper()
			got := w.numbers("millrace.outcomes")
			maps.DeleteFunc(got, func(series string, _ float64) bool { return !strings.HasSuffix(series, " handled") })
			if !maps.Equal(got, want) {
				t.Errorf("%s: %v, want %v", when, got, want)
			}
		}
		publish(100)
		handled("two of a group", map[string]float64{"orders billing handled": 100})
		if got := w.numbers("millrace.window.size")["orders billing"]; got != float64(first.Stats().WindowSize+second.Stats().WindowSize) {
			t.Errorf("the windows have the size %v", got)
		}
		runner.Add(other)
		nested.Remove(second)
		publish(10)
		handled("one has left, and another group is there", map[string]float64{"orders billing handled": 110, "orders mail handled": 110})
		nested.Add(second)
		runner.Remove(other)
		publish(10)
		handled("it is back, and the other group is gone", map[string]float64{"orders billing handled": 120})
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A lag that nobody knows is no series, rather than zero.
func TestUnknownLag(t *testing.T) {
	t.Parallel()
	w := watch(t, otelstream.Config{LagEvery: time.Millisecond}, nil)
	server := streamtest.StartRedis(t)
	client := server.Client()
	for i := range 10 {
		add(t, client, "id", fmt.Sprint(i))
	}
	if err := client.XDel(t.Context(), "orders", client.XInfoStream(t.Context(), "orders").Val().FirstEntry.ID).Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.XGroupCreate(t.Context(), "orders", "billing", "0").Err(); err != nil {
		t.Fatal(err)
	}
	// It has read two of them, so that some of the stream are behind it and some before.
	consumer := w.newGroup(client, func(context.Context, *stream.Message[order]) error { return nil })
	if _, err := client.Do(t.Context(), "XREADGROUP", "GROUP", "billing", "x", "COUNT", 2, "STREAMS", "orders", ">").Result(); err != nil {
		t.Fatal(err)
	}
	if err := w.Register(consumer); err != nil {
		t.Fatal(err)
	}
	streamtest.Await(t, "the pending entries are known", func() bool { return w.numbers("millrace.pending")["orders billing"] == 2 })
	if got := w.numbers("millrace.lag.entries"); len(got) != 0 {
		t.Errorf("the lag is %v", got)
	}
	// Redis is away: what was known is no longer told.
	server.Kill()
	streamtest.Await(t, "nothing is known", func() bool { return len(w.numbers("millrace.pending"))+len(w.numbers("millrace.lag.time")) == 0 })
	if got := w.numbers("millrace.outcomes"); len(got) == 0 {
		t.Error("the other metrics are gone as well")
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	if _, err := otelstream.New(otelstream.Config{LagEvery: -time.Second}); !errors.Is(err, stream.ErrInvalidOption) || !strings.Contains(err.Error(), "NoLag") {
		t.Errorf("a negative time: %v", err)
	}
	tel, err := otelstream.New(otelstream.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var none *stream.Runner
	err = tel.Register(nil, none, server{})
	if !errors.Is(err, stream.ErrInvalidOption) || strings.Count(err.Error(), "number ") != 3 {
		t.Errorf("bad members: %v", err)
	}
}

// server is a Runnable that is no consumer.
type server struct{}

func (server) Run(context.Context) error { return nil }
