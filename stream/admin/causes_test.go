package admin_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"millrace/stream/admin"
)

func TestCausesAreGrouped(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	var letters []letter
	for i := range 7 {
		letters = append(letters, letter{cause: fmt.Sprintf("handler: dial tcp 10.0.0.%d:54%d: connection refused", i, i), pairs: []string{"id", "1"}})
	}
	letters = append(letters,
		letter{cause: `handler: dial tcp 10.0.0.1:541: connection refused`, group: "mail", pairs: []string{"id", "1"}},
		letter{cause: "of another topic", from: "payments", pairs: []string{"id", "1"}})
	ids := bury(t, client, letters...)
	causes, err := a.Causes(t.Context(), orders, 100)
	if err != nil {
		t.Fatal(err)
	}
	const text = "handler: dial tcp #.#.#.#:#: connection refused"
	if len(causes) != 2 || causes[0].Text != text || causes[1].Text != text {
		t.Fatalf("causes %+v", causes)
	}
	first := causes[0]
	want(t, "reader", first.Reader, admin.Group(orders, "billing"))
	want(t, "count", first.Count, 7)
	want(t, "example", first.Example, ids[6])
	if first.First.After(first.Last) || time.Since(first.Last) > time.Minute {
		t.Errorf("from %v to %v", first.First, first.Last)
	}
	want(t, "the other reader", []any{causes[1].Reader, causes[1].Count}, []any{admin.Group(orders, "mail"), int64(1)})

	causes, err = a.Causes(t.Context(), orders, 3)
	if err != nil || len(causes) != 2 || causes[0].Count != 1 || causes[1].Count != 1 {
		t.Errorf("of the last three: %+v, %v", causes, err)
	}
	if causes, err := a.Causes(t.Context(), "none", 3); len(causes) != 0 || err != nil {
		t.Errorf("of no letters: %v, %v", causes, err)
	}
}

func TestCausesAreNormalised(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	for _, c := range []struct{ cause, want string }{
		{`field "cents" is not a number`, `field "cents" is not a number`},
		{`field "user@example.org" is odd`, `field # is odd`},
		{`value "ada@example.org" refused`, `value # refused`},
		{`user 'O\'Neil' is unknown`, `user # is unknown`},
		{`it's not there`, `it's not there`},
		{"no `x` here", "no # here"},
		{`open "never closed 5`, `open #`},
		{`cannot decode entry 1795827996968-0 of orders: x`, `cannot decode entry # of orders: x`},
		{`order 7f3a9c01-aaaa-4bcd-8eff-00112233aabb is gone`, `order # is gone`},
		{`order 123 of 45.6`, `order # of #.#`},
		{`at 0x1fF0: trap`, `at #: trap`},
		{`commit deadbeef1`, `commit #`},
		{`a bad cafe`, `a bad cafe`},
		{`user42 of http2`, `user# of http#`},
		{`2026-11-28T10:00:00Z late`, `#-#T#:#:#Z late`},
		{`[::1]:6379 closed`, `[::#]:# closed`},
		{"\xff\x00 bytes 1", "\xff\x00 bytes #"},
		{`"`, `#`},
		{`5`, `#`},
	} {
		if err := client.Del(t.Context(), dead).Err(); err != nil {
			t.Fatal(err)
		}
		bury(t, client, letter{cause: c.cause, pairs: []string{"id", "1"}})
		causes, err := a.Causes(t.Context(), orders, 1)
		if err != nil || len(causes) != 1 {
			t.Fatalf("%q: %v, %v", c.cause, causes, err)
		}
		want(t, c.cause, causes[0].Text, c.want)
	}
}

// The design has 156 ms and 10 ms of the server for ten thousand letters, by XRANGE in pages of 500.
func BenchmarkCauses(b *testing.B) {
	_, client := startRedis(b)
	a := newAdmin(b, client)
	var letters []letter
	for i := range 10_000 {
		letters = append(letters, letter{
			pairs: strings.Fields(strings.Repeat("some_field a_value_of_it ", 8)),
			cause: fmt.Sprintf("handler: order %d: dial tcp 10.0.0.%d:5432: connection refused", i, i%7),
		})
	}
	bury(b, client, letters...)
	client.ConfigResetStat(b.Context())
	b.ReportAllocs()
	for b.Loop() {
		causes, err := a.Causes(b.Context(), orders, 10_000)
		if err != nil || len(causes) != 1 || causes[0].Count != 10_000 {
			b.Fatal(causes, err)
		}
	}
	_, usec := commandTime(b, client, "xrevrange")
	b.ReportMetric(float64(usec)/float64(b.N)/1000, "server-ms/op")
}
