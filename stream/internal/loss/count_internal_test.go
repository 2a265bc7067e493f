package loss

import (
	"testing"

	"millrace/stream/internal/resp"
)

// The entries that were read are compared with those that were added, at every mark that
// is passed and whenever nothing is behind the place.
func TestCount(t *testing.T) {
	t.Parallel()
	read := func(ids ...string) func(*count) Finding {
		return func(c *count) Finding {
			entries := make([]resp.Entry, len(ids))
			for i, id := range ids {
				entries[i].ID = id
			}
			return c.read(entries)
		}
	}
	look := func(at string, resumed bool, seen survey) func(*count) Finding {
		return func(c *count) Finding { return c.compare(resp.Place{ID: at}, seen, resumed) }
	}
	five := survey{first: "1-0", end: "5-0", last: "5-0", length: 5, added: 5, deleted: "0-0", witness: true}
	with := func(change func(*survey)) survey {
		seen := five
		change(&seen)
		return seen
	}
	for name, row := range map[string]struct {
		steps []func(*count) Finding
		want  Finding
		// ordinal is the count in the end.
		ordinal int64
	}{
		"all of it":           {[]func(*count) Finding{look("0-0", false, five), read("1-0", "2-0"), read("3-0", "4-0", "5-0", "6-0")}, Finding{}, 6},
		"one by one":          {[]func(*count) Finding{look("0-0", false, five), read("1-0"), read("2-0"), read("3-0"), read("4-0"), read("5-0"), look("5-0", false, five)}, Finding{}, 5},
		"a gap before a mark": {[]func(*count) Finding{look("0-0", false, five), read("1-0", "2-0"), read("5-0", "6-0")}, Finding{Cause: Trimmed, From: "0-0", To: "5-0", Count: 2, Exact: true}, 6},
		"the mark is missing": {[]func(*count) Finding{look("0-0", false, five), read("1-0", "2-0", "3-0", "4-0"), read("6-0", "7-0")}, Finding{Cause: Trimmed, From: "0-0", To: "5-0", Count: 1, Exact: true}, 7},
		"a gap at the end":    {[]func(*count) Finding{look("0-0", false, survey{missing: true}), read("1-0", "2-0"), read("5-0"), look("5-0", false, five)}, Finding{Cause: Trimmed, From: "0-0", To: "5-0", Count: 2, Exact: true}, 5},
		"a second gap": {[]func(*count) Finding{
			look("0-0", false, survey{missing: true}), read("1-0", "2-0", "3-0", "4-0", "5-0"), look("5-0", false, five), read("7-0"),
			look("7-0", false, with(func(s *survey) { s.end, s.last, s.added, s.length = "7-0", "7-0", 7, 6 })),
		}, Finding{Cause: Trimmed, From: "5-0", To: "7-0", Count: 1, Exact: true}, 7},
		"deleted behind the last": {[]func(*count) Finding{
			look("5-0", true, five), look("5-0", false, with(func(s *survey) { s.last, s.added, s.deleted = "7-0", 7, "7-0" })),
		}, Finding{Cause: Trimmed, From: "5-0", To: "7-0", Count: 2, Exact: true}, 7},
		"told once": {[]func(*count) Finding{
			look("5-0", true, five), look("5-0", false, with(func(s *survey) { s.last, s.added, s.deleted = "7-0", 7, "7-0" })),
			func(c *count) Finding { c.mark = mark{}; return Finding{} }, look("5-0", false, with(func(s *survey) { s.last, s.added, s.deleted = "7-0", 7, "7-0" })), read("8-0"),
		}, Finding{}, 8},
		"another stream":           {[]func(*count) Finding{look("0-0", false, five), read("1-0", "2-0", "3-0", "4-0", "5-0", "6-0"), look("9-0", false, survey{first: "8-0", end: "9-0", last: "9-0", length: 2, added: 2, witness: true})}, Finding{Cause: Recreated, From: "5-0", To: "8-0", Count: -1}, 2},
		"trimmed before the first": {[]func(*count) Finding{look("0-0", false, five), look("0-0", false, with(func(s *survey) { s.first, s.length = "3-0", 3 }))}, Finding{Cause: Trimmed, From: "0-0", To: "3-0", Count: 2, Exact: true}, 2},
		"not from the beginning":   {[]func(*count) Finding{look("3-0", false, five), read("4-0", "5-0")}, Finding{}, 5},
		"deleted while it was down": {[]func(*count) Finding{
			look("2-0", true, with(func(s *survey) { s.length, s.deleted = 4, "4-0" })),
		}, Finding{Cause: Trimmed, From: "2-0", To: "4-0", Count: 1}, -1},
		"deleted before it began": {[]func(*count) Finding{
			look("2-0", false, with(func(s *survey) { s.length, s.deleted = 4, "4-0" })),
		}, Finding{}, -1},
		"deleted when handled": {[]func(*count) Finding{look("4-0", true, with(func(s *survey) { s.length, s.deleted = 4, "2-0" })), read("5-0")}, Finding{}, 5},
		"deleted while it is behind": {[]func(*count) Finding{
			look("2-0", false, five), look("3-0", false, with(func(s *survey) { s.length, s.deleted = 4, "4-0" })),
		}, Finding{Cause: Trimmed, From: "3-0", To: "4-0", Count: 1}, -1},
		"still behind": {[]func(*count) Finding{
			look("2-0", false, five), look("3-0", false, with(func(s *survey) { s.length, s.deleted = 4, "4-0" })), look("3-0", false, with(func(s *survey) { s.length, s.deleted = 4, "4-0" })),
		}, Finding{}, -1},
	} {
		c := uncounted("0-0")
		var got Finding
		for i, step := range row.steps {
			if got.Cause != None && row.want.Cause != None {
				t.Errorf("%s: told %+v before step %d", name, got, i)
			}
			got = step(&c)
		}
		if got != row.want {
			t.Errorf("%s: told %+v, want %+v", name, got, row.want)
		}
		if c.ordinal != row.ordinal {
			t.Errorf("%s: counted %d, want %d", name, c.ordinal, row.ordinal)
		}
	}
}
