package admin_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/admin"
)

func TestNewIsChecked(t *testing.T) {
	t.Parallel()
	_, err := admin.New(nil, admin.WithKeyspace("plain"), admin.WithAudit(" "), admin.WithOffsets("a", ""))
	if !errors.Is(err, stream.ErrInvalidOption) {
		t.Fatalf("%v", err)
	}
	for _, says := range []string{"client", "WithKeyspace", "WithAudit", "WithOffsets"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("it does not name %s: %v", says, err)
		}
	}
}

func TestKeyspace(t *testing.T) {
	t.Parallel()
	k := newKit(t, admin.WithKeyspace("{team}:millrace"))
	k.add("orders", 1)
	k.set("{team}:millrace:topics", "orders", admin.Registered{Readers: []string{"label:search"}})
	if got := must[[]admin.Standing](t)(k.admin.Readers(t.Context(), "orders")); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	must[admin.Standing](t)(k.admin.Pause(t.Context(), admin.Label("orders", "search"), 1e9, "ada", "why"))
	if k.do("exists", "{team}:millrace:control") != int64(1) {
		t.Error("the control record is elsewhere")
	}
}

func TestPlanIsDoneOnceAndForAReason(t *testing.T) {
	t.Parallel()
	k := newBillingOf(t, 5, 0)
	plan := must[*admin.Plan[admin.Sought]](t)(k.admin.Seek(t.Context(), billing, admin.End()))
	for _, opt := range []admin.DoOption{nil, admin.By("", "why"), admin.By("ada", "")} {
		if _, err := plan.Do(t.Context(), opt); !errors.Is(err, admin.ErrNoReason) {
			t.Errorf("%v", err)
		}
	}
	must[admin.Sought](t)(plan.Do(t.Context(), byAda))
	if _, err := plan.Do(t.Context(), byAda); !errors.Is(err, admin.ErrDone) {
		t.Errorf("%v", err)
	}
	old := must[*admin.Plan[admin.Sought]](t)(k.admin.Seek(t.Context(), billing, admin.Begin()))
	old.Expires = old.Expires.Add(-24 * 60 * 60 * 1e9)
	if _, err := old.Do(t.Context(), byAda); !errors.Is(err, admin.ErrExpired) {
		t.Errorf("%v", err)
	}
}

func TestAudit(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	k := newBillingOf(t, 5, 0, admin.WithAudit("audit"), admin.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	plan := must[*admin.Plan[admin.Sought]](t)(k.admin.Seek(t.Context(), billing, admin.End()))
	must[admin.Sought](t)(plan.Do(t.Context(), byAda))
	entries := must[[]redis.XMessage](t)(k.client.XRange(t.Context(), "audit", "-", "+").Result())
	if len(entries) != 2 {
		t.Fatalf("%d entries, want 2", len(entries))
	}
	for i, when := range []string{"begin", "end"} {
		v := entries[i].Values
		if v["op"] != "seek" || v["when"] != when || v["on"] != "group billing of orders" || v["by"] != "ada" || v["why"] != "a test" || v["what"] == "" {
			t.Errorf("%v", v)
		}
	}
	if lines := strings.Count(log.String(), "by=ada"); lines != 2 {
		t.Errorf("%d lines in the log, want 2:\n%s", lines, &log)
	}
}

// A change whose beginning cannot be recorded is not done.
func TestAuditThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	k := newBillingOf(t, 5, 0, admin.WithAudit("audit"))
	k.do("set", "audit", "it is no stream")
	plan := must[*admin.Plan[admin.Sought]](t)(k.admin.Seek(t.Context(), billing, admin.End()))
	if _, err := plan.Do(t.Context(), byAda); err == nil || !strings.Contains(err.Error(), "audit") {
		t.Errorf("%v", err)
	}
	if _, err := k.admin.Pause(t.Context(), billing, 1e9, "ada", "why"); err == nil {
		t.Error("the pause was done")
	}
	if _, err := k.admin.Import(t.Context(), "orders", strings.NewReader(`{"fields":[["n","1"]]}`), byAda); err == nil {
		t.Error("the import was done")
	}
	if k.billing().LastDeliveredID != "0-0" || k.do("exists", "{millrace}:control") != int64(0) || k.do("xlen", "orders") != int64(5) {
		t.Error("something has changed")
	}
}

// The end is recorded although the context has ended.
func TestAuditOfAStop(t *testing.T) {
	t.Parallel()
	k := newBillingOf(t, 300, 300, admin.WithAudit("audit"))
	plan := must[*admin.Plan[admin.Claimed]](t)(k.admin.Claim(t.Context(), billing, "web-1", ""))
	ctx, cancel := context.WithCancel(t.Context())
	done, err := plan.Do(ctx, byAda, admin.Unattended(), admin.Report(func(admin.Progress) { cancel() }))
	if !errors.Is(err, context.Canceled) || done.Claimed != 100 {
		t.Errorf("%+v, %v", done, err)
	}
	entries := must[[]redis.XMessage](t)(k.client.XRange(t.Context(), "audit", "-", "+").Result())
	if len(entries) != 2 || !strings.Contains(entries[1].Values["what"].(string), "Claimed:100") {
		t.Errorf("%+v", entries)
	}
}

// The server dies after a plan was made.
func TestPlanWithoutItsServer(t *testing.T) {
	t.Parallel()
	k := newBillingOf(t, 5, 0)
	client := redis.NewClient(&redis.Options{Addr: k.server.Addr, MaxRetries: -1})
	defer func() { _ = client.Close() }()
	plan := must[*admin.Plan[admin.Sought]](t)(adminWith(t, client).Seek(t.Context(), billing, admin.End()))
	k.server.Kill()
	if _, err := plan.Do(t.Context(), byAda); err == nil {
		t.Error("no error")
	}
	k.server.Start()
	must[admin.Sought](t)(plan.Do(t.Context(), byAda)) // it was not begun
}
