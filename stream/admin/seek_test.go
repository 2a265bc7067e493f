package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/admin"
	"millrace/stream/streamtest"
)

// byAda is who does it in tests.
var byAda = admin.By("ada", "a test")

// billing returns the group of that name of orders.
func (k *kit) billing() redis.XInfoGroup {
	k.t.Helper()
	for _, g := range must[[]redis.XInfoGroup](k.t)(k.client.XInfoGroups(context.Background(), "orders").Result()) {
		if g.Name == "billing" {
			return g
		}
	}
	k.t.Fatal("there is no group billing")
	return redis.XInfoGroup{}
}

// newBillingOf returns a kit with a stream of which a group has read some entries.
func newBillingOf(t testing.TB, entries, read int, opts ...admin.Option) *kit {
	t.Helper()
	k := newKit(t, opts...)
	k.add("orders", entries)
	k.do("xgroup", "create", "orders", "billing", "0")
	if read > 0 {
		k.read("billing", "web-1", read)
	}
	return k
}

var billing = admin.Group("orders", "billing")

func TestSeekAGroup(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		to       func(*testing.T) admin.Place
		position string
		lag      int64
		affected int64
		detail   string
	}{
		"begin":   {func(*testing.T) admin.Place { return admin.Begin() }, "0-0", 10, 6, "6 entries are delivered a second time"},
		"end":     {func(*testing.T) admin.Place { return admin.End() }, "10-0", 0, 4, "4 entries are not delivered"},
		"an ID":   {func(t *testing.T) admin.Place { return atID(t, "3-0") }, "3-0", 7, 3, "3 entries are delivered a second time"},
		"a time":  {func(*testing.T) admin.Place { return admin.AtTime(time.UnixMilli(3)) }, "2-18446744073709551615", 8, 4, "4 entries"},
		"an hour": {func(*testing.T) admin.Place { return admin.AtTime(time.Now().Add(-time.Hour)) }, "10-0", 0, 4, "not delivered"},
		"no move": {func(t *testing.T) admin.Place { return atID(t, "6-0") }, "6-0", 4, 0, "it is there already"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newBillingOf(t, 10, 6)
			k.do("xgroup", "delconsumer", "orders", "billing", "web-1") // nobody is live
			plan := must[*admin.Plan[admin.Sought]](t)(k.admin.Seek(t.Context(), billing, test.to(t)))
			if k.billing().LastDeliveredID != "6-0" {
				t.Error("the plan has changed the group")
			}
			if plan.Affected != test.affected || !strings.Contains(plan.Details[0].Text, test.detail) {
				t.Errorf("%d, %+v", plan.Affected, plan.Details)
			}
			done := must[admin.Sought](t)(plan.Do(t.Context(), byAda))
			if done.From != "6-0" || done.To != test.position {
				t.Errorf("%+v", done)
			}
			if g := k.billing(); g.LastDeliveredID != test.position || g.Lag != test.lag {
				t.Errorf("at %s, lag %d; want %s and %d", g.LastDeliveredID, g.Lag, test.position, test.lag)
			}
		})
	}
}

// Where an entry behind the place was deleted by its ID, no count of the group would give the
// right lag: none is written. A consumer takes the deleted entry for no loss, and finds one that
// comes later.
func TestSeekBeforeADeletedEntry(t *testing.T) {
	t.Parallel()
	k := newBillingOf(t, 10, 6)
	k.do("xgroup", "delconsumer", "orders", "billing", "web-1")
	k.do("xdel", "orders", "8-0")
	plan := must[*admin.Plan[admin.Sought]](t)(k.admin.Seek(t.Context(), billing, atID(t, "2-0")))
	if !slices.ContainsFunc(plan.Warnings, func(w string) bool { return strings.Contains(w, "unknown until it has caught up") }) {
		t.Errorf("%q", plan.Warnings)
	}
	must[admin.Sought](t)(plan.Do(t.Context(), byAda))
	if g := k.billing(); g.LastDeliveredID != "2-0" || g.Lag != -1 {
		t.Errorf("at %s, lag %d; want 2-0 and none", g.LastDeliveredID, g.Lag)
	}

	var service, next service
	service.start(t, k.client, service.group(t, k.client, "a"))
	streamtest.Await(t, "the entries behind the place are handled", func() bool { return service.has() == 7 })
	ok(t, service.stop())
	for _, id := range []string{"11-0", "12-0", "13-0"} {
		k.do("xadd", "orders", id, "n", 1)
	}
	k.do("xtrim", "orders", "maxlen", 1)
	next.start(t, k.client, next.group(t, k.client, "a"))
	streamtest.Await(t, "a loss is found", func() bool { return len(next.lost()) > 0 })
	var loss *stream.LossError
	if lost := append(service.lost(), next.lost()...); len(lost) != 1 || !errors.As(lost[0], &loss) || loss.From != "10-0" || loss.Count != 2 {
		t.Errorf("losses %v, want the two entries behind 10-0", lost)
	}
}

func TestSeekToNoPlace(t *testing.T) {
	t.Parallel()
	k := newBillingOf(t, 3, 0)
	for says, place := range map[string]admin.Place{"future": admin.AtTime(time.Now().Add(time.Hour)), "behind the end": atID(t, "4-0")} {
		if _, err := k.admin.Seek(t.Context(), billing, place); !errors.Is(err, admin.ErrNoPlace) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v", place, err)
		}
	}
}

func TestSeekOfALongStreamIsEstimated(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	pipe := k.client.Pipeline()
	for i := range 101_000 {
		pipe.Do(t.Context(), "xadd", "orders", time.UnixMilli(int64(i+1)).UnixMilli(), "n", "1")
	}
	must[[]redis.Cmder](t)(pipe.Exec(t.Context()))
	k.do("xadd", "orders", "202000", "n", "1") // the half of the time
	k.do("xgroup", "create", "orders", "billing", "$")
	plan := must[*admin.Plan[admin.Sought]](t)(k.admin.Seek(t.Context(), billing, atID(t, "1")))
	if plan.Affected < 100_000 || plan.Affected > 101_001 || !strings.Contains(plan.Details[0].Text, "about") {
		t.Errorf("%d, %+v", plan.Affected, plan.Details)
	}
}

func TestSeekMoved(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		to     string
		change func(*kit)
		says   string // empty: it has not moved
	}{
		"it read on":      {"2-0", func(k *kit) { k.read("billing", "web-1", 1) }, ""},
		"it was set back": {"2-0", func(k *kit) { k.do("xgroup", "setid", "orders", "billing", "1-0") }, "set back to 1-0"},
		"it passed by":    {"7-0", func(k *kit) { k.read("billing", "web-1", 3) }, "passed the place by itself"},
		"it vanished":     {"2-0", func(k *kit) { k.do("xgroup", "destroy", "orders", "billing") }, "has gone"},
		"the stream is new": {"2-0", func(k *kit) {
			k.do("del", "orders")
			k.add("orders", 7)
			k.do("xgroup", "create", "orders", "billing", "6-0")
		}, "made anew"},
		"there is none": {"2-0", func(k *kit) { k.do("del", "orders") }, "has gone"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newBillingOf(t, 10, 6)
			plan := must[*admin.Plan[admin.Sought]](t)(k.admin.Seek(t.Context(), billing, atID(t, test.to)))
			test.change(k)
			_, err := plan.Do(t.Context(), byAda, admin.Unattended())
			var moved *admin.MovedError
			if test.says == "" {
				ok(t, err)
			} else if !errors.As(err, &moved) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

// A group that is set while it goes on to read is set from where it is then.
func TestSeekAnyway(t *testing.T) {
	t.Parallel()
	k := newBillingOf(t, 10, 6)
	plan := must[*admin.Plan[admin.Sought]](t)(k.admin.Seek(t.Context(), billing, atID(t, "7-0")))
	k.read("billing", "web-1", 4)
	done := must[admin.Sought](t)(plan.Do(t.Context(), byAda, admin.Unattended(), admin.Anyway()))
	if done.From != "10-0" || k.billing().LastDeliveredID != "7-0" {
		t.Errorf("%+v", done)
	}
}

// A group that passes the place after the last look is left where it is.
func TestSeekOfAGroupThatPassesAtOnce(t *testing.T) {
	t.Parallel()
	k := newBillingOf(t, 10, 6)
	client, armed := k.server.Client(), false
	client.AddHook(replies{func(cmd redis.Cmder) {
		if armed && cmd.Name() == "xinfo" && cmd.Args()[1] == "stream" {
			k.do("xgroup", "setid", "orders", "billing", "9-0")
		}
	}})
	plan := must[*admin.Plan[admin.Sought]](t)(adminWith(t, client).Seek(t.Context(), billing, atID(t, "7-0")))
	armed = true
	var moved *admin.MovedError
	if _, err := plan.Do(t.Context(), byAda, admin.Unattended()); !errors.As(err, &moved) || k.billing().LastDeliveredID != "9-0" {
		t.Errorf("at %s: %v", k.billing().LastDeliveredID, err)
	}
}

func TestSeekUnattended(t *testing.T) {
	t.Parallel()
	k := newBillingOf(t, 10, 6) // web-1 is live, and has no agent
	plan := must[*admin.Plan[admin.Sought]](t)(k.admin.Seek(t.Context(), billing, admin.Begin()))
	if len(plan.Warnings) == 0 || !strings.Contains(plan.Warnings[0], "1 live consumers have no agent") {
		t.Errorf("%q", plan.Warnings)
	}
	if _, err := plan.Do(t.Context(), byAda); !errors.Is(err, admin.ErrUnattended) || k.billing().LastDeliveredID != "6-0" {
		t.Errorf("%v", err)
	}
}

func TestSeekALabel(t *testing.T) {
	t.Parallel()
	k := newKit(t, admin.WithOffsets("millrace:offsets", "more"))
	k.add("orders", 5)
	k.do("hset", "more", "search", "4-0")
	k.register("orders", admin.Registered{Readers: []string{"label:search"}})
	search := admin.Label("orders", "search")
	newPlan := func() *admin.Plan[admin.Sought] {
		t.Helper()
		return must[*admin.Plan[admin.Sought]](t)(k.admin.Seek(t.Context(), search, atID(t, "1-0")))
	}
	if _, err := newPlan().Do(t.Context(), byAda); !errors.Is(err, admin.ErrUnattended) {
		t.Errorf("without Unattended: %v", err)
	}
	plan := newPlan()
	k.do("hset", "more", "search", "3-0")
	var moved *admin.MovedError
	if _, err := plan.Do(t.Context(), byAda, admin.Unattended()); !errors.As(err, &moved) {
		t.Errorf("%v", err)
	}
	plan = newPlan()
	k.do("hset", "more", "search", "5-0") // it went on
	done := must[admin.Sought](t)(plan.Do(t.Context(), byAda, admin.Unattended()))
	if done.From != "5-0" || done.To != "1-0" || k.do("hget", "more", "search") != "1-0" {
		t.Errorf("%+v, %v", done, k.do("hget", "more", "search"))
	}
}

// control returns the control record of a reader.
func (k *kit) control(field string) (control admin.Control) {
	k.t.Helper()
	text, err := k.client.HGet(context.Background(), "{millrace}:control", field).Result()
	if errors.Is(err, redis.Nil) {
		return control
	}
	ok(k.t, err)
	ok(k.t, json.Unmarshal([]byte(text), &control))
	return control
}

func TestSeekOfALabelInAnotherStoreWaits(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.add("orders", 5)
	k.register("orders", admin.Registered{Readers: []string{"label:search"}})
	plan := must[*admin.Plan[admin.Sought]](t)(k.admin.Seek(t.Context(), admin.Label("orders", "search"), atID(t, "1-0")))
	done := must[admin.Sought](t)(plan.Do(t.Context(), byAda))
	order := k.control("orders label:search").Seek
	if !done.Waiting || order == nil || order.To != "1-0" || order.By != "ada" || order.Op == "" {
		t.Errorf("%+v, %+v", done, order)
	}
}

// The agents are told, and the order does not stay for processes that start later.
func TestSeekByAgents(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]admin.ConsumerPresence{
		"obeys":   {Stream: "orders", Group: "billing", Consumer: "web-1"},
		"refuses": {Stream: "orders", Group: "billing", Consumer: "web-1", SeekError: "the store cannot be reset"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newBillingOf(t, 10, 6)
			process := admin.Presence{Host: "h", PID: 1, Consumers: []admin.ConsumerPresence{{Stream: "orders", Group: "billing", Consumer: "web-1"}}}
			k.present("one", process)
			plan := must[*admin.Plan[admin.Sought]](t)(k.admin.Seek(t.Context(), billing, admin.Begin()))
			type result struct {
				done admin.Sought
				err  error
			}
			results := make(chan result, 1)
			go func() {
				done, err := plan.Do(t.Context(), byAda)
				results <- result{done, err}
			}()
			streamtest.Await(t, "the order is there", func() bool { return k.control("orders group:billing").Seek != nil })
			answer.Seek = k.control("orders group:billing").Seek.Op
			process.Consumers[0] = answer
			k.present("one", process)
			got := <-results
			if answer.SeekError == "" && (got.err != nil || got.done.Agents != 1 || got.done.Obeyed != 1) ||
				answer.SeekError != "" && (got.err == nil || !strings.Contains(got.err.Error(), answer.SeekError)) {
				t.Errorf("%+v", got)
			}
			if k.control("orders group:billing").Seek != nil {
				t.Error("the order is still there")
			}
		})
	}
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	k := newBillingOf(t, 1, 0, admin.WithAudit("audit"))
	process := admin.Presence{Host: "h", PID: 1, Consumers: []admin.ConsumerPresence{{Stream: "orders", Group: "billing", Consumer: "web-1"}}}
	k.present("one", process)
	standing := must[admin.Standing](t)(k.admin.Pause(t.Context(), billing, time.Hour, "ada", "bad deploy"))
	pause := k.control("orders group:billing").Paused
	if pause == nil || pause.By != "ada" || pause.Why != "bad deploy" || pause.Until.Time().Sub(pause.Since.Time()) != time.Hour {
		t.Fatalf("%+v", pause)
	}
	if standing.Paused == nil || standing.Agents != 1 || standing.Obeying != 0 {
		t.Errorf("%+v", standing)
	}
	standing = must[admin.Standing](t)(k.admin.Resume(t.Context(), billing, "ada", "mended"))
	if standing.Paused != nil || standing.Obeying != 1 || k.do("hlen", "{millrace}:control") != int64(0) {
		t.Errorf("%+v", standing)
	}
	if n := k.do("xlen", "audit"); n != int64(4) {
		t.Errorf("the audit has %v entries, want 4", n)
	}
	if _, err := k.admin.Pause(t.Context(), billing, 0, "ada", "for ever"); !errors.Is(err, stream.ErrInvalidOption) {
		t.Errorf("without an end: %v", err)
	}
	if _, err := k.admin.Pause(t.Context(), billing, time.Hour, "", "x"); !errors.Is(err, admin.ErrNoReason) {
		t.Errorf("by nobody: %v", err)
	}
	if _, err := k.admin.Pause(t.Context(), admin.Group("orders", "mail"), time.Hour, "ada", "x"); !errors.Is(err, admin.ErrNoReader) {
		t.Errorf("of no group: %v", err)
	}
}

// A pause leaves an order to seek alone, and the other way round, though two admins write them
// at once.
func TestControlsAreEditedInOneStep(t *testing.T) {
	t.Parallel()
	k := newBillingOf(t, 1, 0)
	order := &admin.SeekOrder{Op: "7"}
	interfered := false
	client := k.server.Client()
	client.AddHook(replies{func(cmd redis.Cmder) {
		if cmd.Name() == "hget" && !interfered {
			interfered = true
			k.set("{millrace}:control", "orders group:billing", admin.Control{Seek: order})
		}
	}})
	must[admin.Standing](t)(adminWith(t, client).Pause(t.Context(), billing, time.Hour, "ada", "why"))
	if got := k.control("orders group:billing"); !interfered || got.Seek == nil || got.Paused == nil {
		t.Errorf("%+v", got)
	}
}
