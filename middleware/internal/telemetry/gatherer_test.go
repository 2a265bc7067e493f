package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"millrace/middleware/internal/telemetry"
	"millrace/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a consumer.
type fake struct {
	group   string
	handled atomic.Int64
	working int
	behind  time.Duration
	panics  bool
	health  stream.Health
	lag     func(context.Context) (stream.Lag, error)
}

func (f *fake) Run(context.Context) error { return nil }

func (f *fake) Identity() stream.Identity {
	return stream.Identity{Stream: "orders", Group: f.group, Consumer: "any"}
}

func (f *fake) Stats() stream.Stats {
	if f.panics {
		panic("as it were")
	}
	return stream.Stats{Handled: f.handled.Load(), Working: f.working, LagTime: f.behind}
}

func (f *fake) Health() stream.Health { return f.health }

func (f *fake) Lag(ctx context.Context) (stream.Lag, error) {
	if f.lag == nil {
		return stream.Lag{}, errors.New("not known")
	}
	return f.lag(ctx)
}

func handling(group string, n int64) *fake {
	f := &fake{group: group}
	f.handled.Store(n)
	return f
}

func gathererOf(t *testing.T, config telemetry.LagConfig, members ...stream.Runnable) *telemetry.Gatherer {
	t.Helper()
	if err := config.Check(); err != nil {
		t.Fatal(err)
	}
	g := telemetry.NewGatherer(config)
	if err := g.Add(members...); err != nil {
		t.Fatal(err)
	}
	return g
}

// valueOf returns one number of a sample.
func valueOf(t *testing.T, s telemetry.Sample, name string) float64 {
	t.Helper()
	for _, n := range s.Numbers {
		if n.Name == name {
			return n.Value
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}

// Of consumers with one key, counts and gauges are added, and the worst time and health are told.
func TestSums(t *testing.T) {
	t.Parallel()
	a, b := handling("a", 1), handling("a", 10)
	a.working, a.behind, a.health = 2, time.Second, stream.Health{Live: true, Ready: true}
	b.working, b.behind, b.health = 3, time.Minute, stream.Health{Live: true}
	var runner stream.Runner
	runner.Add(a, b, handling("b", 100), &fake{panics: true}, (*fake)(nil))
	samples := gathererOf(t, telemetry.LagConfig{Never: true}, &runner, b).Gather(t.Context())
	if len(samples) != 2 || samples[0].Group != "a" || samples[1].Group != "b" {
		t.Fatalf("the samples are %+v", samples)
	}
	for name, want := range map[string]float64{"outcomes.handled": 11, "working": 5, "behind": 60} {
		if got := valueOf(t, samples[0], name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if !samples[0].Live || samples[0].Ready || samples[0].Lag != nil {
		t.Errorf("the sample is %+v", samples[0])
	}
}

// However many have left, a counter of a key that goes on never shrinks, and no more than the
// last ones are kept.
func TestCountersNeverShrink(t *testing.T) {
	t.Parallel()
	var runner stream.Runner
	runner.Add(handling("a", 0))
	g := gathererOf(t, telemetry.LagConfig{Never: true}, &runner)
	var before float64
	for i := range 600 {
		passing := handling("a", 1)
		runner.Add(passing)
		g.Gather(t.Context())
		runner.Remove(passing)
		got := valueOf(t, g.Gather(t.Context())[0], "outcomes.handled")
		if got != before+1 {
			t.Fatalf("after %d consumers the count is %v", i+1, got)
		}
		before = got
		if i > 0 {
			continue
		}
		passing.handled.Add(1) // its last entries, told after it was removed
		if before = valueOf(t, g.Gather(t.Context())[0], "outcomes.handled"); before != 2 {
			t.Fatalf("the count is %v, want 2", before)
		}
	}
}

// A collection does not wait for a Redis that does not answer, and does not tell what is too old.
func TestLagThatDoesNotCome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var queries atomic.Int64
		var hanging atomic.Bool
		one := handling("a", 1)
		one.lag = func(ctx context.Context) (stream.Lag, error) {
			queries.Add(1)
			if hanging.Load() {
				<-ctx.Done()
				time.Sleep(time.Minute) // the client does not obey
				return stream.Lag{}, ctx.Err()
			}
			return stream.Lag{Pending: 7}, nil
		}
		g := gathererOf(t, telemetry.LagConfig{}, one)
		lag := func() *stream.Lag {
			begun := time.Now()
			sample := g.Gather(t.Context())[0]
			if took := time.Since(begun); took > time.Second {
				t.Errorf("the collection took %v", took)
			}
			return sample.Lag
		}
		if got := lag(); got == nil || got.Pending != 7 {
			t.Fatalf("the lag is %v", got)
		}
		time.Sleep(14 * time.Second)
		if lag(); queries.Load() != 1 {
			t.Errorf("after 14 seconds there are %d queries", queries.Load())
		}
		hanging.Store(true)
		time.Sleep(2 * time.Second)
		if got := lag(); got == nil || queries.Load() != 2 {
			t.Errorf("after 16 seconds the lag is %v, with %d queries", got, queries.Load())
		}
		time.Sleep(15 * time.Second)
		if got := lag(); got != nil || queries.Load() != 2 {
			t.Errorf("after 31 seconds the lag is %v, with %d queries", got, queries.Load())
		}
		time.Sleep(2 * time.Minute)
		hanging.Store(false)
		if got := lag(); got == nil {
			t.Error("it does not come back")
		}
	})
}

func TestLagThatPanics(t *testing.T) {
	t.Parallel()
	one := handling("a", 1)
	one.lag = func(context.Context) (stream.Lag, error) { panic("as it were") }
	if got := gathererOf(t, telemetry.LagConfig{}, one).Gather(t.Context()); len(got) != 1 || got[0].Lag != nil {
		t.Errorf("the samples are %+v", got)
	}
}

func TestErrorTypes(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"":                              nil,
		"telemetry_test.circle":         circle{},
		"*errors.errorString":           fmt.Errorf("s3cr3t: %w", errors.New("s3cr3t")),
		"panic":                         fmt.Errorf("s3cr3t: %w", &stream.PanicError{}),
		"decode":                        stream.Permanent(&stream.DecodeError{Err: errors.New("s3cr3t")}),
		"*stream.MaxDeliveriesError":    &stream.MaxDeliveriesError{},
		"context.deadlineExceededError": context.DeadlineExceeded,
	} {
		if got := telemetry.TypeOf(err); got != want {
			t.Errorf("the type of %T is %q, want %q", err, got, want)
		}
	}
}

// circle is an error that unwraps to itself.
type circle struct{}

func (circle) Error() string { return "s3cr3t" }

func (c circle) Unwrap() error { return c }
