package admin_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/admin"
	"millrace/stream/streamtest"
)

// The environment of a redriver in a process of its own.
const (
	childAddr  = "MILLRACE_REDRIVE_ADDR"
	childOther = "MILLRACE_REDRIVE_OTHER" // the server of the topic, if it is another one
	childPoint = "MILLRACE_REDRIVE_POINT"
)

// A redriver is killed at each of its points, in one step and in two; the next one goes on.
func TestRedriversKilled(t *testing.T) {
	t.Parallel()
	const n = 1000
	for _, c := range []struct {
		name   string
		apart  bool
		points []string
	}{
		{"one step", false, []string{"before evalsha@1", "sent eval\r@1", "sent evalsha@2", "after evalsha@1", "before evalsha@2", "sent xrange@1", "after evalsha@2"}},
		{"two steps", true, []string{"before evalsha@9", "sent evalsha@9", "after evalsha@9", "before xdel@9", "sent xdel@9", "after xdel@9"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if addr := os.Getenv(childAddr); addr != "" {
				redriveInChild(t, addr)
				return
			}
			server, client := startRedis(t)
			env, topic, cfg := []string{childAddr + "=" + server.Addr}, client, admin.RedriveConfig{}
			if c.apart {
				var other *streamtest.Redis
				other, topic = startRedis(t)
				env, cfg.Client = append(env, childOther+"="+other.Addr), topic
			}
			buryMany(t, client, n)
			for _, point := range c.points {
				child := streamtest.StartChild(t, append(env, childPoint+"="+point)...)
				child.AwaitKilled()
			}
			if left := length(t, client, dead); left == 0 || left > n {
				t.Fatalf("%d letters are left after the kills", left)
			}
			done := redrive(t, newAdmin(t, client), cfg)
			want(t, "moved and gone", done.Moved+done.Gone, done.Planned)
			want(t, "left", length(t, client, dead), 0)
			wantEachOnce(t, topic, orders, n)
		})
	}
}

func redriveInChild(t *testing.T, addr string) {
	t.Helper()
	kill, err := streamtest.ParseKillPoint(os.Getenv(childPoint))
	if err != nil {
		t.Fatal(err)
	}
	clientOf := func(addr string) *redis.Client { return kill.Client(redis.NewClient(&redis.Options{Addr: addr})) }
	var cfg admin.RedriveConfig
	if other := os.Getenv(childOther); other != "" {
		cfg.Client = clientOf(other)
	}
	redrive(t, newAdmin(t, clientOf(addr)), cfg)
	t.Errorf("it lives, and has come past %s", os.Getenv(childPoint))
}

// The answer to each script is lost in turn: nothing is moved or counted twice.
func TestRedriveLosesAnswers(t *testing.T) {
	t.Parallel()
	for _, apart := range []bool{false, true} {
		t.Run(fmt.Sprint("apart ", apart), func(t *testing.T) {
			t.Parallel()
			server, client := startRedis(t)
			topic := client
			cfg := admin.RedriveConfig{}
			proxy := streamtest.StartProxy(t, server.Addr)
			if apart {
				var other *streamtest.Redis
				other, topic = startRedis(t)
				behind := streamtest.StartProxy(t, other.Addr)
				cfg.Client = behind.Client()
				loseEveryOther(behind, "evalsha")
				loseEveryOther(proxy, "xdel")
			} else {
				loseEveryOther(proxy, "evalsha")
			}
			n := 450
			if apart {
				n = 40
			}
			buryMany(t, client, n)
			done := redrive(t, newAdmin(t, proxy.Client()), cfg)
			want(t, "moved", done.Moved, int64(n))
			want(t, "left and gone", done.Left+done.Gone, 0)
			if done.Unsure == 0 || !apart && done.Unsure > int64(n) {
				t.Errorf("%+v", done)
			}
			want(t, "letters", length(t, client, dead), 0)
			wantEachOnce(t, topic, orders, n)
		})
	}
}

// loseEveryOther has the proxy cut the reply to every other request with a text.
func loseEveryOther(proxy *streamtest.Proxy, text string) {
	var n atomic.Int64
	proxy.OnRequest(text, func() {
		if n.Add(1)%2 == 1 {
			proxy.CutReply(text, 0)
		}
	})
}

// Two people redrive at once: each letter is moved by one of them, and counted once.
func TestTwoRedriveAtOnce(t *testing.T) {
	t.Parallel()
	for _, apart := range []bool{false, true} {
		t.Run(fmt.Sprint("apart ", apart), func(t *testing.T) {
			t.Parallel()
			_, client := startRedis(t)
			topic, cfg := client, admin.RedriveConfig{}
			if apart {
				_, topic = startRedis(t)
				cfg.Client = topic
			}
			const n = 2000
			buryMany(t, client, n)
			var plans []*admin.Plan[admin.Redriven]
			for range 3 {
				plans = append(plans, planned(t, newAdmin(t, client), cfg))
			}
			var moved, gone atomic.Int64
			var all sync.WaitGroup
			for _, p := range plans {
				all.Go(func() {
					done, err := p.Do(t.Context(), by)
					if err != nil || done.Planned != n || done.Moved+done.Gone != n || done.Left+done.Unsure != 0 {
						t.Errorf("%+v, %v", done, err)
					}
					moved.Add(done.Moved)
					gone.Add(done.Gone)
				})
			}
			all.Wait()
			want(t, "moved", moved.Load(), n)
			want(t, "gone", gone.Load(), 2*n)
			wantEachOnce(t, topic, orders, n)
		})
	}
}

// A drop meanwhile: each letter is moved or deleted, and not both.
func TestDropMeanwhile(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	const n = 3000
	buryMany(t, client, n)
	p, q := planned(t, a, admin.RedriveConfig{}), dropPlan(t, a, admin.Where{})
	var moved admin.Redriven
	var both sync.WaitGroup
	both.Go(func() {
		var err error
		if moved, err = p.Do(t.Context(), by); err != nil {
			t.Error(err)
		}
	})
	dropped, err := q.Do(t.Context(), by)
	both.Wait()
	if err != nil || moved.Moved+dropped.Deleted != n || moved.Gone != dropped.Deleted || dropped.Gone != moved.Moved {
		t.Errorf("%+v, %+v, %v", moved, dropped, err)
	}
	want(t, "entries", length(t, client, orders), moved.Moved)
}

// A server that is full takes no entry, and keeps the letters.
func TestRedriveOutOfMemory(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	const n = 150
	buryMany(t, client, n)
	p := planned(t, a, admin.RedriveConfig{})
	client.ConfigSet(t.Context(), "maxmemory", "1")
	done, err := p.Do(t.Context(), by)
	if err == nil || !strings.Contains(err.Error(), "OOM") || done != (admin.Redriven{Planned: n, Left: n}) {
		t.Errorf("%+v, %v", done, err)
	}
	want(t, "letters", length(t, client, dead), n)
	client.ConfigSet(t.Context(), "maxmemory", "0")
	want(t, "entries", length(t, client, orders), 0)
	want(t, "moved afterwards", redrive(t, a, admin.RedriveConfig{}).Moved, n)
	wantEachOnce(t, client, orders, n)
}

// adminUser adds a user with some rules, and returns a client of it.
func adminUser(t testing.TB, client *redis.Client, name string, rules ...string) *redis.Client {
	t.Helper()
	args := []any{"acl", "setuser", name, "on", ">secret", "resetkeys", "-@all"}
	for _, rule := range rules {
		args = append(args, rule)
	}
	if err := client.Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
	user := redis.NewClient(&redis.Options{Addr: client.Options().Addr, Username: name, Password: "secret", Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() { _ = user.Close() })
	return user
}

// The rights of the documentation are enough, and without one of them nothing is moved.
func TestRightsOfARedrive(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	all := []string{"~orders", "~" + dead, "+xrange", "+xrevrange", "+xadd", "+xdel", "+eval", "+evalsha", "+xinfo|groups"}
	const n = 150
	reset := func() {
		client.Del(t.Context(), orders, dead)
		buryMany(t, client, n)
		client.XGroupCreateMkStream(t.Context(), orders, "billing", "0")
	}
	reset()
	a := newAdmin(t, adminUser(t, client, "all", all...))
	want(t, "letters", func() int { list, _ := lettersOf(t, a, admin.Where{}); return len(list) }(), n)
	if causes, err := a.Causes(t.Context(), orders, n); err != nil || len(causes) != 1 {
		t.Errorf("causes %v, %v", causes, err)
	}
	var letter admin.Letter
	for l, err := range a.DeadLetters(t.Context(), orders, admin.Where{}) {
		if err != nil {
			t.Fatal(err)
		}
		letter = l
		break
	}
	edit, err := a.Edit(t.Context(), letter, []string{"n", "0"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := edit.Do(t.Context(), by); err != nil {
		t.Error(err)
	}
	want(t, "moved", redrive(t, a, admin.RedriveConfig{Where: admin.Where{IDs: nil}}, admin.WaitWhileBehind(1000)).Moved, n-1)
	wantEachOnce(t, client, orders, n)
	if refused := client.ACLLog(t.Context(), 10).Val(); len(refused) > 0 {
		t.Errorf("refused: %+v", refused)
	}

	for i, c := range []struct{ without, with string }{
		{"+xdel", ""}, {"+xadd", ""}, {"~" + dead, "%R~" + dead}, {"~orders", "%R~orders"}, {"+evalsha", ""},
	} {
		reset()
		p := planned(t, newAdmin(t, adminUser(t, client, fmt.Sprint("user", i), all...)), admin.RedriveConfig{})
		rules := []string{"resetkeys", "-@all"}
		for _, rule := range all {
			if rule != c.without {
				rules = append(rules, rule)
			} else if c.with != "" {
				rules = append(rules, c.with)
			}
		}
		client.Do(t.Context(), append([]any{"acl", "setuser", fmt.Sprint("user", i)}, anys(rules)...)...)
		done, err := p.Do(t.Context(), by)
		if err == nil || !strings.Contains(err.Error(), "the Redis user lacks a right") || done.Moved != 0 {
			t.Errorf("without %s: %+v, %v", c.without, done, err)
		}
		if len(pairsOf(t, client, orders)) != 0 || length(t, client, dead) != n {
			t.Errorf("without %s, %d letters have become %d entries", c.without, n-length(t, client, dead), length(t, client, orders))
		}
	}
}

// A redriven entry is handled by the reader that gave it up, and skipped by all others.
func TestRedrivenEntriesAreForOneReader(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	var mended atomic.Bool
	var handled [2]atomic.Int64
	for i, group := range []string{"billing", "mail"} {
		instance := streamtest.NewInstance(t, client)
		instance.Start(newConsumer(t, client, group, func(*stream.Message[order]) error {
			if i == 0 && !mended.Load() {
				return errors.New("the partner is away")
			}
			handled[i].Add(1)
			return nil
		}))
		defer func() { _ = instance.Stop() }()
	}
	const n = 50
	for i := range n {
		add(t, client, orders, []string{"n", fmt.Sprint(i), "amount", "1"})
	}
	streamtest.Await(t, "all are given up", func() bool { return length(t, client, dead) == n && handled[1].Load() == n })
	mended.Store(true)
	want(t, "result", redrive(t, a, admin.RedriveConfig{}), admin.Redriven{Planned: n, Moved: n})
	streamtest.Await(t, "all are handled", func() bool { return handled[0].Load() == n })
	entries := streamtest.EntryIDs(t, client, orders)
	streamtest.Await(t, "the other group has passed them", func() bool {
		for _, group := range client.XInfoGroups(t.Context(), orders).Val() {
			if group.Name == "mail" {
				return group.Pending == 0 && group.LastDeliveredID == entries[2*n-1]
			}
		}
		return false
	})
	want(t, "by the other group", handled[1].Load(), n)
	want(t, "letters", length(t, client, dead), 0)
}

// A failover in the middle undoes a move as a whole, or not at all, and the redrive goes on
// with the new primary.
func TestRedriveOverAFailover(t *testing.T) {
	t.Parallel()
	for _, how := range []streamtest.Failover{streamtest.Planned, streamtest.ByKill} {
		t.Run(how.String(), func(t *testing.T) {
			t.Parallel()
			s := streamtest.StartSentinel(t)
			client := s.Client()
			a := newAdmin(t, client)
			const n = 1500
			buryMany(t, client, n)
			p := planned(t, a, admin.RedriveConfig{})
			half := make(chan struct{})
			var once sync.Once
			var done admin.Redriven
			var err error
			var redriving sync.WaitGroup
			redriving.Go(func() {
				done, err = p.Do(context.WithoutCancel(t.Context()), by, admin.Rate(250), admin.Report(func(p admin.Progress) {
					if p.Done >= n/3 {
						once.Do(func() { close(half) })
					}
				}))
			})
			select {
			case <-half:
				s.Failover(how)
			case <-time.After(20 * time.Second):
				t.Error("it does not get on")
			}
			redriving.Wait()
			if err != nil || done.Moved+done.Left != n {
				t.Errorf("%+v, %v", done, err)
			}
			// Moves that the new primary did not know of are letters there.
			redrive(t, a, admin.RedriveConfig{})
			want(t, "letters", length(t, client, dead), 0)
			wantEachOnce(t, client, orders, n)
			t.Logf("%+v", done)
		})
	}
}

// In a cluster, streams in one slot are moved in one step, and others by a key.
func TestRedriveInACluster(t *testing.T) {
	t.Parallel()
	c := streamtest.StartCluster(t)
	client := c.Client()
	a := newAdmin(t, client)
	const n = 250
	far := "far"
	for c.Primary(far).Addr == c.Primary(dead).Addr {
		far += "r"
	}
	for _, to := range []string{"", far} {
		buryMany(t, client, n)
		want(t, "result", redrive(t, a, admin.RedriveConfig{To: to}), admin.Redriven{Planned: n, Moved: n})
		if to == "" {
			to = orders
		}
		wantEachOnce(t, client, to, n)
		want(t, "letters", length(t, client, dead), 0)
	}
	// The keys are beside the stream that has the entries.
	keys, err := c.Primary(far).Client().Keys(t.Context(), "{"+far+"}:once:redrive:"+dead+":*").Result()
	if err != nil || len(keys) != n {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

// A server that is gone does not keep a redrive from ending; the result has the known numbers.
func TestRedriveWithoutAServer(t *testing.T) {
	t.Parallel()
	server, client := startRedis(t)
	buryMany(t, client, 500)
	quick := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1, DialerRetries: 1})
	defer func() { _ = quick.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done, err := planned(t, newAdmin(t, quick), admin.RedriveConfig{}).Do(ctx, by, admin.Rate(200), admin.Report(func(p admin.Progress) {
		if p.Done >= 100 && ctx.Err() == nil {
			server.Kill()
			time.AfterFunc(300*time.Millisecond, cancel)
		}
	}))
	if err == nil || done.Planned != 500 || done.Moved == 0 || done.Moved+done.Left != 500 {
		t.Errorf("%+v, %v", done, err)
	}
	server.Start()
	want(t, "letters", length(t, server.Client(), dead), done.Left)
}

// Letters that come while the plan is made are not among its own, however many they are.
func TestLettersThatComeWhileItIsPlanned(t *testing.T) {
	t.Parallel()
	server, client := startRedis(t)
	buryMany(t, client, 1000)
	proxy := streamtest.StartProxy(t, server.Addr)
	words := anys(letter{pairs: []string{"n", "late"}}.words())
	proxy.OnRequest("\r\nxrange\r\n", func() {
		client.Do(context.WithoutCancel(t.Context()), append([]any{"xadd", dead, "*"}, words...)...)
	})
	a := newAdmin(t, proxy.Client())
	want(t, "redriven", redrive(t, a, admin.RedriveConfig{}).Planned, 1000)
	want(t, "dropped", dropPlan(t, a, admin.Where{}).Affected, length(t, client, dead)-1)
	wantEachOnce(t, client, orders, 1000)
}

// A refusal in the middle of a page leaves the letters from there on, and those before are
// moved: this stream has three IDs left.
func TestRedriveIsRefusedInTheMiddle(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	buryMany(t, client, 10)
	const last = "18446744073709551615-18446744073709551612"
	if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: orders, ID: last, Values: []string{"n", "first"}}).Err(); err != nil {
		t.Fatal(err)
	}
	done, err := planned(t, a, admin.RedriveConfig{}).Do(t.Context(), by)
	if err == nil || !strings.Contains(err.Error(), "3 of 10 moved, 7 left") || done != (admin.Redriven{Planned: 10, Moved: 3, Left: 7}) {
		t.Errorf("%+v, %v", done, err)
	}
	want(t, "letters", length(t, client, dead), 7)
	want(t, "entries", length(t, client, orders), 4)
}

// In two steps, an entry whose letter cannot be deleted is there once, however often that is
// tried.
func TestTwoStepsWithoutTheRightToDelete(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	_, other := startRedis(t)
	buryMany(t, client, 10)
	user := newAdmin(t, adminUser(t, client, "u", "~"+dead, "+xrange", "+xrevrange", "+eval", "+evalsha"))
	for range 2 {
		done, err := planned(t, user, admin.RedriveConfig{Client: other}).Do(t.Context(), by)
		if err == nil || !strings.Contains(err.Error(), "the Redis user lacks a right") || done != (admin.Redriven{Planned: 10, Left: 10}) {
			t.Errorf("%+v, %v", done, err)
		}
	}
	want(t, "entries", length(t, other, orders), 1)
	want(t, "result", redrive(t, newAdmin(t, client), admin.RedriveConfig{Client: other}), admin.Redriven{Planned: 10, Moved: 10})
	wantEachOnce(t, other, orders, 10)
}
