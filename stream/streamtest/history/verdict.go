package history

import (
	"fmt"
	"slices"
	"strings"
)

// Verdict is what is wrong with an entry.
type Verdict string

// The verdicts of [Rules.Check].
const (
	// Lost: the entry is in the stream, and was never handled to its end.
	Lost Verdict = "lost"
	// Skipped: an offset at or behind the entry was saved before the entry had
	// been handled to its end. If the consumer had been killed then, the entry
	// would be lost.
	Skipped Verdict = "skipped"
	// OutOfOrder: the entry was handled to its end only after a later one; or, handled
	// once more, after a later one of the same replay: since the consumer has loaded or
	// reset its offset, or reported a loss.
	OutOfOrder Verdict = "out of order"
	// AtOnce: the entry, or with [ByKey] another one of its key, was handled by two at
	// the same time.
	AtOnce Verdict = "at once"
	// Early: the entry was handled though it is not behind [Rules.After].
	Early Verdict = "early"
	// Repeated: the entry was handled again after it had been with success.
	Repeated Verdict = "repeated"
	// Phantom: the entry was handled, and the stream does not have it in the end.
	Phantom Verdict = "phantom"
	// Silent: Redis acknowledged the entry and does not have it in the end, it was
	// not handled, and no report speaks of it.
	Silent Verdict = "silent"
	// Doubled: the stream was given the entry by a publish that it had already: of the
	// entry's key there are more entries than publishes.
	Doubled Verdict = "doubled"
	// Altered: the entry was delivered with another key than it was published with, or
	// with other fields than at another delivery.
	Altered Verdict = "altered"
	// FalseReport: a loss was reported from the entry on, and of the entries that it
	// speaks of, all are in the stream and were handled.
	FalseReport Verdict = "false report"
	// NoEntry: an offset was saved as the entry's ID, and there never was such an entry.
	NoEntry Verdict = "no entry"
	// MovedBack: the offset was loaded, saved or reset as the entry's ID after a
	// higher one had been saved. A reset by who has reported a loss since its last
	// reset is none.
	MovedBack Verdict = "moved back"
)

// Finding is a verdict about one entry.
type Finding struct {
	Verdict Verdict
	// ID is the entry's.
	ID string
	// Key is the entry's key, if the history knows one.
	Key string
	// Fault is the name of the fault that explains the finding, empty if none
	// does.
	Fault string
	// Detail says more, for people.
	Detail string
}

// String writes the finding in a line.
func (f Finding) String() string {
	out := fmt.Sprintf("%s: %s", f.Verdict, f.ID)
	if f.Key != "" {
		out += fmt.Sprintf(" (key %q)", f.Key)
	}
	if f.Detail != "" {
		out += ", " + f.Detail
	}
	if f.Fault != "" {
		out += ", as " + f.Fault + " allows"
	}
	return out
}

// Findings are all findings of a check.
type Findings []Finding

// Of returns those with a verdict, explained or not.
func (f Findings) Of(verdict Verdict) Findings {
	return f.where(func(finding Finding) bool { return finding.Verdict == verdict })
}

// Violations returns those that no fault explains.
func (f Findings) Violations() Findings {
	return f.where(func(finding Finding) bool { return finding.Fault == "" })
}

func (f Findings) where(ok func(Finding) bool) Findings {
	return slices.DeleteFunc(slices.Clone(f), func(finding Finding) bool { return !ok(finding) })
}

// String writes how many findings there are of each verdict, and the first few.
func (f Findings) String() string {
	const most = 20
	counts := make(map[Verdict]int)
	var order []Verdict
	for _, finding := range f {
		if counts[finding.Verdict]++; counts[finding.Verdict] == 1 {
			order = append(order, finding.Verdict)
		}
	}
	var out strings.Builder
	for i, verdict := range order {
		if i > 0 {
			out.WriteString(", ")
		}
		fmt.Fprintf(&out, "%d %s", counts[verdict], verdict)
	}
	for i, finding := range f {
		if i == most {
			fmt.Fprintf(&out, "\n...")
			break
		}
		fmt.Fprintf(&out, "\n%v", finding)
	}
	return out.String()
}
