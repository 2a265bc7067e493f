package stream

import (
	"fmt"

	"millrace/offset"
)

// Position is how far a reader of a stream has come: a consumer group, or a
// consumer in log mode whose offset is known. A [Trimmer] returns it.
type Position struct {
	// Owner is the name of the group or, if Label is set, the label of the offset.
	Owner string
	// Label is set for an offset, be it from a store or from a [Mirror].
	Label bool
	// ID is where the owner is: everything before this entry has been processed.
	ID string
	// State says whether that is true of the entry itself, and if not, why.
	State PositionState
}

// PositionState says why a [Position] is where it is.
type PositionState string

// The states of a position.
const (
	// PositionPassed is that of an owner with nothing pending: Position.ID is the
	// last entry that was delivered to the group, or the offset.
	PositionPassed PositionState = "passed"
	// PositionPending says that Position.ID was delivered to the group, and that
	// this has not been acked; it is the oldest of those.
	PositionPending PositionState = "pending"
	// PositionMissing says that the store has no offset under the label, so that
	// the consumer may start anywhere: Position.ID is 0-0.
	PositionMissing PositionState = "missing"
	// PositionAhead says that the position was beyond everything that the stream
	// ever held: the stream was made anew, or a failover has lost its end. What
	// there is now may be unread: Position.ID is 0-0.
	PositionAhead PositionState = "ahead"
)

// String names the owner for people, such as group "billing".
func (p Position) String() string { return ownerName(p.Owner, p.Label) }

func ownerName(owner string, label bool) string {
	if label {
		return fmt.Sprintf("label %q", owner)
	}
	return fmt.Sprintf("group %q", owner)
}

// ownerAttr is the attribute of the log that names an owner.
func ownerAttr(owner string, label bool) []any {
	if label {
		return []any{"label", owner}
	}
	return []any{"group", owner}
}

// compare orders positions, those that are furthest behind first.
func (p Position) compare(other Position) int {
	// Both were parsed when they came.
	a, _ := offset.Parse(p.ID)
	b, _ := offset.Parse(other.ID)
	return a.Compare(b)
}

const positionPrefix = "millrace:position:"

// PositionGroup returns the name of the consumer group, read by nobody, in which
// a [Mirror] shows the offset of a label. Destroy it (XGROUP DESTROY) when there
// is no such consumer any more. Do not consume with a group of such a name.
func PositionGroup(label string) string { return positionPrefix + label }
