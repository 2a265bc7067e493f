package admin_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/admin"
	"millrace/stream/streamtest"
)

type event struct {
	N int `mapstructure:"n"`
}

var eventTopic = stream.Topic[event]{Name: "orders"}

// service is a process with consumers and an agent.
type service struct {
	runner stream.Runner
	stop   func() error

	mu      sync.Mutex
	handled []int
	losses  []error
}

// handle notes an event.
func (s *service) handle(_ context.Context, msg *stream.Message[event]) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handled = append(s.handled, msg.Value.N)
	return nil
}

func (s *service) OnLoss(_ stream.Identity, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.losses = append(s.losses, err)
}

// has returns how many events were handled.
func (s *service) has() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.handled)
}

// lost returns the losses that were told.
func (s *service) lost() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.losses)
}

// options are those of all consumers of a service.
func (s *service) options() []stream.Option {
	return []stream.Option{stream.WithLogger(slog.New(slog.DiscardHandler)), stream.WithObserver(s), stream.WithReadCount(5)}
}

// group adds a consumer of a group.
func (s *service) group(t testing.TB, client redis.UniversalClient, name string) *stream.Consumer[event] {
	t.Helper()
	return must[*stream.Consumer[event]](t)(stream.NewGroupConsumer(client, eventTopic, "billing", s.handle, append(s.options(), stream.WithConsumerName(name))...))
}

// label adds a consumer of a label.
func (s *service) label(t testing.TB, client redis.UniversalClient) *stream.Consumer[event] {
	t.Helper()
	store := must[*offset.Redis](t)(offset.NewRedis(client, ""))
	return must[*stream.Consumer[event]](t)(stream.NewConsumer(client, eventTopic, store, s.handle, append(s.options(), stream.WithLabel("search"))...))
}

// start runs the service with an agent.
func (s *service) start(t testing.TB, client redis.UniversalClient, members ...stream.Runnable) {
	t.Helper()
	s.runner.Logger = slog.New(slog.DiscardHandler)
	agent := must[*admin.Agent](t)(admin.NewAgent(client, &s.runner, admin.WithLogger(slog.New(slog.DiscardHandler))))
	s.runner.Add(members...)
	s.runner.Add(agent)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.runner.Run(ctx) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("the service ended with %v", err)
		}
	})
}

// readers are both kinds of readers, with a way to make a consumer of each.
func readers() map[admin.Reader]func(s *service, t testing.TB, client redis.UniversalClient) []stream.Runnable {
	return map[admin.Reader]func(*service, testing.TB, redis.UniversalClient) []stream.Runnable{
		admin.Group("orders", "billing"): func(s *service, t testing.TB, client redis.UniversalClient) []stream.Runnable {
			return []stream.Runnable{s.group(t, client, "a"), s.group(t, client, "b")}
		},
		admin.Label("orders", "search"): func(s *service, t testing.TB, client redis.UniversalClient) []stream.Runnable {
			return []stream.Runnable{s.label(t, client)}
		},
	}
}

func TestAgentShowsItsConsumers(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.add("orders", 3)
	var s service
	s.start(t, k.client, s.group(t, k.client, "a"), s.label(t, k.client))
	streamtest.Await(t, "the agent shows them", func() bool {
		topic, err := k.admin.Topic(t.Context(), "orders")
		if err != nil || len(topic.Standings) != 2 {
			return false
		}
		for _, one := range topic.Standings {
			if one.Agents != 1 || one.Obeying != 1 {
				return false
			}
		}
		return true
	})
	streamtest.Await(t, "it tells what they have done", func() bool {
		detail, err := k.admin.Reader(t.Context(), admin.Group("orders", "billing"))
		at := slices.IndexFunc(detail.Members, func(m admin.Member) bool { return m.Name == "a" })
		if err != nil || at < 0 || detail.Members[at].Presence == nil {
			return false
		}
		m := detail.Members[at]
		host, _ := os.Hostname()
		return m.Process.Host == host && m.Process.PID == os.Getpid() && m.Presence.Handled == 3 && m.Presence.Ready && m.Presence.Live
	})
	names, err := collect(k.admin.Topics(t.Context(), "*"))
	if err != nil || len(names) != 1 || names[0].Name != "orders" {
		t.Errorf("the registry has %v, %v", names, err)
	}
	ok(t, s.stop())
	detail, err := k.admin.Reader(t.Context(), admin.Group("orders", "billing"))
	if err != nil || detail.Agents != 0 {
		t.Errorf("after the stop %d agents have a consumer, %v", detail.Agents, err)
	}
	if n := k.client.HLen(t.Context(), "{millrace}:processes").Val(); n != 0 {
		t.Errorf("%d processes are left", n)
	}
	topic, err := k.admin.Topic(t.Context(), "orders")
	if err != nil || len(topic.Standings) != 2 {
		t.Errorf("the label is forgotten: %+v, %v", topic, err)
	}
}

// Without an agent nothing is written, and no order is read.
func TestNothingWithoutAnAgent(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.add("orders", 3)
	k.do("xgroup", "create", "orders", "billing", "0")
	var s service
	must[admin.Standing](t)(k.admin.Pause(t.Context(), admin.Group("orders", "billing"), time.Hour, "ada", "bad deploy"))
	s.runner.Add(s.group(t, k.client, "a"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.runner.Run(ctx) }()
	streamtest.Await(t, "it handles", func() bool { return s.has() == 3 })
	cancel()
	ok(t, <-done)
	for _, key := range k.client.Keys(t.Context(), "{millrace}*").Val() {
		if key != "{millrace}:control" {
			t.Errorf("there is a key %s", key)
		}
	}
}

func TestPauseFromElsewhere(t *testing.T) {
	t.Parallel()
	for reader, members := range readers() {
		t.Run(reader.Address(), func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			k.add("orders", 3)
			var s service
			s.start(t, k.client, members(&s, t, k.client)...)
			streamtest.Await(t, "they are seen", func() bool {
				detail, err := k.admin.Reader(t.Context(), reader)
				return err == nil && s.has() == 3 && detail.Agents > 0
			})
			begun := time.Now()
			standing := must[admin.Standing](t)(k.admin.Pause(t.Context(), reader, time.Hour, "ada", "bad deploy"))
			if standing.Paused == nil || standing.Agents == 0 {
				t.Errorf("it stands %+v", standing)
			}
			streamtest.Await(t, "all obey", func() bool {
				detail, err := k.admin.Reader(t.Context(), reader)
				return err == nil && detail.Obeying == detail.Agents && detail.Paused != nil
			})
			if took := time.Since(begun); took > 10*time.Second { // about one, if the machine has time
				t.Errorf("that took %v", took)
			}
			h := s.runner.Health()
			if !h.Live || !h.Ready || !strings.Contains(h.Reason, "by ada: bad deploy") {
				t.Errorf("the health is %+v", h)
			}
			k.add("orders", 3)
			// Reading takes at most a block time to stop, and nothing of it is begun.
			streamtest.Await(t, "the entries are behind", func() bool {
				detail, err := k.admin.Reader(t.Context(), reader)
				return err == nil && detail.Oldest == "4-0"
			})
			if n := s.has(); n != 3 {
				t.Errorf("%d were handled in the pause", n-3)
			}
			must[admin.Standing](t)(k.admin.Resume(t.Context(), reader, "ada", "it is mended"))
			streamtest.Await(t, "it goes on", func() bool { return s.has() == 6 })
			// A pause ends by itself.
			must[admin.Standing](t)(k.admin.Pause(t.Context(), reader, 3*time.Second, "ada", "again"))
			k.add("orders", 1)
			streamtest.Await(t, "the pause ends", func() bool { return s.has() == 7 })
			if len(s.losses) > 0 {
				t.Errorf("losses were told: %v", s.losses)
			}
		})
	}
}

// All consumers of a reader, in several processes, go to another place, and none tells of a loss.
func TestSeekFromElsewhere(t *testing.T) {
	t.Parallel()
	for reader, members := range readers() {
		for name, to := range map[string]admin.Place{"back": {}, "forward": admin.End()} {
			t.Run(reader.Address()+"/"+name, func(t *testing.T) {
				t.Parallel()
				k := newKit(t)
				k.add("orders", 50)
				var s, other service
				s.start(t, k.client, members(&s, t, k.client)...)
				agents := 1
				if reader.Group != "" {
					other.start(t, k.client, other.group(t, k.client, "c"))
					agents = 3
				}
				streamtest.Await(t, "they are seen", func() bool {
					detail, err := k.admin.Reader(t.Context(), reader)
					return err == nil && s.has()+other.has() == 50 && detail.Agents == agents
				})
				if name == "forward" {
					must[admin.Standing](t)(k.admin.Pause(t.Context(), reader, time.Hour, "ada", "bad deploy"))
					streamtest.Await(t, "all obey", func() bool {
						detail, err := k.admin.Reader(t.Context(), reader)
						return err == nil && detail.Obeying == agents && detail.Paused != nil
					})
					k.add("orders", 50)
				}
				plan := must[*admin.Plan[admin.Sought]](t)(k.admin.Seek(t.Context(), reader, to))
				done, err := plan.Do(t.Context(), admin.By("ada", "bad deploy"))
				if err != nil || done.Agents != agents || done.Obeyed != agents {
					t.Fatalf("the seek has done %+v, %v", done, err)
				}
				want := 100
				if name == "forward" {
					want = 51
					detail := must[admin.ReaderDetail](t)(k.admin.Reader(t.Context(), reader))
					if detail.Obeying != agents || s.has()+other.has() != 50 {
						t.Errorf("the pause has ended: %+v", detail.Standing)
					}
					must[admin.Standing](t)(k.admin.Resume(t.Context(), reader, "ada", "it is mended"))
					k.add("orders", 1)
				}
				streamtest.Await(t, "they go on there", func() bool { return s.has()+other.has() >= want })
				if n := s.has() + other.has(); n != want {
					t.Errorf("%d were handled, want %d", n, want)
				}
				if losses := append(slices.Clone(s.losses), other.losses...); len(losses) > 0 {
					t.Errorf("losses were told: %v", losses)
				}
				streamtest.Await(t, "the order is gone", func() bool {
					detail, err := k.admin.Reader(t.Context(), reader)
					return err == nil && detail.Seek == nil
				})
			})
		}
	}
}

// An agent that cannot read its orders says so, and its consumers go on.
func TestAgentWithoutItsRecords(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.add("orders", 3)
	k.do("set", "{millrace}:control", "of another type")
	var out logs
	var s service
	s.runner.Logger = slog.New(slog.DiscardHandler)
	agent := must[*admin.Agent](t)(admin.NewAgent(k.client, &s.runner, admin.WithLogger(slog.New(slog.NewTextHandler(&out, nil)))))
	s.runner.Add(s.group(t, k.client, "a"), agent)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.runner.Run(ctx) }()
	streamtest.Await(t, "it says so, and the consumer handles", func() bool {
		return len(out.lines("level=ERROR", "the agent cannot reach its records", "{millrace}:control")) == 1 && s.has() == 3
	})
	k.do("del", "{millrace}:control")
	streamtest.Await(t, "it is over", func() bool { return len(out.lines("level=INFO", "the agent reaches its records again")) == 1 })
	cancel()
	ok(t, <-done)
}

func TestAgentRefusesMistakes(t *testing.T) {
	t.Parallel()
	_, err := admin.NewAgent(nil, nil, admin.WithKeyspace("millrace"))
	for _, part := range []string{"client: ", "runner: ", "WithKeyspace"} {
		if !errors.Is(err, stream.ErrInvalidOption) || !strings.Contains(fmt.Sprint(err), part) {
			t.Errorf("the error lacks %q: %v", part, err)
		}
	}
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}) // not used
	t.Cleanup(func() { _ = client.Close() })
	agent := must[*admin.Agent](t)(admin.NewAgent(client, new(stream.Runner)))
	if err := agent.Run(nil); err == nil { //nolint:staticcheck // the mistake
		t.Error("Run takes no context")
	}
}

// logs keeps what is logged.
type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// lines returns the lines that have all of the words.
func (l *logs) lines(words ...string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
			found = append(found, line)
		}
	}
	return found
}

// order gives the consumers of billing an order to seek, as an admin does.
func (k *kit) order(order admin.SeekOrder) {
	k.t.Helper()
	order.By, order.Why, order.At = "ada", "bad deploy", admin.MillisOf(time.Now())
	k.set("{millrace}:control", "orders group:billing", admin.Control{Seek: &order})
}

// The consumer whose turn it was to set the group has died: another one does it. A stop meanwhile
// does not wait for that.
func TestSeekOutlastsADeadAgent(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.add("orders", 10)
	var s, stopped service
	s.start(t, k.client, s.group(t, k.client, "a"), s.group(t, k.client, "b"))
	stopped.start(t, k.client, stopped.group(t, k.client, "c"))
	streamtest.Await(t, "they handle", func() bool { return s.has()+stopped.has() == 10 })
	const turn = "{millrace}:seek:op"
	k.do("set", turn, "dead 1") // it is over when all have been seen to wait
	k.order(admin.SeekOrder{Op: "op", To: "0-0"})
	streamtest.Await(t, "all wait for the group to be set", func() bool {
		detail, err := k.admin.Reader(t.Context(), admin.Group("orders", "billing"))
		n := 0
		for _, m := range detail.Members {
			if m.Presence != nil && m.Presence.Awaits == "op" {
				n++
			}
		}
		return err == nil && n == 3
	})
	ok(t, stopped.stop()) // its turn does not come
	k.do("del", turn)
	streamtest.Await(t, "the entries come again", func() bool { return s.has()+stopped.has() == 20 })
	for _, one := range []*service{&s, &stopped} {
		if len(one.losses) > 0 {
			t.Errorf("losses were told: %v", one.losses)
		}
	}
}

// An order that cannot be obeyed is told, with the reason, and the consumers go on.
func TestSeekThatCannotBeObeyed(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.add("orders", 3)
	var s service
	s.start(t, k.client, s.group(t, k.client, "a"))
	streamtest.Await(t, "it handles", func() bool { return s.has() == 3 })
	k.order(admin.SeekOrder{Op: "op", To: "no ID"})
	streamtest.Await(t, "the reason is told", func() bool {
		detail, err := k.admin.Reader(t.Context(), admin.Group("orders", "billing"))
		at := slices.IndexFunc(detail.Members, func(m admin.Member) bool { return m.Name == "a" && m.Presence != nil })
		return err == nil && at >= 0 && detail.Members[at].Presence.Seek == "op" && strings.Contains(detail.Members[at].Presence.SeekError, "no ID")
	})
	k.add("orders", 1)
	streamtest.Await(t, "it goes on", func() bool { return s.has() == 4 })
}

// The rights in the documentation are enough for an agent.
func TestRightsOfAnAgent(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.add("orders", 5)
	k.do("acl", "setuser", "agent", "on", "nopass", "~{millrace}:*",
		"+hgetall", "+hget", "+hset", "+hdel", "+get", "+mget", "+set", "+del", "+eval", "+evalsha", "+time")
	options := *k.client.Options()
	options.Username = "agent"
	limited := redis.NewClient(&options)
	t.Cleanup(func() { _ = limited.Close() })
	var s service
	s.runner.Add(s.group(t, k.client, "a"))
	s.start(t, limited)
	reader := admin.Group("orders", "billing")
	streamtest.Await(t, "it is seen", func() bool {
		detail, err := k.admin.Reader(t.Context(), reader)
		return err == nil && detail.Agents == 1 && s.has() == 5
	})
	must[admin.Standing](t)(k.admin.Pause(t.Context(), reader, time.Hour, "ada", "bad deploy"))
	plan := must[*admin.Plan[admin.Sought]](t)(k.admin.Seek(t.Context(), reader, admin.Begin()))
	if done, err := plan.Do(t.Context(), admin.By("ada", "bad deploy")); err != nil || done.Obeyed != 1 {
		t.Fatalf("the seek has done %+v, %v", done, err)
	}
	must[admin.Standing](t)(k.admin.Resume(t.Context(), reader, "ada", "it is mended"))
	streamtest.Await(t, "the entries come again", func() bool { return s.has() == 10 })
	ok(t, s.stop())
	if n := k.client.Exists(t.Context(), "{millrace}:processes").Val(); n != 0 {
		t.Error("the process is not removed")
	}
}
