package promstream_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"millrace/codec"
	"millrace/middleware/promstream"
	"millrace/stream"
	"millrace/stream/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type order struct {
	ID string `mapstructure:"id" validate:"required"`
}

// secret is in errors, and must be in no metric.
const secret = "s3cr3t"

func newCollector(t *testing.T, config promstream.Config) (*promstream.Collector, http.Handler) {
	t.Helper()
	c, err := promstream.New(config)
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	return c, promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// scrape returns the lines of the page.
func scrape(t *testing.T, page http.Handler) []string {
	t.Helper()
	answer := httptest.NewRecorder()
	page.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if answer.Code != http.StatusOK || strings.Contains(answer.Body.String(), secret) {
		t.Fatalf("status %d: %s", answer.Code, answer.Body)
	}
	return strings.Split(answer.Body.String(), "\n")
}

func newGroup(t *testing.T, client redis.UniversalClient, topic string, c *promstream.Collector, handle stream.Handler[order]) *stream.Consumer[order] {
	t.Helper()
	consumer, err := stream.NewGroupConsumer(client, stream.Topic[order]{Name: topic}, "billing", handle, stream.WithMiddleware(c.Middleware()),
		stream.WithBackoff(stream.Backoff{Min: time.Hour, Max: time.Hour}), stream.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	return consumer
}

func add(t *testing.T, client redis.UniversalClient, topic string, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: topic, Values: []string{"id", id}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// On a real server, whose lag is known, every metric of the documentation is there.
func TestScrapeOfARunner(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	c, page := newCollector(t, promstream.Config{LagEvery: time.Millisecond})
	var runner stream.Runner
	runner.Add(newGroup(t, client, "orders", c, func(_ context.Context, msg *stream.Message[order]) error {
		if msg.Value.ID == "fail" {
			return errors.New(secret)
		}
		return nil
	}))
	if err := c.Register(&runner); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- runner.Run(ctx) }()
	await := func(lines ...string) {
		t.Helper()
		for _, line := range lines {
			streamtest.Await(t, line, func() bool { return slices.Contains(scrape(t, page), line) })
		}
	}
	const key = `group="billing",label="",`
	await(`millrace_lag_entries{group="billing",label="",stream="orders"} 0`)
	add(t, client, "orders", "A1", "A2", "fail")
	await(
		`millrace_outcomes_total{`+key+`outcome="handled",stream="orders"} 2`,
		`millrace_outcomes_total{`+key+`outcome="held",stream="orders"} 1`,
		`millrace_outcomes_total{`+key+`outcome="dead-lettered",stream="orders"} 0`,
		`millrace_process_duration_seconds_count{error_type="",`+key+`stream="orders"} 2`,
		`millrace_process_duration_seconds_bucket{error_type="",`+key+`stream="orders",le="+Inf"} 2`,
		`millrace_process_duration_seconds_count{error_type="*errors.errorString",`+key+`stream="orders"} 1`,
		`millrace_entry_age_seconds_count{`+key+`stream="orders"} 2`,
		`millrace_entry_age_seconds_bucket{`+key+`stream="orders",le="86400"} 2`,
		`millrace_held{`+key+`stream="orders"} 1`,
		`millrace_pending_entries{`+key+`stream="orders"} 1`,
		`millrace_lag_entries{`+key+`stream="orders"} 1`,
		`millrace_live{`+key+`stream="orders"} 1`,
		`millrace_ready{`+key+`stream="orders"} 1`,
	)
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	lines := scrape(t, page)
	documented := regexp.MustCompile(`\bmillrace_\w+`).FindAllString(string(text), -1)
	if len(documented) < 20 {
		t.Errorf("only %d metrics are documented", len(documented))
	}
	for _, name := range documented {
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, "# TYPE "+name+" ") }) {
			t.Errorf("%s is documented, and not there", name)
		}
	}
	for _, line := range lines {
		if name, _, is := strings.Cut(strings.TrimPrefix(line, "# TYPE "), " "); is && strings.HasPrefix(line, "# TYPE ") && !slices.Contains(documented, name) {
			t.Errorf("%s is not documented", name)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	await(`millrace_ready{` + key + `stream="orders"} 0`)
}

// Two consumers of a group are one series, a name in any bytes is one, and a lag that is not known
// is none: a registry refuses the whole scrape otherwise.
func TestOddMembers(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
		c, page := newCollector(t, promstream.Config{})
		handle := func(context.Context, *stream.Message[order]) error { return nil }
		var runner stream.Runner
		runner.Add(newGroup(t, b.Client, "orders", c, handle), newGroup(t, b.Client, "orders", c, handle), newGroup(t, b.Client, "\xff", c, handle))
		if err := c.Register(&runner); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- runner.Run(ctx) }()
		b.Advance(time.Second)
		add(t, b.Client, "orders", "A1", "A2", "A3")
		add(t, b.Client, "\xff", "A1")
		b.Advance(10 * time.Second)
		lines := scrape(t, page)
		for _, line := range []string{
			`millrace_outcomes_total{group="billing",label="",outcome="handled",stream="orders"} 3`,
			`millrace_outcomes_total{group="billing",label="",outcome="handled",stream="?"} 1`,
		} {
			if !slices.Contains(lines, line) {
				t.Errorf("there is no line %s", line)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A middleware of a collector that nobody scrapes measures nothing, and none allocates.
func TestMiddlewareAllocatesNothing(t *testing.T) {
	unused, err := promstream.New(promstream.Config{})
	if err != nil {
		t.Fatal(err)
	}
	used, page := newCollector(t, promstream.Config{})
	entry := &stream.Entry{Stream: "orders", ID: "1700000000000-0", Fields: codec.FieldsOf("id", "A1"), Deliveries: 1}
	for name, c := range map[string]*promstream.Collector{"unused": unused, "used": used} {
		handler, ctx := c.Middleware()(func(context.Context, *stream.Entry) error { return nil }), t.Context()
		if allocs := testing.AllocsPerRun(1000, func() { _ = handler(ctx, entry) }); allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
	if !slices.Contains(scrape(t, page), `millrace_entry_age_seconds_count{group="",label="",stream="orders"} 1001`) {
		t.Error("the deliveries were not counted")
	}
	metrics := make(chan prometheus.Metric, 100)
	unused.Collect(metrics)
	if len(metrics) != 0 {
		t.Errorf("%d metrics of one that was not used", len(metrics))
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	if _, err := promstream.New(promstream.Config{LagEvery: -time.Second}); !errors.Is(err, stream.ErrInvalidOption) || !strings.Contains(err.Error(), "NoLag") {
		t.Errorf("a negative time: %v", err)
	}
	c, _ := newCollector(t, promstream.Config{NoLag: true})
	var none *stream.Runner
	if err := c.Register(nil, none); !errors.Is(err, stream.ErrInvalidOption) || strings.Count(err.Error(), "number ") != 2 {
		t.Errorf("bad members: %v", err)
	}
}

// The files are those that go generate makes now.
func TestGoldenFiles(t *testing.T) {
	t.Parallel()
	dashboard, err := promstream.Dashboard()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{"dashboard.json": dashboard, "alerts.yaml": promstream.Alerts()} {
		got, err := os.ReadFile(name)
		if err != nil || string(got) != string(want) {
			t.Errorf("%s is out of date, run go generate: %v", name, err)
		}
	}
}
