package loss

import "testing"

// A group of a stream with the entries 1-0 to 9-0, which has read up to 5-0.
func TestDiagnoseAGroup(t *testing.T) {
	t.Parallel()
	whole := groupState{
		last: "5-0", now: "5-0", first: "6-0", read: 5, sure: 1, added: 9, length: 9, deleted: "0-0", generated: "9-0",
	}
	seen := groupView{place: "4-0", read: 4, deleted: "0-0", added: 8}
	for name, row := range map[string]struct {
		before groupView
		change func(*groupState)
		want   Finding
	}{
		"nothing":                         {seen, func(*groupState) {}, Finding{}},
		"never looked":                    {unseen, func(*groupState) {}, Finding{}},
		"trimmed, and counted":            {seen, func(s *groupState) { s.found, s.lost, s.first = "unread", 2, "8-0" }, Finding{Cause: Trimmed, From: "5-0", To: "8-0", Count: 2, Exact: true}},
		"trimmed, and hardly counted":     {unseen, func(s *groupState) { s.found, s.lost, s.first = "bound", 2, "8-0" }, Finding{Cause: Trimmed, From: "5-0", To: "8-0", Count: 2}},
		"trimmed, and the rest was read":  {seen, func(s *groupState) { s.found, s.lost, s.first = "unread", 2, "" }, Finding{Cause: Trimmed, From: "4-0", To: "5-0", Count: 2, Exact: true}},
		"deleted behind the place":        {seen, func(s *groupState) { s.deleted, s.length = "7-0", 8 }, Finding{Cause: Trimmed, From: "5-0", To: "7-0", Count: 1}},
		"deleted, and told already":       {groupView{place: "4-0", read: 4, deleted: "7-0", added: 8}, func(s *groupState) { s.deleted, s.length = "7-0", 8 }, Finding{}},
		"deleted before it was looked at": {unseen, func(s *groupState) { s.deleted, s.length, s.read = "7-0", 8, -1 }, Finding{}},
		"deleted when it was read":        {seen, func(s *groupState) { s.deleted, s.length = "3-0", 8 }, Finding{}},
		"set further on":                  {seen, func(s *groupState) { s.last, s.now, s.read, s.sure = "8-0", "8-0", -1, 0 }, Finding{Cause: GroupMoved, From: "4-0", To: "8-0", Count: 5}},
		"set back":                        {seen, func(s *groupState) { s.last, s.now, s.read, s.sure = "2-0", "2-0", -1, 0 }, Finding{}},
		"set ahead of the stream":         {seen, func(s *groupState) { s.found, s.last, s.now, s.first = "ahead", "20-0", "4-0", "5-0" }, Finding{Cause: Ahead, From: "20-0", To: "5-0", Count: -1, Back: "4-0"}},
		"made again":                      {groupView{place: "4-0", read: 40, added: 80}, func(*groupState) {}, Finding{Cause: Recreated, From: "4-0", To: "6-0", Count: -1, Back: "5-0"}},
		"gone back":                       {groupView{place: "40-0", read: 40, added: 80}, func(*groupState) {}, Finding{Cause: Ahead, From: "40-0", To: "6-0", Count: -1, Back: "5-0"}},
	} {
		at := whole
		row.change(&at)
		if got := at.diagnose(row.before, row.before.place); got != row.want {
			t.Errorf("%s: diagnosed %+v, want %+v", name, got, row.want)
		}
	}
}
