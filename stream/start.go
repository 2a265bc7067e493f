package stream

import (
	"fmt"
	"time"

	"millrace/offset"
	"millrace/stream/internal/mode"
)

// Start is a place in a stream: where a consumer begins for which nothing is stored yet
// ([WithStart]), where it goes on ([Consumer.Seek]), or where it ends ([WithUntil]). With
// WithStart, once an offset is stored, that decides, and Start has no further effect. The zero
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

// WithUntil sets the place at which Run ends: it returns nil once everything up to there was
// handled and settled. Default: none, Run goes on until its context is done. With [FromID] that
// entry is the last one, with [FromEnd] the last one that the stream has when Run begins, and with
// [FromTime] the last one before that time. [FromBeginning], before which there is nothing, is
// refused.
//
// Entries behind the place are not handled, and another Run without WithUntil goes on with them.
// Run waits for entries that are held, and for dead letters that cannot be written; in group mode
// for those that the consumer has claimed too, and for those that were handed back, but not for
// those of other consumers. Entries that are left pending over [WithMaxDeliveries] are not waited
// for. While a place lies in the future, Run waits for an entry behind it, or, with FromTime, until
// the time has passed by the clock here. It takes the Redis rights
//
//	~<topic> +xrange +xinfo|stream
func WithUntil(place Start) Option {
	return option{"WithUntil", anyConsumer, func(c *config) { c.until = &place }}
}

// problem returns the mistake in a place that was given to a function, nil if there is none.
func (s Start) problem(of string) error {
	if s.at.After == nil {
		return nil
	}
	if _, err := offset.Parse(*s.at.After); err != nil {
		return fmt.Errorf(of+"(FromID(%q)): give an entry ID such as 1700000000000-0: %w", *s.at.After, err)
	}
	return nil
}
