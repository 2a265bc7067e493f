package loss

// Finding is entries that a consumer will never see, or a place in a stream that is no more.
// The zero value is that nothing is lost.
type Finding struct {
	Cause Cause
	// From is the last entry that was read, To the first one that the stream has behind it,
	// empty if there is none.
	From, To string
	// Count is how many entries were lost, if Exact is set; otherwise it is the most that it
	// can be, and -1 if even that is not known.
	Count int64
	Exact bool
	// Back is where a group goes on that is further back now; empty if it is not. In log
	// mode the policy of the consumer says where to go on.
	Back string
}

// Cause is how entries, or a place, were lost.
type Cause uint8

const (
	// None is that nothing is lost.
	None Cause = iota
	// Trimmed is that entries were trimmed or deleted before they were read.
	Trimmed
	// Recreated is that the stream was deleted, or is another one now.
	Recreated
	// Ahead is that the place is ahead of the stream, whose last entries have gone.
	Ahead
	// Replaced is that the stream has other entries in the place of those that were read.
	Replaced
	// GroupDeleted is that the group was deleted.
	GroupDeleted
	// GroupMoved is that the group was set to another place further on.
	GroupMoved
	// ConsumerRemoved is that the consumer was removed from the group with entries pending.
	ConsumerRemoved
	// PendingDeleted is that a pending entry was trimmed or deleted.
	PendingDeleted
)

// OfPending returns the loss of one pending entry, which the stream no longer has.
func OfPending(id string) Finding {
	return Finding{Cause: PendingDeleted, From: id, To: id, Count: 1, Exact: true}
}
