package admin

import (
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

// six returns the fields that a consumer adds to a letter.
func six(entry, kind, reader string) []string {
	return []string{
		stream.DeadLetterOrigin, "orders", stream.DeadLetterID, entry, kind, reader, stream.DeadLetterAttempts, "5",
		stream.DeadLetterCause, "a cause", stream.DeadLetterTime, "2026-11-28T10:00:00Z",
	}
}

// The script looks at each letter itself, whatever the plan says: the guard holds, and an entry
// that is no letter stays.
func TestRedriveScriptChecksLetters(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	history := []string{stream.HeaderOriginID, "1-1", stream.HeaderRedrives, "3"}
	entries := [][]string{
		append(slices.Clone(history), six("5-5", stream.DeadLetterGroup, "billing")...),
		{"id", "a", stream.DeadLetterTime, "2026-11-28T10:00:00Z"},
		append([]string{"id", "b"}, six("5-5", stream.DeadLetterLabel, "search")...),
	}
	var letters []plannedLetter
	for _, pairs := range entries {
		id, err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "dead", Values: pairs}).Result()
		if err != nil {
			t.Fatal(err)
		}
		letters = append(letters, plannedLetter{id: id, last: pairs[len(pairs)-1]})
	}
	letters = append(letters, plannedLetter{id: "1-1"})
	for most, want := range map[int]string{3: "kept gone moved gone", 4: "moved gone gone gone"} {
		got, err := scriptRedrive.Run(t.Context(), client, []string{"dead", "orders"}, arguments(letters, most, "")...).StringSlice()
		if err != nil {
			t.Fatal(err)
		}
		for i, text := range got {
			if strings.Contains(text, "-") {
				got[i] = "moved"
			}
		}
		// The second round has the letter that the first has kept.
		if text := strings.Join(got, " "); most == 3 && text != want || most == 4 && !strings.HasPrefix(text, "moved") {
			t.Errorf("with at most %d: %s, want %s", most, text, want)
		}
	}
}

// A letter of a redriven entry is the letter of the same entry, redriven once more.
func FuzzLetter(f *testing.F) {
	f.Add("id,a,x,b", "5-5", true)
	f.Add("id,a,millrace.edited,eve,millrace.for,group:a,millrace.origin-id,1-1,millrace.redrives,2", "5-5", false)
	f.Add("millrace.origin-id,,millrace.redrives,007", "", true)
	f.Add("millrace.for,,millrace.redrives,1234567890", "-", false)
	f.Fuzz(func(t *testing.T, text, entry string, group bool) {
		pairs := strings.Split(text, ",")
		kind := stream.DeadLetterLabel
		if group {
			kind = stream.DeadLetterGroup
		}
		if len(pairs)%2 != 0 {
			pairs = append(pairs, "")
		}
		letter, is := letterOf("dead", rawEntry{"1-1", append(slices.Clone(pairs), six(entry, kind, "r")...)})
		if !is {
			t.Fatalf("%q is no letter", pairs)
		}
		if letter.Redrives > 999_999_998 {
			return // the next number has ten digits, and counts as the entry's own
		}
		again, is := letterOf("dead", rawEntry{"2-2", append(letter.restored("group:r"), six("9-9", kind, "r")...)})
		if !is || again.Redrives != letter.Redrives+1 || again.OriginID != letter.OriginID || again.EditedBy != letter.EditedBy {
			t.Errorf("%+v, and redriven %+v", letter, again)
		}
		if !slices.Equal(pairsIn(again), pairsIn(letter)) {
			t.Errorf("fields %q, and redriven %q", pairsIn(letter), pairsIn(again))
		}
		if own := pairsIn(letter); !slices.Equal(own, pairs[:len(own)]) {
			t.Errorf("fields %q of %q", own, pairs)
		}
	})
}

func pairsIn(letter Letter) (pairs []string) {
	for name, value := range letter.Fields.All() {
		pairs = append(pairs, name, value)
	}
	return pairs
}

// A normalised cause is no longer than the cause, and has no digit outside of a field's name.
func FuzzNormalised(f *testing.F) {
	for _, text := range []string{`field "a" is 5`, "'", `x "\"`, `field "`, `field "a\`, "0x1f-2", "a-1-b-2", "\xff1", "1795827996968-0"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, cause string) {
		got := normalised(cause)
		if len(got) > len(cause) || strings.ContainsAny(got, "0123456789") {
			t.Errorf("%q is normalised to %q", cause, got)
		}
	})
}
