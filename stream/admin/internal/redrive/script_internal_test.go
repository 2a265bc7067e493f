package redrive

import (
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/admin/internal/letters"
	"millrace/stream/admin/internal/letters/letterstest"
	"millrace/stream/streamtest"
)

// The script looks at each letter itself, whatever the plan says: the guard holds, and an entry
// that is no letter stays.
func TestRedriveScriptChecksLetters(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	history := []string{stream.HeaderOriginID, "1-1", stream.HeaderRedrives, "3"}
	entries := [][]string{
		append(slices.Clone(history), letterstest.Fields("5-5", stream.DeadLetterGroup, "billing")...),
		{"id", "a", stream.DeadLetterTime, "2026-11-28T10:00:00Z"},
		append([]string{"id", "b"}, letterstest.Fields("5-5", stream.DeadLetterLabel, "search")...),
	}
	var planned []letters.Planned
	for _, pairs := range entries {
		id, err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "dead", Values: pairs}).Result()
		if err != nil {
			t.Fatal(err)
		}
		planned = append(planned, letters.Planned{ID: id, Last: pairs[len(pairs)-1]})
	}
	planned = append(planned, letters.Planned{ID: "1-1"})
	// The second round has the letter that the first has kept.
	for i, want := range []string{"kept gone moved gone", "moved gone gone gone"} {
		most := 3 + i
		got, err := scriptRedrive.Run(t.Context(), client, []string{"dead", "orders"}, arguments(planned, most, "")...).StringSlice()
		if err != nil {
			t.Fatal(err)
		}
		for i, text := range got {
			if strings.Contains(text, "-") {
				got[i] = "moved"
			}
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("with at most %d: %s, want %s", most, text, want)
		}
	}
}
