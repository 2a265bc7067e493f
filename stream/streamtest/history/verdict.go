package history

import (
	"fmt"
	"slices"
	"strings"
)

// Verdict is the kind of a [Finding]: the promise that was broken.
type Verdict string

// The verdicts of [Rules.Check].
const (
	// Lost: the entry is in the stream, and was never handled to its end.
	Lost Verdict = "lost"
	// Skipped: an offset at or above the entry's ID was saved before the entry had been handled
	// to its end. After a kill of the consumer at that moment, the entry would be lost.
	Skipped Verdict = "skipped"
	// OutOfOrder: the entry was handled to its end after a later entry. Or it was handled once
	// more, after a later entry of the same replay: since the consumer has loaded or reset its
	// offset, or has reported a loss.
	OutOfOrder Verdict = "out of order"
	// AtOnce: the entry was delivered to a consumer while another consumer was handling it.
	// With [ByKey], also: the entry was delivered while another entry of its key was being
	// handled.
	AtOnce Verdict = "at once"
	// Early: the entry was delivered though its ID is not above [Rules.After], and no loss had
	// been reported before.
	Early Verdict = "early"
	// Repeated: the entry was handled again after it had been handled with success.
	Repeated Verdict = "repeated"
	// Phantom: the entry was handled, and the stream does not have it in the end, though it was
	// not trimmed (see [Rules.Trimmed]).
	Phantom Verdict = "phantom"
	// Silent: Redis acknowledged the entry and does not have it in the end. The entry was not
	// handled, and no report is about it.
	Silent Verdict = "silent"
	// Doubled: the entry is a second one of the same publish. The stream has more entries of
	// the entry's key than there were publishes of the key.
	Doubled Verdict = "doubled"
	// Altered: the entry was delivered with another key than it was published with, or with
	// another key or other fields than at an earlier delivery.
	Altered Verdict = "altered"
	// FalseReport: a loss was reported from the entry on, and all entries that the report is
	// about are in the stream and were handled.
	FalseReport Verdict = "false report"
	// NoEntry: an offset was saved as the entry's ID, and there never was an entry with this
	// ID.
	NoEntry Verdict = "no entry"
	// MovedBack: the offset was loaded, saved or reset as the entry's ID after a higher offset
	// had been saved. A reset is allowed if the consumer has reported a loss since its last
	// reset.
	MovedBack Verdict = "moved back"
)

// Finding is a verdict about one entry, offset or report.
type Finding struct {
	Verdict Verdict
	// ID is the ID of the entry. For [NoEntry] and [MovedBack] it is the offset, for
	// [FalseReport] the beginning of the reported range, 0-0 if the range is open.
	ID string
	// Key is the key of the entry, if the history has one.
	Key string
	// Fault is the name of the fault that explains the finding. It is empty for a violation.
	Fault string
	// Detail is a description of the finding, for people.
	Detail string
}

// String returns the finding as one line.
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

// Findings are all findings of a check, explained or not.
type Findings []Finding

// Of returns the findings with a verdict, explained or not.
func (f Findings) Of(verdict Verdict) Findings {
	return f.where(func(finding Finding) bool { return finding.Verdict == verdict })
}

// Violations returns the findings that no fault explains.
func (f Findings) Violations() Findings {
	return f.where(func(finding Finding) bool { return finding.Fault == "" })
}

func (f Findings) where(ok func(Finding) bool) Findings {
	return slices.DeleteFunc(slices.Clone(f), func(finding Finding) bool { return !ok(finding) })
}

// String returns the number of findings of each verdict, and the first 20 findings, one a line.
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
