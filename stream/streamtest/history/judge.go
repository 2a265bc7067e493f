package history

import (
	"fmt"
	"slices"

	"millrace/offset"
)

// find adds a finding, which the fault by explains, if there is one.
func (c *check) find(verdict Verdict, entry *checked, by *span, format string, args ...any) {
	finding := Finding{Verdict: verdict, ID: entry.id.String(), Key: entry.key, Detail: fmt.Sprintf(format, args...)}
	if by != nil {
		finding.Fault = by.Name
	}
	c.findings = append(c.findings, finding)
}

// never is the position of an event that did not happen.
func (c *check) never() int { return len(c.events) }

// offsets checks each load, save and reset of an offset: whether a higher offset was saved
// before, and whether a saved offset passes entries that were not done.
func (c *check) offsets() error {
	type saved struct {
		id offset.ID
		at int
	}
	highest := make(map[string]saved) // by label
	told := make(map[string]bool)     // consumers with a loss since their last reset
	done := 0                         // entries at the start of the log that need no check
	for i, event := range c.events {
		switch event.Kind {
		case Saving, Saved, Loaded, Resetting:
		case Reported:
			told[event.By] = true
			continue
		case Reset:
			told[event.By] = false
			continue
		default:
			continue
		}
		id, err := offset.Parse(event.ID)
		if err != nil {
			return fmt.Errorf("history: event %d: %w", i+1, err)
		}
		high := highest[event.Label]
		switch {
		case event.Kind == Saved && id.Compare(high.id) > 0, event.Kind == Resetting && told[event.By]:
			highest[event.Label] = saved{id, i}
		case event.Kind != Saved && id.Compare(high.id) < 0:
			by := between(c.faults, high.at, i, func(s *span) bool { return s.Loses })
			c.find(MovedBack, &checked{id: id}, by, "%s by %q, but %v was saved before", event.Kind, event.By, high.id)
			highest[event.Label] = saved{id, i} // one finding for each move back
		}
		if event.Kind == Saving {
			c.foundedOn(id, event)
			done = c.passedOver(id, i, done)
		}
	}
	return nil
}

// foundedOn finds a saved offset whose ID was never the ID of an entry. The place where a
// consumer begins need not be an entry.
func (c *check) foundedOn(id offset.ID, event Event) {
	entry := c.entries[id]
	if id == c.after || c.unfounded[id] || entry != nil && (entry.inLog || entry.published < c.never() || entry.delivered < c.never()) {
		return
	}
	c.unfounded[id] = true // one finding for each offset
	c.find(NoEntry, &checked{id: id}, nil, "saved by %q", event.By)
}

// passedOver finds entries up to an offset that were not done when the offset was saved, at a
// position of the history. It returns how many entries at the start of the log need no more
// check.
func (c *check) passedOver(id offset.ID, at, done int) int {
	contiguous := true
	for n := done; n < len(c.log) && c.log[n].id.Compare(id) <= 0; n++ {
		entry := c.log[n]
		switch {
		case entry.passed < at, entry.skipped, entry.id.Compare(c.after) <= 0:
		case entry.passed == c.never() && !entry.inLog: // the entry was lost before, see losses
		case entry.passed == c.never():
			entry.skipped = true
			c.find(Skipped, entry, nil, "the offset %v was saved, and it was never handled to its end", id)
		case entry.published < at, entry.delivered < at:
			entry.skipped = true
			c.find(Skipped, entry, nil, "the offset %v was saved before it had been handled to its end", id)
		default:
			// The entry came later, with a lower ID: from another primary, after a failover.
			contiguous = false
		}
		if contiguous {
			done = n + 1
		}
	}
	return done
}

// repeats finds entries that were handled again after a success, and assigns each repeat to a
// fault. No fault explains more repeats than it may cause. A handling that ended with a skip or
// a dead letter is no success: the entry may come again, for example because its dead letter
// could not be written.
func (c *check) repeats() {
	for i, event := range c.events {
		if event.Kind != Handled {
			continue
		}
		entry, _ := c.entry(event.ID) // gather has seen it
		if entry.succeeded >= i {
			continue
		}
		by := between(c.faults, entry.delivered, i, func(s *span) bool { return s.repeated < s.Repeats })
		if by != nil {
			by.repeated++
		}
		c.find(Repeated, entry, by, "handled by %q after it had been with success", event.By)
	}
}

// order finds entries that came to their end after later entries. Entries that are not in the
// log belong to another history of the stream, and have no order with the entries of the log.
func (c *check) order() {
	if c.rules.Order == NoOrder {
		return
	}
	last := make(map[string]*checked)
	for i, event := range c.events {
		if event.Kind != Handled || !event.Passed {
			continue
		}
		entry, _ := c.entry(event.ID)
		if entry.passed != i || !entry.stayed {
			continue
		}
		key := c.line(entry)
		if before := last[key]; before != nil && entry.id.Compare(before.id) < 0 {
			c.find(OutOfOrder, entry, nil, "handled after %v", before.id)
			continue
		}
		last[key] = entry
	}
}

// line returns the key of an entry's line: an order is promised among the entries of one line.
func (c *check) line(entry *checked) string {
	if c.rules.Order == ByKey {
		return entry.key
	}
	return ""
}

// losses finds entries that are in the stream and were not handled, and entries that were
// handled or acknowledged and are not in the stream. It also finds entries that were handled
// too early.
func (c *check) losses() {
	entries := make([]*checked, 0, len(c.entries))
	for _, entry := range c.entries {
		entries = append(entries, entry)
	}
	slices.SortFunc(entries, func(a, b *checked) int { return a.id.Compare(b.id) })
	for _, entry := range entries {
		passed := entry.passed < c.never()
		wanted := entry.id.Compare(c.after) > 0
		trimmed := entry.id.Compare(c.trimmed) <= 0
		first := min(entry.published, entry.delivered)
		if at, early := c.early(entry); early {
			c.find(Early, entry, nil, "handled, event %d, though it is not behind %v", at+1, c.after)
		}
		switch {
		case entry.inLog && !passed && wanted:
			c.find(Lost, entry, nil, "%s", c.known(entry))
		case !entry.inLog && passed && !trimmed:
			by := between(c.faults, first, c.never(), func(s *span) bool { return s.Loses })
			c.find(Phantom, entry, by, "handled, and not in the stream")
		case !entry.inLog && !passed && wanted && entry.published < c.never() && !c.told(entry):
			by := between(c.faults, first, c.never(), func(s *span) bool { return s.Loses })
			c.find(Silent, entry, by, "acknowledged, not in the stream, %s, not reported", c.known(entry))
		}
	}
}

// known says how far the processing of an entry came that did not reach its end.
func (c *check) known(entry *checked) string {
	if entry.delivered < c.never() {
		return "delivered, never handled to its end"
	}
	return "never delivered"
}

// early reports whether an entry was delivered although it is not after the place at which the
// consumer was to begin, and returns the position of the delivery. After a report of a loss,
// the consumer may begin anew.
func (c *check) early(entry *checked) (at int, early bool) {
	if c.rules.After == "" || entry.id.Compare(c.after) > 0 || entry.delivered == c.never() {
		return 0, false
	}
	return entry.delivered, len(c.reports) == 0 || c.reports[0] > entry.delivered
}
