package admin_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"millrace/stream/admin"
	"millrace/stream/streamtest"
)

// A drop deletes the planned letters, and no later ones and no other entries.
func TestDropDeletesThePlannedLetters(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	buryMany(t, client, 250)
	stranger := add(t, client, dead, []string{"id", "no letter"})
	kept := bury(t, client, letter{pairs: []string{"id", "a"}, cause: "another"})
	p := dropPlan(t, a, admin.Where{Cause: "refused"})
	want(t, "summary", p.Summary, "250 of 251 dead letters in {orders}:dead are deleted for ever")
	want(t, "affected", p.Affected, 250)
	want(t, "strangers", detail(p.Details, "strangers"), "1 left: they are no dead letters")
	late := bury(t, client, letter{pairs: []string{"id", "late"}})
	if _, err := p.Do(t.Context()); !errors.Is(err, admin.ErrNoReason) {
		t.Errorf("without a reason: %v", err)
	}
	var told admin.Progress
	done, err := p.Do(t.Context(), by, admin.Report(func(p admin.Progress) { told = p }))
	if err != nil || done != (admin.Dropped{Planned: 250, Deleted: 250}) || told.Done != 250 {
		t.Errorf("%+v, %v, told %+v", done, err, told)
	}
	want(t, "those that stay", streamtest.EntryIDs(t, client, dead), []string{stranger[0], kept[0], late[0]})
	want(t, "entries", length(t, client, orders), 0)
	if done, err := dropPlan(t, a, admin.Where{Cause: "refused at all"}).Do(t.Context(), by); err != nil || done != (admin.Dropped{}) {
		t.Errorf("of nothing: %+v, %v", done, err)
	}
}

func TestDropIsInterrupted(t *testing.T) {
	t.Parallel()
	server, client := startRedis(t)
	proxy := streamtest.StartProxy(t, server.Addr)
	loseEveryOther(proxy, "evalsha")
	a := newAdmin(t, proxy.Client())
	buryMany(t, client, 500)
	ctx, cancel := context.WithCancel(t.Context())
	done, err := dropPlan(t, a, admin.Where{}).Do(ctx, by, admin.Report(func(p admin.Progress) {
		if p.Done >= 200 {
			cancel()
		}
	}))
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "200 of 500 deleted, ") || done.Deleted != 200 || done.Left != 300 {
		t.Errorf("%+v, %v", done, err)
	}
	want(t, "left", length(t, client, dead), 300)
	rest, err := dropPlan(t, a, admin.Where{}).Do(t.Context(), by)
	if err != nil || rest.Deleted != 300 || rest.Gone != 0 {
		t.Errorf("the rest: %+v, %v", rest, err)
	}
}
