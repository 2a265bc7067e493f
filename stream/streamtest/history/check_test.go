package history_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/stream/streamtest/history"
)

// story writes histories in a short form, one event a word:
//
//	+1 acknowledged   >1 delivered   =1 handled   !1 failed   ~1 dead letter
//	s1 saving, saved  l1 loaded      r1-2 reported, r without a range
//	b1 resetting, reset (back)      d1 resetting, with no known result
//	{kill:2 a fault that may repeat two   {fail:loses   {gone:alarms   }kill over
//	pa publishing with the key a   ua and it had no answer
//
// A number is that of an entry's ID, and a letter behind the number is the key of the entry.
// Behind that, @you names the consumer, which is otherwise me, and #7 is the sum of the fields.
func story(words string) []history.Event {
	var h []history.Event
	for word := range strings.FieldsSeq(words) {
		mark, rest := word[0], word[1:]
		by, sum := "me", uint64(0)
		if text, number, ok := strings.Cut(rest, "#"); ok {
			rest = text
			_, _ = fmt.Sscan(number, &sum)
		}
		if text, name, ok := strings.Cut(rest, "@"); ok {
			rest, by = text, name
		}
		id, key := strings.TrimRight(rest, "abc")+"-0", strings.TrimLeft(rest, "0123456789")
		entry := func(kind history.Kind) history.Event {
			return history.Event{Kind: kind, By: by, ID: id, Key: key, Sum: sum}
		}
		switch mark {
		case 'p':
			h = append(h, history.Event{Kind: history.Publishing, By: by, Key: rest})
		case 'u':
			h = append(h, history.Event{Kind: history.PublishUnknown, By: by, Key: rest})
		case '+':
			h = append(h, entry(history.Published))
		case '>':
			h = append(h, entry(history.Delivered))
		case '=', '!', '~':
			event := entry(history.Handled)
			event.Passed = mark != '!'
			if mark != '=' {
				event.Text = "no"
			}
			h = append(h, event)
		case 's':
			h = append(h, entry(history.Saving), entry(history.Saved))
		case 'b':
			h = append(h, entry(history.Resetting), entry(history.Reset))
		case 'd':
			h = append(h, entry(history.Resetting))
		case 'l':
			h = append(h, entry(history.Loaded))
		case 'r':
			event := history.Event{Kind: history.Reported, By: by, Text: "lost"}
			if from, to, ok := strings.Cut(rest, "-"); ok {
				event.ID, event.To = from+"-0", to+"-0"
			}
			h = append(h, event)
		case '{':
			name, may, _ := strings.Cut(rest, ":")
			fault := history.Fault{Name: name, Loses: may == "loses", Alarms: may == "alarms"}
			_, _ = fmt.Sscan(may, &fault.Repeats)
			h = append(h, history.Event{Kind: history.FaultBegun, Text: name, May: &fault})
		case '}':
			h = append(h, history.Event{Kind: history.FaultOver, Text: rest})
		}
	}
	return h
}

// ids makes "1 2" the IDs 1-0 and 2-0.
func ids(numbers string) []string {
	var out []string
	for n := range strings.FieldsSeq(numbers) {
		out = append(out, n+"-0")
	}
	return out
}

func TestCheck(t *testing.T) {
	t.Parallel()
	inOrder, byKey := history.Rules{Order: history.InOrder}, history.Rules{Order: history.ByKey}
	anyOrder := history.Rules{}
	for _, row := range []struct {
		name  string
		rules history.Rules
		story string
		log   string
		want  string // verdict:number, and :fault if one explains it
	}{
		{"all is well", inOrder, "+1 >1 =1 +2 s1 >2 !2 >2 =2 s2 l2", "1 2", ""},
		{"absorbed entries are passed", inOrder, ">1 ~1 >2 =2 s2", "1 2", ""},
		{"no order in group mode", anyOrder, ">1 >2 =2 =1", "1 2", ""},

		{"never delivered", anyOrder, "+1 +2 >1 =1", "1 2", "lost:2"},
		{"never handled with success", anyOrder, "+1 >1 !1", "1", "lost:1"},
		{"somebody else's entry", anyOrder, "", "1", "lost:1"},
		{"before the start", history.Rules{After: "1-0", Order: history.InOrder}, "+1 >2 =2 s2", "1 2", ""},

		{"saved past a failed entry", inOrder, ">1 =1 >2 !2 >3 =3 s3", "1 2 3", "skipped:2, lost:2"},
		{"saved too early", inOrder, ">1 s1 =1", "1", "skipped:1"},
		{"saved too early, acknowledged", inOrder, "+1 +2 >2 =2 s2 >1 =1", "1 2", "skipped:1, out of order:1"},
		{"reported once", inOrder, "+1 +2 +3 >2 =2 s2 >3 =3 s3", "1 2 3", "skipped:1, lost:1"},

		{"saved past what came with a lower ID", anyOrder, "{fail:loses +5 >5 =5 s5 }fail +3 +6 >6 =6 s6 >3 =3", "3 6", "phantom:5:fail, skipped:3"},
		{"reported once behind such a one", anyOrder, "+3 >9 =9 s9 s9 >2 =2", "2 3 9", "skipped:3, lost:3"},

		{"handled after a later one", inOrder, ">1 =1 >3 =3 >2 =2", "1 2 3", "out of order:2"},
		{"a failed one is passed by", inOrder, ">1 !1 >2 =2 >1 =1", "1 2", "out of order:1"},
		{"keys have an order each", byKey, ">2a =2a >1b =1b", "1 2", ""},
		{"the order of a key", byKey, ">2a =2a >1a =1a", "1 2", "out of order:1"},
		{"a repeat is no disorder", inOrder, "{kill:2 >1 =1 >2 =2 }kill >1 =1 >2 =2", "1 2", "repeated:1:kill, repeated:2:kill"},
		{"a new primary numbers lower", inOrder, "{fail:loses +5 >5 =5 s5 }fail +3 >3 =3 +6 >6 =6 s6", "3 6", "phantom:5:fail"},

		{"handled again", anyOrder, ">1 =1 >1 =1", "1", "repeated:1"},
		{"handled again, and failed", anyOrder, ">1 =1 >1 !1", "1", "repeated:1"},
		{"by two at once", anyOrder, ">1 >1 =1 =1", "1", "repeated:1"},
		{"after a failure is no repeat", anyOrder, ">1 !1 >1 =1", "1", ""},
		{"a dead letter that was not written", anyOrder, ">1 ~1 >1 ~1 >1 =1", "1", ""},
		{"a fault explains it", anyOrder, ">1 =1 {kill:1 }kill >1 =1", "1", "repeated:1:kill"},
		{"more than the fault may", anyOrder, ">1 =1 >2 =2 {kill:1 }kill >1 =1 >2 =2", "1 2", "repeated:1:kill, repeated:2"},
		{"a fault that repeats nothing", anyOrder, ">1 =1 {cut }cut >1 =1", "1", "repeated:1"},
		{"a fault before it", anyOrder, "{kill:1 }kill >1 =1 >1 =1", "1", "repeated:1"},
		{"a fault after it", anyOrder, ">1 =1 >1 =1 {kill:1 }kill", "1", "repeated:1"},
		{"a fault that lasts", anyOrder, "{freeze:1 >1 =1 >1 =1", "1", "repeated:1:freeze"},
		{"two faults share", anyOrder, ">1 =1 >2 =2 {a:1 }a {b:1 }b >1 =1 >2 =2", "1 2", "repeated:1:a, repeated:2:b"},

		{"handled, and gone", anyOrder, "+1 >1 =1", "", "phantom:1"},
		{"gone by a failover", anyOrder, "+1 >1 =1 {fail:loses }fail", "", "phantom:1:fail"},
		{"a failover before it", anyOrder, "{fail:loses }fail +1 >1 =1", "", "phantom:1"},
		{"a kill loses nothing", anyOrder, "+1 >1 =1 {kill:9 }kill", "", "phantom:1"},
		{"trimmed on purpose", history.Rules{Trimmed: "1-0"}, "+1 >1 =1 +2 >2 =2", "2", ""},

		{"gone unread", anyOrder, "+1", "", "silent:1"},
		{"gone unread by a failover", anyOrder, "+1 {fail:loses }fail", "", "silent:1:fail"},
		{"trimmed unread", history.Rules{Trimmed: "1-0"}, "+1 +2 >2 =2", "2", "silent:1"},
		{"reported", anyOrder, "+1 +2 r1-2", "", ""},
		{"reported without a range", anyOrder, "+1 r", "", ""},
		{"another one is reported", anyOrder, "+1 r2-3", "", "silent:1, false report:2"},
		{"published after a report", anyOrder, "+1 r +2", "", "silent:2"},

		{"loaded lower", inOrder, ">1 =1 >2 =2 s2 l1", "1 2", "moved back:1"},
		{"saved lower", inOrder, ">1 =1 >2 =2 s2 s1", "1 2", "moved back:1"},
		{"loaded lower after a failover", inOrder, ">1 =1 >2 =2 s2 {fail:loses }fail l1", "1 2", "moved back:1:fail"},
		{"one finding for each way back", inOrder, ">1 =1 >2 =2 >3 =3 s3 l1 s1 s2 s3", "1 2 3", "moved back:1"},
		{"reset after a report", inOrder, ">1 =1 >2 =2 s2 r b0 l0 >1 =1 s1", "1 2", "repeated:1, false report:0"},
		{"reset, and tried again", inOrder, ">1 =1 >2 =2 s2 r d0 d0 b0 l0", "1 2", "false report:0"},
		{"reset without a report", inOrder, ">1 =1 >2 =2 s2 b1 l1", "1 2", "moved back:1"},
		{"reset once more without a report", inOrder, ">1 =1 >2 =2 s2 r b1 s2 b1 l1", "1 2", "moved back:1, false report:0"},
		{"loaded lower than it was reset", inOrder, ">1 =1 >2 =2 s2 r b1 l0", "1 2", "moved back:0, false report:0"},

		{"the order of what was trimmed", history.Rules{Order: history.InOrder, Trimmed: "3-0"}, "+1 +2 +3 >1 =1 >3 =3 >2 =2 s3 +4 >4 =4 s4", "4", "out of order:2"},
		{"saved past what was trimmed unhandled", history.Rules{Order: history.InOrder, Trimmed: "2-0"}, "+1 +2 +3 >2 =2 s2 >1 =1 >3 =3 s3", "3", "skipped:1, out of order:1"},
		{"the order of what is gone without a fault", inOrder, "+1 +2 >2 =2 >1 =1", "", "out of order:1, phantom:1, phantom:2"},

		{"two at once", anyOrder, ">1 >1@you =1 !1@you", "1", "repeated:1, at once:1"},
		{"the one that was killed", anyOrder, "{kill:1 >1 }kill >1@you =1@you", "1", ""},
		{"two at once, frozen", anyOrder, ">1 {freeze:1 >1@you =1@you }freeze =1", "1", "repeated:1:freeze, at once:1:freeze"},
		{"two of a key at once", byKey, ">1a >2a =1a =2a", "1 2", "at once:2"},
		{"two keys at once", byKey, ">1a >2b =1a =2b", "1 2", ""},
		{"two of a key at once in group mode", anyOrder, ">1a >2a =1a =2a", "1 2", ""},

		{"replayed out of order", inOrder, "{kill:3 >1 =1 >2 =2 >3 =3 l0@you >2@you =2@you >1@you =1@you", "1 2 3", "repeated:1:kill, repeated:2:kill, out of order:1"},
		{"replayed twice in order", inOrder, "{kill:4 >1 =1 >2 =2 l0@you >1@you =1@you >2@you =2@you l0@he >1@he =1@he >2@he =2@he", "1 2", "repeated:1:kill, repeated:2:kill, repeated:1:kill, repeated:2:kill"},
		{"a key replayed out of order", byKey, "{kill:3 >1a =1a >2a =2a >3b =3b l0@you >3b@you =3b@you >2a@you =2a@you >1a@you =1a@you", "1 2 3", "repeated:1:kill, repeated:2:kill, repeated:3:kill, out of order:1"},
		{"back after a report", inOrder, "+1 >2 =2 >3 =3 r1-1 >2 =2 >3 =3", "2 3", "repeated:2, repeated:3"},

		{"an offset of no entry", inOrder, ">1 =1 s1 s7 s7", "1", "no entry:7"},
		{"the place to begin is no entry", history.Rules{Order: history.InOrder, After: "7-0"}, "s7 >8 =8 s8", "8", ""},
		{"an offset of a lost entry", inOrder, "+1 >1 =1 {fail:loses }fail s1", "", "phantom:1:fail"},

		{"handled before the start", history.Rules{After: "2-0"}, ">2 =2 >3 =3", "1 2 3", "early:2"},
		{"failed before the start", history.Rules{After: "2-0"}, ">2 !2 >3 =3", "1 2 3", "early:2"},
		{"before the start after a loss", history.Rules{After: "2-0"}, "+4 {fail:loses }fail r >1 =1", "1", ""},

		{"published twice", anyOrder, "pa +1a >1a =1a >2a =2a", "1 2", "doubled:2"},
		{"two publishes of a key", anyOrder, "pa +1a pa ua >1a =1a >2a =2a", "1 2", ""},
		{"publishes that were not recorded", anyOrder, "pa +1a >1a =1a >2b =2b", "1 2", ""},

		{"another key than published", anyOrder, "+1a >1b =1b", "1", "altered:1"},
		{"other fields than before", anyOrder, ">1#7 !1 >1#8 =1", "1", "altered:1"},
		{"the same fields", anyOrder, ">1#7 !1 >1#7 =1", "1", ""},
		{"another entry of the ID after a failover", anyOrder, ">1a#7 =1a {fail:loses }fail +1b >1b#8 =1b", "1", "altered:1:fail, repeated:1"},

		{"a loss that is none", anyOrder, "+1 +2 r1-1 >1 =1 >2 =2", "1 2", "false report:1"},
		{"a loss of nothing", anyOrder, "r4-5 +4 >4 =4", "4", "false report:4"},
		{"a loss of an entry without an ID", anyOrder, "pa ua r4-5", "", ""},
		{"a loss that nothing tells from none", anyOrder, "+1 >1 =1 {gone:alarms }gone r", "1", "false report:0:gone"},
		{"a loss before a fault", anyOrder, "+1 >1 =1 r {gone:alarms }gone", "1", "false report:0"},
		{"a loss of what is there and unread", anyOrder, "+1 r1-1", "1", "lost:1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			findings, err := row.rules.Check(story(row.story), ids(row.log))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, finding := range findings {
				word := string(finding.Verdict) + ":" + strings.TrimSuffix(finding.ID, "-0")
				if finding.Fault != "" {
					word += ":" + finding.Fault
				}
				got = append(got, word)
			}
			slices.Sort(got)
			want := strings.Split(row.want, ", ")
			slices.Sort(want)
			if strings.Join(got, ", ") != strings.Join(want, ", ") {
				t.Errorf("found %q, want %q", got, row.want)
			}
			explained := 0
			for _, finding := range findings {
				if finding.Fault != "" {
					explained++
				}
			}
			if n := len(findings.Violations()); n != len(findings)-explained {
				t.Errorf("%d violations of %d findings, %d of them explained", n, len(findings), explained)
			}
		})
	}
}

// A hundred thousand entries, and hundreds of faults, are judged in a moment. If the time grew
// with the square of their numbers, this test would take hours.
func TestCheckOfALongHistory(t *testing.T) {
	t.Parallel()
	const entries, faults = 100_000, 500
	var events []history.Event
	var log []string
	add := func(kind history.Kind, n int, passed bool) {
		events = append(events, history.Event{Kind: kind, By: "me", Key: fmt.Sprint(n % 10), ID: fmt.Sprint(n, "-0"), Passed: passed})
	}
	for n := range entries {
		if n%(entries/faults) == 0 {
			name := fmt.Sprint("fault ", n)
			events = append(events, history.Event{Kind: history.FaultBegun, Text: name, May: &history.Fault{Name: name, Repeats: 50, Loses: n == 0}},
				history.Event{Kind: history.FaultOver, Text: name})
		}
		add(history.Published, n+1, false)
		add(history.Delivered, n+1, false)
		add(history.Handled, n+1, true)
		if n%7 == 0 {
			add(history.Saving, n+1, false)
			add(history.Saved, n+1, false)
		}
		if n%5 == 0 {
			add(history.Handled, max(1, n-500), true) // again
		}
		if n%2 == 0 {
			log = append(log, fmt.Sprint(n+1, "-0")) // the others are gone
		}
	}
	events = append(events, history.Event{Kind: history.Reported})
	begun := time.Now()
	findings, err := history.Rules{Order: history.InOrder}.Check(events, log)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(findings.Of(history.Repeated)); n != entries/5 {
		t.Errorf("%d repeats were found, want %d", n, entries/5)
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("the check took %v", took)
	}
	t.Logf("%d events, %d findings, checked in %v", len(events), len(findings), time.Since(begun))
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	for name, check := range map[string]func() (history.Findings, error){
		"a rule":           func() (history.Findings, error) { return history.Rules{After: "x"}.Check(nil, nil) },
		"an ID":            func() (history.Findings, error) { return history.Rules{}.Check(nil, []string{"1-"}) },
		"an order":         func() (history.Findings, error) { return history.Rules{}.Check(nil, ids("2 1")) },
		"an event's ID":    func() (history.Findings, error) { return history.Rules{}.Check(story("+x"), nil) },
		"an offset's form": func() (history.Findings, error) { return history.Rules{}.Check(story("sx"), nil) },
	} {
		if findings, err := check(); err == nil {
			t.Errorf("%s: %v and no error", name, findings)
		}
	}
}

func TestFindingsAreReadable(t *testing.T) {
	t.Parallel()
	findings, err := history.Rules{}.Check(story("+1a +2b >2b =2b {kill:1 }kill >2b =2b"), ids("1 2"))
	if err != nil {
		t.Fatal(err)
	}
	want := `1 repeated, 1 lost
repeated: 2-0 (key "b"), handled by "me" after it had been with success, as kill allows
lost: 1-0 (key "a"), never delivered`
	if got := findings.String(); got != want {
		t.Errorf("findings are written as\n%s\nwant\n%s", got, want)
	}
	if n := len(findings.Of(history.Repeated)); n != 1 {
		t.Errorf("%d repeated", n)
	}
}

func TestHistoryIsReadBack(t *testing.T) {
	t.Parallel()
	h := story("+1a >1a =1a !2 s1 l1 r1-2 r {kill:3 {fail:loses }kill")
	var buf bytes.Buffer
	if err := history.Write(&buf, h); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(buf.String(), "\n"); lines != len(h) {
		t.Errorf("%d lines for %d events", lines, len(h))
	}
	back, err := history.Read(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, h) {
		t.Errorf("read back\n%v\nwant\n%v", back, h)
	}
	if _, err := history.Read(strings.NewReader("{}\n{\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a broken line gives %v", err)
	}
}

// A process that is killed may have written a part of its last event, and another process then
// writes behind this part.
func TestTornEventsAreLeftOut(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	// A text may contain the beginning of an event.
	h := []history.Event{{Kind: history.Delivered, ID: "1-0", Key: `{"at":`}, {Kind: history.Published, ID: "2-0"}}
	if err := history.Write(&buf, h); err != nil {
		t.Fatal(err)
	}
	whole := buf.String()
	first := whole[:strings.Index(whole, "\n")+1]
	for n := range len(first) {
		want := h
		if n == len(first)-1 { // but for the end of the line
			want = append(h[:1:1], h...)
		}
		back, err := history.Read(strings.NewReader(first[:n] + whole))
		if err != nil || !reflect.DeepEqual(back, want) {
			t.Errorf("with %q before it: %v, %v, want %v", first[:n], back, err, want)
		}
		want = append(h[:2:2], want[:len(want)-2]...)
		back, err = history.Read(strings.NewReader(whole + first[:n]))
		if err != nil || !reflect.DeepEqual(back, want) {
			t.Errorf("with %q behind it: %v, %v, want %v", first[:n], back, err, want)
		}
	}
}

// Many recorders, as of many processes, write to one file.
func TestHistoriesAreAppended(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.jsonl")
	const writers, events = 5, 200
	done := make(chan error)
	for range writers {
		go func() {
			file, err := history.Append(path)
			if err != nil {
				done <- err
				return
			}
			defer func() { _ = file.Close() }()
			rec := history.Recorder{Out: file}
			for range events {
				rec.Add(history.Event{Kind: history.Delivered, ID: "1-0", Text: strings.Repeat("x", 500)})
			}
			_, err = rec.Events()
			done <- err
		}()
	}
	for range writers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	h, err := history.ReadFile(path)
	if err != nil || len(h) != writers*events {
		t.Errorf("%d events, %v, want %d", len(h), err, writers*events)
	}
}
