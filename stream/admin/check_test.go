package admin_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/admin"
	"millrace/stream/streamtest"
)

func check(t *testing.T, a *admin.Admin) []admin.Finding {
	t.Helper()
	return must[[]admin.Finding](t)(a.Check(t.Context()))
}

// wants fails the test unless there is a finding with these words.
func wants(t *testing.T, findings []admin.Finding, level admin.Level, about, text string) {
	t.Helper()
	for _, f := range findings {
		if f.Level == level && f.About == about && strings.Contains(f.Text, text) {
			if level != admin.LevelOK && f.Remedy == "" {
				t.Errorf("no remedy: %+v", f)
			}
			return
		}
	}
	t.Errorf("no %s about %s that says %q in %+v", level, about, text, findings)
}

func TestCheckOfAServerThatIsWell(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	for _, f := range check(t, k.admin) {
		if f.Level != admin.LevelOK {
			t.Errorf("%+v", f)
		}
	}
}

func TestCheckOfServers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config [][]string
		level  admin.Level
		text   string
	}{
		"eviction":  {[][]string{{"maxmemory", "1gb"}, {"maxmemory-policy", "allkeys-lru"}}, admin.LevelFail, "streams and offsets can be evicted"},
		"unlimited": {[][]string{{"maxmemory-policy", "allkeys-lru"}}, admin.LevelWarn, "as soon as maxmemory is set"},
		"volatile":  {[][]string{{"maxmemory", "1gb"}, {"maxmemory-policy", "volatile-lru"}}, admin.LevelWarn, "keys with an expiry"},
		"memory":    {[][]string{{"maxmemory", "500kb"}}, admin.LevelFail, "of maxmemory are used"},
		"no file":   {[][]string{{"appendonly", "no"}}, admin.LevelWarn, "appendonly is no"},
		"no sync":   {[][]string{{"appendfsync", "no"}}, admin.LevelWarn, "the last 30 seconds"},
		"everysec":  {[][]string{{"appendfsync", "everysec"}}, admin.LevelOK, "loses the last second"},
		"always":    {[][]string{{"appendfsync", "always"}}, admin.LevelOK, "loses nothing that the server has answered"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			for _, pair := range test.config {
				k.do("config", "set", pair[0], pair[1])
			}
			findings := check(t, k.admin)
			wants(t, findings, test.level, "the server", test.text)
			if findings[0].Level != test.level {
				t.Errorf("the worst is not the first: %+v", findings)
			}
		})
	}
}

// The disk's trouble is that of INFO, which a hook makes.
func TestCheckOfDisks(t *testing.T) {
	t.Parallel()
	for info, want := range map[string]struct {
		level admin.Level
		text  string
	}{
		"aof_enabled:1\r\naof_last_write_status:err":                               {admin.LevelFail, "append-only file has failed"},
		"aof_enabled:1\r\naof_last_bgrewrite_status:err":                           {admin.LevelWarn, "rewrite"},
		"aof_enabled:0\r\nrdb_last_bgsave_status:err":                              {admin.LevelFail, "snapshot has failed"},
		"aof_enabled:1\r\nrdb_last_bgsave_status:err":                              {admin.LevelWarn, "snapshot has failed"},
		"loading:1\r\naof_enabled:1":                                               {admin.LevelFail, "loading"},
		"maxmemory:1000\r\nused_memory:850\r\nmaxmemory_policy:noeviction":         {admin.LevelWarn, "85% of maxmemory"},
		"maxmemory:1000\r\nused_memory:10\r\nmaxmemory_policy:noeviction\r\nx:y:z": {admin.LevelOK, "1% of maxmemory"},
	} {
		t.Run(want.text, func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			client := k.server.Client()
			client.AddHook(replies{func(cmd redis.Cmder) {
				if cmd.Name() == "info" {
					cmd.(*redis.StringCmd).SetVal("# Section\r\n" + info + "\r\n")
				}
			}})
			wants(t, check(t, adminWith(t, client)), want.level, "the server", want.text)
		})
	}
}

func TestCheckOfTopics(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	// Nobody reads it, and it has dead letters.
	k.add("lonely", 1)
	k.add("{lonely}:dead", 3)
	// A group without consumers, and one whose entries nobody renews.
	k.add("orders", 5)
	k.do("xgroup", "create", "orders", "old-mail", "0-0")
	k.do("xgroup", "create", "orders", "billing", "0-0")
	k.read("billing", "web-1", 2)
	k.do("xclaim", "orders", "billing", "web-1", 0, "2-0", "idle", 3_600_000)
	k.present("one", admin.Presence{Version: "v1", Consumers: []admin.ConsumerPresence{{Stream: "orders", Group: "billing", Consumer: "a", Reason: "reading has been failing"}}})
	// One that is behind with a live consumer, and one whose consumer has not read yet.
	k.do("xgroup", "create", "orders", "live", "0-0")
	k.read("live", "web-1", 1)
	k.do("xgroup", "create", "orders", "starting", "0-0")
	k.present("three", admin.Presence{Consumers: []admin.ConsumerPresence{{Stream: "orders", Group: "starting"}}})
	k.present("two", admin.Presence{Version: "v2", Consumers: []admin.ConsumerPresence{{Stream: "orders", Group: "billing", Consumer: "b"}}})
	// Of another type, gone, and not to be read.
	k.do("set", "text", "x")
	k.register("text", admin.Registered{})
	k.register("removed", admin.Registered{Seen: admin.MillisOf(time.Now().Add(-30 * 24 * time.Hour))})
	k.register("new", admin.Registered{Seen: admin.MillisOf(time.Now())})
	for _, name := range []string{"orders", "lonely"} {
		k.register(name, admin.Registered{})
	}
	k.do("hset", "{millrace}:topics", "broken", "{")
	k.do("hset", "{millrace}:control", "broken", "[]")

	findings := check(t, k.admin)
	wants(t, findings, admin.LevelWarn, "lonely", "nobody reads it")
	wants(t, findings, admin.LevelWarn, "lonely", "dead letters wait for a redrive: 3")
	wants(t, findings, admin.LevelWarn, "group old-mail of orders", "holds back 5 entries")
	wants(t, findings, admin.LevelWarn, "group billing of orders", "nobody has renewed for 10m0s or more, the first of them 2-0, on web-1")
	wants(t, findings, admin.LevelWarn, "group billing of orders", "different versions: v1, v2")
	wants(t, findings, admin.LevelWarn, "group billing of orders", "reading has been failing")
	wants(t, findings, admin.LevelFail, "text", "another type")
	wants(t, findings, admin.LevelWarn, "removed", "no agent has seen it for 30 days")
	wants(t, findings, admin.LevelWarn, "the registry", `"broken" of {millrace}:topics`)
	wants(t, findings, admin.LevelWarn, "the registry", `"broken" of {millrace}:control`)
	if slices.ContainsFunc(findings, func(f admin.Finding) bool {
		return f.About == "new" || f.About == "broken" || strings.HasPrefix(f.Text, "it has no live consumer") && f.About != "group old-mail of orders"
	}) {
		t.Errorf("%+v", findings)
	}
}

func TestCheckOfAStreamThatGrows(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	pipe := k.client.Pipeline()
	for i := range 10_000 {
		for _, name := range []string{"grows", "trimmed"} {
			pipe.Do(t.Context(), "xadd", name, fmt.Sprint(1+i*1000), "n", "1")
		}
	}
	must[[]redis.Cmder](t)(pipe.Exec(t.Context()))
	k.do("xadd", "trimmed", "maxlen", 10_000, "*", "n", "1")
	k.register("grows", admin.Registered{})
	k.register("trimmed", admin.Registered{})
	findings := check(t, k.admin)
	wants(t, findings, admin.LevelWarn, "grows", "nobody trims it")
	for _, f := range findings {
		if f.About == "trimmed" && strings.Contains(f.Text, "trims") {
			t.Errorf("%+v", f)
		}
	}
}

func TestCheckOfAnUnknownServer(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.do("acl", "setuser", "few", "on", ">right", "~*", "+@all", "-info")
	client := redis.NewClient(&redis.Options{Addr: k.server.Addr, Username: "few", Password: "right"})
	t.Cleanup(func() { _ = client.Close() })
	wants(t, check(t, adminWith(t, client)), admin.LevelWarn, "the server", "may not send INFO")
	k.do("acl", "setuser", "few", "+info", "-config|get")
	wants(t, check(t, adminWith(t, client)), admin.LevelOK, "the server", "takes the right +config|get")
}

func TestCluster(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t, "--cluster-enabled", "yes")
	node := server.Client()
	ok(t, node.ClusterAddSlotsRange(t.Context(), 0, 16383).Err())
	streamtest.Await(t, "the cluster is up", func() bool {
		info, err := node.ClusterInfo(t.Context()).Result()
		return err == nil && strings.Contains(info, "cluster_state:ok")
	})
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr}, ReadOnly: true})
	t.Cleanup(func() { _ = client.Close() })
	a := adminWith(t, client, admin.WithAudit("audit"))
	k := &kit{t: t, server: server, client: node, admin: a}
	for _, name := range []string{"orders", "payments"} {
		k.add(name, 5)
		k.do("xgroup", "create", name, "billing", "0")
	}
	k.register("orders", admin.Registered{})
	all := must[[]admin.Topic](t)(collect(a.Overview(t.Context(), "", admin.WithScan(), admin.WithBytes())))
	if got := namesOf(all); !slices.Equal(got, []string{"orders", "payments"}) || all[1].Standings[0].Lag.Entries != 5 || all[1].Bytes <= 0 {
		t.Errorf("%+v", all)
	}
	plan := must[*admin.Plan[admin.Sought]](t)(a.Seek(t.Context(), billing, admin.End()))
	must[admin.Sought](t)(plan.Do(t.Context(), byAda))
	must[admin.Standing](t)(a.Pause(t.Context(), billing, time.Hour, "ada", "why"))
	must[admin.Imported](t)(a.Import(t.Context(), "orders", strings.NewReader(`{"fields":[["n","1"]]}`), byAda))
	if len(must[[]admin.Finding](t)(a.Check(t.Context()))) == 0 {
		t.Error("Check has found nothing")
	}
	found := make(chan string, 1)
	go func() {
		defer close(found)
		for e, err := range a.Tail(t.Context(), "orders", "payments") {
			if err != nil {
				t.Error(err)
				return
			}
			found <- e.Stream + " " + e.ID
			return
		}
	}()
	streamtest.Await(t, "both reads wait", func() bool {
		return strings.Count(k.do("client", "list").(string), "cmd=xread ") == 2
	})
	k.add("payments", 1)
	if got := <-found; got != "payments 6-0" {
		t.Errorf("%q", got)
	}
}
