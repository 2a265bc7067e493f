package stream_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/streamtest"
)

// A server that stands still, or that cannot be reached any more without a word, is
// noticed within five seconds at the defaults, and delivery is back two seconds after
// it is. (With go-redis alone that takes eleven seconds or more, or for ever.)
func TestSilenceIsNoticed(t *testing.T) {
	t.Parallel()
	for _, mode := range bothModes() {
		for what, silence := range map[string]func(server *streamtest.Redis, proxy *streamtest.Proxy) (heal func()){
			"frozen": func(server *streamtest.Redis, _ *streamtest.Proxy) func() {
				server.Freeze()
				return server.Thaw
			},
			"black hole": func(_ *streamtest.Redis, proxy *streamtest.Proxy) func() {
				proxy.BlackHole()
				return proxy.Pass
			},
			"half open": func(_ *streamtest.Redis, proxy *streamtest.Proxy) func() {
				proxy.Swallow(streamtest.ToClient) // what is lost does not come later
				return proxy.Pass
			},
		} {
			t.Run(mode.name+" "+what, func(t *testing.T) {
				t.Parallel()
				server := streamtest.StartRedis(t)
				admin := server.Client()
				proxy := streamtest.StartProxy(t, server.Addr)
				client := redis.NewClient(&redis.Options{Addr: proxy.Addr})
				t.Cleanup(func() { _ = client.Close() })
				rec := newRecorder()
				consumer := mode.make(t, client, orders.Name, rec.Handle)
				stop := start(t, consumer)
				add(t, admin, "before")
				rec.await(t, 1)
				streamtest.Await(t, "it is ready", func() bool { return consumer.Health().Ready })
				heal := silence(server, proxy)
				begun := time.Now()
				streamtest.Await(t, "it is noticed", func() bool { return !consumer.Health().Ready })
				if took := time.Since(begun); took > 5*time.Second {
					t.Errorf("it took %v to be noticed, want 5s at the most", took)
				}
				t.Logf("noticed after %v: %s", time.Since(begun), consumer.Health().Reason)
				heal()
				healed := time.Now()
				add(t, admin, "after")
				rec.await(t, 2)
				if took := time.Since(healed); took > 2*time.Second+200*time.Millisecond {
					t.Errorf("delivery was back after %v, want 2s at the most", took)
				}
				t.Logf("back after %v", time.Since(healed))
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
