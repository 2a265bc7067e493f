package admin_test

import (
	"errors"
	"strings"
	"testing"

	"millrace/stream"
	"millrace/stream/admin"
)

func TestTrim(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		world    func(*kit)
		affected int64
		left     int64
		holder   string
	}{
		"the slowest group": {func(k *kit) {
			k.do("xgroup", "create", "orders", "billing", "8-0")
			k.do("xgroup", "create", "orders", "mail", "5-0")
		}, 4, 6, "group mail"},
		"what is pending": {func(k *kit) {
			k.do("xgroup", "create", "orders", "billing", "2-0")
			k.read("billing", "web-1", 4)
			k.do("xack", "orders", "billing", "3-0")
		}, 3, 7, "group billing"},
		"pending and gone": {func(k *kit) {
			k.do("xgroup", "create", "orders", "billing", "0-0")
			k.read("billing", "web-1", 4)
			k.do("xdel", "orders", "1-0", "2-0")
			k.do("xack", "orders", "billing", "3-0", "4-0")
		}, 1, 7, "group billing"},
		"a label of another store": {func(k *kit) {
			k.do("xgroup", "create", "orders", "billing", "8-0")
			k.present("one", admin.Presence{Consumers: []admin.ConsumerPresence{{Stream: "orders", Label: "search", Settled: "6-0"}}})
		}, 0, 10, "label search"},
		"a label": {func(k *kit) {
			k.do("xgroup", "create", "orders", "billing", "8-0")
			k.register("orders", admin.Registered{Readers: []string{"label:search"}})
			k.do("hset", "millrace:offsets", "search", "4-0")
		}, 3, 7, "label search"},
		"a label without offset": {func(k *kit) {
			k.do("xgroup", "create", "orders", "billing", "8-0")
			k.register("orders", admin.Registered{Readers: []string{"label:search"}})
		}, 0, 10, "label search"},
		"all have passed": {func(k *kit) { k.do("xgroup", "create", "orders", "billing", "10-0") }, 9, 1, "group billing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			k.add("orders", 10)
			test.world(k)
			plan := must[*admin.Plan[stream.TrimResult]](t)(k.admin.Trim(t.Context(), "orders"))
			if plan.Affected != test.affected || !strings.Contains(plan.Details[0].Text, test.holder) {
				t.Errorf("plan: %s, %+v", plan.Summary, plan.Details)
			}
			result := must[stream.TrimResult](t)(plan.Do(t.Context(), byAda))
			if result.Trimmed != test.affected || k.do("xlen", "orders") != test.left {
				t.Errorf("%+v, %v entries left", result, k.do("xlen", "orders"))
			}
		})
	}
}

func TestTrimWithoutReaders(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.add("orders", 10)
	if _, err := k.admin.Trim(t.Context(), "orders"); !errors.Is(err, stream.ErrNoPosition) {
		t.Errorf("%v", err)
	}
	if _, err := k.admin.Trim(t.Context(), "nothing"); !errors.Is(err, admin.ErrNoTopic) {
		t.Errorf("%v", err)
	}
}
