package stream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
)

// Sink is a database that a handler writes to, and that can be away.
type Sink struct {
	mu     sync.Mutex
	away   bool
	poison map[string]bool
	tries  map[string][]time.Time
	done   map[string]bool
	takes  time.Duration
}

func (s *Sink) Handle(_ context.Context, msg *stream.Message[order]) error {
	time.Sleep(s.takes)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries[msg.Value.ID] = append(s.tries[msg.Value.ID], time.Now())
	if s.poison[msg.Value.ID] {
		return fmt.Errorf("order %s is bad", msg.Value.ID)
	}
	if s.away {
		return fmt.Errorf("inserting order %s: %w", msg.Value.ID, syscall.ECONNREFUSED)
	}
	s.done[msg.Value.ID] = true
	return nil
}

func (s *Sink) setAway(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

func (s *Sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.done)
}

func newSink(poison ...string) *Sink {
	s := &Sink{poison: make(map[string]bool), tries: make(map[string][]time.Time), done: make(map[string]bool)}
	for _, id := range poison {
		s.poison[id] = true
	}
	return s
}

// sinkModes are the ways in which a consumer delivers.
var sinkModes = map[string]struct {
	group bool
	opts  []stream.Option
}{
	"log, one at a time": {},
	"log, concurrent":    {opts: []stream.Option{stream.WithConcurrency(20)}},
	"log, few keys":      {opts: []stream.Option{stream.WithConcurrency(20), stream.WithOrderKey(lastDigit)}},
	"log, many keys":     {opts: []stream.Option{stream.WithConcurrency(20), stream.WithOrderKey(stream.Field("id"))}},
	"group":              {group: true},
	"group, concurrent":  {group: true, opts: []stream.Option{stream.WithConcurrency(20)}},
	"group, few keys":    {group: true, opts: []stream.Option{stream.WithConcurrency(20), stream.WithOrderKey(lastDigit)}},
}

func newSinkConsumer(t *testing.T, client *redis.Client, group bool, s *Sink, opts []stream.Option) *stream.Consumer[order] {
	t.Helper()
	consumer, err := stream.NewConsumer(client, orders, &offset.Memory{}, s.Handle, opts...)
	if group {
		consumer, err = stream.NewGroupConsumer(client, orders, "billing", s.Handle, opts...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return consumer
}

func lastDigit(entry *stream.Entry) string {
	id, _ := entry.Fields.Get("id")
	return id[len(id)-1:]
}

// A sink is away for 20 seconds. The log tells that once for all, and all that has come
// meanwhile is handled within two seconds of its return, and the time that the handler
// takes for it, one entry after another.
func TestSinkThatIsAway(t *testing.T) {
	t.Parallel()
	for name, mode := range sinkModes {
		for _, logging := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/Logging %v", name, logging), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T, client *redis.Client) {
					var out logs
					s := newSink()
					s.takes = time.Millisecond
					logger := slog.New(slog.NewTextHandler(&out, nil))
					opts := append([]stream.Option{stream.WithLogger(logger)}, mode.opts...)
					if logging {
						opts = append(opts, stream.WithMiddleware(middleware.Logging(logger)))
					}
					consumer := newSinkConsumer(t, client, mode.group, s, opts)
					start(t, consumer)
					published := 0
					publish := func(d time.Duration) {
						for range int(d / (20 * time.Millisecond)) {
							add(t, client, strconv.Itoa(published))
							published++
							time.Sleep(20 * time.Millisecond)
						}
					}
					publish(2 * time.Second)
					s.setAway(true)
					publish(20 * time.Second)
					failed := consumer.Stats().Failed
					s.setAway(false)
					back, want := time.Now(), published
					for s.count() < want && time.Since(back) < time.Minute {
						publish(20 * time.Millisecond)
					}
					took := time.Since(back)
					publish(2 * time.Second)
					synctest.Wait()
					lines := strings.Count(out.String(), "\n")
					t.Logf("%d failures, %d lines, %v until all that had come was handled", failed, lines, took)
					if backlog := time.Duration(want) * s.takes; took > 2*time.Second+backlog {
						t.Errorf("%v until all that had come was handled", took)
					}
					if lines > 6 {
						t.Errorf("%d lines in the log:\n%s", lines, out.String())
					}
					if len(out.lines("ERROR", "entry held")) != 1 || len(out.lines("INFO", "delivery works again", "failures=", "entries=", "lasted=")) != 1 {
						t.Errorf("the outage is not in the log:\n%s", out.String())
					}
				})
			})
		}
	}
}

// A bad entry among good ones is seen at once, is in a sum every half minute, and waits
// longer each time, also while its neighbours succeed.
func TestPoisonAmongGoodOnes(t *testing.T) {
	t.Parallel()
	for name, mode := range sinkModes {
		if name == "log, one at a time" {
			continue // nothing is delivered beside it
		}
		for _, every := range []time.Duration{200 * time.Millisecond, 3 * time.Second} {
			t.Run(fmt.Sprintf("%s/a good one every %v", name, every), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T, client *redis.Client) {
					var out logs
					s := newSink("50")
					opts := append([]stream.Option{stream.WithLogger(out.Logger()), stream.WithWindow(30_000)}, mode.opts...)
					consumer := newSinkConsumer(t, client, mode.group, s, opts)
					start(t, consumer)
					for i := range 51 {
						add(t, client, strconv.Itoa(i))
					}
					for n := range int(3 * time.Minute / every) {
						time.Sleep(every)
						id := strconv.Itoa(1000 + n)
						if strings.HasSuffix(id, "0") {
							id += "1" // not behind the bad one
						}
						add(t, client, id)
					}
					time.Sleep(time.Second)
					synctest.Wait()
					s.mu.Lock()
					tries := s.tries["50"]
					s.mu.Unlock()
					// 0.1s, 0.2s and so on to 30s, half of each left out at the most, and one more.
					if len(tries) < 12 || len(tries) > 22 {
						t.Errorf("tried %d times in three minutes", len(tries))
					}
					for i := 12; i < len(tries); i++ {
						if wait := tries[i].Sub(tries[i-1]); wait < 15*time.Second {
							t.Errorf("attempt %d came after %v", i+1, wait)
						}
					}
					if len(out.lines("ERROR", "entry held", "entry_id=")) != 1 || len(out.lines("DEBUG", "entry held")) < 8 {
						t.Errorf("the log has not one line for the first failure, and single ones:\n%s", strings.Join(out.lines("entry held"), ""))
					}
					if sums := out.lines("ERROR", "entries held", "held=1", "oldest="); len(sums) < 3 || len(sums) > 6 {
						t.Errorf("%d sums in three minutes:\n%s", len(sums), strings.Join(sums, ""))
					}
				})
			})
		}
	}
}

// Failures that come and go all the time are told twice in half a minute, and those of
// two causes apart.
func TestFailuresThatComeAndGo(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		var out logs
		consumer, err := stream.NewGroupConsumer(client, orders, "billing", func(_ context.Context, msg *stream.Message[order]) error {
			switch {
			case msg.Deliveries > 1:
			case strings.HasSuffix(msg.Value.ID, "0"):
				return fmt.Errorf("order %s: %w", msg.Value.ID, errors.New("is locked"))
			case strings.HasSuffix(msg.Value.ID, "5"):
				return fmt.Errorf("order %s: %w", msg.Value.ID, context.DeadlineExceeded)
			}
			return nil
		}, stream.WithLogger(out.Logger()), stream.WithConcurrency(4))
		if err != nil {
			t.Fatal(err)
		}
		start(t, consumer)
		for i := range 5 * 60 * 5 {
			add(t, client, strconv.Itoa(i))
			time.Sleep(200 * time.Millisecond)
		}
		synctest.Wait()
		for _, cause := range []string{"is locked", "deadline exceeded"} {
			if n := len(out.lines("ERROR", cause)); n < 8 || n > 11 {
				t.Errorf("%d lines about %q in five minutes", n, cause)
			}
		}
		if n := len(out.lines("INFO", "delivery works again")); n > 22 {
			t.Errorf("said %d times that it works again", n)
		}
		failures := 5 * 60 * 5 / 5
		if n := len(out.lines("entry held")) + len(out.lines("entries held")); n != failures {
			t.Errorf("%d lines for %d failures", n, failures)
		}
	})
}

// Errors that are all different neither fill the log nor the memory.
func TestCausesAreBounded(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		var out logs
		consumer, err := stream.NewGroupConsumer(client, orders, "billing", func(_ context.Context, msg *stream.Message[order]) error {
			return errors.New("no " + strings.Map(func(r rune) rune { return r - '0' + 'a' }, msg.Value.ID))
		}, stream.WithLogger(slog.New(slog.NewTextHandler(&out, nil))), stream.WithConcurrency(4))
		if err != nil {
			t.Fatal(err)
		}
		start(t, consumer)
		addTo(t, client, "orders", 100)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := len(out.lines("ERROR")); n < 17 || n > 17*4 {
			t.Errorf("%d lines in two minutes", n)
		}
	})
}

// Each delivery is logged once, be it by Logging or by the engine.
func TestOneLineForEachDelivery(t *testing.T) {
	t.Parallel()
	for _, logging := range []bool{false, true} {
		t.Run(fmt.Sprint("Logging ", logging), func(t *testing.T) {
			t.Parallel()
			inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
				var out logs
				stack := []stream.Middleware{middleware.DeadLetter(middleware.DeadLetterConfig{If: func(err error) bool { return err.Error() == "dead" }})}
				if logging {
					stack = append([]stream.Middleware{middleware.Logging(out.Logger())}, stack...)
				}
				start(t, mode.make(t, client, "orders", func(_ context.Context, msg *stream.Message[order]) error {
					switch {
					case msg.Value.ID == "skipped":
						return stream.Skip("no concern")
					case msg.Value.ID == "dead":
						return errors.New("dead")
					case msg.Value.ID == "fails" && msg.Deliveries < 5:
						return errors.New("not yet")
					}
					return nil
				}, stream.WithLogger(out.Logger()), stream.WithMiddleware(stack...)))
				ids := map[string]string{}
				for _, id := range []string{"fails", "skipped", "dead", "good"} {
					ids[id] = add(t, client, id)
				}
				ids["undecoded"] = addFields(t, client, "amount", "many")
				time.Sleep(time.Minute)
				synctest.Wait()
				for id, want := range map[string]int{"skipped": 1, "dead": 1, "undecoded": 1} {
					if got := out.lines("entry_id=" + ids[id] + " "); len(got) != want {
						t.Errorf("%d lines about what is %s:\n%s", len(got), id, strings.Join(got, ""))
					}
				}
				// With Logging, the first failure is also the first of its cause.
				single, first := out.lines("entry_id="+ids["fails"]+" ", "not yet"), out.lines("ERROR", "entry held")
				if want := 4; len(first) != 1 || !logging && len(single) != want || logging && len(single) != want+1 {
					t.Errorf("%d lines for 4 failures:\n%s", len(single), strings.Join(single, ""))
				}
			})
		})
	}
}
