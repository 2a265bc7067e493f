package loss

import "testing"

func TestDiagnose(t *testing.T) {
	t.Parallel()
	whole := survey{first: "1-0", last: "9-0", length: 9, added: 9, deleted: "0-0"}
	for name, row := range map[string]struct {
		position string
		ordinal  int64
		change   func(*survey)
		want     Finding
	}{
		"all is there":                {"5-0", 5, func(s *survey) { s.witness = true }, Finding{}},
		"deleted":                     {"5-0", 5, func(s *survey) { *s = survey{missing: true} }, Finding{Cause: Recreated, Count: -1}},
		"ahead":                       {"10-0", 10, nil, Finding{Cause: Ahead, To: "1-0", Count: -1}},
		"ahead of an empty stream":    {"10-0", 10, func(s *survey) { s.first, s.length = "", 0 }, Finding{Cause: Ahead, Count: -1}},
		"deleted itself":              {"5-0", 5, func(s *survey) { s.deleted = "5-0" }, Finding{}},
		"replaced":                    {"5-5", 5, nil, Finding{Cause: Replaced, To: "1-0", Count: -1}},
		"trimmed to the place":        {"5-0", 5, func(s *survey) { s.first, s.length = "6-0", 4 }, Finding{}},
		"trimmed behind the place":    {"5-0", 5, func(s *survey) { s.first, s.length = "8-0", 2 }, Finding{Cause: Trimmed, To: "8-0", Count: 2, Exact: true}},
		"trimmed to nothing":          {"5-0", 5, func(s *survey) { s.first, s.length = "", 0 }, Finding{Cause: Trimmed, Count: 4, Exact: true}},
		"trimmed, and deleted":        {"5-0", 5, func(s *survey) { s.first, s.length, s.deleted = "8-0", 2, "7-0" }, Finding{Cause: Trimmed, To: "8-0", Count: 2, Exact: true}},
		"made again, and empty":       {"5-0", 5, func(s *survey) { *s = survey{last: "0-0", deleted: "0-0"} }, Finding{Cause: Recreated, Count: -1}},
		"deleted, not counted":        {"5-0", -1, func(s *survey) { s.first, s.length, s.deleted = "8-0", 2, "5-0" }, Finding{}},
		"deleted behind, not counted": {"5-0", -1, func(s *survey) { s.first, s.length, s.deleted = "8-0", 2, "6-0" }, Finding{Cause: Trimmed, To: "8-0", Count: 7}},
		"trimmed, not counted":        {"5-0", -1, func(s *survey) { s.first, s.length = "8-0", 2 }, Finding{Cause: Trimmed, To: "8-0", Count: 7}},
		"another one":                 {"5-0", 50, func(s *survey) { s.first, s.length = "8-0", 2 }, Finding{Cause: Recreated, To: "8-0", Count: -1}},
		"another one, untrimmed":      {"5-0", -1, func(s *survey) { s.first, s.length, s.added = "8-0", 2, 2 }, Finding{Cause: Recreated, To: "8-0", Count: -1}},
		"a server that does not say":  {"5-0", -1, func(s *survey) { s.first, s.length, s.added, s.deleted = "8-0", 2, 0, "" }, Finding{Cause: Trimmed, To: "8-0", Count: -1}},
		"numbers, not texts":          {"10-0", 2, func(s *survey) { s.first, s.last, s.length, s.added = "9-0", "11-0", 2, 2 }, Finding{Cause: Replaced, To: "9-0", Count: -1}},
	} {
		seen := whole
		if row.change != nil {
			row.change(&seen)
		}
		got := seen.diagnose(row.position, row.ordinal)
		if got.Cause != None && got.From != row.position {
			t.Errorf("%s: lost from %s, want %s", name, got.From, row.position)
		}
		got.From = ""
		if got != row.want {
			t.Errorf("%s: diagnosed %+v, want %+v", name, got, row.want)
		}
	}
}
