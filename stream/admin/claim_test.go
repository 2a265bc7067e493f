package admin_test

import (
	"errors"
	"strings"
	"testing"

	"millrace/stream"
	"millrace/stream/admin"
)

func TestClaim(t *testing.T) {
	t.Parallel()
	k := newBillingOf(t, 300, 250)
	k.read("billing", "web-2", 1)
	k.do("xdel", "orders", "7-0")
	if _, err := k.admin.Claim(t.Context(), billing, "web-1", "web-9"); !errors.Is(err, admin.ErrNoReader) {
		t.Errorf("to nobody: %v", err)
	}
	if _, err := k.admin.Claim(t.Context(), billing, "web-9", "web-1"); !errors.Is(err, admin.ErrNoReader) {
		t.Errorf("from nobody: %v", err)
	}
	if _, err := k.admin.Claim(t.Context(), billing, "web-1", "web-1"); !errors.Is(err, stream.ErrInvalidOption) {
		t.Errorf("to itself: %v", err)
	}
	plan := must[*admin.Plan[admin.Claimed]](t)(k.admin.Claim(t.Context(), billing, "web-1", "web-2"))
	if plan.Affected != 250 {
		t.Errorf("%d entries, want 250", plan.Affected)
	}
	if _, err := plan.Do(t.Context(), byAda); !errors.Is(err, admin.ErrUnattended) {
		t.Errorf("from a live consumer: %v", err)
	}
	plan = must[*admin.Plan[admin.Claimed]](t)(k.admin.Claim(t.Context(), billing, "web-1", "web-2"))
	k.read("billing", "web-1", 5) // these stay
	var last admin.Progress
	done := must[admin.Claimed](t)(plan.Do(t.Context(), byAda, admin.Unattended(), admin.Report(func(p admin.Progress) { last = p })))
	if done.Claimed != 249 || done.Gone != 1 || last.Done != 250 || last.Of != 250 {
		t.Errorf("%+v, %+v", done, last)
	}
	pending := func(consumer string) []admin.Pending {
		return must[[]admin.Pending](t)(collect(k.admin.Pending(t.Context(), billing, admin.On(consumer))))
	}
	if one, two := pending("web-1"), pending("web-2"); len(one) != 5 || len(two) != 250 || two[0].Deliveries != 1 {
		t.Errorf("%d on web-1, %d on web-2, delivered %d times", len(one), len(two), two[0].Deliveries)
	}
}

// What is claimed for no one in particular is where live consumers look for it.
func TestClaimForWhoAsksFirst(t *testing.T) {
	t.Parallel()
	k := newBillingOf(t, 3, 3)
	plan := must[*admin.Plan[admin.Claimed]](t)(k.admin.Claim(t.Context(), billing, "web-1", ""))
	must[admin.Claimed](t)(plan.Do(t.Context(), byAda, admin.Unattended()))
	if all := must[[]admin.Pending](t)(collect(k.admin.Pending(t.Context(), billing))); len(all) != 3 || all[0].Consumer != "millrace/handed-back" {
		t.Errorf("%+v", all)
	}
}

func TestAck(t *testing.T) {
	t.Parallel()
	k := newBillingOf(t, 5, 3)
	for name, test := range map[string]struct {
		reader admin.Reader
		ids    []string
		err    error
	}{
		"no ID":    {billing, []string{"x"}, admin.ErrNoPlace},
		"none":     {billing, nil, stream.ErrInvalidOption},
		"a label":  {admin.Label("orders", "x"), []string{"1-0"}, stream.ErrInvalidOption},
		"no group": {admin.Group("orders", "mail"), []string{"1-0"}, admin.ErrNoReader},
	} {
		if _, err := k.admin.Ack(t.Context(), test.reader, test.ids...); !errors.Is(err, test.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	plan := must[*admin.Plan[admin.Acked]](t)(k.admin.Ack(t.Context(), billing, "1", "3-0", "4-0"))
	if plan.Affected != 2 {
		t.Errorf("%d entries, want 2", plan.Affected)
	}
	k.do("xack", "orders", "billing", "3-0")
	var moved *admin.MovedError
	if _, err := plan.Do(t.Context(), byAda); !errors.As(err, &moved) || !strings.Contains(err.Error(), "3-0") {
		t.Errorf("%v", err)
	}
	plan = must[*admin.Plan[admin.Acked]](t)(k.admin.Ack(t.Context(), billing, "1-0", "3-0"))
	done := must[admin.Acked](t)(plan.Do(t.Context(), byAda))
	if done.Acked != 1 || k.billing().Pending != 1 {
		t.Errorf("%+v", done)
	}
	plan = must[*admin.Plan[admin.Acked]](t)(k.admin.Ack(t.Context(), billing, "2-0"))
	k.do("xgroup", "destroy", "orders", "billing")
	if _, err := plan.Do(t.Context(), byAda); !errors.Is(err, admin.ErrNoReader) {
		t.Errorf("after the group has gone: %v", err)
	}
}
