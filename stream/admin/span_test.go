package admin_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/admin"
	"millrace/stream/streamtest"
)

func idsOf(entries []stream.Entry) (ids []string) {
	for _, e := range entries {
		ids = append(ids, e.ID)
	}
	return ids
}

func atID(t *testing.T, text string) admin.Place {
	t.Helper()
	return admin.AtID(must[offset.ID](t)(offset.Parse(text)))
}

func TestEntriesOfASpan(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.add("orders", 1500) // more than a page
	for name, test := range map[string]struct {
		span        admin.Span
		first, last string
		n           int
	}{
		"all":       {admin.Span{}, "1-0", "1500-0", 1500},
		"last":      {admin.Last(3), "1498-0", "1500-0", 3},
		"last many": {admin.Last(1200), "301-0", "1500-0", 1200},
		"last more": {admin.Last(5000), "1-0", "1500-0", 1500},
		"between":   {admin.Between(atID(t, "10-0"), atID(t, "12-0")), "10-0", "12-0", 3},
		"times":     {admin.Between(admin.AtTime(time.UnixMilli(10)), admin.AtTime(time.UnixMilli(12))), "10-0", "12-0", 3},
		"from on":   {admin.Between(atID(t, "1000-0"), admin.End()), "1000-0", "1500-0", 501},
	} {
		got := idsOf(must[[]stream.Entry](t)(collect(k.admin.Entries(t.Context(), "orders", test.span))))
		if len(got) != test.n || got[0] != test.first || got[len(got)-1] != test.last {
			t.Errorf("%s: %d entries, %v", name, len(got), got[:min(3, len(got))])
		}
	}
	k.do("xadd", "orders", "*", "n", "now")
	if got := must[[]stream.Entry](t)(collect(k.admin.Entries(t.Context(), "orders", admin.Since(time.Hour)))); len(got) != 1 {
		t.Errorf("%d entries of the last hour, want 1", len(got))
	}
	for _, span := range []admin.Span{admin.Last(-1), admin.Since(-time.Second)} {
		if _, err := collect(k.admin.Entries(t.Context(), "orders", span)); !errors.Is(err, stream.ErrInvalidOption) {
			t.Errorf("%+v: %v", span, err)
		}
	}
}

// The order of the fields, names that repeat and bytes that are no text stay as they are.
func TestEntriesKeepTheirFields(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.do("xadd", "orders", "1-0", "z", "1", "a", "\xff\x00", "z", "2")
	for e, err := range k.admin.Entries(t.Context(), "orders", admin.Span{}) {
		ok(t, err)
		var pairs []string
		for name, value := range e.Fields.All() {
			pairs = append(pairs, name, value)
		}
		if !slices.Equal(pairs, []string{"z", "1", "a", "\xff\x00", "z", "2"}) || e.Stream != "orders" {
			t.Errorf("%s: %q", e.Stream, pairs)
		}
	}
}

// What is added meanwhile is not read, or a reader of a busy stream would not come to an end.
func TestEntriesEnd(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.add("orders", 20)
	n := 0
	for _, err := range k.admin.Entries(t.Context(), "orders", admin.Span{}) {
		ok(t, err)
		n++
		k.add("orders", 1)
	}
	if n != 20 {
		t.Errorf("%d entries, want 20", n)
	}
}

func TestLargeEntriesComeInSmallPages(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	for range 40 {
		k.do("xadd", "orders", "*", "n", strings.Repeat("x", 300_000))
	}
	most := 0
	k.client.AddHook(replies{func(cmd redis.Cmder) {
		if cmd.Name() == "xrange" {
			found, _ := cmd.(*redis.Cmd).Slice()
			most = max(most, len(found))
		}
	}})
	if got := must[[]stream.Entry](t)(collect(k.admin.Entries(t.Context(), "orders", admin.Span{}))); len(got) != 40 {
		t.Errorf("%d entries, want 40", len(got))
	}
	if most > 10 {
		t.Errorf("a page has %d entries of 300 KB, want at most 10", most)
	}
}

// replies is a hook that sees replies.
type replies struct{ see func(redis.Cmder) }

func (replies) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r replies) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		r.see(cmd)
		return err
	}
}

func (replies) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestTail(t *testing.T) {
	t.Parallel()
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", protocol), func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			client := redis.NewClient(&redis.Options{Addr: k.server.Addr, Protocol: protocol})
			t.Cleanup(func() { _ = client.Close() })
			k.add("orders", 3) // before, and so not among them
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			found := make(chan stream.Entry)
			go func() {
				defer close(found)
				for e, err := range adminWith(t, client).Tail(ctx, "orders", "later") {
					if err != nil {
						t.Error(err)
						return
					}
					found <- e
				}
			}()
			streamtest.Await(t, "a read waits", func() bool {
				return strings.Contains(k.do("client", "list").(string), "cmd=xread")
			})
			k.add("orders", 1)
			if e := <-found; e.Stream != "orders" || e.ID != "4-0" {
				t.Errorf("%s %s", e.Stream, e.ID)
			}
			k.add("later", 1)
			if e := <-found; e.Stream != "later" || e.ID != "1-0" {
				t.Errorf("%s %s", e.Stream, e.ID)
			}
			cancel()
			if e, more := <-found; more {
				t.Errorf("after the end: %s", e.ID)
			}
		})
	}
}

func TestTailOfNothing(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	if _, err := collect(k.admin.Tail(t.Context())); !errors.Is(err, stream.ErrInvalidOption) {
		t.Errorf("%v", err)
	}
	k.do("set", "text", "x")
	if _, err := collect(k.admin.Tail(t.Context(), "text")); err == nil || !strings.Contains(err.Error(), "another type") {
		t.Errorf("%v", err)
	}
}

func TestParsePlace(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("east", 2*60*60)
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, zone)
	for text, want := range map[string]admin.Place{
		"begin":                admin.Begin(),
		" end ":                admin.End(),
		"1795827996968-7":      atID(t, "1795827996968-7"),
		"1795827996968":        atID(t, "1795827996968-0"),
		"2026-11-28T09:00:00Z": admin.AtTime(time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)),
		"2026-11-28 10:00":     admin.AtTime(time.Date(2026, 11, 28, 10, 0, 0, 0, zone)),
		"2026-11-28 10:00:30":  admin.AtTime(time.Date(2026, 11, 28, 10, 0, 30, 0, zone)),
		"2026-11-27":           admin.AtTime(time.Date(2026, 11, 27, 0, 0, 0, 0, zone)),
		"15m":                  admin.AtTime(now.Add(-15 * time.Minute)),
		"2d":                   admin.AtTime(now.Add(-48 * time.Hour)),
	} {
		got, err := admin.ParsePlace(text, now)
		if err != nil || got.String() != want.String() {
			t.Errorf("%q is %v, want %v; %v", text, got, want, err)
		}
		if again, err := admin.ParsePlace(got.String(), now); err != nil || again.String() != want.String() {
			t.Errorf("%v is read as %v; %v", got, again, err)
		}
	}
	for text, says := range map[string]string{
		"":                     "entry ID such as",
		"yesterday":            "entry ID such as",
		"12-x":                 "entry ID such as",
		"-1":                   "entry ID such as",
		"2026-11-28 12:01":     "future",
		"2027-01-01":           "future",
		"-15m":                 "future",
		"2026-11-28T10:30:00Z": "future",
	} {
		if _, err := admin.ParsePlace(text, now); !errors.Is(err, admin.ErrNoPlace) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
