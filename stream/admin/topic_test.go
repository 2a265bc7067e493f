package admin_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/admin"
)

func namesOf(topics []admin.Topic) (names []string) {
	for _, topic := range topics {
		names = append(names, topic.Name)
	}
	return names
}

func TestTopicsOfTheRegistry(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.add("orders", 3)
	k.add("payments", 1)
	k.add("strange", 1) // in no registry
	k.add("{orders}:dead", 2)
	k.add("graves", 4)
	k.register("orders", admin.Registered{Readers: []string{"group:billing"}, Dead: []string{"{orders}:dead", "graves"}, Seen: 17})
	k.register("payments", admin.Registered{})
	k.register("removed", admin.Registered{})

	all := must[[]admin.Topic](t)(collect(k.admin.Topics(t.Context(), "")))
	if got := namesOf(all); !slices.Equal(got, []string{"orders", "payments", "removed"}) {
		t.Fatalf("topics %q", got)
	}
	want := admin.Topic{
		Name: "orders", Length: 3, First: "1-0", Last: "3-0", Added: 3, Bytes: -1,
		DeadLetters: []admin.DeadLetterStream{{Stream: "{orders}:dead", Length: 2}, {Stream: "graves", Length: 4}},
		Registered:  admin.Registered{Readers: []string{"group:billing"}, Dead: []string{"{orders}:dead", "graves"}, Seen: 17},
	}
	if !reflect.DeepEqual(all[0], want) {
		t.Errorf("%+v, want %+v", all[0], want)
	}
	if all[0].Dead() != 6 {
		t.Errorf("%d dead letters, want 6", all[0].Dead())
	}
	if !all[2].Missing || all[0].Missing {
		t.Errorf("missing: %v and %v", all[2].Missing, all[0].Missing)
	}
	some := must[[]admin.Topic](t)(collect(k.admin.Topics(t.Context(), "?a*", admin.WithBytes())))
	if got := namesOf(some); !slices.Equal(got, []string{"payments"}) || some[0].Bytes <= 0 {
		t.Errorf("topics %q with %d bytes", got, some[0].Bytes)
	}
	none, err := collect(k.admin.Topics(t.Context(), "nothing*", admin.WithScan()))
	if len(none) > 0 || err != nil {
		t.Errorf("a pattern that matches nothing: %v, %v", none, err)
	}
}

func TestTopicsByScan(t *testing.T) {
	t.Parallel()
	k := newKit(t, admin.WithAudit("the:audit"))
	for _, name := range []string{"orders", "{orders}:dead", "{removed}:dead", "tagged{x}", "tagged{x}:dead", "the:audit", "{millrace}:stream", "some:dead", "graves"} {
		k.add(name, 1)
	}
	k.register("orders", admin.Registered{Dead: []string{"graves"}})
	k.do("set", "text", "x")
	all := must[[]admin.Topic](t)(collect(k.admin.Topics(t.Context(), "", admin.WithScan())))
	if got := namesOf(all); !slices.Equal(got, []string{"orders", "removed", "some:dead", "tagged{x}"}) {
		t.Errorf("topics %q", got)
	}
	if all[1].Dead() != 1 || !all[1].Missing {
		t.Errorf("%+v: a topic that has dead letters alone", all[1])
	}
	all = must[[]admin.Topic](t)(collect(k.admin.Topics(t.Context(), "ord*", admin.WithScan())))
	if got := namesOf(all); !slices.Equal(got, []string{"orders"}) {
		t.Errorf("topics %q", got)
	}
}

// One topic that cannot be read does not hide the others.
func TestATopicOfAnotherType(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.add("a", 1)
	k.do("set", "b", "text")
	k.add("c", 1)
	for _, name := range []string{"a", "b", "c"} {
		k.register(name, admin.Registered{})
	}
	var good []string
	for topic, err := range k.admin.Overview(t.Context(), "") {
		if err == nil {
			good = append(good, topic.Name)
			continue
		}
		if topic.Name != "b" || !strings.Contains(err.Error(), "another type") || !strings.Contains(err.Error(), "reading b") {
			t.Errorf("%s: %v", topic.Name, err)
		}
	}
	if !slices.Equal(good, []string{"a", "c"}) {
		t.Errorf("topics %q", good)
	}
}

func TestRecordsOfAnotherType(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"{millrace}:topics", "{millrace}:control", "{millrace}:processes", "millrace:offsets"} {
		k := newKit(t)
		k.do("set", key, "text")
		if _, err := k.admin.Readers(t.Context(), "orders"); err == nil || !strings.Contains(err.Error(), "reading "+key+": a key holds another type") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestStandings(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	now := time.Now()
	k.add("orders", 5)
	k.do("xgroup", "create", "orders", "billing", "0")
	k.do("xgroup", "create", "orders", "mail", "0")
	k.do("xgroup", "create", "orders", "millrace:position:mirrored", "4-0")
	k.read("billing", "web-1", 3)
	k.do("xack", "orders", "billing", "1-0")
	k.do("hset", "millrace:offsets", "search", "5-0")
	k.do("hset", "millrace:offsets", "orders", "0-0")
	k.register("orders", admin.Registered{Readers: []string{"group:billing", "label:search", "label:elsewhere"}})
	pause := &admin.Pause{By: "ada", Why: "bad deploy", Since: admin.MillisOf(now), Until: admin.MillisOf(now.Add(time.Hour))}
	k.set("{millrace}:control", "orders group:billing", admin.Control{Paused: pause, Seek: &admin.SeekOrder{Op: "7"}})
	k.set("{millrace}:control", "orders group:mail", admin.Control{Paused: &admin.Pause{Until: 1}}) // is over
	k.present("one", admin.Presence{Host: "web-1", PID: 1, Version: "v2", Consumers: []admin.ConsumerPresence{
		{Stream: "orders", Group: "billing", Consumer: "web-1", PausedUntil: pause.Until, Seek: "7", Reason: "paused"},
		{Stream: "orders", Label: "elsewhere", Settled: "2-0"},
	}})
	k.present("two", admin.Presence{Host: "web-2", PID: 2, Version: "v1", Consumers: []admin.ConsumerPresence{
		{Stream: "orders", Group: "billing", Consumer: "web-2", PausedUntil: pause.Until - 1, Seek: "7"}, // of the pause before
	}})

	got := must[[]admin.Standing](t)(k.admin.Readers(t.Context(), "orders"))
	for i := range got {
		if (got[i].Lag.Time == 0) != (got[i].Oldest == "") {
			t.Errorf("%s: lag %v, oldest %q", got[i].Reader, got[i].Lag.Time, got[i].Oldest)
		}
		got[i].Lag.Time = 0 // the IDs of the test are of 1970
	}
	want := []admin.Standing{
		{
			Reader: admin.Group("orders", "billing"), Position: "3-0", Lag: admin.Lag{Entries: 4, Known: true}, Pending: 2, Oldest: "2-0", Consumers: 1,
			Paused: pause, Seek: &admin.SeekOrder{Op: "7"}, Agents: 2, Obeying: 1, Versions: []string{"v1", "v2"}, Troubles: []string{"paused"},
		},
		{Reader: admin.Group("orders", "mail"), Position: "0-0", Lag: admin.Lag{Entries: 5, Known: true}, Oldest: "1-0"},
		{Reader: admin.Label("orders", "elsewhere"), Position: "2-0", Oldest: "3-0", Consumers: 1, Agents: 1, Obeying: 1, Versions: []string{"v2"}, Troubles: []string{}},
		{Reader: admin.Label("orders", "mirrored"), Position: "4-0", Oldest: "5-0", Mirrored: true},
		{Reader: admin.Label("orders", "orders"), Position: "0-0", Lag: admin.Lag{Entries: 5, Known: true}, Oldest: "1-0"},
		{Reader: admin.Label("orders", "search"), Position: "5-0", Lag: admin.Lag{Known: true}},
	}
	if len(got) != len(want) {
		t.Fatalf("%d readers: %+v", len(got), got)
	}
	for i := range want {
		got[i].Troubles, want[i].Troubles = append([]string{}, got[i].Troubles...), append([]string{}, want[i].Troubles...)
		got[i].Versions, want[i].Versions = append([]string{}, got[i].Versions...), append([]string{}, want[i].Versions...)
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("%+v\nwant %+v", got[i], want[i])
		}
	}
	overview := must[[]admin.Topic](t)(collect(k.admin.Overview(t.Context(), "ord*")))
	if len(overview) != 1 || len(overview[0].Standings) != len(want) {
		t.Errorf("the overview has %+v", overview)
	}
}

// Entries that are too large to be kept in a pipeline are asked for alone, without their fields.
func TestTopicsOfLargeEntries(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	for i := range 3 {
		k.do("xadd", "orders", i+1, "n", strings.Repeat("x", 1<<20))
	}
	k.do("xgroup", "create", "orders", "billing", "0")
	k.register("orders", admin.Registered{})
	topic := must[admin.Topic](t)(k.admin.Topic(t.Context(), "orders"))
	if topic.First != "1-0" || topic.Last != "3-0" || topic.Length != 3 || len(topic.Standings) != 1 || topic.Standings[0].Oldest != "1-0" {
		t.Errorf("%+v", topic)
	}
}

// The number of entries is unknown after a trim of entries that were not read, and not a guess.
func TestLagIsUnknownAfterATrim(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.add("orders", 10)
	k.do("xgroup", "create", "orders", "billing", "0")
	k.read("billing", "web-1", 2)
	lag := func() admin.Lag {
		t.Helper()
		return must[[]admin.Standing](t)(k.admin.Readers(t.Context(), "orders"))[0].Lag
	}
	if got := lag(); !got.Known || got.Entries != 10 {
		t.Errorf("%+v, want 10 entries, known", got)
	}
	k.do("xdel", "orders", "5-0")
	if got := lag(); got.Known {
		t.Errorf("%+v, want one that is unknown", got)
	}
}

func TestATopicThatDoesNotExist(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	if _, err := k.admin.Readers(t.Context(), "nothing"); !errors.Is(err, admin.ErrNoTopic) || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("Readers: %v", err)
	}
	if _, err := k.admin.Reader(t.Context(), admin.Group("nothing", "billing")); !errors.Is(err, admin.ErrNoTopic) {
		t.Errorf("Reader: %v", err)
	}
	if _, err := k.admin.Trace(t.Context(), "nothing", "1-0"); !errors.Is(err, admin.ErrNoTopic) {
		t.Errorf("Trace: %v", err)
	}
	if _, err := collect(k.admin.Entries(t.Context(), "nothing", admin.Last(1))); !errors.Is(err, admin.ErrNoTopic) {
		t.Errorf("Entries: %v", err)
	}
	if _, err := collect(k.admin.Pending(t.Context(), admin.Group("nothing", "billing"))); !errors.Is(err, admin.ErrNoReader) {
		t.Errorf("Pending: %v", err)
	}
	k.add("orders", 1)
	if _, err := k.admin.Reader(t.Context(), admin.Group("orders", "billing")); !errors.Is(err, admin.ErrNoReader) {
		t.Errorf("Reader without its group: %v", err)
	}
}

func TestServersThatRefuse(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.add("orders", 1)
	k.register("orders", admin.Registered{})
	k.do("acl", "setuser", "weak", "on", ">right", "~*", "+@all", "-xinfo")
	k.do("acl", "setuser", "few", "on", ">right", "~*", "+@all", "-hgetall")
	for name, test := range map[string]struct {
		options redis.Options
		says    string
	}{
		"no server":      {redis.Options{Addr: "127.0.0.1:1"}, "cannot be reached"},
		"wrong password": {redis.Options{Username: "weak", Password: "wrong"}, "refuses the login"},
		"missing right":  {redis.Options{Username: "weak", Password: "right"}, "lacks a right"},
		"no registry":    {redis.Options{Username: "few", Password: "right"}, "lacks a right"},
	} {
		if test.options.Addr == "" {
			test.options.Addr = k.server.Addr
		}
		test.options.MaxRetries = -1
		client := redis.NewClient(&test.options)
		defer func() { _ = client.Close() }()
		_, err := collect(adminWith(t, client).Overview(t.Context(), ""))
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
