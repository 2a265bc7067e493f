package admin_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"millrace/stream"
	"millrace/stream/admin"
)

func TestReaderDetail(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.add("orders", 5)
	k.do("xgroup", "create", "orders", "billing", "0")
	k.read("billing", "web-1", 2)
	k.read("billing", "web-0", 1)
	k.present("one", admin.Presence{Host: "h1", PID: 7, Version: "v1", Consumers: []admin.ConsumerPresence{
		{Stream: "orders", Group: "billing", Consumer: "web-1", Handled: 3, Ready: true},
		{Stream: "orders", Label: "search", Settled: "2-0"},
	}})
	detail := must[admin.ReaderDetail](t)(k.admin.Reader(t.Context(), admin.Group("orders", "billing")))
	if detail.Pending != 3 || len(detail.Members) != 2 {
		t.Fatalf("%+v", detail)
	}
	if m := detail.Members[0]; m.Name != "web-0" || m.Pending != 1 || m.Process != nil || m.Idle < 0 || m.Idle > time.Minute {
		t.Errorf("%+v", m)
	}
	if m := detail.Members[1]; m.Name != "web-1" || m.Pending != 2 || m.Process.Host != "h1" || m.Presence.Handled != 3 {
		t.Errorf("%+v", m)
	}
	if p := detail.OldestPending; p == nil || p.ID != "1-0" || p.Consumer != "web-1" || p.Deliveries != 1 {
		t.Errorf("oldest %+v", p)
	}
	detail = must[admin.ReaderDetail](t)(k.admin.Reader(t.Context(), admin.Label("orders", "search")))
	if len(detail.Members) != 1 || detail.Members[0].Name != "h1:7" || detail.Position != "2-0" {
		t.Errorf("%+v", detail)
	}
}

func TestPending(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.add("orders", 1200)
	k.do("xgroup", "create", "orders", "billing", "0")
	k.read("billing", "web-1", 1100)
	k.read("billing", "web-2", 2)
	k.do("xclaim", "orders", "billing", "web-1", 0, "7-0", "idle", 600000)
	billing := admin.Group("orders", "billing")
	for name, test := range map[string]struct {
		opts  []admin.PendingOption
		n     int
		first string
	}{
		"all":  {nil, 1102, "1-0"},
		"on":   {[]admin.PendingOption{admin.On("web-2")}, 2, "1101-0"},
		"idle": {[]admin.PendingOption{admin.Idle(5 * time.Minute)}, 1, "7-0"},
		"both": {[]admin.PendingOption{admin.Idle(5 * time.Minute), admin.On("web-2")}, 0, ""},
	} {
		got, err := collect(k.admin.Pending(t.Context(), billing, test.opts...))
		if err != nil || len(got) != test.n || test.n > 0 && got[0].ID != test.first {
			t.Errorf("%s: %d pending; %v", name, len(got), err)
		}
	}
	if _, err := collect(k.admin.Pending(t.Context(), admin.Label("orders", "search"))); !errors.Is(err, stream.ErrInvalidOption) {
		t.Errorf("of a label: %v", err)
	}
}

func TestTrace(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.add("orders", 5)
	for _, group := range []string{"audit", "billing", "mail", "print"} {
		k.do("xgroup", "create", "orders", group, "0")
	}
	k.read("audit", "web-1", 3)
	k.do("xack", "orders", "audit", "1-0", "2-0", "3-0")
	k.read("billing", "web-1", 3)
	k.read("mail", "web-1", 3)
	k.do("xack", "orders", "mail", "1-0", "2-0", "3-0")
	add(t, k.client, dead,
		letter{entry: "1-0"}.words(), // it is another entry's
		letter{entry: "2-0", group: "mail"}.words(),
		letter{entry: "2-0", label: "search"}.words(),
		letter{entry: "2-0", from: "payments", group: "audit"}.words(),
		// It has the headers of a letter, and is none: a field stands behind them.
		append(letter{entry: "2-0", group: "audit"}.words(), "more", "x"),
		[]string{stream.DeadLetterOrigin, orders, stream.DeadLetterID, "2-0", stream.DeadLetterGroup, "audit"},
	)
	k.do("hset", "millrace:offsets", "search", "5-0")
	k.register("orders", admin.Registered{Readers: []string{"label:search", "label:lost"}})

	trace := must[admin.Trace](t)(k.admin.Trace(t.Context(), "orders", "2"))
	if n, _ := trace.Entry.Fields.Get("n"); trace.Gone || trace.Entry.ID != "2-0" || n != "2" {
		t.Errorf("%+v", trace)
	}
	fates := map[string]admin.Fate{}
	for _, traced := range trace.Readers {
		fates[traced.Reader.Address()] = traced.Fate
		if (traced.Fate == admin.FatePending) != (traced.Pending != nil) || (traced.Fate == admin.FateDead) != (traced.Letter != nil) {
			t.Errorf("%+v", traced)
		}
	}
	want := map[string]admin.Fate{
		"group:audit": admin.FatePassed, "group:billing": admin.FatePending, "group:mail": admin.FateDead, "group:print": admin.FateAhead,
		"label:search": admin.FateDead, "label:lost": admin.FateUnknown,
	}
	if !reflect.DeepEqual(fates, want) {
		t.Errorf("%v, want %v", fates, want)
	}
	k.do("xdel", "orders", "3-0")
	trace = must[admin.Trace](t)(k.admin.Trace(t.Context(), "orders", "3-0"))
	if !trace.Gone || trace.Readers[2].Fate != admin.FatePassed {
		t.Errorf("%+v", trace)
	}
	if _, err := k.admin.Trace(t.Context(), "orders", "three"); !errors.Is(err, admin.ErrNoPlace) {
		t.Errorf("%v", err)
	}
}
