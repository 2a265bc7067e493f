package letters

import (
	"slices"
	"strings"
	"testing"

	"millrace/stream"
	"millrace/stream/admin/internal/entries"
	"millrace/stream/admin/internal/letters/letterstest"
)

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
		letter, is := Of(entries.Entry{ID: "1-1", Pairs: append(slices.Clone(pairs), letterstest.Fields(entry, kind, "r")...)})
		if !is {
			t.Fatalf("%q is no letter", pairs)
		}
		if letter.Redrives > 999_999_998 {
			return // the next number has ten digits, and counts as the entry's own
		}
		again, is := Of(entries.Entry{ID: "2-2", Pairs: append(letter.Restored("group:r"), letterstest.Fields("9-9", kind, "r")...)})
		if !is || again.Redrives != letter.Redrives+1 || again.OriginID != letter.OriginID || again.EditedBy != letter.EditedBy {
			t.Errorf("%+v, and redriven %+v", letter, again)
		}
		if !slices.Equal(again.Pairs, letter.Pairs) {
			t.Errorf("fields %q, and redriven %q", letter.Pairs, again.Pairs)
		}
		if own := letter.Pairs; !slices.Equal(own, pairs[:len(own)]) {
			t.Errorf("fields %q of %q", own, pairs)
		}
	})
}

// A normalised cause is no longer than the cause, and has no digit outside of a field's name.
func FuzzNormalised(f *testing.F) {
	for _, text := range []string{`field "a" is 5`, "'", `x "\"`, `field "`, `field "a\`, "0x1f-2", "a-1-b-2", "\xff1", "1795827996968-0"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, cause string) {
		got := Normalised(cause)
		if len(got) > len(cause) || strings.ContainsAny(got, "0123456789") {
			t.Errorf("%q is normalised to %q", cause, got)
		}
	})
}
