package stream_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

func isUnknown(err error) bool {
	unknown, is := errors.AsType[*stream.UnknownWriteError](err)
	return is && unknown.Stream == orders.Name && unknown.Err != nil
}

// isNotWritten is what remains: the caller knows that there is no entry.
func isNotWritten(err error) bool { return err != nil && !isUnknown(err) && !isEncodeError(err) }

// 20 replies are lost. go-redis by itself makes 40 entries of that, and no error.
func TestALostReplyIsNotSentAgain(t *testing.T) {
	t.Parallel()
	for name, fate := range map[string]fate{"lost": lose, "halved": halve} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := streamtest.StartRedis(t)
			proxy := startFates(t, server)
			client := proxy.client(t, redis.Options{})
			producer := newProducer(t, client)
			for i, value := range ordersOf(20) {
				proxy.next(xadd, fate)
				if id, err := producer.Publish(t.Context(), value); !isUnknown(err) || id != "" {
					t.Errorf("%d: got %q, %v, want an UnknownWriteError", i, id, err)
				}
				if proxy.left() != 0 {
					t.Error("no reply was lost: the test shows nothing")
				}
			}
			if n := len(stored(t, server.Client())); n != 20 {
				t.Errorf("%d entries, want 20", n)
			}
			if _, err := producer.Publish(t.Context(), order{ID: "after"}); err != nil {
				t.Errorf("after the trouble: %v", err)
			}
		})
	}
}

// The oracle of the test above: the client does what it is guarded against.
func TestTheClientByItselfSendsAgain(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	proxy := startFates(t, server)
	proxy.next(xadd, lose)
	add(t, proxy.client(t, redis.Options{}), "a")
	if n := len(stored(t, server.Client())); n != 2 {
		t.Errorf("%d entries: go-redis no longer writes twice, and the NoRetry of package publish may go", n)
	}
}

func TestWithAKeyALostReplyIsHarmless(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	proxy := startFates(t, server)
	producer := newProducer(t, proxy.client(t, redis.Options{}))
	for _, value := range ordersOf(20) {
		proxy.next(scripts, lose, halve)
		if _, err := producer.PublishOnce(t.Context(), value.ID, value); err != nil || proxy.left() != 0 {
			t.Errorf("the client's own retries do not help: %v", err)
		}
	}
	if n := len(stored(t, server.Client())); n != 20 {
		t.Errorf("%d entries, want 20", n)
	}
	// A client that gives up, and a caller that does not.
	impatient := newProducer(t, proxy.client(t, redis.Options{MaxRetries: -1}))
	proxy.next(scripts, lose)
	if _, err := impatient.PublishOnce(t.Context(), "k", order{ID: "k"}); !isUnknown(err) {
		t.Errorf("got %v, want an UnknownWriteError", err)
	}
	first, err := impatient.PublishOnce(t.Context(), "k", order{ID: "k"})
	if err != nil {
		t.Fatal(err)
	}
	if second, err := producer.PublishOnce(t.Context(), "k", order{ID: "k"}); second != first || err != nil {
		t.Errorf("got %q, %v, want the ID %q again", second, err, first)
	}
	if n := len(stored(t, server.Client())); n != 21 {
		t.Errorf("%d entries, want 21", n)
	}
}

// The last attempt never reached the server, but an earlier one did.
func TestWhatWasSentOnceStaysUnknown(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	proxy := startFates(t, server)
	dials := 0
	client := proxy.client(t, redis.Options{DialerRetries: 1, Dialer: func(context.Context, string, string) (net.Conn, error) {
		if dials++; dials > 1 {
			return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
		}
		return net.Dial("tcp", proxy.Addr)
	}})
	proxy.next(scripts, deliver, lose)
	producer := newProducer(t, client)
	if _, err := producer.PublishOnce(t.Context(), "a", order{ID: "a"}); !isUnknown(err) {
		t.Errorf("got %v, want an UnknownWriteError", err)
	}
	// From here on nothing is sent at all.
	if _, err := producer.PublishOnce(t.Context(), "b", order{ID: "b"}); !isNotWritten(err) {
		t.Errorf("got %v", err)
	}
	if got := stored(t, server.Client()); !slices.Equal(got, []string{"a"}) {
		t.Errorf("entries %v", got)
	}
}

func TestNoReplyInTime(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	for name, test := range map[string]struct {
		opts  redis.Options
		limit time.Duration
		is    error
	}{
		"the client's time": {redis.Options{ReadTimeout: 50 * time.Millisecond}, time.Minute, nil},
		"the caller's time": {redis.Options{ContextTimeoutEnabled: true}, 50 * time.Millisecond, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			proxy := startFates(t, server)
			producer := newProducer(t, proxy.client(t, test.opts))
			proxy.next(xadd, swallow)
			ctx, cancel := context.WithTimeout(t.Context(), test.limit)
			defer cancel()
			before := len(stored(t, server.Client()))
			if _, err := producer.Publish(ctx, order{ID: "a"}); !isUnknown(err) || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("got %v, want an UnknownWriteError", err)
			}
			if n := len(stored(t, server.Client())) - before; n != 1 {
				t.Errorf("%d entries, want 1", n)
			}
		})
	}
}

func TestWhatIsCertainlyNotWritten(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t, "--maxmemory-policy", "noeviction", "--user", "reader", "on", "nopass", "~*", "+@all", "-xadd", "-eval", "-evalsha")
	admin := server.Client()
	if err := admin.Set(t.Context(), "text", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	gone := startFates(t, server)
	gone.Refuse()
	hangsUp := startFates(t, &streamtest.Redis{Addr: gone.Addr}) // accepts, and then has nobody to talk to
	done, cancel := context.WithCancel(t.Context())
	cancel()
	contexts := map[string]context.Context{"the ctx is done": done, "there is no ctx": nil}
	for name, test := range map[string]struct {
		client *redis.Client
		topic  string
		before []any
	}{
		"nobody listens":        {gone.client(t, redis.Options{}), "orders", nil},
		"the login breaks":      {hangsUp.client(t, redis.Options{}), "orders", nil},
		"wrong password":        {redis.NewClient(&redis.Options{Addr: server.Addr, Username: "nobody", Password: "s"}), "orders", nil},
		"no right":              {redis.NewClient(&redis.Options{Addr: server.Addr, Username: "reader", Password: "s"}), "orders", nil},
		"another type":          {server.Client(), "text", nil},
		"the ctx is done":       {server.Client(), "orders", nil},
		"there is no ctx":       {server.Client(), "orders", nil},
		"a closed client":       {closedClient(), "orders", nil},
		"no memory":             {server.Client(), "orders", []any{"CONFIG", "SET", "maxmemory", "1"}},
		"read-only replica":     {server.Client(), "orders", []any{"REPLICAOF", "127.0.0.1", "1"}},
		"too few replicas":      {server.Client(), "orders", []any{"CONFIG", "SET", "min-replicas-to-write", "1"}},
		"a hook keeps it back":  {hooked(server.Client(), errors.New("no")), "orders", nil},
		"a hook says all is ok": {hooked(server.Client(), nil), "orders", nil},
	} {
		producer, err := stream.NewProducer(test.client, stream.Topic[order]{Name: test.topic}, stream.WithExactMaxLen(5))
		if err != nil {
			t.Fatal(err)
		}
		if test.before != nil {
			if err := admin.Do(t.Context(), test.before...).Err(); err != nil {
				t.Fatal(err)
			}
		}
		ctx, special := contexts[name]
		if !special {
			ctx = t.Context()
		}
		_, one := producer.Publish(ctx, order{ID: "a"})
		_, once := producer.PublishOnce(ctx, "k", order{ID: "a"})
		results, all := producer.PublishAll(ctx, ordersOf(3))
		resultsOnce, allOnce := producer.PublishAllOnce(ctx, func(o order) string { return o.ID }, ordersOf(3))
		for i, err := range []error{one, all, results[0].Err, results[2].Err, once, allOnce, resultsOnce[0].Err, resultsOnce[2].Err} {
			// With a key, the client tries some refusals again, and who has sent
			// twice knows of the last attempt only.
			triedAgain := i >= 4 && (redis.IsReadOnlyError(err) || redis.IsNoReplicasError(err))
			if !isNotWritten(err) && !triedAgain {
				t.Errorf("%s, %d: got %v, want an error that says it is not written", name, i, err)
			}
		}
		for _, restore := range [][]any{{"CONFIG", "SET", "maxmemory", "0"}, {"REPLICAOF", "NO", "ONE"}, {"CONFIG", "SET", "min-replicas-to-write", "0"}} {
			if err := admin.Do(t.Context(), restore...).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if keys, err := admin.Keys(t.Context(), "*").Result(); !slices.Equal(keys, []string{"text"}) || err != nil {
			t.Fatalf("%s: there are keys %v, %v", name, keys, err)
		}
		_ = test.client.Close()
	}
}

// The promise is kept by go-redis, which looks at the context before it takes a
// connection; were it to stop, this would tell.
func TestNothingIsSentOnceTheContextIsDone(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	producer := newProducer(t, client)
	if _, err := producer.Publish(t.Context(), order{ID: "before"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	client.AddHook(&pipelineCounter{after: cancel})
	results, err := producer.PublishAll(ctx, ordersOf(2500))
	if !errors.Is(err, context.Canceled) || results[999].Err != nil || !isNotWritten(results[1000].Err) || !errors.Is(results[2499].Err, context.Canceled) {
		t.Errorf("cancelled during the first round trip: %v", err)
	}
	if _, err := producer.Publish(ctx, order{ID: "late"}); !errors.Is(err, context.Canceled) || !isNotWritten(err) {
		t.Errorf("got %v", err)
	}
	if n := len(stored(t, client)); n != 1001 {
		t.Errorf("%d entries, want 1001", n)
	}
}

func closedClient() *redis.Client {
	client := redis.NewClient(&redis.Options{})
	_ = client.Close()
	return client
}

// hooked returns a client whose hook answers in place of the server.
func hooked(client *redis.Client, err error) *redis.Client {
	client.AddHook(answering{err})
	return client
}

type answering struct{ err error }

func (answering) DialHook(next redis.DialHook) redis.DialHook { return next }
func (a answering) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(context.Context, redis.Cmder) error { return a.err }
}
func (a answering) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(context.Context, []redis.Cmder) error { return a.err }
}
