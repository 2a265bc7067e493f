package history

import (
	"fmt"
	"slices"

	"millrace/offset"
)

// Order is the order in which a consumer promises to handle entries.
type Order int

const (
	// NoOrder is what group mode promises.
	NoOrder Order = iota
	// ByKey is the order of the stream among entries of one key.
	ByKey
	// InOrder is the order of the stream, as log mode promises it.
	InOrder
)

// Rules are what a history is checked against. The zero value is that of group
// mode on a stream that is consumed from its beginning and never trimmed.
type Rules struct {
	// Order is what order is promised.
	Order Order
	// After is the ID behind which the consumer was to begin. Entries up to it
	// need not be handled. Empty, all have to be.
	After string
	// Trimmed is the ID up to which entries were removed from the stream on
	// purpose. That these are not there in the end is no finding; but those among
	// them that were not handled need a report like any other loss. Their order is
	// judged, and the offsets that passed them, as if they were there.
	Trimmed string
}

// Check says what is wrong with a history, given the IDs that the stream has in
// the end, in their order; see [streamtest.EntryIDs]. It looks at nothing else, so that a
// history can be kept and checked again. The history has to have all that
// happened until the consumers had nothing left to do.
//
// Findings that a fault of the history allows carry its name. An error means
// that the history or the IDs are not what they should be.
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

// check is a Check at work.
type check struct {
	rules          Rules
	after, trimmed offset.ID
	events         []Event
	faults         []*span
	entries        map[offset.ID]*checked
	log            []*checked         // the entries of the stream, trimmed ones included
	reports        []int              // where in the history they are
	unfounded      map[offset.ID]bool // offsets of which a finding has been made
	findings       Findings
}

// checked is what is known of one entry. The positions are those in the history
// of the first event of a kind, and its length if there is none.
type checked struct {
	id                   offset.ID
	key                  string
	inLog                bool // the stream has it in the end
	stayed               bool // it is in the log, see [check]
	published, delivered int
	passed               int  // its processing has come to its end
	succeeded            int  // and that without an error
	skipped              bool // a finding of it has been made
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

// completeLog adds to the log the entries that are gone, and were in the same history of
// the stream as those that are there: no fault since they came may have lost them. Those
// of which Redis may have lost the rest of a history have no order with later entries.
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

// entry returns what is known of an entry, which may be nothing yet.
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

// gather takes in when each entry was published, delivered and passed for the
// first time.
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
			entry.delivered = min(entry.delivered, i) // should its delivery be missing
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
