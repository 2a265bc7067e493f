package entries_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream/admin/internal/entries"
	"millrace/stream/streamtest"
)

// A stream comes whole and in order, either way round, and a page of large entries is small.
func TestPages(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	var want []string
	_, err := client.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		for i := range 40 {
			want = append(want, fmt.Sprintf("%d-0", i+1))
			p.Do(t.Context(), "xadd", "large", want[i], "a", "1", "a", strings.Repeat("x", 300<<10))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, backward := range []bool{false, true} {
		var got []string
		longest := 0
		err := entries.Pages(t.Context(), client, "large", "-", "+", backward, func(page []entries.Entry) bool {
			for _, entry := range page {
				got = append(got, entry.ID)
			}
			if len(got) > len(page) { // how large entries are is known from the first page on
				longest = max(longest, len(page))
			}
			return true
		})
		if backward {
			slices.Reverse(got)
		}
		if err != nil || !slices.Equal(got, want) || longest > 7 {
			t.Errorf("backward %v: %v, pages of up to %d entries; %v", backward, got, longest, err)
		}
	}
	calls := 0
	err = entries.Pages(t.Context(), client, "large", "(3-0", "20-0", false, func(page []entries.Entry) bool {
		calls++
		if page[0].ID != "4-0" || !slices.Equal(page[0].Pairs[:3], []string{"a", "1", "a"}) {
			t.Errorf("first %s, %q", page[0].ID, page[0].Pairs[:3])
		}
		return false
	})
	if err != nil || calls != 1 {
		t.Errorf("%d pages after the end was asked for; %v", calls, err)
	}
}

func TestByIDs(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	for _, id := range []string{"1-0", "2-0"} {
		if err := client.Do(t.Context(), "xadd", "s", id, "n", "1").Err(); err != nil {
			t.Fatal(err)
		}
	}
	got, err := entries.ByIDs(t.Context(), client, "s", []offset.ID{{Ms: 2}, {Ms: 7}, {Ms: 1}})
	if err != nil || len(got) != 2 || got[0].ID != "2-0" || got[1].ID != "1-0" {
		t.Errorf("%v, %v", got, err)
	}
}

// An answer that another server than Redis may give is an error, and no panic.
func TestScanOfOtherAnswers(t *testing.T) {
	t.Parallel()
	for name, reply := range map[string][]any{
		"no pair":    {"1-0"},
		"no ID":      {[]any{int64(1), []any{"a", "1"}}},
		"no list":    {[]any{"1-0", nil}},
		"odd fields": {[]any{"1-0", []any{"a"}}},
		"a number":   {[]any{"1-0", []any{"a", int64(1)}}},
	} {
		if got, err := entries.Scan(reply); !errors.Is(err, entries.ErrReply) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
