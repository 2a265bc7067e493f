package admin_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"millrace/stream"
	"millrace/stream/admin"
)

// A redriven entry is the original, byte for byte, and has the headers of its history.
func TestRedriveRestoresEntries(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	original := []string{"id", "a", "id", "b", "", "\x00\xff\r\n$-1", "z", "", "a", strings.Repeat("x", 100_000), "traceparent", "00-1"}
	history := []string{stream.HeaderFor, "group:mail", stream.HeaderOriginID, "5-1", stream.HeaderRedrives, "1"}
	bury(t, client,
		letter{pairs: original, entry: "8-8"},
		letter{pairs: append(slices.Clone(original), history...), label: "search", entry: "9-9"},
		letter{pairs: append([]string{"id", "c", admin.HeaderEdited, "eve"}, history[2:]...)},
		letter{pairs: []string{"id", "d", stream.HeaderRedrives, "7", stream.HeaderOriginID, "x"}},
		letter{pairs: []string{"id", "e", stream.HeaderOriginID, "x", stream.HeaderRedrives, "-7"}},
		letter{},
	)
	headers := func(address, origin, redrives string) []string {
		return []string{stream.HeaderFor, address, stream.HeaderOriginID, origin, stream.HeaderRedrives, redrives}
	}
	const first = "1700000000000-7"
	expected := [][]string{
		append(slices.Clone(original), headers("group:billing", "8-8", "1")...),
		append(slices.Clone(original), headers("label:search", "5-1", "2")...),
		append([]string{"id", "c", admin.HeaderEdited, "eve"}, headers("group:billing", "5-1", "2")...),
		append([]string{"id", "d", stream.HeaderRedrives, "7", stream.HeaderOriginID, "x"}, headers("group:billing", first, "1")...),
		append([]string{"id", "e", stream.HeaderOriginID, "x", stream.HeaderRedrives, "-7"}, headers("group:billing", first, "1")...),
		headers("group:billing", first, "1"),
	}
	want(t, "result", redrive(t, a, admin.RedriveConfig{}), admin.Redriven{Planned: 6, Moved: 6})
	want(t, "entries", pairsOf(t, client, orders), expected)
	want(t, "letters", length(t, client, dead), 0)
}

// Whatever the fields are: the script on the server, and the way in two steps, make the same
// of a letter.
func TestBothWaysMakeTheSame(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	_, other := startRedis(t)
	a := newAdmin(t, client)
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{"id", "x", "", "millrace.", stream.HeaderFor, stream.HeaderOriginID, stream.HeaderRedrives, admin.HeaderEdited,
		stream.DeadLetterOrigin, stream.DeadLetterID, stream.DeadLetterGroup, stream.DeadLetterLabel, stream.DeadLetterTime}
	values := []string{"", "0", "1", "2", "007", "12345678", "123456789", "1234567890", "x", "1.5", " 1", "\x00\xff", "group:a", "5-5"}
	var letters []letter
	for range 2000 {
		l := letter{entry: values[random.IntN(len(values))]}
		if random.IntN(2) == 0 {
			l.label = "search"
		}
		for range random.IntN(5) {
			l.pairs = append(l.pairs, names[random.IntN(len(names))], values[random.IntN(len(values))])
		}
		if random.IntN(2) == 0 {
			if random.IntN(2) == 0 {
				l.pairs = append(l.pairs, stream.HeaderFor, "group:a")
			}
			l.pairs = append(l.pairs, stream.HeaderOriginID, "1-1", stream.HeaderRedrives, values[random.IntN(len(values))])
		}
		letters = append(letters, l)
	}
	for _, cfg := range []admin.RedriveConfig{{MaxRedrives: 1 << 40}, {Everybody: true}, {ToGroup: "mail"}} {
		for _, key := range []string{dead, orders} {
			client.Del(t.Context(), key)
			other.Del(t.Context(), key)
		}
		bury(t, client, letters...)
		cfg.To = "here"
		together := redrive(t, a, cfg)
		entries := pairsOf(t, client, "here")
		client.Del(t.Context(), dead, "here")
		bury(t, client, letters...)
		cfg.To, cfg.Client = orders, other
		apart := redrive(t, a, cfg)
		want(t, "results", apart, together)
		for i, pairs := range pairsOf(t, other, orders) {
			if !slices.Equal(pairs, entries[i]) {
				t.Fatalf("%+v: %q, and in one step %q", cfg, pairs, entries[i])
			}
		}
		if together.Moved == 0 || together.Moved != together.Planned {
			t.Errorf("%+v: %+v", cfg, together)
		}
		other.FlushAll(t.Context())
	}
}

func TestRedriveForWhom(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	header := func(cfg admin.RedriveConfig, key string) string {
		t.Helper()
		bury(t, client, letter{pairs: []string{"id", "a"}})
		want(t, "result", redrive(t, a, cfg), admin.Redriven{Planned: 1, Moved: 1})
		all := pairsOf(t, client, key)
		return strings.Join(all[len(all)-1], " ")
	}
	const history = "millrace.origin-id 1700000000000-7 millrace.redrives 1"
	want(t, "by default", header(admin.RedriveConfig{}, orders), "id a millrace.for group:billing "+history)
	want(t, "for everybody", header(admin.RedriveConfig{Everybody: true}, orders), "id a "+history)
	want(t, "for a group", header(admin.RedriveConfig{ToGroup: "mail"}, orders), "id a millrace.for group:mail "+history)
	want(t, "elsewhere", header(admin.RedriveConfig{To: "other"}, "other"), "id a millrace.for group:billing "+history)
}

// Letters that would fail again stay, and the plan says so.
func TestRedriveLeaves(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	often := func(n string) []string {
		return []string{"id", "a", stream.HeaderOriginID, "5-1", stream.HeaderRedrives, n}
	}
	bury(t, client,
		letter{pairs: often("2")}, letter{pairs: often("3")}, letter{pairs: often("9")},
		letter{pairs: []string{"id", "b"}, cause: "cannot decode entry 5-5 of orders: field \"id\" is not a number"},
		letter{pairs: []string{"id", "c"}, from: "payments"},
		letter{pairs: anyPairs(3600)},
	)
	p := planned(t, a, admin.RedriveConfig{})
	want(t, "summary", p.Summary, "1 of 6 dead letters go back to orders, for group billing only")
	want(t, "affected", p.Affected, 1)
	for name, text := range map[string]string{
		"guard": "2 left: redriven 3 times", "undecodable": "1 left: not to be decoded", "others": "1 left: not chosen",
		"wide": "1 left: more than 3500 fields", "order": "they come behind all",
	} {
		if got := detail(p.Details, name); !strings.HasPrefix(got, text) {
			t.Errorf("%s: %q", name, got)
		}
	}
	want(t, "the first", redrive(t, a, admin.RedriveConfig{}), admin.Redriven{Planned: 1, Moved: 1})
	want(t, "with a larger guard", redrive(t, a, admin.RedriveConfig{MaxRedrives: 4}), admin.Redriven{Planned: 1, Moved: 1})
	if text := strings.Join(planned(t, a, admin.RedriveConfig{AlsoUndecodable: true}).Warnings, "\n"); !strings.Contains(text, "1 of the letters could not be decoded") {
		t.Errorf("warnings: %s", text)
	}
	want(t, "undecodable, too", redrive(t, a, admin.RedriveConfig{AlsoUndecodable: true}), admin.Redriven{Planned: 1, Moved: 1})
	p = planned(t, a, admin.RedriveConfig{Where: admin.Where{Cause: "no such cause"}})
	want(t, "affected by a filter that matches nothing", p.Affected, 0)
	if done, err := p.Do(t.Context(), by, admin.WaitWhileBehind(5)); err != nil || done != (admin.Redriven{}) {
		t.Errorf("doing nothing: %+v, %v", done, err)
	}
	want(t, "those that stay", length(t, client, dead), 3)
}

func anyPairs(n int) (pairs []string) {
	for i := range n {
		pairs = append(pairs, fmt.Sprint("f", i), "1")
	}
	return pairs
}

// The many pages of a large redrive keep the order, and letters that come meanwhile stay.
func TestRedriveInPages(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	buryMany(t, client, 2345)
	p := planned(t, a, admin.RedriveConfig{})
	bury(t, client, letter{pairs: []string{"n", "late"}})
	var told []admin.Progress
	done, err := p.Do(t.Context(), by, admin.Report(func(p admin.Progress) { told = append(told, p) }))
	want(t, "result", done, admin.Redriven{Planned: 2345, Moved: 2345})
	if err != nil || len(told) == 0 || told[len(told)-1].Done != 2345 || told[0].Of != 2345 {
		t.Errorf("%v, told %+v", err, told)
	}
	wantEachOnce(t, client, orders, 2345)
	for i, pairs := range pairsOf(t, client, orders) {
		if pairs[1] != fmt.Sprint(i) {
			t.Fatalf("entry %d is %v", i, pairs)
		}
	}
	want(t, "left", length(t, client, dead), 1)
	if _, err := p.Do(t.Context(), by); !errors.Is(err, admin.ErrDone) {
		t.Errorf("done twice: %v", err)
	}
	if _, err := planned(t, a, admin.RedriveConfig{}).Do(t.Context()); !errors.Is(err, admin.ErrNoReason) {
		t.Errorf("without a reason: %v", err)
	}
}

// A plan moves its own letters, and no entry that took the place of one.
func TestRedriveTakesNoOthers(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	l := letter{pairs: []string{"id", "a"}}
	ids := bury(t, client, l, l, l)
	p, q := planned(t, a, admin.RedriveConfig{}), dropPlan(t, a, admin.Where{})
	client.XDel(t.Context(), dead, ids[0])
	client.Del(t.Context(), dead)
	// The stream was made anew, and has another letter under an ID of the plan.
	client.Do(t.Context(), append([]any{"xadd", dead, ids[1]}, anys(l.words())...)...)
	client.Do(t.Context(), "xadd", dead, ids[2], "id", "no letter")
	done, err := p.Do(t.Context(), by)
	want(t, "redriven", done, admin.Redriven{Planned: 3, Gone: 3})
	dropped, err2 := q.Do(t.Context(), by)
	want(t, "dropped", dropped, admin.Dropped{Planned: 3, Gone: 3})
	if err := errors.Join(err, err2); err != nil {
		t.Error(err)
	}
	want(t, "letters", length(t, client, dead), 2)
	want(t, "entries", length(t, client, orders), 0)
}

func TestRedriveOfNothing(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	p := planned(t, a, admin.RedriveConfig{})
	if want := "nothing to redrive: {orders}:dead has no such entry, or does not exist"; !strings.HasPrefix(p.Summary, want) || p.Affected != 0 {
		t.Errorf("summary %q", p.Summary)
	}
	client.Set(t.Context(), dead, "x", 0)
	const advice = "a key holds another type than is needed"
	if _, err := a.Redrive(t.Context(), orders, admin.RedriveConfig{}); err == nil || !strings.Contains(err.Error(), advice) {
		t.Errorf("of another type: %v", err)
	}
	if _, err := a.Drop(t.Context(), orders, admin.Where{}); err == nil || !strings.Contains(err.Error(), advice) {
		t.Errorf("dropping of another type: %v", err)
	}
	if _, err := a.Causes(t.Context(), orders, 5); err == nil || !strings.Contains(err.Error(), advice) {
		t.Errorf("causes of another type: %v", err)
	}
	for _, err := range a.DeadLetters(t.Context(), orders, admin.Where{}) {
		if err == nil || !strings.Contains(err.Error(), advice) {
			t.Errorf("letters of another type: %v", err)
		}
	}
	client.Del(t.Context(), dead)
	// The topic's key holds another type.
	bury(t, client, letter{pairs: []string{"id", "a"}})
	client.Set(t.Context(), orders, "x", 0)
	done, err := planned(t, a, admin.RedriveConfig{}).Do(t.Context(), by)
	if err == nil || !strings.Contains(err.Error(), advice) || done != (admin.Redriven{Planned: 1, Left: 1}) {
		t.Errorf("to another type: %+v, %v", done, err)
	}
}

func TestRedriveWarns(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	bury(t, client, letter{pairs: []string{"id", "a"}}, letter{pairs: []string{"id", "b"}, group: "gone"})
	warnings := func(cfg admin.RedriveConfig) string {
		return strings.Join(planned(t, a, cfg).Warnings, "\n")
	}
	check := func(what, got string, parts ...string) {
		t.Helper()
		if strings.Count(got, "\n") != len(parts)-1 {
			t.Errorf("%s: %d warnings: %s", what, strings.Count(got, "\n")+1, got)
		}
		for _, part := range parts {
			if !strings.Contains(got, part) {
				t.Errorf("%s: %q is not in %s", what, part, got)
			}
		}
	}
	check("no stream", warnings(admin.RedriveConfig{}), "the stream orders does not exist")
	client.XGroupCreateMkStream(t.Context(), orders, "billing", "0")
	check("a group that is no more", warnings(admin.RedriveConfig{}), "orders has no group gone, so that nobody handles 1 of the entries")
	client.XGroupCreate(t.Context(), orders, "mail", "0")
	check("another group", warnings(admin.RedriveConfig{ToGroup: "billing"}), "which versions the consumers of mail run")
	if got := warnings(admin.RedriveConfig{Everybody: true}); got != "" {
		t.Errorf("for everybody: %s", got)
	}
	many := make([][]string, 1000)
	for i := range many {
		many[i] = []string{"id", "x"}
	}
	add(t, client, orders, many...)
	check("behind", warnings(admin.RedriveConfig{ToGroup: "billing"}), "group billing is 1000 entries behind", "which versions")
}

// Ctrl-C stops a redrive after a page. The error has the number of letters that are left, and
// the same redrive goes on with them.
func TestRedriveIsInterrupted(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	buryMany(t, client, 500)
	ctx, cancel := context.WithCancel(t.Context())
	done, err := planned(t, a, admin.RedriveConfig{}).Do(ctx, by, admin.Rate(400), admin.Report(func(admin.Progress) { cancel() }))
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), fmt.Sprintf("%d of 500 moved, %d left; planned again, it goes on", done.Moved, done.Left)) {
		t.Errorf("%v", err)
	}
	if done.Moved == 0 || done.Left == 0 || done.Moved+done.Left != 500 || length(t, client, dead) != done.Left {
		t.Errorf("%+v", done)
	}
	want(t, "the rest", redrive(t, a, admin.RedriveConfig{}).Moved, done.Left)
	wantEachOnce(t, client, orders, 500)
}

func dropPlan(t testing.TB, a *admin.Admin, where admin.Where) *admin.Plan[admin.Dropped] {
	t.Helper()
	p, err := a.Drop(t.Context(), orders, where)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A redrive as fast as it goes, and what a page takes of the server.
func BenchmarkRedrive(b *testing.B) {
	_, client := startRedis(b)
	a := newAdmin(b, client)
	const n = 5000
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		client.Del(b.Context(), orders)
		buryMany(b, client, n)
		p := planned(b, a, admin.RedriveConfig{})
		b.StartTimer()
		if done, err := p.Do(b.Context(), by); err != nil || done.Moved != n {
			b.Fatal(done, err)
		}
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "letters/s")
	calls, usec := commandTime(b, client, "evalsha")
	b.ReportMetric(float64(usec)/float64(calls), "server-us/script")
}
