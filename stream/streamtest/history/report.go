package history

import (
	"slices"

	"millrace/offset"
)

// covers reports whether the report at a position of the history is about an entry. A report
// without an end is about the entries that were there, and not about entries that were
// published after the report.
func (c *check) covers(at int, entry *checked) bool {
	event := c.events[at]
	if at < min(entry.published, entry.delivered) {
		return false
	}
	from, _ := offset.Parse(event.ID) // 0-0 if the range is open
	to, err := offset.Parse(event.To)
	return entry.id.Compare(from) >= 0 && (err != nil || entry.id.Compare(to) <= 0)
}

// told reports whether a report of a loss is about an entry.
func (c *check) told(entry *checked) bool {
	for _, at := range c.reports {
		if c.covers(at, entry) {
			return true
		}
	}
	return false
}

// reported finds false reports of losses: all entries that the report is about are in the
// stream, and were handled.
func (c *check) reported() {
	for _, at := range c.reports {
		if c.isTrue(at) {
			continue
		}
		event := c.events[at]
		from, _ := offset.Parse(event.ID)
		by := between(c.faults, 0, at, func(s *span) bool { return s.Loses || s.Alarms })
		c.find(FalseReport, &checked{id: from}, by, "%s, reported by %q up to %q", event.Text, event.By, event.To)
	}
}

// isTrue reports whether an entry that a report is about is gone, or was never handled. If a
// publish before the report had no answer, the history may not have the ID of the lost entry,
// and the report counts as true.
func (c *check) isTrue(at int) bool {
	if slices.ContainsFunc(c.events[:at], func(event Event) bool { return event.Kind == PublishUnknown }) {
		return true
	}
	for _, entry := range c.entries {
		if c.covers(at, entry) && (!entry.inLog || entry.passed == c.never()) {
			return true
		}
	}
	return false
}
