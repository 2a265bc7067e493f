package history

import (
	"fmt"
	"slices"

	"millrace/offset"
)

// find adds a finding.
func (c *check) find(verdict Verdict, entry *checked, by *span, format string, args ...any) {
	finding := Finding{Verdict: verdict, ID: entry.id.String(), Key: entry.key, Detail: fmt.Sprintf(format, args...)}
	if by != nil {
		finding.Fault = by.Name
	}
	c.findings = append(c.findings, finding)
}

// never is the position of what did not happen.
func (c *check) never() int { return len(c.events) }

// offsets looks at each load and save: whether the offset had been higher, and
// whether it passed entries that were not done.
func (c *check) offsets() error {
	type saved struct {
		id offset.ID
		at int
	}
	highest := make(map[string]saved) // by label
	told := make(map[string]bool)     // who has reported a loss
	done := 0                         // how many entries of the log, from its start, need no more looking at
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
			highest[event.Label] = saved{id, i} // one finding for each way back
		}
		if event.Kind == Saving {
			c.foundedOn(id, event)
			done = c.passedOver(id, i, done)
		}
	}
	return nil
}

// foundedOn looks whether there ever was an entry with the ID of an offset that is
// saved. The place where a consumer begins need not be one.
func (c *check) foundedOn(id offset.ID, event Event) {
	entry := c.entries[id]
	if id == c.after || c.unfounded[id] || entry != nil && (entry.inLog || entry.published < c.never() || entry.delivered < c.never()) {
		return
	}
	c.unfounded[id] = true // one finding for each
	c.find(NoEntry, &checked{id: id}, nil, "saved by %q", event.By)
}

// passedOver looks for entries up to an offset that were not done when it was
// saved, at a position of the history.
func (c *check) passedOver(id offset.ID, at, done int) int {
	contiguous := true
	for n := done; n < len(c.log) && c.log[n].id.Compare(id) <= 0; n++ {
		entry := c.log[n]
		switch {
		case entry.passed < at, entry.skipped, entry.id.Compare(c.after) <= 0:
		case entry.passed == c.never() && !entry.inLog: // it was lost before, see losses
		case entry.passed == c.never():
			entry.skipped = true
			c.find(Skipped, entry, nil, "the offset %v was saved, and it was never handled to its end", id)
		case entry.published < at, entry.delivered < at:
			entry.skipped = true
			c.find(Skipped, entry, nil, "the offset %v was saved before it had been handled to its end", id)
		default:
			// It came later, with a lower ID: from another primary, after a failover.
			contiguous = false
		}
		if contiguous {
			done = n + 1
		}
	}
	return done
}

// repeats looks for entries that were handled again after a success, and puts
// them down to faults, to none more than it may cause. What was to be a dead
// letter or was skipped may come again: the letter could not be written.
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

// order looks for entries that came to their end after later ones. Those that are not in
// the log are from another history of the stream, and have no order with these.
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

// line is the key of the entries among which an order is promised.
func (c *check) line(entry *checked) string {
	if c.rules.Order == ByKey {
		return entry.key
	}
	return ""
}

// losses looks for what is in the stream and was not handled, and the other way
// round.
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

// known says how far an entry came that was not handled to its end.
func (c *check) known(entry *checked) string {
	if entry.delivered < c.never() {
		return "delivered, never handled to its end"
	}
	return "never delivered"
}

// early reports whether an entry was handled that is not behind the place at which the
// consumer was to begin. After a report of a loss, it may begin anew.
func (c *check) early(entry *checked) (at int, early bool) {
	if c.rules.After == "" || entry.id.Compare(c.after) > 0 || entry.delivered == c.never() {
		return 0, false
	}
	return entry.delivered, len(c.reports) == 0 || c.reports[0] > entry.delivered
}
