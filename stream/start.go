package stream

import (
	"fmt"
	"time"

	"millrace/offset"
	"millrace/stream/internal/mode"
)

// Start says where a consumer begins for which nothing is stored yet. Once an
// offset is stored, that decides, and Start has no further effect. The zero
// value is [FromBeginning].
type Start struct{ at mode.Start }

// FromBeginning starts at the first entry that the stream holds.
func FromBeginning() Start { return Start{} }

// FromEnd starts with the first entry that is added after the consumer has
// looked for the first time. The end is looked up once and stored, so that
// nothing is missed between that and the first entry, however long that takes
// and however often the consumer is restarted.
func FromEnd() Start { return Start{mode.Start{End: true}} }

// FromID starts with the first entry after the given ID, which need not exist.
// An ID without a sequence number, such as "1700000000000", stands for its
// first, as in Redis. Text that is no ID is refused when the consumer is
// constructed.
func FromID(id string) Start {
	if parsed, err := offset.Parse(id); err == nil {
		id = parsed.String()
	}
	return Start{mode.Start{After: &id}}
}

// FromTime starts with the first entry that Redis gave an ID at or after t,
// by the clock of the server that took the entry in. Fractions of a
// millisecond count as the whole one that they belong to.
func FromTime(t time.Time) Start { return Start{mode.StartAt(t)} }

func (s Start) problem() error {
	if s.at.After == nil {
		return nil
	}
	if _, err := offset.Parse(*s.at.After); err != nil {
		return fmt.Errorf("WithStart(FromID(%q)): give an entry ID such as 1700000000000-0: %w", *s.at.After, err)
	}
	return nil
}
