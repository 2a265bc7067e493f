package history

import (
	"fmt"
	"slices"

	"millrace/offset"
)

// Order is the order in which a consumer promises to handle entries.
type Order int

const (
	// NoOrder promises no order, as in group mode.
	NoOrder Order = iota
	// ByKey is the order of the stream among the entries of one key.
	ByKey
	// InOrder is the order of the stream, as in log mode.
	InOrder
)

// Rules are the promises against which a history is checked. The zero value has the promises of
// group mode, on a stream that is consumed from its beginning and never trimmed.
type Rules struct {
	// Order is the promised order. Default: NoOrder.
	Order Order
	// After is the ID after which the consumer was to begin. Entries up to this ID need not be
	// handled. If After is empty, all entries have to be handled.
	After string
	// Trimmed is the ID up to which entries were removed from the stream on purpose. Their
	// absence in the end is no finding. But an entry among them that was not handled needs a
	// report like any other loss. Their order, and the offsets that passed them, are judged as
	// if the entries were still there. Default: none were removed.
	Trimmed string
}

// Check judges a history, given the IDs that the stream has in the end, in their order; see
// [millrace/stream/streamtest.EntryIDs]. Check looks at nothing else, so that a history can be
// kept and checked again. The history has to contain all events until the consumers had no more
// work.
//
// A finding that a fault of the history explains has the name of the fault. Check returns an
// error if an ID in the rules, the history or the stream cannot be parsed, or if the IDs of the
// stream are not in their order.
func (r Rules) Check(events []Event, log []string) (Findings, error) {
	c, err := newCheck(r, events, log)
	if err != nil {
		return nil, err
	}
	if err := c.offsets(); err != nil {
		return nil, err
	}
	c.repeats()
	c.order()
	c.replays()
	c.overlaps()
	c.contents()
	c.publishes()
	c.losses()
	c.reported()
	return c.findings, nil
}

// check is the state of one Check.
type check struct {
	rules          Rules
	after, trimmed offset.ID
	events         []Event
	faults         []*span
	entries        map[offset.ID]*checked
	log            []*checked         // the entries of the stream, trimmed ones included
	reports        []int              // the positions of the reports in the history
	unfounded      map[offset.ID]bool // the offsets with a finding NoEntry
	findings       Findings
}

// checked is the knowledge about one entry. Each position is that of the first event of a kind
// in the history, or the length of the history if there is no such event.
type checked struct {
	id                   offset.ID
	key                  string
	inLog                bool // the stream has the entry in the end
	stayed               bool // the entry is in the log of check
	published, delivered int
	passed               int  // the end of the processing
	succeeded            int  // the end without an error
	skipped              bool // the entry has a finding Skipped
}

func newCheck(r Rules, events []Event, log []string) (*check, error) {
	c := &check{rules: r, events: events, faults: spans(events), entries: make(map[offset.ID]*checked), unfounded: make(map[offset.ID]bool)}
	for _, bound := range []struct {
		text string
		id   *offset.ID
	}{{r.After, &c.after}, {r.Trimmed, &c.trimmed}} {
		if bound.text == "" {
			continue
		}
		id, err := offset.Parse(bound.text)
		if err != nil {
			return nil, fmt.Errorf("history: a rule: %w", err)
		}
		*bound.id = id
	}
	for _, text := range log {
		entry, err := c.entry(text)
		if err != nil {
			return nil, fmt.Errorf("history: the stream: %w", err)
		}
		entry.inLog = true
		c.log = append(c.log, entry)
	}
	if !slices.IsSortedFunc(c.log, byID) {
		return nil, fmt.Errorf("history: the stream's IDs are not in their order")
	}
	if err := c.gather(); err != nil {
		return nil, err
	}
	c.completeLog()
	return c, nil
}

func byID(a, b *checked) int { return a.id.Compare(b.id) }

// completeLog adds to the log the entries that the stream no longer has, unless a fault since
// their first event may have lost them. An entry that such a fault may have lost belongs to
// another history of the stream, and has no order with later entries.
func (c *check) completeLog() {
	lossy := slices.DeleteFunc(slices.Clone(c.faults), func(s *span) bool { return !s.Loses })
	for _, entry := range c.entries {
		first := min(entry.published, entry.delivered)
		entry.stayed = entry.inLog || first < c.never() && between(lossy, first, c.never(), func(*span) bool { return true }) == nil
		if entry.stayed && !entry.inLog {
			c.log = append(c.log, entry)
		}
	}
	slices.SortFunc(c.log, byID)
}

// entry returns the knowledge about an entry, which is empty for a new ID.
func (c *check) entry(text string) (*checked, error) {
	id, err := offset.Parse(text)
	if err != nil {
		return nil, err
	}
	known, ok := c.entries[id]
	if !ok {
		never := len(c.events)
		known = &checked{id: id, published: never, delivered: never, passed: never, succeeded: never}
		c.entries[id] = known
	}
	return known, nil
}

// gather records when each entry was published, delivered and passed for the first time, and
// where the reports are.
func (c *check) gather() error {
	for i, event := range c.events {
		switch event.Kind {
		case Published, Delivered, Handled:
		case Reported:
			c.reports = append(c.reports, i)
			continue
		default:
			continue
		}
		entry, err := c.entry(event.ID)
		if err != nil {
			return fmt.Errorf("history: event %d: %w", i+1, err)
		}
		if event.Key != "" {
			entry.key = event.Key
		}
		switch event.Kind {
		case Published:
			entry.published = min(entry.published, i)
		case Delivered:
			entry.delivered = min(entry.delivered, i)
		case Handled:
			entry.delivered = min(entry.delivered, i) // in case its delivery is missing
			if event.Passed {
				entry.passed = min(entry.passed, i)
			}
			if event.Passed && event.Text == "" {
				entry.succeeded = min(entry.succeeded, i)
			}
		}
	}
	return nil
}
