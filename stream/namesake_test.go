package stream_test

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

const namesake = "another live consumer of the group"

// named returns a consumer whose name is given, and its log.
func named(t testing.TB, client redis.UniversalClient, opts ...stream.Option) (*stream.Consumer[order], *logs) {
	t.Helper()
	out := &logs{}
	return newGroup(t, client, newRecorder().Handle, append([]stream.Option{stream.WithConsumerName("pod-1"), stream.WithLogger(out.Logger())}, opts...)...), out
}

// probed reports whether a probe of the name is in the group.
func probed(t testing.TB, client redis.UniversalClient) bool {
	t.Helper()
	return slices.Contains(consumers(t, client), "millrace:probe:pod-1")
}

// wantNoProbe fails the test if a consumer that is alone does not take its probe back
// within a claim idle time.
func wantNoProbe(t testing.TB, client redis.UniversalClient) {
	t.Helper()
	for range 30 {
		if !probed(t, client) {
			return
		}
		time.Sleep(time.Second)
	}
	t.Error("a consumer that is alone leaves its probe")
}

// Two or more live consumers with one name notice each other within the claim idle
// time, each logs it twice a minute, and at most one is ready until it is alone again.
func TestNamesakesNoticeEachOther(t *testing.T) {
	t.Parallel()
	for name, gaps := range map[string][]time.Duration{
		"one after the other":      {0, time.Minute},
		"at once":                  {0, 0},
		"within a look":            {0, 2300 * time.Millisecond},
		"three, one by one":        {0, time.Minute, time.Minute},
		"three, two of them later": {0, time.Minute, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, client *redis.Client) {
				const idle = 30 * time.Second // the default
				var list []*stream.Consumer[order]
				var outs []*logs
				var stops []func() error
				for _, gap := range gaps {
					time.Sleep(gap)
					consumer, out := named(t, client)
					list, outs, stops = append(list, consumer), append(outs, out), append(stops, start(t, consumer))
				}
				time.Sleep(idle)
				wantNoticed(t, list)
				time.Sleep(5 * time.Minute)
				wantNoticed(t, list)
				for i := range list {
					if n := len(outs[i].lines("WARN", namesake, "consumer=pod-1")); n < 1 || n > 2*8 {
						t.Errorf("consumer %d has logged it %d times in 5 to 7 minutes:\n%s", i, n, outs[i])
					}
				}
				for _, stop := range stops[1:] {
					if err := stop(); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(2 * idle)
				wantHealth(t, "alone again", list[0].Health(), true, true, "")
				wantNoProbe(t, client)
			})
		})
	}
}

// wantNoticed fails the test unless two are not ready: of three, those that look at the
// same moments share the signs, and one of them may have none for a while.
func wantNoticed(t testing.TB, list []*stream.Consumer[order]) {
	t.Helper()
	noticed := 0
	for _, consumer := range list {
		if h := consumer.Health(); !h.Ready && h.Live && strings.Contains(h.Reason, `the name "pod-1"`) {
			noticed++
		}
	}
	if noticed < 2 {
		t.Errorf("%d of %d consumers have noticed", noticed, len(list))
	}
}

// A consumer that is alone is not taken for two: not by itself, not after restarts,
// orderly or not, of the process that has its name, and not beside others.
func TestNoNamesakeWhereThereIsNone(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		other := newGroup(t, client, newRecorder().Handle, stream.WithConsumerName("pod-2"))
		start(t, other)
		var outs []*logs
		for i := range 20 {
			instance := streamtest.NewInstance(t, client)
			consumer, out := named(t, instance.Client)
			outs = append(outs, out)
			instance.Start(consumer)
			if i%3 == 0 {
				time.Sleep(3 * time.Second) // while its probe is there
				if !probed(t, client) {
					t.Errorf("run %d does not probe", i)
				}
			} else {
				time.Sleep(time.Second + time.Duration(i)*3700*time.Millisecond)
			}
			if h := consumer.Health(); strings.Contains(h.Reason, namesake) {
				t.Errorf("run %d: %+v", i, h)
			}
			if i%3 == 0 {
				if err := instance.Stop(); err != nil {
					t.Error(err)
				}
				if probed(t, client) {
					t.Errorf("the stop of run %d leaves its probe", i)
				}
			} else {
				instance.Crash()
			}
		}
		consumer, out := named(t, client)
		outs = append(outs, out)
		start(t, consumer)
		time.Sleep(time.Hour)
		for i, out := range outs {
			if found := out.lines(namesake); len(found) > 0 {
				t.Errorf("run %d has logged %q", i, found)
			}
		}
		wantHealth(t, "alone for an hour", consumer.Health(), true, true, "")
		wantHealth(t, "the other", other.Health(), true, true, "")
		wantNoProbe(t, client)
	})
}

// A consumer that was frozen while another one took its name notices that when it goes
// on.
func TestNamesakeOfAFrozenConsumer(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		frozen := &frozenHook{}
		opts := optionsOf(client)
		own := redis.NewClient(opts)
		own.AddHook(frozen)
		t.Cleanup(func() { _ = own.Close() })
		first, _ := named(t, own)
		start(t, first)
		time.Sleep(time.Minute)
		frozen.until.Store(time.Now().Add(2 * time.Minute).UnixNano())
		time.Sleep(time.Second)
		second, out := named(t, client)
		start(t, second)
		time.Sleep(90 * time.Second)
		if found := out.lines(namesake); len(found) > 0 {
			t.Errorf("the first one gives no sign, and yet the second says %q", found)
		}
		time.Sleep(90 * time.Second)
		wantHealth(t, "the first, which goes on", first.Health(), true, false, namesake)
		wantHealth(t, "the second", second.Health(), true, false, namesake)
	})
}

// frozenHook has every command wait.
type frozenHook struct {
	inert
	until atomic.Int64
}

func (h *frozenHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		time.Sleep(time.Until(time.Unix(0, h.until.Load())))
		return next(ctx, cmd)
	}
}

// On a real server, alone and in a Runner. Changes of the group meanwhile are no sign of
// another consumer.
func TestNamesakesOnAServer(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t, "--appendonly", "no")
	client := server.Client()
	short := stream.WithClaimIdle(time.Second)
	first, firstLog := named(t, client, short)
	var runner stream.Runner
	runner.Add(first)
	start(t, &runner)
	eventually(t, "it is ready", func() bool { return first.Health().Ready })
	for _, args := range [][]any{{"XGROUP", "DESTROY", "orders", "billing"}, {"DEL", "orders"}, {"FLUSHALL"}} {
		if err := client.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
		add(t, client, "x")
		<-time.After(700 * time.Millisecond) // the looks go on meanwhile
	}
	if found := firstLog.lines(namesake); len(found) > 0 {
		t.Fatalf("it is alone, and says %q", found)
	}
	second, secondLog := named(t, client, short)
	stop := start(t, second)
	eventually(t, "both have noticed", func() bool {
		return len(firstLog.lines(namesake)) == 1 && len(secondLog.lines(namesake)) == 1
	})
	if h := runner.Health(); h.Ready || !strings.Contains(h.Reason, namesake) {
		t.Errorf("the Runner's health is %+v", h)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	eventually(t, "the first is alone again", func() bool { return first.Health().Ready && !probed(t, client) })
}

// Two processes on hosts of one name, with one process ID, have two default names, and
// the names are still those that are removed when they are dead.
func TestDefaultNameIsOfOneProcess(t *testing.T) {
	t.Parallel()
	const childAddr = "MILLRACE_NAME_ADDR"
	addr := os.Getenv(childAddr)
	if addr == "" {
		addr = streamtest.StartRedis(t, "--appendonly", "no").Addr
	}
	client := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = client.Close() })
	stop := start(t, newGroup(t, client, newRecorder().Handle))
	if os.Getenv(childAddr) != "" {
		add(t, client, "a") // the one that reads it is in the group from then on
		select {}           // until it is killed
	}
	own := func() (names []string) {
		list, err := client.XInfoConsumers(t.Context(), "orders", "billing").Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, consumer := range list {
			if strings.HasPrefix(consumer.Name, "millrace:") { // not the one for entries that a stop handed back
				names = append(names, consumer.Name)
			}
		}
		return names
	}
	eventually(t, "it has begun", func() bool { return client.Exists(t.Context(), "orders").Val() == 1 })
	add(t, client, "b")
	eventually(t, "it has read", func() bool { return len(own()) == 1 })
	first := own()[0]
	if err := stop(); err != nil {
		t.Error(err)
	}
	child := streamtest.StartChild(t, childAddr+"="+addr)
	eventually(t, "the child has read", func() bool { return len(own()) == 1 })
	second := own()[0]
	child.Kill()
	a, b := strings.Split(first, ":"), strings.Split(second, ":") // a number follows, if other tests have the name
	if len(a) < 4 || len(b) < 4 || a[0] != "millrace" || !slices.Equal(a[:2], b[:2]) || a[3] == b[3] {
		t.Errorf("the names are %q and %q", first, second)
	}
}

// Looks without an answer are no signs: the state of the probe is not known.
func TestProbesWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		hook := &lostProbes{}
		own := redis.NewClient(optionsOf(client))
		own.AddHook(hook)
		t.Cleanup(func() { _ = own.Close() })
		consumer, out := named(t, own)
		start(t, consumer)
		time.Sleep(time.Hour)
		if found := out.lines(namesake); len(found) > 0 {
			t.Errorf("it is alone, and says %q", found)
		}
		if hook.lost.Load() < 100 {
			t.Errorf("only %d looks had no answer", hook.lost.Load())
		}
	})
}

// lostProbes loses the answer to every second look for a probe.
type lostProbes struct {
	inert
	looks, lost atomic.Int64
}

func (h *lostProbes) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if !slices.ContainsFunc(cmd.Args(), func(arg any) bool { return arg == "millrace:probe:pod-1" }) || err != nil {
			return err
		}
		if h.looks.Add(1)%2 == 0 {
			h.lost.Add(1)
			cmd.SetErr(io.ErrUnexpectedEOF)
			return io.ErrUnexpectedEOF
		}
		return nil
	}
}

// A server that is emptied takes the probe away, and the group may be there again before the
// consumer looks. That is no sign of another consumer, however often it happens.
func TestNoNamesakeOnAServerThatIsEmptied(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	if err := client.XGroupCreateMkStream(t.Context(), "orders", "billing", "0").Err(); err != nil {
		t.Fatal(err)
	}
	var out logs
	consumer := newGroup(t, client, newRecorder().Handle, stream.WithConsumerName("pod-1"), stream.WithClaimIdle(time.Second), stream.WithLogger(out.Logger()))
	start(t, consumer)
	for range 6 {
		eventually(t, "it probes", func() bool { return probed(t, client) })
		awaitBlocked(t, client, 1)
		// Two commands: a blocked read has its error in between, as it has when another consumer
		// makes the group again. This one may be faster.
		if err := client.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if err := client.XGroupCreateMkStream(t.Context(), "orders", "billing", "0").Err(); err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
			t.Fatal(err)
		}
	}
	if lines := out.lines("WARN", namesake); len(lines) > 0 {
		t.Errorf("it was told of another consumer:\n%s", lines)
	}
}
