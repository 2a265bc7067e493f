package admin_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/stream"
	"millrace/stream/admin"
)

// lettersOf returns the letters that are chosen, and the entries that are none.
func lettersOf(t testing.TB, a *admin.Admin, where admin.Where) (letters []admin.Letter, none []string) {
	t.Helper()
	for l, err := range a.DeadLetters(t.Context(), orders, where) {
		var not *admin.NoLetterError
		switch {
		case errors.As(err, &not):
			none = append(none, not.ID)
		case err != nil:
			t.Fatal(err)
		default:
			letters = append(letters, l)
		}
	}
	return letters, none
}

func TestLetterHasEverything(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	ids := bury(t, client,
		letter{pairs: []string{"id", "a", "id", "b", "blob", "\x00\xff\r\n", "traceparent", "00-1"}},
		letter{pairs: []string{"id", "c", admin.HeaderEdited, "eve", stream.HeaderFor, "label:search",
			stream.HeaderOriginID, "5-1", stream.HeaderRedrives, "2"}, label: "search", entry: "9-9", cause: "no\nluck"},
		letter{pairs: []string{"id", "d", stream.HeaderOriginID, "5-1", stream.HeaderRedrives, "many"}},
	)
	letters, none := lettersOf(t, a, admin.Where{})
	if len(letters) != 3 || none != nil {
		t.Fatalf("%d letters, and %v", len(letters), none)
	}
	fields := func(l admin.Letter) (pairs []string) {
		for name, value := range l.Fields.All() {
			pairs = append(pairs, name, value)
		}
		return pairs
	}
	l := letters[0]
	want(t, "fields", fields(l), []string{"id", "a", "id", "b", "blob", "\x00\xff\r\n", "traceparent", "00-1"})
	want(t, "place", []string{l.Stream, l.ID, l.EntryID, l.OriginID}, []string{dead, ids[0], "1700000000000-7", "1700000000000-7"})
	want(t, "reader", l.Reader, admin.Group(orders, "billing"))
	want(t, "attempts", l.Attempts, 5)
	want(t, "cause", l.Cause, "handler: connection refused")
	want(t, "redrives", l.Redrives, 0)
	if age := time.Since(l.At); age < 0 || age > time.Minute {
		t.Errorf("given up %v ago", age)
	}
	l = letters[1]
	want(t, "fields of a redriven one", fields(l), []string{"id", "c"})
	want(t, "its IDs", []string{l.EntryID, l.OriginID}, []string{"9-9", "5-1"})
	want(t, "its reader", l.Reader, admin.Label(orders, "search"))
	want(t, "its redrives", l.Redrives, 2)
	want(t, "its editor", l.EditedBy, "eve")
	// Fields that are not as a redrive writes its headers belong to the entry.
	want(t, "fields with others' headers", fields(letters[2]), []string{"id", "d", stream.HeaderOriginID, "5-1", stream.HeaderRedrives, "many"})
}

// Letters in a stream of another name are found, redriven, edited and dropped there, and nothing
// is looked for in the usual one.
func TestLettersOfAnotherStream(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	const failed = "orders:failed"
	client.XGroupCreateMkStream(t.Context(), orders, "billing", "0")
	id := add(t, client, orders, []string{"id", "a"})[0]
	client.XGroupSetID(t.Context(), orders, "billing", id)
	ids := add(t, client, failed,
		letter{pairs: []string{"id", "a"}, entry: id}.words(), letter{pairs: []string{"id", "b"}}.words(), letter{pairs: []string{"id", "c"}, cause: "another"}.words())
	bury(t, client, letter{cause: "of the usual stream", pairs: []string{"id", "d"}})
	there := admin.Where{DeadLetterStream: failed}

	letters, _ := lettersOf(t, a, there)
	if len(letters) != 3 || letters[0].Stream != failed {
		t.Fatalf("%+v", letters)
	}
	causes, err := a.Causes(t.Context(), orders, 10, admin.FromDeadLetters(failed))
	if err != nil || len(causes) != 2 || causes[0].Count != 2 || causes[1].Text != "another" {
		t.Errorf("causes %+v, %v", causes, err)
	}
	trace, err := a.Trace(t.Context(), orders, id, admin.FromDeadLetters(failed))
	if err != nil || trace.Readers[0].Fate != admin.FateDead || *trace.Readers[0].Letter != (admin.Letterhead{Stream: failed, ID: ids[0]}) {
		t.Errorf("trace %+v, %v", trace, err)
	}
	if _, err := a.Causes(t.Context(), orders, 10, admin.FromDeadLetters(orders)); !errors.Is(err, stream.ErrInvalidOption) {
		t.Errorf("causes of the topic itself: %v", err)
	}
	if _, err := a.Trace(t.Context(), orders, id, admin.FromDeadLetters(orders)); !errors.Is(err, stream.ErrInvalidOption) {
		t.Errorf("trace with the topic itself: %v", err)
	}

	edit := must[*admin.Plan[admin.Redriven]](t)(a.Edit(t.Context(), letters[1], []string{"id", "B"}))
	must[admin.Redriven](t)(edit.Do(t.Context(), by))
	drop := must[*admin.Plan[admin.Dropped]](t)(a.Drop(t.Context(), orders, admin.Where{DeadLetterStream: failed, Cause: "another"}))
	must[admin.Dropped](t)(drop.Do(t.Context(), by))
	redrive := must[*admin.Plan[admin.Redriven]](t)(a.Redrive(t.Context(), orders, admin.RedriveConfig{Where: there}))
	if done := must[admin.Redriven](t)(redrive.Do(t.Context(), by)); done.Moved != 1 {
		t.Errorf("%v", done)
	}
	want(t, "entries, and letters of both streams",
		[]int64{client.XLen(t.Context(), orders).Val(), client.XLen(t.Context(), failed).Val(), client.XLen(t.Context(), dead).Val()}, []int64{3, 0, 1})
}

// Entries that are no letters say so, and those behind them come all the same.
func TestEntriesThatAreNoLetters(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	whole := letter{pairs: []string{"id", "a"}}.words()
	swapped := slices.Clone(whole)
	swapped[2], swapped[3], swapped[4], swapped[5] = swapped[4], swapped[5], swapped[2], swapped[3]
	ids := add(t, client, dead, []string{"id", "1"}, whole[:len(whole)-2], append(slices.Clone(whole), "more", "x"), swapped, whole)
	letters, none := lettersOf(t, a, admin.Where{})
	want(t, "no letters", none, ids[:4])
	if len(letters) != 1 || letters[0].ID != ids[4] {
		t.Errorf("letters %v", letters)
	}
	causes, err := a.Causes(t.Context(), orders, 10)
	if err != nil || len(causes) != 2 || causes[0].Count != 4 || causes[0].Text != "it is no dead letter" || causes[0].Reader != (admin.Reader{}) {
		t.Errorf("causes %+v, %v", causes, err)
	}
	p := planned(t, a, admin.RedriveConfig{})
	want(t, "affected", p.Affected, 1)
	if text := detail(p.Details, "strangers"); !strings.HasPrefix(text, "4 left") {
		t.Errorf("strangers: %q", text)
	}
	want(t, "redriven", redrive(t, a, admin.RedriveConfig{}), admin.Redriven{Planned: 1, Moved: 1})
	want(t, "those that stay", length(t, client, dead), 4)
}

func detail(list []admin.Detail, name string) string {
	for _, d := range list {
		if d.Name == name {
			return d.Text
		}
	}
	return ""
}

func TestWhereChooses(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	at := func(id string, l letter) {
		if err := client.Do(t.Context(), append([]any{"xadd", dead, id}, anys(l.words())...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	hour := time.UnixMilli(3_600_000)
	at("1000-0", letter{pairs: []string{"id", "1"}, cause: `dial tcp 10.0.0.1:5432: connection refused`})
	at("3600000-0", letter{pairs: []string{"id", "2"}, label: "search", cause: `field "cents" is not a number`})
	at("3600000-5", letter{pairs: []string{"id", "3", stream.HeaderOriginID, "1-1", stream.HeaderRedrives, "1"}})
	at("7200000-0", letter{pairs: []string{"id", "4", stream.HeaderOriginID, "1-1", stream.HeaderRedrives, "4"}, group: "mail"})
	at("7200000-1", letter{pairs: []string{"id", "5"}, from: "payments"})
	bury(t, client, letter{pairs: []string{"id", "6"}})
	for _, c := range []struct {
		name  string
		where admin.Where
		want  string
	}{
		{"all", admin.Where{}, "12346"},
		{"cause", admin.Where{Cause: "refused"}, "1346"},
		{"cause as it is shown", admin.Where{Cause: "dial tcp #.#.#.#:#: connection refused"}, "1"},
		{"no such cause", admin.Where{Cause: "Refused"}, ""},
		{"group", admin.Where{Reader: admin.Group("", "mail")}, "4"},
		{"label", admin.Where{Reader: admin.Label(orders, "search")}, "2"},
		{"since", admin.Where{Since: hour}, "2346"},
		{"since a part of a millisecond", admin.Where{Since: hour.Add(1)}, "46"},
		{"before", admin.Where{Before: hour}, "1"},
		{"between", admin.Where{Since: hour, Before: hour.Add(time.Hour)}, "23"},
		{"before everything", admin.Where{Before: time.UnixMilli(-5)}, ""},
		{"older", admin.Where{OlderThan: time.Hour}, "1234"},
		{"old and before", admin.Where{OlderThan: time.Hour, Before: hour}, "1"},
		{"redriven", admin.Where{MinRedrives: 1}, "34"},
		{"redriven at most", admin.Where{MaxRedrives: 1}, "1236"},
		{"IDs", admin.Where{IDs: []string{"7200000-0", "1000", "1000-0", "5-5"}}, "14"},
		{"IDs since", admin.Where{IDs: []string{"7200000-0", "1000-0"}, Since: hour}, "4"},
		{"elsewhere", admin.Where{DeadLetterStream: "nothing"}, ""},
	} {
		letters, _ := lettersOf(t, a, c.where)
		got := ""
		for _, l := range letters {
			id, _ := l.Fields.Get("id")
			got += id
		}
		want(t, c.name, got, c.want)
	}
}

func anys(texts []string) (list []any) {
	for _, text := range texts {
		list = append(list, text)
	}
	return list
}

func TestWhereIsChecked(t *testing.T) {
	t.Parallel()
	a := newAdmin(t, nowhere(t))
	where := admin.Where{
		Reader: admin.Reader{Stream: "payments", Group: "a", Label: "b"}, Since: time.UnixMilli(5), Before: time.UnixMilli(5),
		OlderThan: -1, MinRedrives: 3, MaxRedrives: 2, IDs: []string{"1-1", "$"}, DeadLetterStream: orders,
	}
	_, err := a.Redrive(t.Context(), orders, admin.RedriveConfig{Where: where, MaxRedrives: -1, Everybody: true, ToGroup: "x", To: orders})
	for _, part := range []string{"DeadLetterStream", "the group \"a\" and the label \"b\"", "payments", "Where.Since", "OlderThan", "above Where.MaxRedrives", "\"$\"", "RedriveConfig.MaxRedrives", "Everybody and ToGroup", "RedriveConfig.To"} {
		if !errors.Is(err, stream.ErrInvalidOption) || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
	if _, err := a.Drop(t.Context(), " ", admin.Where{MinRedrives: -1}); !errors.Is(err, stream.ErrInvalidOption) || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("dropping: %v", err)
	}
	if _, err := a.Causes(t.Context(), "", 0); !errors.Is(err, stream.ErrInvalidOption) || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("causes: %v", err)
	}
	for _, err := range a.DeadLetters(t.Context(), "", admin.Where{}) {
		if !errors.Is(err, stream.ErrInvalidOption) {
			t.Errorf("letters: %v", err)
		}
	}
}
