package stream_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/offset"
	"millrace/stream"
)

var errGaveUp = errors.New("gave up")

// fake is something to run. It counts its starts and stops.
type fake struct {
	name    string
	run     func(ctx context.Context) error // nil waits for the end of ctx
	started atomic.Int32
	stopped atomic.Int32
	lasts   time.Duration // how long it takes to stop
	stopsAs error
}

func (f *fake) Run(ctx context.Context) error {
	f.started.Add(1)
	defer f.stopped.Add(1)
	if f.run != nil {
		return f.run(ctx)
	}
	<-ctx.Done()
	time.Sleep(f.lasts)
	return f.stopsAs
}

func (f *fake) String() string { return f.name }

// failsAfter returns a run that fails unless it is stopped before.
func failsAfter(d time.Duration, err error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// nameless has no String method.
type nameless struct{ err error }

func (n *nameless) Run(context.Context) error { return n.err }

func TestRunnerStopsAllOnCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fakes := []*fake{{name: "fast"}, {name: "slow", lasts: time.Minute}, {name: "as many do", stopsAs: context.Canceled}}
		var r stream.Runner
		for _, f := range fakes {
			r.Add(f)
		}
		for round := range int32(2) { // it can be run again
			stop := start(t, &r)
			synctest.Wait()
			for _, f := range fakes {
				if f.started.Load() != round+1 || f.stopped.Load() != round {
					t.Errorf("%v: started %d times, stopped %d times", f, f.started.Load(), f.stopped.Load())
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := r.Run(ctx); !errors.Is(err, stream.ErrRunning) {
				t.Errorf("a second Run at once returned %v, want ErrRunning", err)
			}
			fakes[1].lasts = 10 * time.Second
			begun := time.Now()
			if err := stop(); err != nil {
				t.Errorf("a clean stop returned %v", err)
			}
			if took := time.Since(begun); took != 10*time.Second {
				t.Errorf("Run returned after %v, not when the slowest had stopped", took)
			}
		}
	})
}

func TestRunnerCancelsTheOthersWhenOneFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		healthy := &fake{name: "healthy", lasts: time.Minute}
		echo := &fake{name: "echo", stopsAs: context.Canceled}
		late := &fake{name: `late as "l"`, lasts: time.Second, stopsAs: fmt.Errorf("not saved: %w", context.Canceled)}
		r := stream.Runner{OnFailure: stream.StopAll}
		r.Add(healthy, late, echo, &fake{name: `orders as "billing"`, run: failsAfter(time.Hour, errGaveUp)})
		begun := time.Now()
		err := r.Run(t.Context())
		if took := time.Since(begun); took != time.Hour+time.Minute {
			t.Errorf("Run returned after %v, want when the slowest has stopped", took)
		}
		want := "orders as \"billing\": gave up\nlate as \"l\": not saved: context canceled"
		if err == nil || err.Error() != want || !errors.Is(err, errGaveUp) {
			t.Errorf("got %v, want %s", err, want)
		}
		if healthy.stopped.Load() != 1 {
			t.Error("one is still running")
		}
	})
}

// A consumer whose stop failed because the time for it was up says so with an
// error that wraps DeadlineExceeded; under a context with a deadline that must
// not pass for a clean stop.
func TestRunnerKeepsAnErrorThatLooksLikeTheEndOfItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r := stream.Runner{OnFailure: stream.StopAll}
		r.Add(&fake{name: "a", stopsAs: context.DeadlineExceeded})
		if err := r.Run(ctx); err != nil {
			t.Errorf("a clean stop returned %v", err)
		}
		r.Add(&fake{name: "b", stopsAs: fmt.Errorf("not saved: %w", context.DeadlineExceeded)})
		if err := r.Run(ctx); err == nil || err.Error() != "b: not saved: context deadline exceeded" {
			t.Errorf("got %v", err)
		}
		alone := stream.Runner{OnFailure: stream.StopAll}
		alone.Add(&fake{name: "a", run: failsAfter(0, context.DeadlineExceeded)})
		if err := alone.Run(t.Context()); err == nil || err.Error() != "a: context deadline exceeded" {
			t.Errorf("a deadline that is not ours came back as %v", err)
		}
	})
}

func TestRunnerGoesOnWhenOneHasFinished(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		long := &fake{name: "long", run: failsAfter(time.Hour, nil)}
		var r stream.Runner
		r.Add(&nameless{}, long)
		begun := time.Now()
		if err := r.Run(t.Context()); err != nil || time.Since(begun) != time.Hour {
			t.Errorf("got %v after %v, want nil when the last has finished", err, time.Since(begun))
		}
	})
}

func TestRunnerNamesTheNamelessByTheirType(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		added stream.Runnable
		want  string
	}{
		{&nameless{err: errGaveUp}, "*stream_test.nameless: gave up"},
		{&fake{name: " ", run: failsAfter(0, errGaveUp)}, "*stream_test.fake: gave up"},
	} {
		r := stream.Runner{OnFailure: stream.StopAll}
		r.Add(test.added)
		if err := r.Run(t.Context()); err == nil || err.Error() != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
}

func TestRunnerContainsAPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		other := &fake{name: "other"}
		r := stream.Runner{OnFailure: stream.StopAll}
		r.Add(other, &fake{name: "buggy", run: func(context.Context) error { panic(errGaveUp) }})
		err := r.Run(t.Context())
		var panicked *stream.PanicError
		if !errors.As(err, &panicked) || !errors.Is(err, errGaveUp) || other.stopped.Load() != 1 {
			t.Fatalf("got %v, the other was stopped %d times", err, other.stopped.Load())
		}
		for _, want := range []string{"buggy: panic: gave up\n", "runner_test.go", "TestRunnerContainsAPanic"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q is not in %v", want, err)
			}
		}
	})
}

// A test's FailNow in a handler ends the goroutine that Run was called in.
func TestRunnerOutlastsGoexit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := stream.Runner{OnFailure: stream.StopAll}
		r.Add(&fake{name: "other"}, &fake{name: "gone", run: func(context.Context) error { runtime.Goexit(); return nil }})
		if err := r.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "gone: ended its goroutine (runtime.Goexit)") {
			t.Errorf("got %v", err)
		}
	})
}

func TestRunnerRefusesMistakes(t *testing.T) {
	t.Parallel()
	var none *stream.Consumer[order]
	witness := &fake{name: "witness"}
	for _, test := range []struct {
		name  string
		added []stream.Runnable
		want  []string
	}{
		{"nothing", nil, []string{"nothing to run"}},
		{"nil", []stream.Runnable{witness, nil}, []string{"number 2 is nil"}},
		{"a consumer that was not constructed", []stream.Runnable{none}, []string{"number 1 is nil"}},
		{"one twice", []stream.Runnable{witness, &fake{}, witness}, []string{"number 3, witness, is number 1 too"}},
		{"all of it", []stream.Runnable{witness, nil, witness, none}, []string{"number 2 is nil", "number 3, witness", "number 4 is nil"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var r stream.Runner
			r.Add(test.added...)
			err := r.Run(t.Context())
			if !errors.Is(err, stream.ErrInvalidOption) {
				t.Fatalf("got %v, want ErrInvalidOption", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in %v", want, err)
				}
			}
		})
	}
	t.Cleanup(func() {
		if n := witness.started.Load(); n != 0 {
			t.Errorf("%d were started in spite of a mistake", n)
		}
	})
	//nolint:staticcheck // the mistake is what is tested
	if err := new(stream.Runner).Run(nil); err == nil || !strings.Contains(err.Error(), "no context") {
		t.Errorf("Run(nil) returned %v", err)
	}
}

type function func(context.Context) error

func (f function) Run(ctx context.Context) error { return f(ctx) }

type empty struct{}

func (*empty) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// What has no identity cannot have been added twice: functions and slices,
// which Go refuses to compare, and pointers to nothing, which it may call equal.
func TestRunnerTakesWhatHasNoIdentity(t *testing.T) {
	t.Parallel()
	f := function(func(ctx context.Context) error { <-ctx.Done(); return nil })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var r stream.Runner
	r.Add(f, f, &empty{}, &empty{}, struct{ function }{f}, struct{ function }{f})
	if err := r.Run(ctx); err != nil {
		t.Error(err)
	}
}

func TestRunnerAddWhileRunning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second, third := &fake{name: "first"}, &fake{name: "second"}, &fake{name: "third"}
		r := stream.Runner{OnFailure: stream.StopAll}
		r.Add(first)
		stop := start(t, &r)
		synctest.Wait()
		r.Add(second)
		synctest.Wait()
		if second.started.Load() != 1 {
			t.Error("what was added while Run was at work was not started")
		}
		if err := stop(); err != nil || second.stopped.Load() != 1 {
			t.Errorf("got %v, the second was stopped %d times", err, second.stopped.Load())
		}
		r.Add(third)
		synctest.Wait()
		if third.started.Load() != 0 {
			t.Error("what was added after Run was started")
		}
		stop = start(t, &r)
		synctest.Wait()
		if third.started.Load() != 1 || second.started.Load() != 2 {
			t.Error("the next Run did not start all")
		}
		r.Add(first)
		synctest.Wait()
		if err := stop(); !errors.Is(err, stream.ErrInvalidOption) || first.started.Load() != 2 || third.stopped.Load() != 1 {
			t.Errorf("adding one again returned %v", err)
		}
		// And so it stays, until the mistake is mended.
		if err := r.Run(t.Context()); !errors.Is(err, stream.ErrInvalidOption) || third.started.Load() != 1 {
			t.Errorf("got %v", err)
		}
	})
}

// Whatever the order in which several goroutines add, run and stop, what was
// started is stopped when Run returns.
func TestRunnerConcurrently(t *testing.T) {
	t.Parallel()
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		var r stream.Runner
		fakes := make([]*fake, 8)
		r.Add(&fake{name: "first"})
		var adding sync.WaitGroup
		for i := range fakes {
			fakes[i] = &fake{name: fmt.Sprint(i)}
			adding.Go(func() {
				r.Add(fakes[i])
				if i == 3 {
					cancel()
				}
			})
		}
		if err := r.Run(ctx); err != nil {
			t.Fatal(err)
		}
		adding.Wait()
		for _, f := range fakes {
			// One that was added after the return waits for the next Run.
			if f.started.Load() != f.stopped.Load() {
				t.Fatalf("%v was started %d times and stopped %d times", f, f.started.Load(), f.stopped.Load())
			}
		}
	}
}

type invoice struct {
	Number int    `json:"number"`
	City   string `json:"city"`
}

// Three consumers of three types: they work side by side, and one that meets
// what no waiting can mend stops the others, who save what they have done.
func TestRunnerWithConsumersOfManyTypes(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		var store offset.Memory
		quiet := stream.WithLogger(slog.New(slog.DiscardHandler))
		rec := newRecorder()
		ordersConsumer := newConsumer(t, client, &store, rec.Handle, stream.WithLabel("billing"))
		cities := make(chan string, 10)
		invoices, err := stream.NewConsumer(client, stream.Topic[invoice]{Name: "invoices", Codec: codec.JSON[invoice]{}}, &store,
			func(_ context.Context, msg *stream.Message[invoice]) error { cities <- msg.Value.City; return nil }, quiet)
		if err != nil {
			t.Fatal(err)
		}
		signups, err := stream.NewConsumer(client, Signups, corrupt{},
			func(context.Context, *stream.Message[Signup]) error { return nil }, quiet)
		if err != nil {
			t.Fatal(err)
		}
		add(t, client, "a")
		invoiceID := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "invoices", Values: []string{"payload", `{"number":1,"city":"Graz"}`}}).Val()

		var r stream.Runner
		r.Add(ordersConsumer, invoices)
		stop := start(t, &r)
		if city := <-cities; city != "Graz" {
			t.Errorf("got %q", city)
		}
		last := add(t, client, "b")
		if seen := rec.await(t, 2); !slices.Equal(seen, []string{"a", "b"}) {
			t.Errorf("delivered %v", seen)
		}
		r.Add(signups)
		synctest.Wait()
		err = stop()
		if !errors.Is(err, offset.ErrCorrupt) || !strings.HasPrefix(err.Error(), `signups as "signups": stream: `) || strings.Contains(err.Error(), "billing") {
			t.Errorf("got %v, want an error of signups alone", err)
		}
		for label, want := range map[string]string{"billing": last, "invoices": invoiceID} {
			if id, _, err := store.Load(t.Context(), label); id != want || err != nil {
				t.Errorf("the offset of %s is %q, %v, want %q", label, id, err, want)
			}
		}
	})
}

// corrupt is a store that no waiting can mend.
type corrupt struct{}

func (corrupt) Load(context.Context, string) (string, bool, error) {
	return "", false, offset.ErrCorrupt
}
func (corrupt) Save(context.Context, string, string) error { return nil }

func TestConsumerString(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{})
	defer func() { _ = client.Close() }()
	consumer := newConsumer(t, client, &offset.Memory{}, newRecorder().Handle, stream.WithLabel("billing"))
	if got, want := fmt.Sprint(consumer), `orders as "billing"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func ExampleRunner() {
	client, closeClient := exampleClient()
	defer closeClient()
	client.XAdd(context.Background(), &redis.XAddArgs{Stream: "signups", Values: []string{"user_id", "ada", "plan", "free"}})
	client.XAdd(context.Background(), &redis.XAddArgs{Stream: "visits", Values: []string{"payload", `{"page":"/"}`}})

	// Signals are the program's business: here, an interrupt stops all consumers.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	type visit struct{ Page string }
	visited := make(chan struct{})
	quiet := stream.WithLogger(slog.New(slog.DiscardHandler))
	visits, err := stream.NewConsumer(client, stream.Topic[visit]{Name: "visits", Codec: codec.JSON[visit]{}}, &offset.Memory{},
		func(_ context.Context, msg *stream.Message[visit]) error {
			fmt.Println("visited:", msg.Value.Page)
			close(visited)
			return nil
		}, quiet)
	if err != nil {
		log.Fatal(err)
	}
	signups, err := stream.NewConsumer(client, Signups, &offset.Memory{},
		func(_ context.Context, msg *stream.Message[Signup]) error {
			<-visited
			fmt.Println("welcome,", msg.Value.UserID)
			stop() // an example does not wait for a signal
			return nil
		}, quiet)
	if err != nil {
		log.Fatal(err)
	}

	var r stream.Runner
	r.Add(visits, signups)
	if err := r.Run(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// visited: /
	// welcome, ada
}

func TestConsumersHaveNames(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{})
	defer func() { _ = client.Close() }()
	inLog := newConsumer(t, client, &offset.Memory{}, newRecorder().Handle, stream.WithLabel("mine"))
	inGroup := newGroup(t, client, newRecorder().Handle)
	if inLog.String() != `orders as "mine"` || inGroup.String() != `orders in group "billing"` {
		t.Errorf("they are called %s and %s", inLog, inGroup)
	}
}
