package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
)

// In an outage, wherever it meets a consumer, a liveness probe does not restart the
// process, a readiness probe tells, with a reason, and both are well again after it.
func TestHealthInAnOutage(t *testing.T) {
	t.Parallel()
	elsewhere := inLogMode("log, offsets elsewhere", func(testing.TB, redis.UniversalClient) offset.Store { return &offset.Memory{} })
	for _, mode := range append(bothModes(), elsewhere) {
		for _, state := range []outageState{frozen, killed} {
			for _, together := range []int{0, 1, 40} {
				for _, where := range waitingPlaces() {
					name := fmt.Sprintf("%s/%s/%s", mode.name, map[outageState]string{frozen: "frozen", killed: "killed"}[state], where.name)
					if together > 0 {
						name += fmt.Sprintf("/one of %d in a Runner", together)
					}
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						bubble(t, func(t *testing.T, client *redis.Client) {
							outlastOutage(t, client, mode, state, together, where)
						})
					})
				}
			}
		}
	}
}

// waitingPlace is a place in which a consumer waits when an outage begins.
type waitingPlace struct {
	name string
	// fails has the handler fail for good, works how long it takes.
	fails bool
	works time.Duration
	opts  []stream.Option
	// before comes ten seconds before the outage, at directly before it.
	before, at func(t *testing.T, client *redis.Client)
	// start is set if the consumer starts in the outage, quiet if it has nothing to ask
	// the server in log mode: then it is ready, and says why it does not read.
	start, quiet bool
}

func waitingPlaces() []waitingPlace {
	one := func(t *testing.T, client *redis.Client) { add(t, client, "a") }
	three := func(t *testing.T, client *redis.Client) { fixed(t, client, "a", "b", "c") }
	return []waitingPlace{
		{name: "idle"},
		{name: "start", start: true},
		{name: "with something to read", before: one, at: one},
		{name: "settling", before: one, works: 10*time.Second + time.Millisecond},
		{name: "a dead letter", before: one, works: 10*time.Second + time.Millisecond, fails: true, opts: []stream.Option{stream.WithMiddleware(buryPermanent)}},
		{name: "a full window", before: three, works: 4 * time.Minute, opts: []stream.Option{stream.WithWindow(2)}, quiet: true},
		{name: "a full window that is free in the outage", before: three, works: time.Minute, opts: []stream.Option{stream.WithWindow(2)}},
		{name: "a stream that was deleted", before: one, at: func(t *testing.T, client *redis.Client) {
			if err := client.Del(t.Context(), orders.Name).Err(); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "a stream that begins anew", before: three, at: func(t *testing.T, client *redis.Client) {
			if err := client.Del(t.Context(), orders.Name).Err(); err != nil {
				t.Fatal(err)
			}
			err := client.XGroupCreateMkStream(t.Context(), orders.Name, "billing", "0").Err()
			if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") { // the consumer was faster
				t.Fatal(err)
			}
			fixed(t, client, "d")
		}},
	}
}

func outlastOutage(t *testing.T, direct *redis.Client, mode mode, state outageState, together int, where waitingPlace) {
	t.Helper()
	client, outage := withOutage(t, direct)
	rec := newRecorder()
	rec.handle = func(ctx context.Context, _ *stream.Message[order]) error {
		select {
		case <-time.After(where.works):
		case <-ctx.Done():
		}
		if where.fails {
			return stream.Permanent(errors.New("no"))
		}
		return nil
	}
	consumer := mode.make(t, client, orders.Name, rec.Handle, where.opts...)
	var run runner = consumer
	health := consumer.Health
	if together > 0 {
		var r stream.Runner
		for _, name := range topicNames(together)[1:] {
			r.Add(mode.make(t, client, name, new(Counts).Handle))
		}
		r.Add(consumer)
		run, health = &r, r.Health
	}
	if where.start {
		outage.set(state)
	}
	stop := start(t, run)
	if !where.start {
		time.Sleep(10 * time.Second)
		wantHealth(t, "before", health(), true, true, "")
		if where.before != nil {
			where.before(t, direct)
		}
		time.Sleep(10 * time.Second)
		if where.at != nil {
			where.at(t, direct)
		}
		outage.set(state)
	}
	begun := time.Now()
	unready := time.Duration(0)
	for time.Since(begun) < 2*time.Minute {
		time.Sleep(250 * time.Millisecond)
		h := health()
		if !h.Live {
			t.Fatalf("after %v: %+v", time.Since(begun), h)
		}
		if !h.Ready && h.Reason == "" {
			t.Errorf("after %v it is not ready, for no reason", time.Since(begun))
		}
		if !h.Ready && unready == 0 {
			unready = time.Since(begun)
		}
		if unready > 0 && h.Ready {
			t.Fatalf("after %v it is ready, as it was not after %v", time.Since(begun), unready)
		}
	}
	switch quiet := where.quiet && mode.name != "group"; {
	case quiet && together < 2:
		wantHealth(t, "with nothing to ask", health(), true, true, "nothing is read: the window has been full for")
	case !quiet && unready == 0:
		t.Errorf("the outage did not show: %+v", health())
	}
	outage.set(up)
	healed := time.Now()
	for !health().Ready {
		time.Sleep(100 * time.Millisecond)
		if h := health(); !h.Live || time.Since(healed) > 30*time.Second {
			t.Fatalf("%v after it: %+v", time.Since(healed), h)
		}
	}
	wantHealth(t, "after it", stream.Health{Live: health().Live, Ready: health().Ready}, true, true, "")
	t.Logf("not ready after %v, ready again %v after it", unready, time.Since(healed))
	for range 20 {
		_ = client.Ping(t.Context()).Err() // a pipe does not tell go-redis that it was closed, as a socket does
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// A consumer to which nothing comes back though Redis answers, no result and no error, is
// told from one in an outage: only the first is mended by starting the process anew.
func TestHealthOfWhatIsStuck(t *testing.T) {
	t.Parallel()
	group := bothModes()[1]
	for name, test := range map[string]struct {
		mode     mode
		together int
		hangs    []string // the commands to which nothing comes back
		reason   string
	}{
		"taking up":                       {mode: group, hangs: []string{"xpending"}, reason: "no read has come back for"},
		"taking up, in a Runner":          {mode: group, hangs: []string{"xpending"}, together: 1, reason: "no read has come back for"},
		"behind others that are stuck":    {mode: group, hangs: []string{"xpending"}, together: 4, reason: " for 4"}, // of a read, or of a start
		"start in group mode":             {mode: group, hangs: []string{"xgroup"}, reason: "finding the place to start has been on its way for"},
		"start in log mode":               {mode: bothModes()[0], hangs: []string{"evalsha"}, reason: "finding the place to start has been on its way for"},
		"start behind others":             {mode: bothModes()[0], hangs: []string{"evalsha"}, together: 4, reason: "finding the place to start has been on its way for"},
		"looking around":                  {mode: bothModes()[0], hangs: []string{"xinfo"}, reason: "finding the place to start has been on its way for"},
		"reading in log mode":             {mode: bothModes()[0], hangs: []string{"xread", "xreadgroup"}, reason: "no read has come back for"},
		"reading in group mode":           {mode: group, hangs: []string{"xread", "xreadgroup"}, reason: "no read has come back for"},
		"reading together":                {mode: bothModes()[0], hangs: []string{"xread", "xreadgroup"}, together: 10, reason: "no read has come back for"},
		"reading together, in group mode": {mode: group, hangs: []string{"xread", "xreadgroup"}, together: 10, reason: "no read has come back for"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, client *redis.Client) {
				release := make(chan struct{})
				opts := optionsOf(client)
				dial := opts.Dialer
				opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := dial(ctx, network, addr)
					return &deafConn{Conn: conn, commands: test.hangs, release: release}, err
				}
				hanging := redis.NewClient(opts)
				t.Cleanup(func() { _ = hanging.Close() })
				consumers := []*stream.Consumer[order]{test.mode.make(t, hanging, orders.Name, new(Counts).Handle)}
				var run runner = consumers[0]
				if test.together > 0 {
					var r stream.Runner
					for _, name := range topicNames(test.together)[1:] {
						consumers = append(consumers, test.mode.make(t, hanging, name, new(Counts).Handle))
					}
					for _, one := range consumers {
						r.Add(one)
					}
					run = &r
				}
				stop := start(t, run)
				time.Sleep(25 * time.Second)
				for _, one := range consumers {
					if h := one.Health(); !h.Live || h.Ready || h.Reason == "" {
						t.Errorf("after 25s %v is %+v", one, h)
					}
				}
				time.Sleep(20 * time.Second)
				for _, one := range consumers {
					wantHealth(t, fmt.Sprint("after 45s ", one), one.Health(), false, false, test.reason)
				}
				close(release)
				time.Sleep(10 * time.Second)
				for _, one := range consumers {
					wantHealth(t, fmt.Sprint("afterwards ", one), one.Health(), true, true, "")
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// deafConn is a connection on which nothing comes behind some commands until it is
// released, and that knows no deadline.
type deafConn struct {
	net.Conn
	commands []string
	release  <-chan struct{}
	deaf     atomic.Bool
}

func (c *deafConn) Write(p []byte) (int, error) {
	for _, command := range c.commands {
		if bytes.Contains(p, []byte("\r\n"+command+"\r\n")) {
			c.deaf.Store(true)
		}
	}
	return c.Conn.Write(p)
}

func (c *deafConn) Read(p []byte) (int, error) {
	if c.deaf.Load() {
		<-c.release
	}
	return c.Conn.Read(p)
}
