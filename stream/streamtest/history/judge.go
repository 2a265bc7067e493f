package history

import (
	"fmt"
	"slices"

	"millrace/offset"
)

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
			done = c.passedOver(id, i, done)
		}
	}
	return nil
}

// passedOver looks for entries up to an offset that were not done when it was
// saved, at a position of the history.
func (c *check) passedOver(id offset.ID, at, done int) int {
	contiguous := true
	for n := done; n < len(c.log) && c.log[n].id.Compare(id) <= 0; n++ {
		entry := c.log[n]
		switch {
		case entry.passed < at, entry.skipped, entry.id.Compare(c.after) <= 0:
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

// order looks for entries that came to their end after later ones. Those that
// the stream does not have in the end are from another history of it, and have no
// order with these.
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
		if entry.passed != i || !entry.inLog {
			continue
		}
		key := ""
		if c.rules.Order == ByKey {
			key = entry.key
		}
		if before := last[key]; before != nil && entry.id.Compare(before.id) < 0 {
			c.find(OutOfOrder, entry, nil, "handled after %v", before.id)
			continue
		}
		last[key] = entry
	}
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
		switch {
		case entry.inLog && !passed && wanted:
			c.find(Lost, entry, nil, "%s", c.known(entry))
		case !entry.inLog && passed && !trimmed:
			by := between(c.faults, first, c.never(), func(s *span) bool { return s.Loses })
			c.find(Phantom, entry, by, "handled, and not in the stream")
		case !entry.inLog && !passed && wanted && entry.published < c.never() && !c.reported(entry):
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

// reported says whether a report of a loss speaks of an entry. One without an end
// speaks of what was there, and not of what was published after it.
func (c *check) reported(entry *checked) bool {
	for _, at := range c.reports {
		event := c.events[at]
		if at < entry.published {
			continue
		}
		from, _ := offset.Parse(event.ID) // 0-0, if it is open
		to, err := offset.Parse(event.To)
		if entry.id.Compare(from) >= 0 && (err != nil || entry.id.Compare(to) <= 0) {
			return true
		}
	}
	return false
}
