package stream_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// Redis is killed and started again while entries are handled. All are
// delivered, in order; what is delivered twice is at most what one save covers,
// and here, where the consumer itself lives on, nothing.
func TestRedisKilledAndRestarted(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	client := server.Client()
	store, err := offset.NewRedis(client, "")
	if err != nil {
		t.Fatal(err)
	}
	rec := newRecorder()
	var out logs
	stop := start(t, newConsumer(t, client, store, rec.Handle, stream.WithReadCount(5), stream.WithLogger(out.Logger())))
	var want []string
	var last string
	for round := range 5 {
		for i := range 20 {
			id := fmt.Sprint(round, "-", i)
			want = append(want, id)
			last = add(t, client, id)
		}
		server.Kill()
		server.Start()
	}
	if seen := rec.await(t, len(want)); !slices.Equal(seen, want) {
		t.Errorf("delivered %v, want %v", seen, want)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if id, _, err := store.Load(t.Context(), "orders"); id != last || err != nil {
		t.Errorf("the offset is %q, %v, want %q", id, err, last)
	}
	if len(out.lines("WARN", "reading failed")) == 0 || len(out.lines("INFO", "reading works again")) == 0 {
		t.Errorf("the outages are not in the log:\n%s", out.String())
	}
}

func TestRedisIsNotThereAtTheStart(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	client := server.Client()
	add(t, client, "a")
	server.Kill()
	store, err := offset.NewRedis(client, "")
	if err != nil {
		t.Fatal(err)
	}
	var out logs
	rec := newRecorder()
	start(t, newConsumer(t, client, store, rec.Handle, stream.WithLogger(out.Logger())))
	eventually(t, "the failure is logged", func() bool { return len(out.lines("WARN", "trying again")) > 0 })
	server.Start()
	rec.await(t, 1)
}

// What no waiting can mend ends Run at the start, with an error that says what to do.
func TestRunRefusesAtTheStart(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t,
		"--requirepass", "right",
		"--user", "reader", "on", "nopass", "~*", "&*", "+@all", "-xread", "-xreadgroup",
		"--user", "stranger", "on", "nopass", "~other", "&*", "+@all",
		"--user", "blind", "on", "nopass", "~*", "&*", "+@all", "-hget", "-xinfo|groups")
	old := streamtest.StartRedis(t, "--rename-command", "XREAD", "", "--rename-command", "XREADGROUP", "")
	admin := redis.NewClient(&redis.Options{Addr: server.Addr, Password: "right"})
	defer func() { _ = admin.Close() }()
	if err := admin.Set(t.Context(), "text", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	single := func(opts redis.Options) redis.UniversalClient {
		if opts.Addr == "" {
			opts.Addr = server.Addr
		}
		return redis.NewClient(&opts)
	}
	for _, test := range []struct {
		name, key, hash, says string
		client                redis.UniversalClient
	}{
		{"wrong password", "orders", "", "check the client's username and password", single(redis.Options{Password: "s3cr3t"})},
		{"no password", "orders", "", "check the client's username and password", single(redis.Options{})},
		{"unknown user", "orders", "", "check the client's username and password", single(redis.Options{Username: "nobody", Password: "s3cr3t"})},
		{"key is not a stream", "text", "", "another type", single(redis.Options{Password: "right"})},
		{"offsets are not a hash", "orders", "text", "another type", single(redis.Options{Password: "right"})},
		{"no right to read", "orders", "", "lacks a right", single(redis.Options{Username: "reader", Password: "any"})},
		{"no right to the key", "orders", "other", "lacks a right", single(redis.Options{Username: "stranger", Password: "any"})},
		{"no right to look where to start", "orders", "", "lacks a right", single(redis.Options{Username: "blind", Password: "any"})},
		{"no such database", "orders", "", "check the client's DB", single(redis.Options{Password: "right", DB: 99})},
		{"no such command", "orders", "", "the server lacks a command", single(redis.Options{Addr: old.Addr})},
		{"not a cluster", "orders", "", "make the client with redis.NewClient", redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{old.Addr}})},
	} {
		store, err := offset.NewRedis(test.client, test.hash)
		if err != nil {
			t.Fatal(err)
		}
		topic := stream.Topic[order]{Name: test.key}
		var out logs
		log, err := stream.NewConsumer(test.client, topic, store, newRecorder().Handle, stream.WithLogger(out.Logger()))
		if err != nil {
			t.Fatal(err)
		}
		group, err := stream.NewGroupConsumer(test.client, topic, "billing", newRecorder().Handle, stream.WithLogger(out.Logger()))
		if err != nil {
			t.Fatal(err)
		}
		for _, consumer := range []*stream.Consumer[order]{log, group} {
			if consumer == group && test.hash == "text" {
				continue // it has no offset
			}
			t.Run(test.name+"/"+consumer.String(), func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				err := consumer.Run(ctx)
				if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("Run returned %v, want an error that says %q", err, test.says)
				}
				if reason := consumer.Health().Reason; !strings.Contains(reason, test.says) {
					t.Errorf("the health is %q", reason)
				}
				if strings.Contains(fmt.Sprint(err, out.String()), "s3cr3t") {
					t.Errorf("the password is in the error or the log: %v\n%s", err, out.String())
				}
			})
		}
		_ = test.client.Close()
	}
}

// flakyStore fails on demand, and counts.
type flakyStore struct {
	offset.Memory
	mu                   sync.Mutex
	failLoads, failSaves error
	loads, saves         int
}

func (s *flakyStore) fail(loads, saves error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failLoads, s.failSaves = loads, saves
}

func (s *flakyStore) counts() (loads, saves int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loads, s.saves
}

func (s *flakyStore) Load(ctx context.Context, label string) (string, bool, error) {
	s.mu.Lock()
	s.loads++
	err := s.failLoads
	s.mu.Unlock()
	if err != nil {
		return "", false, err
	}
	return s.Memory.Load(ctx, label)
}

func (s *flakyStore) Save(ctx context.Context, label, id string) error {
	s.mu.Lock()
	s.saves++
	err := s.failSaves
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.Memory.Save(ctx, label, id)
}

func TestAFailingLoadDelaysTheStart(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		addWithID(t, client, "1-0", "a")
		addWithID(t, client, "2-0", "b")
		store := &flakyStore{}
		_ = store.Save(t.Context(), "orders", "1-0")
		store.fail(errors.New("down"), nil)
		var out logs
		rec := newRecorder()
		start(t, newConsumer(t, client, store, rec.Handle, stream.WithLogger(out.Logger())))
		time.Sleep(time.Hour)
		if seen := rec.Seen(); len(seen) != 0 {
			t.Errorf("delivered %v without knowing where to start", seen)
		}
		if loads, _ := store.counts(); loads < 2*3600 || loads > 4*3600+20 {
			t.Errorf("%d loads in an hour, want two or three a second", loads)
		}
		if n := len(out.lines("WARN", "down")); n < 100 || n > 121 {
			t.Errorf("%d lines in an hour, want one every half minute", n)
		}
		store.fail(nil, nil)
		time.Sleep(2 * time.Second)
		if seen := rec.Seen(); !slices.Equal(seen, []string{"b"}) {
			t.Errorf("delivered %v, want what follows the offset", seen)
		}
	})
}

// A store that does not save stops delivery: what could not be recorded would
// all be delivered again.
func TestAFailingSaveStopsDelivery(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		var want []string
		for i := range 20 {
			want = append(want, fmt.Sprint(i))
			add(t, client, fmt.Sprint(i))
		}
		store := &flakyStore{}
		store.fail(nil, errors.New("down"))
		var out logs
		rec := newRecorder()
		stop := start(t, newConsumer(t, client, store, rec.Handle, stream.WithReadCount(5), stream.WithLogger(out.Logger())))
		time.Sleep(time.Hour)
		// What has ended when the first save is tried, which is at once, and what is
		// processed until it has failed: at the most what ends before a save is due,
		// and as much again, but for one.
		if seen := rec.Seen(); len(seen) < 1 || len(seen) > 9 || !slices.Equal(seen, want[:len(seen)]) {
			t.Errorf("delivered %v while nothing can be saved, want the first few, and 9 at the most", seen)
		}
		if len(out.lines("WARN", "saving the offset failed", "down")) == 0 {
			t.Errorf("the failure is not in the log:\n%s", out.String())
		}
		store.fail(nil, nil)
		time.Sleep(2 * time.Second)
		if seen := rec.Seen(); !slices.Equal(seen, want) {
			t.Errorf("delivered %v, want each once", seen)
		}

		// And a stop that cannot save says so.
		store.fail(nil, errors.New("down"))
		add(t, client, "last")
		synctest.Wait()
		if err := stop(); err == nil || !strings.Contains(err.Error(), "delivered again") {
			t.Errorf("Run returned %v with the last offset unsaved", err)
		}
	})
}

// A store whose content is no offset ends Run: to start from the beginning
// instead would be a guess.
func TestACorruptOffsetEndsRun(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		add(t, client, "a")
		for name, store := range map[string]offset.Store{
			"the store says so":             constStore{err: fmt.Errorf("at the store: %w", offset.ErrCorrupt)},
			"the store hands it on":         constStore{id: "yesterday"},
			"nothing where an ID should be": constStore{id: ""},
		} {
			rec := newRecorder()
			err := newConsumer(t, client, store, rec.Handle).Run(t.Context())
			if !errors.Is(err, offset.ErrCorrupt) || len(rec.Seen()) != 0 {
				t.Errorf("%s: Run returned %v after %v", name, err, rec.Seen())
			}
		}
	})
}

type constStore struct {
	id  string
	err error
}

func (s constStore) Load(context.Context, string) (string, bool, error) {
	return s.id, s.err == nil, s.err
}
func (s constStore) Save(context.Context, string, string) error { return s.err }

// Run is cancelled at any moment: it returns nil at once, nothing is skipped,
// and only what was not saved comes again.
func TestCancelAtAnyMoment(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	client := server.Client()
	store, err := offset.NewRedis(client, "")
	if err != nil {
		t.Fatal(err)
	}
	const total = 2000
	pipe := client.Pipeline()
	for i := range total {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: "orders", Values: []string{"id", fmt.Sprint(i)}})
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := 0
	rec := newRecorder()
	rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
		if msg.Value.ID != fmt.Sprint(next) {
			t.Errorf("order %s was delivered, want %d", msg.Value.ID, next)
		}
		next++
		return nil
	}
	consumer := newConsumer(t, client, store, rec.Handle, stream.WithReadCount(10))
	for runs := 0; next < total; runs++ {
		ctx, cancel := context.WithTimeout(t.Context(), rand.N(10*time.Millisecond))
		begun := time.Now()
		err := consumer.Run(ctx)
		took := time.Since(begun)
		cancel()
		if err != nil {
			t.Fatalf("run %d returned %v", runs, err)
		}
		if took > time.Second {
			t.Errorf("run %d took %v", runs, took)
		}
	}
}

// A cancel in the middle of a long block ends Run at once.
func TestCancelWhileBlocked(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	client := server.Client()
	var took []time.Duration
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		consumer := newConsumer(t, client, &offset.Memory{}, newRecorder().Handle, stream.WithBlock(time.Minute))
		go func() { done <- consumer.Run(ctx) }()
		awaitBlocked(t, client, 1)
		begun := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(begun))
		awaitBlocked(t, client, 0) // the server has noticed
	}
	slices.Sort(took)
	t.Logf("Run returned after a median of %v, at worst %v", took[len(took)/2], took[len(took)-1])
	if worst := took[len(took)-1]; worst > time.Second {
		t.Errorf("Run took up to %v to return", worst)
	}
}

// A cancel while Redis is away, at any stage of connecting again.
func TestCancelDuringAnOutage(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	client := server.Client()
	for range 20 {
		rec := newRecorder()
		var out logs
		stop := start(t, newConsumer(t, client, &offset.Memory{}, rec.Handle, stream.WithLogger(out.Logger())))
		add(t, client, "x")
		rec.await(t, 1)
		server.Kill()
		eventually(t, "the outage is noticed", func() bool { return len(out.lines("WARN", "reading failed")) > 0 })
		begun := time.Now()
		if err := stop(); err != nil {
			t.Errorf("Run returned %v", err)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("Run took %v to return", took)
		}
		server.Start()
	}
}

// What is done to Redis while a consumer waits for entries, and what it has to
// outlast: entries that come afterwards are delivered.
func TestConsumerOutlasts(t *testing.T) {
	t.Parallel()
	for name, trouble := range map[string]func(t *testing.T, server *streamtest.Redis, client *redis.Client){
		"the connection is cut": func(t *testing.T, _ *streamtest.Redis, client *redis.Client) {
			t.Helper()
			if err := client.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
				t.Fatal(err)
			}
		},
		"the stream is deleted": func(t *testing.T, _ *streamtest.Redis, client *redis.Client) {
			t.Helper()
			if err := client.Del(t.Context(), "orders").Err(); err != nil {
				t.Fatal(err)
			}
		},
		"everything is flushed": func(t *testing.T, _ *streamtest.Redis, client *redis.Client) {
			t.Helper()
			if err := client.FlushAll(t.Context()).Err(); err != nil { // a server of the test's own
				t.Fatal(err)
			}
		},
		"Redis is restarted": func(_ *testing.T, server *streamtest.Redis, _ *redis.Client) {
			server.Kill()
			server.Start()
		},
		"Redis is restarted empty": func(_ *testing.T, server *streamtest.Redis, _ *redis.Client) {
			server.Kill()
			server.Empty()
			server.Start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := streamtest.StartRedis(t)
			client := server.Client()
			store, err := offset.NewRedis(client, "")
			if err != nil {
				t.Fatal(err)
			}
			rec := newRecorder()
			start(t, newConsumer(t, client, store, rec.Handle, stream.WithBlock(time.Minute)))
			var want []string
			for round := range 3 {
				for _, id := range []string{"a", "b", "c"} {
					want = append(want, fmt.Sprint(id, round))
					add(t, client, fmt.Sprint(id, round))
				}
				if seen := rec.await(t, len(want)); !slices.Equal(seen, want) {
					t.Fatalf("delivered %v, want %v", seen, want)
				}
				// A new stream begins each millisecond anew: its first entry could
				// get a lower ID than the last one of the old stream, and no XREAD
				// behind that would ever return it.
				now := time.Now().UnixMilli()
				eventually(t, "the millisecond is over", func() bool { return time.Now().UnixMilli() > now })
				trouble(t, server, client)
			}
		})
	}
}
