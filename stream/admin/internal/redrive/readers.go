package redrive

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"millrace/stream"
	"millrace/stream/internal/conn"
)

// Readers are the groups of a stream at one moment.
type Readers struct {
	Groups map[string]Group
	// Missing says that there is no such stream, and Err why it is not known who reads it.
	Missing bool
	Err     error
}

// Group is a group at one moment.
type Group struct {
	// Behind is how many entries are not acked, or not read yet; -1 is not known. Pending of them
	// are not acked.
	Behind, Pending int64
	// Last is the last entry that was read.
	Last string
}

// Has reports whether there is a group of the name.
func (r Readers) Has(group string) bool {
	_, has := r.Groups[group]
	return has
}

// Look asks for the groups of the target.
func (j *Job) Look(ctx context.Context) Readers {
	client, err := conn.PrimaryOf(ctx, j.Client, j.Target)
	if err != nil {
		return Readers{Err: err}
	}
	groups, err := client.XInfoGroups(ctx, j.Target).Result()
	if conn.Classify(err).Class == conn.Gone {
		return Readers{Missing: true}
	}
	if err != nil {
		return Readers{Err: conn.Explain(err)}
	}
	seen := Readers{Groups: make(map[string]Group)}
	for _, group := range groups {
		behind := int64(-1)
		if group.Lag >= 0 {
			behind = group.Lag + group.Pending
		}
		seen.Groups[group.Name] = Group{behind, group.Pending, group.LastDeliveredID}
	}
	return seen
}

// Vanished says which group that gets letters has gone since they were planned; empty if none has.
func (j *Job) Vanished(now Readers) string {
	if now.Err != nil {
		return "" // it is tried, and may be all there is a right for
	}
	for _, name := range slices.Sorted(maps.Keys(j.Seen.Groups)) {
		if j.Addresses[stream.Identity{Group: name}.Address()] > 0 && !now.Has(name) {
			return fmt.Sprintf("group %s of %s was removed", name, j.Target)
		}
	}
	return ""
}
