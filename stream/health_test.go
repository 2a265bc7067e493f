package stream_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// wantHealth fails the test if the health is not as given, with a reason that
// contains the text, or none for "".
func wantHealth(t testing.TB, when string, got stream.Health, live, ready bool, reason string) {
	t.Helper()
	if got.Live != live || got.Ready != ready || !strings.Contains(got.Reason, reason) || reason == "" && got.Reason != "" {
		t.Errorf("%s: %+v, want live %v, ready %v and a reason like %q", when, got, live, ready, reason)
	}
}

func TestHealthFromStartToStop(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		block := make(chan struct{})
		r := newRecorder()
		r.handle = func(context.Context, *stream.Message[order]) error { <-block; return nil }
		consumer := newConsumer(t, client, &offset.Memory{}, r.Handle)
		wantHealth(t, "before Run", consumer.Health(), false, false, "not running")
		stop := start(t, consumer)
		time.Sleep(time.Second)
		wantHealth(t, "before the first read is back", consumer.Health(), true, false, "starting")
		time.Sleep(1100 * time.Millisecond)
		wantHealth(t, "after the first read", consumer.Health(), true, true, "")
		time.Sleep(time.Hour)
		wantHealth(t, "an hour later, idle", consumer.Health(), true, true, "")
		add(t, client, "a")
		time.Sleep(time.Minute)
		wantHealth(t, "with a handler at work", consumer.Health(), true, true, "")
		stopped := make(chan error, 1)
		go func() { stopped <- stop() }()
		time.Sleep(time.Second)
		wantHealth(t, "while it stops", consumer.Health(), true, false, "stopping")
		close(block)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		wantHealth(t, "after Run", consumer.Health(), false, false, "not running")
	})
}

func TestHealthSaysWhyRunEnded(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		client.Set(t.Context(), orders.Name, "no stream", 0)
		consumer, err := stream.NewGroupConsumer(client, orders, "g", newRecorder().Handle)
		if err != nil {
			t.Fatal(err)
		}
		if err := consumer.Run(t.Context()); err == nil {
			t.Fatal("Run returned no error")
		}
		wantHealth(t, "after Run", consumer.Health(), false, false, "Run has ended: stream: finding the place to start failed")
	})
}

func TestHealthWhenTheStoreFailsOrHangs(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		store := &failingStore{until: time.Now().Add(time.Minute)}
		consumer := newConsumer(t, client, store, newRecorder().Handle)
		stop := start(t, consumer)
		add(t, client, "a")
		time.Sleep(10 * time.Second)
		wantHealth(t, "the store fails", consumer.Health(), true, false, "saving the offset has been failing for 10s: saving the offset")
		time.Sleep(time.Minute)
		wantHealth(t, "the store works again", consumer.Health(), true, true, "")
		if err := stop(); err != nil {
			t.Error(err)
		}

		store.until, store.slow = time.Now().Add(time.Minute), time.Minute
		add(t, client, "b")
		stop = start(t, consumer)
		time.Sleep(6 * time.Second)
		wantHealth(t, "the store hangs", consumer.Health(), true, false, "saving the offset has been on its way for")
		time.Sleep(28 * time.Second)
		wantHealth(t, "the store hangs on", consumer.Health(), false, false, "saving the offset has been on its way for")
		time.Sleep(time.Minute)
		wantHealth(t, "the store is back", consumer.Health(), true, true, "")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestHealthBehindAnEntryThatIsStuck(t *testing.T) {
	t.Parallel()
	for fails, ready := range map[bool]bool{true: false, false: true} {
		bubble(t, func(t *testing.T, client *redis.Client) {
			fixed(t, client, "a", "b", "c")
			release := make(chan struct{})
			r := newRecorder()
			r.handle = func(context.Context, *stream.Message[order]) error {
				if fails {
					return errors.New("no")
				}
				<-release
				return nil
			}
			consumer := newConsumer(t, client, &offset.Memory{}, r.Handle, stream.WithWindow(2))
			stop := start(t, consumer)
			time.Sleep(20 * time.Second)
			wantHealth(t, "full for 20s", consumer.Health(), true, true, "")
			time.Sleep(20 * time.Second)
			wantHealth(t, "full for 40s", consumer.Health(), true, ready, "the window has been full for 40s behind entry 1-0")
			close(release)
			synctest.Wait()
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A server that stands still says nothing at all; at default settings that shows
// within five seconds, also where many read together.
func TestHealthOfARedisThatIsFrozenKilledAndBack(t *testing.T) {
	t.Parallel()
	for _, together := range []bool{false, true} {
		server := streamtest.StartRedis(t)
		client := server.Client()
		consumer := newConsumer(t, client, &offset.Memory{}, newRecorder().Handle)
		other := newConsumer(t, client, &offset.Memory{}, newRecorder().Handle, stream.WithLabel("other"))
		health := consumer.Health
		var stop func() error
		if together {
			var r stream.Runner
			r.Add(consumer, other)
			health = r.Health
			stop = start(t, &r)
		} else {
			stop = start(t, consumer)
		}
		streamtest.Await(t, "healthy", func() bool { return health().Ready })
		wantHealth(t, "healthy", health(), true, true, "")

		server.Freeze()
		frozen := time.Now()
		streamtest.Await(t, "frozen", func() bool { return !health().Ready })
		if took := time.Since(frozen); took > 5*time.Second {
			t.Errorf("a frozen server showed after %v", took)
		}
		if h := health(); !h.Live || h.Reason == "" {
			t.Errorf("frozen: %+v", h)
		}
		server.Thaw()
		streamtest.Await(t, "thawed", func() bool { return health().Ready })

		server.Kill()
		streamtest.Await(t, "killed", func() bool { h := health(); return h.Live && !h.Ready && strings.Contains(h.Reason, "reading") })
		server.Start()
		streamtest.Await(t, "back", func() bool { return health() == stream.Health{Live: true, Ready: true} })
		if got := consumer.Stats().Reconnects; got < 1 {
			t.Errorf("%d reconnects", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}

type well struct{ runner }

func TestHealthOfARunner(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		var r stream.Runner
		wantHealth(t, "an empty one", r.Health(), false, false, "nothing was added")
		good := newConsumer(t, client, &offset.Memory{}, newRecorder().Handle)
		bad := newConsumer(t, client, &failingStore{until: time.Now().Add(time.Minute)}, newRecorder().Handle, stream.WithLabel("bad"))
		r.Add(&well{good}, bad)
		wantHealth(t, "before Run", r.Health(), false, false, `orders as "bad": not running`)
		stop := start(t, &r)
		time.Sleep(5 * time.Second)
		wantHealth(t, "idle", r.Health(), true, true, "")
		time.Sleep(time.Hour)
		wantHealth(t, "an hour later, idle", r.Health(), true, true, "")
		add(t, client, "a")
		time.Sleep(time.Second)
		if h := bad.Health(); h.Ready != r.Health().Ready {
			t.Errorf("one is %+v, all are %+v", h, r.Health())
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
