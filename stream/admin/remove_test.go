package admin_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"millrace/stream"
	"millrace/stream/admin"
)

func TestRemoveConsumer(t *testing.T) {
	t.Parallel()
	k := newBillingOf(t, 3, 1)
	k.read("billing", "web-2", 1)
	k.do("xack", "orders", "billing", "2-0")
	if _, err := k.admin.RemoveConsumer(t.Context(), billing, "web-1"); !errors.Is(err, admin.ErrPending) || !strings.Contains(err.Error(), "claim them first") {
		t.Errorf("with pending entries: %v", err)
	}
	if _, err := k.admin.RemoveConsumer(t.Context(), billing, "web-9"); !errors.Is(err, admin.ErrNoReader) {
		t.Errorf("of nobody: %v", err)
	}
	if _, err := k.admin.RemoveConsumer(t.Context(), admin.Label("orders", "x"), "web-1"); !errors.Is(err, stream.ErrInvalidOption) {
		t.Errorf("of a label: %v", err)
	}
	late := must[*admin.Plan[admin.Removed]](t)(k.admin.RemoveConsumer(t.Context(), billing, "web-2"))
	k.read("billing", "web-2", 1)
	if _, err := late.Do(t.Context(), byAda); !errors.Is(err, admin.ErrPending) {
		t.Errorf("that got entries meanwhile: %v", err)
	}
	k.do("xack", "orders", "billing", "3-0")
	plan := must[*admin.Plan[admin.Removed]](t)(k.admin.RemoveConsumer(t.Context(), billing, "web-2"))
	if done := must[admin.Removed](t)(plan.Do(t.Context(), byAda)); !done.Gone || k.billing().Consumers != 1 {
		t.Errorf("%+v", done)
	}
}

func TestRemoveGroup(t *testing.T) {
	t.Parallel()
	k := newBillingOf(t, 5, 2)
	k.register("orders", admin.Registered{Readers: []string{"group:billing", "group:mail"}, Seen: 5})
	k.set("{millrace}:control", "orders group:billing", admin.Control{Paused: &admin.Pause{Until: 1}})
	newPlan := func() *admin.Plan[admin.Removed] {
		t.Helper()
		return must[*admin.Plan[admin.Removed]](t)(k.admin.RemoveGroup(t.Context(), billing))
	}
	if _, err := newPlan().Do(t.Context(), byAda); !errors.Is(err, admin.ErrUnattended) {
		t.Errorf("with a live consumer: %v", err)
	}
	for what, change := range map[string]func(){
		"was set elsewhere":        func() { k.do("xgroup", "setid", "orders", "billing", "3-0") },
		"has other pending things": func() { k.do("xack", "orders", "billing", "1-0") },
	} {
		plan := newPlan()
		change()
		var moved *admin.MovedError
		if _, err := plan.Do(t.Context(), byAda, admin.Unattended()); !errors.As(err, &moved) {
			t.Errorf("that %s: %v", what, err)
		}
	}
	done := must[admin.Removed](t)(newPlan().Do(t.Context(), byAda, admin.Unattended()))
	if !done.Gone || done.Pending != 1 || k.do("exists", "{millrace}:control") != int64(0) {
		t.Errorf("%+v", done)
	}
	topic := must[admin.Topic](t)(k.admin.Topic(t.Context(), "orders"))
	if len(topic.Standings) != 0 || !reflect.DeepEqual(topic.Registered, admin.Registered{Readers: []string{"group:mail"}, Seen: 5}) {
		t.Errorf("%+v", topic)
	}
}

func TestForgetALabel(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.add("orders", 5)
	k.do("hset", "millrace:offsets", "search", "4-0")
	k.do("xgroup", "create", "orders", stream.PositionGroup("search"), "4-0")
	k.do("xgroup", "create", "orders", "billing", "4-0")
	k.register("orders", admin.Registered{Readers: []string{"label:search", "group:gone", "group:billing"}})
	search := admin.Label("orders", "search")
	plan := must[*admin.Plan[admin.Removed]](t)(k.admin.Forget(t.Context(), search))
	k.do("hset", "millrace:offsets", "search", "5-0")
	var moved *admin.MovedError
	if _, err := plan.Do(t.Context(), byAda); !errors.As(err, &moved) {
		t.Errorf("%v", err)
	}
	plan = must[*admin.Plan[admin.Removed]](t)(k.admin.Forget(t.Context(), search))
	must[admin.Removed](t)(plan.Do(t.Context(), byAda))
	plan = must[*admin.Plan[admin.Removed]](t)(k.admin.Forget(t.Context(), admin.Group("orders", "gone")))
	must[admin.Removed](t)(plan.Do(t.Context(), byAda))
	topic := must[admin.Topic](t)(k.admin.Topic(t.Context(), "orders"))
	if len(topic.Standings) != 1 || !slices.Equal(topic.Registered.Readers, []string{"group:billing"}) || k.do("exists", "millrace:offsets") != int64(0) {
		t.Errorf("%+v", topic)
	}
	if _, err := k.admin.Forget(t.Context(), billing); !errors.Is(err, stream.ErrInvalidOption) {
		t.Errorf("of a group that is there: %v", err)
	}
	if _, err := k.admin.Forget(t.Context(), search); !errors.Is(err, admin.ErrNoReader) {
		t.Errorf("twice: %v", err)
	}
}

func TestForgetATopic(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.add("orders", 1)
	k.register("orders", admin.Registered{Readers: []string{"label:search"}, Seen: 5})
	k.set("{millrace}:control", "orders label:search", admin.Control{})
	plan := must[*admin.Plan[admin.Removed]](t)(k.admin.ForgetTopic(t.Context(), "orders"))
	k.register("orders", admin.Registered{Readers: []string{"label:search"}, Seen: 6})
	var moved *admin.MovedError
	if _, err := plan.Do(t.Context(), byAda); !errors.As(err, &moved) {
		t.Errorf("%v", err)
	}
	plan = must[*admin.Plan[admin.Removed]](t)(k.admin.ForgetTopic(t.Context(), "orders"))
	must[admin.Removed](t)(plan.Do(t.Context(), byAda))
	if k.do("exists", "{millrace}:topics", "{millrace}:control") != int64(0) || k.do("exists", "orders") != int64(1) {
		t.Error("it is still there, or the stream is not")
	}
	if _, err := k.admin.ForgetTopic(t.Context(), "orders"); !errors.Is(err, admin.ErrNoTopic) {
		t.Errorf("twice: %v", err)
	}
}
