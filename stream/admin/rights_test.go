package admin_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/admin"
)

// rightsOf returns the rights that the page of the package names for something.
func rightsOf(t *testing.T, what string) []string {
	t.Helper()
	page := string(must[[]byte](t)(os.ReadFile("doc.go")))
	_, rest, found := strings.Cut(page, "//\t"+what+"  ")
	if !found {
		t.Fatalf("the page has no rights for %q", what)
	}
	var rights []string
	for i, line := range strings.Split(rest, "\n") {
		if i > 0 && !strings.HasPrefix(line, "//\t   ") {
			break
		}
		for _, word := range strings.Fields(strings.TrimPrefix(line, "//")) {
			rights = append(rights, strings.NewReplacer("<topic>", "orders", "<keyspace>", "{millrace}", "<offsets>", "millrace:offsets", "<audit>", "audit").Replace(word))
		}
	}
	return rights
}

// user returns an admin whose user has the rights, and no others.
func (k *kit) user(t *testing.T, rights []string) *admin.Admin {
	t.Helper()
	args := []any{"acl", "setuser", "user", "reset", "on", ">right"}
	for _, right := range rights {
		args = append(args, right)
	}
	k.do(args...)
	client := redis.NewClient(&redis.Options{Addr: k.server.Addr, Username: "user", Password: "right"})
	t.Cleanup(func() { _ = client.Close() })
	return adminWith(t, client)
}

// prepare makes the world in which the tests of rights do things.
func (k *kit) prepare() {
	k.do("flushall")
	k.do("script", "flush")
	k.add("orders", 10)
	k.do("xgroup", "create", "orders", "billing", "0")
	k.do("xgroup", "create", "orders", "empty", "3-0")
	k.do("xgroup", "createconsumer", "orders", "empty", "web-1")
	k.read("billing", "web-1", 3)
	k.do("xack", "orders", "billing", "1-0")
	k.do("hset", "millrace:offsets", "orders", "5-0")
	k.register("orders", admin.Registered{Readers: []string{"group:billing", "label:orders"}})
	k.add("{orders}:dead", 1)
	k.present("one", admin.Presence{})
}

// done makes a plan and does it.
func done[R any](plan *admin.Plan[R], err error) error {
	if err == nil {
		_, err = plan.Do(context.Background(), byAda, admin.Unattended())
	}
	return err
}

// reads does everything that changes nothing.
func reads(a *admin.Admin) error {
	ctx := context.Background()
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	_, err := collect(a.Overview(ctx, "", admin.WithScan(), admin.WithBytes()))
	note(err)
	_, err = a.Reader(ctx, billing)
	note(err)
	_, err = collect(a.Pending(ctx, billing))
	note(err)
	_, err = collect(a.Entries(ctx, "orders", admin.Since(time.Hour)))
	note(err)
	_, err = collect(a.Entries(ctx, "orders", admin.Last(3)))
	note(err)
	_, err = a.Trace(ctx, "orders", "1-0")
	note(err)
	return errors.Join(errs...)
}

// tails waits for new entries, of which there are none.
func tails(a *admin.Admin, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	_, err := collect(a.Tail(ctx, "orders"))
	return err
}

// A user with exactly the rights of the page can do what the page says, and with one right less
// cannot: the page asks for none that is not needed.
func TestRights(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	reading := rightsOf(t, "reading")
	label := admin.Label("orders", "orders")
	for what, do := range map[string]func(*admin.Admin) error{
		"reading": reads,
		"pause, resume": func(a *admin.Admin) error {
			_, err := a.Pause(ctx, billing, time.Hour, "ada", "why")
			_, again := a.Resume(ctx, billing, "ada", "why")
			return errors.Join(err, again)
		},
		"seek of a group": func(a *admin.Admin) error { return done(a.Seek(ctx, billing, admin.Begin())) },
		"seek of a label": func(a *admin.Admin) error { return done(a.Seek(ctx, label, admin.Begin())) },
		"trim":            func(a *admin.Admin) error { return done(a.Trim(ctx, "orders")) },
		"remove a consumer": func(a *admin.Admin) error {
			return done(a.RemoveConsumer(ctx, admin.Group("orders", "empty"), "web-1"))
		},
		"remove a group": func(a *admin.Admin) error { return done(a.RemoveGroup(ctx, billing)) },
		"forget a label": func(a *admin.Admin) error { return done(a.Forget(ctx, label)) },
		"forget a topic": func(a *admin.Admin) error { return done(a.ForgetTopic(ctx, "orders")) },
		"claim":          func(a *admin.Admin) error { return done(a.Claim(ctx, billing, "web-1", "")) },
		"ack":            func(a *admin.Admin) error { return done(a.Ack(ctx, billing, "2-0")) },
		"import": func(a *admin.Admin) error {
			_, err := a.Import(ctx, "orders", strings.NewReader(`{"fields":[["n","1"]]}`+"\n"+`{"fields":[["n","2"]]}`), byAda)
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			rights := rightsOf(t, what)
			all := rights
			if what != "reading" {
				all = append(slices.Clone(reading), rights...)
			}
			k.prepare()
			ok(t, do(k.user(t, all)))
			ok(t, tails(k.user(t, all), time.Millisecond))
			for _, right := range rights {
				switch right {
				case "+del": // for an entry that the stream refuses
					continue
				case "+multi", "+exec": // without them the counters are not of one moment
					continue
				}
				k.prepare()
				less := slices.DeleteFunc(slices.Clone(all), func(r string) bool { return r == right })
				do := do
				if right == "+xread" {
					do = func(a *admin.Admin) error { return tails(a, 30*time.Second) }
				}
				if err := do(k.user(t, less)); err == nil {
					t.Errorf("it works without %s", right)
				} else if !strings.Contains(err.Error(), "right") {
					t.Errorf("without %s: %v", right, err)
				}
			}
		})
	}
}
