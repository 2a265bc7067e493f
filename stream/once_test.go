package stream_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

func TestPublishOnce(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	producer := newProducer(t, client, stream.WithIdempotencyWindow(time.Hour))
	ids := make(map[string]string)
	for _, key := range []string{"a", "b", "a", "}", "{x}", "b", "\x00\xff"} {
		id, err := producer.PublishOnce(t.Context(), key, order{ID: key, Amount: len(ids)})
		if err != nil {
			t.Fatal(err)
		}
		if known, again := ids[key]; again && known != id {
			t.Errorf("key %q: got the ID %s, then %s", key, known, id)
		}
		ids[key] = id
	}
	if got := stored(t, client); !slices.Equal(got, []string{"a", "b", "}", "{x}", "\x00\xff"}) {
		t.Errorf("entries %q", got)
	}
	if ttl, err := client.PTTL(t.Context(), "{orders}:once:a").Result(); err != nil || ttl <= 59*time.Minute || ttl > time.Hour {
		t.Errorf("the key lasts %v, %v, want the window", ttl, err)
	}
	// Another producer of the topic knows the keys; payloads are not compared.
	if id, err := newProducer(t, client).PublishOnce(t.Context(), "a", order{ID: "other"}); id != ids["a"] || err != nil {
		t.Errorf("got %s, %v, want %s", id, err, ids["a"])
	}
	// Neither does another topic, nor Publish, nor a trimmed stream matter.
	elsewhere, err := stream.NewProducer(client, stream.Topic[order]{Name: "elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	if id, err := elsewhere.PublishOnce(t.Context(), "a", order{ID: "a"}); id == ids["a"] || err != nil {
		t.Errorf("another topic: got %s, %v", id, err)
	}
	if id, err := producer.Publish(t.Context(), order{ID: "a"}); id == ids["a"] || err != nil {
		t.Errorf("without a key: got %s, %v", id, err)
	}
	if err := client.XTrimMaxLen(t.Context(), orders.Name, 0).Err(); err != nil {
		t.Fatal(err)
	}
	if id, err := producer.PublishOnce(t.Context(), "a", order{ID: "a"}); id != ids["a"] || err != nil {
		t.Errorf("after trimming: got %s, %v, want %s", id, err, ids["a"])
	}
	// A server that was started again has forgotten its scripts.
	if err := client.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if id, err := producer.PublishOnce(t.Context(), "a", order{ID: "a"}); id != ids["a"] || err != nil {
		t.Errorf("without the script: got %s, %v, want %s", id, err, ids["a"])
	}
}

func TestAnEmptyKeyIsRefused(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	producer := newProducer(t, client)
	if _, err := producer.PublishOnce(t.Context(), "", order{ID: "a"}); !isEncodeError(err) {
		t.Errorf("got %v", err)
	}
	results, err := producer.PublishAllOnce(t.Context(), func(o order) string { return strings.TrimPrefix(o.ID, "1") }, ordersOf(3))
	if !isEncodeError(err) || !isEncodeError(results[1].Err) || results[2].Err != nil {
		t.Errorf("got %v, %v", results, err)
	}
	if _, err := producer.PublishAllOnce(t.Context(), nil, ordersOf(3)); err == nil {
		t.Error("no function, and no error")
	}
	if got := stored(t, client); !slices.Equal(got, []string{"0", "2"}) {
		t.Errorf("entries %v", got)
	}
}

func TestPublishAllOnce(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	producer := newProducer(t, client)
	values := ordersOf(2500)
	key := func(o order) string { return fmt.Sprint(o.Amount % 2000) } // 500 keys are there twice
	first, err := producer.PublishAllOnce(t.Context(), key, values)
	if err != nil {
		t.Fatal(err)
	}
	second, err := producer.PublishAllOnce(t.Context(), key, values)
	if err != nil || !slices.Equal(first, second) {
		t.Errorf("given again, the results differ, error %v", err)
	}
	if first[0] != first[2000] || first[0] == first[1] {
		t.Errorf("the IDs are %s, %s, %s", first[0].ID, first[1].ID, first[2000].ID)
	}
	want := make([]string, 2000)
	for i := range want {
		want[i] = fmt.Sprint(i)
	}
	if got := stored(t, client); !slices.Equal(got, want) {
		t.Errorf("%d entries, want 2000 in order", len(got))
	}
}

func TestOneKeyFromManyGoroutines(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	producer := newProducer(t, client)
	var wg sync.WaitGroup
	ids := make([]string, 50)
	for i := range ids {
		wg.Go(func() {
			var err error
			if ids[i], err = producer.PublishOnce(t.Context(), "key", order{ID: fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if distinct := slices.Compact(ids); len(distinct) != 1 || len(stored(t, client)) != 1 {
		t.Errorf("IDs %v, %d entries", distinct, len(stored(t, client)))
	}
}

func TestAKeyIsForgottenAfterItsWindow(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	producer := newProducer(t, client, stream.WithIdempotencyWindow(20*time.Millisecond))
	first, err := producer.PublishOnce(t.Context(), "key", order{ID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	streamtest.Await(t, "the key is gone", func() bool { return client.Exists(t.Context(), "{orders}:once:key").Val() == 0 })
	if second, err := producer.PublishOnce(t.Context(), "key", order{ID: "b"}); second == first || err != nil {
		t.Errorf("got %s, %v after the window", second, err)
	}
}

// A script that is refused in its middle is not rolled back. Whatever step the
// server refuses, there is either the entry and its key, or neither.
func TestPublishOnceIsNeverHalfDone(t *testing.T) {
	t.Parallel()
	for _, right := range []string{"get", "set", "xadd", "del"} {
		t.Run(right, func(t *testing.T) {
			t.Parallel()
			server := streamtest.StartRedis(t, "--user", "lacking", "on", "nopass", "~*", "+@all", "-"+right)
			client := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "lacking", Password: "s"})
			defer func() { _ = client.Close() }()
			_, err := newProducer(t, client).PublishOnce(t.Context(), "key", order{ID: "a"})
			if right == "del" { // which only tidies up
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !isNotWritten(err) {
				t.Errorf("got %v", err)
			}
			if keys, err := server.Client().Keys(t.Context(), "*").Result(); len(keys) != 0 || err != nil {
				t.Errorf("there are keys %v, %v", keys, err)
			}
			// Who has the right publishes it under the same key.
			if _, err := newProducer(t, server.Client()).PublishOnce(t.Context(), "key", order{ID: "a"}); err != nil {
				t.Error(err)
			}
			if n := len(stored(t, server.Client())); n != 1 {
				t.Errorf("%d entries", n)
			}
		})
	}
}

// A key of a write that was refused, and could not be removed, says nothing.
func TestAKeyLeftBehindSaysNothing(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t, "--user", "lacking", "on", "nopass", "~*", "+@all", "-del", "-xadd")
	client := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "lacking", Password: "s"})
	defer func() { _ = client.Close() }()
	if _, err := newProducer(t, client).PublishOnce(t.Context(), "key", order{ID: "a"}); !isNotWritten(err) {
		t.Errorf("got %v", err)
	}
	if id, err := newProducer(t, server.Client()).PublishOnce(t.Context(), "key", order{ID: "a"}); id == "" || err != nil {
		t.Errorf("got %q, %v", id, err)
	}
}

// Redis is killed and started again under producers that try each value until
// it is published. Every value is there once.
func TestPublishOnceOverKills(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	client := server.Client()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	halfway := make(chan struct{}, 4)
	for worker := range 4 {
		wg.Go(func() {
			producer := newProducer(t, client)
			for i := range 300 {
				if i%50 == 25 && worker == 0 {
					halfway <- struct{}{}
				}
				value := order{ID: fmt.Sprint(worker, "-", i)}
				for {
					_, err := producer.PublishOnce(ctx, value.ID, value)
					if err == nil {
						break
					}
					if ctx.Err() != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for range 4 {
		<-halfway
		server.Kill()
		server.Start()
	}
	for range 2 {
		<-halfway
	}
	wg.Wait()
	got := stored(t, client)
	if n := len(got); n != 1200 {
		t.Errorf("%d entries, want 1200", n)
	}
	slices.Sort(got)
	if n := len(slices.Compact(got)); n != 1200 {
		t.Errorf("%d values, want 1200", n)
	}
}

func TestPublishInACluster(t *testing.T) {
	t.Parallel()
	server := startClusterNode(t)
	proxy := startFates(t, server)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr}, ReadOnly: true, Dialer: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("tcp", proxy.Addr)
	}})
	defer func() { _ = client.Close() }()
	for i, name := range []string{"orders", "user:{7}:orders", "a{b", "{}x"} {
		producer, err := stream.NewProducer(client, stream.Topic[order]{Name: name}, stream.WithMaxLen(1000))
		if err != nil {
			t.Fatal(err)
		}
		proxy.next(xadd, lose)
		if _, err := producer.Publish(t.Context(), order{ID: "a"}); err == nil || proxy.left() != 0 {
			t.Errorf("%s: a lost reply, and the error %v", name, err)
		}
		proxy.next(xadd, lose)
		if results, err := producer.PublishAll(t.Context(), ordersOf(3)); err == nil || proxy.left() != 0 || results[0].Err == nil {
			t.Errorf("%s: a lost reply, and the error %v", name, err)
		}
		if n, err := client.XLen(t.Context(), name).Result(); n != 4 || err != nil {
			t.Errorf("%s has %d entries, %v, want 4: none written twice", name, n, err)
		}
		_, once := producer.PublishOnce(t.Context(), "b", order{ID: "a"})
		proxy.next(scripts, lose)
		_, all := producer.PublishAllOnce(t.Context(), func(o order) string { return o.ID }, ordersOf(3))
		if i < 3 {
			if n, err := client.XLen(t.Context(), name).Result(); n != 8 || err != nil || once != nil || all != nil {
				t.Errorf("%s has %d entries, %v, want 8; %v, %v", name, n, err, once, all)
			}
		} else if !strings.Contains(fmt.Sprint(once), "not written") || !strings.Contains(fmt.Sprint(once), "CROSSSLOT") {
			t.Errorf("%s: got %v; no other key can be in its slot", name, once)
		}
	}
}
