package stream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
)

// A topic that cannot be read is no matter of the others. It is told, and read when people
// have mended it, without a restart of the process.
func TestRunnerKeepsOthers(t *testing.T) {
	t.Parallel()
	for _, mode := range bothModes() {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, client *redis.Client) {
				names := topicNames(4)
				bad, good := names[0], names[1:]
				if err := client.Set(t.Context(), bad, "no stream", 0).Err(); err != nil {
					t.Fatal(err)
				}
				var handled Counts
				var out logs
				r := stream.Runner{Logger: out.Logger()}
				for _, name := range names {
					r.Add(mode.make(t, client, name, handled.Handle))
				}
				stop := start(t, &r)
				publish := func(names ...string) {
					for _, name := range names {
						addTo(t, client, name, 1)
					}
				}
				publish(good...)
				unwell := func(d time.Duration) {
					t.Helper()
					for range d / time.Second {
						time.Sleep(time.Second)
						if h := r.Health(); !h.Live || h.Ready || !strings.Contains(h.Reason, bad) {
							t.Fatalf("it is %+v", h)
						}
					}
				}
				unwell(5 * time.Minute)
				wantHealth(t, "one has failed", r.Health(), true, false, "has failed, and is run again in")
				wantHealth(t, "one has failed", r.Health(), true, false, "a key holds another type than is needed")
				publish(good...)
				time.Sleep(time.Second)
				if n := handled.distinct(); n != 6 {
					t.Errorf("%d entries of the others are handled, want 6", n)
				}
				if failed := out.lines("ERROR", bad, "failed; it is run again, and the others go on"); len(failed) < 10 || len(failed) > 25 {
					t.Errorf("the failure is told %d times in five minutes", len(failed))
				}
				if other := out.lines(good[0]); len(other) > 0 {
					t.Errorf("one that has not failed is told of: %s", other[0])
				}

				client.Del(t.Context(), bad)
				publish(bad)
				time.Sleep(31 * time.Second)
				if n := handled.distinct(); n != 7 {
					t.Errorf("%d entries are handled after it was mended, want 7", n)
				}
				wantHealth(t, "mended", r.Health(), true, true, "")
				time.Sleep(30 * time.Second)
				if again := out.lines("INFO", bad, "works again"); len(again) != 1 {
					t.Errorf("that it works again is told %d times", len(again))
				}
				if err := stop(); err != nil {
					t.Errorf("a failure that was mended came back as %v", err)
				}
			})
		})
	}
}

func TestRunnerReturnsWhatFailsAtTheEnd(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		client.Set(t.Context(), "topic-000", "no stream", 0)
		var r stream.Runner
		for _, name := range topicNames(2) {
			r.Add(bothModes()[0].make(t, client, name, new(Counts).Handle))
		}
		for at := time.Millisecond; at < 3*time.Minute; at *= 3 {
			stop := start(t, &r)
			time.Sleep(at)
			err := stop()
			if err == nil || !strings.HasPrefix(err.Error(), `topic-000 as "topic-000": stream: `) || strings.Contains(err.Error(), "topic-001") {
				t.Errorf("stopped after %v, Run returned %v", at, err)
			}
		}
		// A member that works, but not for long yet, is not known to be mended.
		flapping := &fake{name: "flapping", run: failsAfter(20*time.Second, errGaveUp)}
		var other stream.Runner
		other.Add(flapping)
		stop := start(t, &other)
		time.Sleep(35 * time.Second)
		if err := stop(); !errors.Is(err, errGaveUp) || flapping.started.Load() != 2 {
			t.Errorf("%d starts, and %v", flapping.started.Load(), err)
		}
	})
}

// A member that fails in any way is run again, less and less often.
func TestRunnerRunsAgain(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(context.Context) error{
		"an error":            failsAfter(0, errGaveUp),
		"a panic":             func(context.Context) error { panic(errGaveUp) },
		"an ended goroutine":  func(context.Context) error { runtime.Goexit(); return nil },
		"a running elsewhere": failsAfter(0, stream.ErrRunning),
		"a typed nil":         func(context.Context) error { var none *net.OpError; return none },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var out logs
				f := &fake{name: "it", run: run}
				other := &fake{name: "beside"}
				r := stream.Runner{Logger: out.Logger()}
				r.Add(f, other)
				stop := start(t, &r)
				time.Sleep(31 * time.Second) // 1, 2, 4, 8 and 16, or from a half of each on
				if n := f.started.Load(); n < 5 || n > 7 {
					t.Errorf("it was run %d times in 31s", n)
				}
				before := f.started.Load()
				time.Sleep(10 * time.Minute)
				if n := f.started.Load() - before; n < 19 || n > 41 {
					t.Errorf("it was run %d times in the next 10 minutes", n)
				}
				wantHealth(t, "failing", r.Health(), true, false, "it: has failed, and is run again in")
				if n := len(out.lines("ERROR", "it failed; it is run again")); n != int(f.started.Load()) {
					t.Errorf("%d failures, and %d are told", f.started.Load(), n)
				}
				if (name == "a panic") != (len(out.lines("stack=", "runner_failure_test.go")) > 0) {
					t.Errorf("a stack is told, or not:\n%.500s", out.String())
				}
				if err := stop(); err == nil || !strings.HasPrefix(err.Error(), "it: ") || strings.Contains(err.Error(), "beside") || other.started.Load() != 1 {
					t.Errorf("Run returned %v, the other was started %d times", err, other.started.Load())
				}
			})
		})
	}
}

// The wait is short again after a time of good work.
func TestRunnerForgetsFailuresOfLongAgo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		f := &fake{name: "it"}
		f.run = func(ctx context.Context) error {
			if runs++; runs <= 8 {
				return errGaveUp
			}
			return failsAfter(time.Hour, errGaveUp)(ctx)
		}
		var r stream.Runner
		r.Add(f)
		stop := start(t, &r)
		time.Sleep(time.Hour)
		if f.started.Load() != 9 {
			t.Fatalf("it was run %d times", f.started.Load())
		}
		wantHealth(t, "working", r.Health(), true, true, "")
		time.Sleep(4 * time.Minute) // the failure of the ninth run is somewhere in there
		if f.started.Load() != 10 {
			t.Errorf("it was run %d times", f.started.Load())
		}
		if err := stop(); err != nil {
			t.Errorf("what has worked for minutes came back as %v", err)
		}
	})
}

func TestRunnerGivesUpWhatIsFinal(t *testing.T) {
	t.Parallel()
	for name, final := range map[string]error{
		"a loss policy":     fmt.Errorf("stream: %w", &stream.LossError{Stream: "orders", Cause: stream.LossTrimmed}),
		"an invalid option": fmt.Errorf("mine: %w", stream.ErrInvalidOption),
		"a permanent one":   stream.Permanent(errGaveUp),
		"one of many":       errors.Join(errGaveUp, stream.Permanent(errGaveUp)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var out logs
				f := &fake{name: "it", run: failsAfter(0, final)}
				other := &fake{name: "other", run: failsAfter(time.Hour, nil)}
				r := stream.Runner{Logger: out.Logger()}
				r.Add(f, other)
				stop := start(t, &r)
				time.Sleep(30 * time.Minute)
				if f.started.Load() != 1 || len(out.lines("ERROR", "it failed for good; the others go on")) != 1 {
					t.Errorf("it was run %d times, and told:\n%s", f.started.Load(), out.String())
				}
				wantHealth(t, "failed for good", r.Health(), true, false, "it: has failed for good: ")
				time.Sleep(time.Hour)
				if other.stopped.Load() != 1 {
					t.Error("the other has not finished")
				}
				wantHealth(t, "over", r.Health(), true, true, "") // nothing of the two has a health of its own
				if err := stop(); !errors.Is(err, final) {
					t.Errorf("Run returned %v", err)
				}
			})
		})
	}
}

// Under StopAll a mistake in Add stops all; otherwise it is the failure of one.
func TestRunnerAddsAMistake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first := &fake{name: "first"}
		var r stream.Runner
		r.Add(first)
		stop := start(t, &r)
		time.Sleep(time.Second)
		r.Add(nil, first)
		time.Sleep(time.Hour)
		wantHealth(t, "after mistakes", r.Health(), true, false, "first: has failed for good: stream: invalid option: Runner.Add: number 3, first, is number 1 too")
		if first.started.Load() != 1 || first.stopped.Load() != 0 {
			t.Errorf("it was started %d times, and stopped %d times", first.started.Load(), first.stopped.Load())
		}
		if !r.Remove(nil) || len(r.Consumers()) != 2 {
			t.Errorf("there are %v", r.Consumers())
		}
		if err := stop(); !errors.Is(err, stream.ErrInvalidOption) {
			t.Errorf("Run returned %v", err)
		}
	})
	unknown := stream.Runner{OnFailure: 7}
	unknown.Add(&fake{name: "one"})
	wantProblem(t, unknown.Run(t.Context()), "Runner.OnFailure: 7 is none of the policies")
}

func TestRunnerRemove(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b, c := &fake{name: "a", lasts: 10 * time.Second}, &fake{name: "b"}, &fake{name: "c", run: failsAfter(0, errGaveUp)}
		var r stream.Runner
		r.Add(a, b)
		if r.Remove(c) || r.Remove(function(nil)) || !r.Remove(b) || !slices.Equal(r.Consumers(), []stream.Runnable{a}) {
			t.Errorf("before Run there are %v", r.Consumers())
		}
		r.Add(b, c)
		stop := start(t, &r)
		time.Sleep(20 * time.Second)
		if !r.Remove(a) || r.Remove(a) || !slices.Equal(r.Consumers(), []stream.Runnable{b, c}) {
			t.Errorf("there are %v", r.Consumers())
		}
		r.Add(a) // while it stops
		time.Sleep(9 * time.Second)
		if a.started.Load() != 1 {
			t.Error("it was started again before it had stopped")
		}
		time.Sleep(2 * time.Second)
		if a.started.Load() != 2 || a.stopped.Load() != 1 || b.stopped.Load() != 0 {
			t.Errorf("it was started %d times, and stopped %d times", a.started.Load(), a.stopped.Load())
		}
		// A member that was removed while it waited to be run again is not heard of any more.
		runs := c.started.Load()
		r.Remove(c)
		time.Sleep(time.Hour)
		wantHealth(t, "after the removal", r.Health(), true, true, "")
		if c.started.Load() != runs {
			t.Error("it was run after it was removed")
		}
		if err := stop(); err != nil {
			t.Errorf("Run returned %v", err)
		}
		// With the last one, Run ends; how that has failed to stop is told.
		a.lasts, a.stopsAs = 0, errGaveUp
		r.Remove(b)
		stop = start(t, &r)
		time.Sleep(time.Second)
		r.Remove(a)
		time.Sleep(time.Second)
		if a.stopped.Load() != 3 {
			t.Error("the last one was not stopped")
		}
		if err := stop(); err == nil || err.Error() != "a: gave up" {
			t.Errorf("Run returned %v", err)
		}
	})
}

// A handler may remove its own consumer, which settles the entries that it has handled.
func TestRunnerRemoveByAHandler(t *testing.T) {
	t.Parallel()
	for _, mode := range bothModes() {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, client *redis.Client) {
				var r stream.Runner
				var consumer *stream.Consumer[order]
				consumer = mode.make(t, client, "last", func(_ context.Context, msg *stream.Message[order]) error {
					r.Remove(consumer)
					return nil
				})
				var handled Counts
				r.Add(consumer, mode.make(t, client, "beside", handled.Handle))
				stop := start(t, &r)
				time.Sleep(5 * time.Second)
				addTo(t, client, "last", 1)
				time.Sleep(5 * time.Second)
				wantHealth(t, "removed", consumer.Health(), false, false, "not running")
				if s := consumer.Stats(); s.Handled != 1 {
					t.Errorf("it is %+v", s)
				}
				addTo(t, client, "beside", 1)
				time.Sleep(5 * time.Second)
				if handled.distinct() != 1 {
					t.Error("the other does not go on")
				}
				wantHealth(t, "after the removal", r.Health(), true, true, "")
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestRunnersInARunner(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bad, beside, other := &fake{name: "bad", run: failsAfter(0, errGaveUp)}, &fake{name: "beside"}, &fake{name: "other"}
		var keeps, outer stream.Runner
		keeps.Add(bad, beside)
		outer.Add(&keeps, other)
		stop := start(t, &outer)
		time.Sleep(time.Hour)
		wantHealth(t, "one in one", outer.Health(), true, false, "*stream.Runner: bad: has failed, and is run again in")
		if beside.stopped.Load() != 0 || other.stopped.Load() != 0 {
			t.Error("another was stopped")
		}
		if err := stop(); err == nil || err.Error() != "*stream.Runner: bad: gave up" {
			t.Errorf("Run returned %v", err)
		}

		// One that stops all of its own is run again as a whole.
		stops := stream.Runner{OnFailure: stream.StopAll}
		stops.Add(&fake{name: "bad", run: failsAfter(time.Minute, errGaveUp)}, beside)
		outer.Remove(&keeps)
		outer.Add(&stops)
		before := beside.started.Load()
		stop = start(t, &outer)
		time.Sleep(10*time.Minute + 50*time.Second)
		if n := beside.started.Load() - before; n < 9 || n > 11 {
			t.Errorf("it was run %d times in ten minutes", n)
		}
		if err := stop(); err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}
