package admin_test

import (
	"testing"

	"millrace/stream/admin"
)

// A pattern finds in the registry what it finds by a scan, as the server matches it.
func TestPatternsAreThoseOfRedis(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	names := []string{"orders", "order", "orders:eu", "o*rs", "a/b", "[x]", "x", "y", "a-b", "\\", "\xff", "Orders", ""}
	for _, name := range names[:len(names)-1] {
		k.do("xadd", name, "*", "n", "1")
		k.register(name, admin.Registered{})
	}
	for _, pattern := range []string{
		"", "*", "order?", "order*", "*:*", "o\\*rs", "o*s", "*a*b*", "a?b", "[xy]", "[^x]", "[w-y]", "[y-w]", "\\[x\\]", "[[]x]",
		"[a", "[", "[^", "\\\\", "\\", "?", "or[d]ers*", "**r**s", "a[,-/]b", "nothing", "[\\x]", "o*e*:*u",
	} {
		asked := pattern
		if asked == "" {
			asked = "*"
		}
		var want []string
		for iter := k.client.Scan(t.Context(), 0, asked, 1000).Iterator(); iter.Next(t.Context()); {
			if key := iter.Val(); k.client.Type(t.Context(), key).Val() == "stream" {
				want = append(want, key)
			}
		}
		got := namesOf(must[[]admin.Topic](t)(collect(k.admin.Topics(t.Context(), pattern))))
		if !sameNames(got, want) {
			t.Errorf("%q: %q, want %q", pattern, got, want)
		}
	}
}

func sameNames(a, b []string) bool {
	count := map[string]int{}
	for _, name := range a {
		count[name]++
	}
	for _, name := range b {
		count[name]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}
