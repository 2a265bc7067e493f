package later

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/script"
)

// Postponed has the entries of one group that were put off. The tickets in its keys are the IDs of
// the entries.
type Postponed struct {
	Client redis.UniversalClient
	Keys   Keys
	Group  string
}

// Postponement is an entry that is to be put off.
type Postponement struct {
	Consumer, ID string
	// Count is the delivery count that it must have, 0 is any.
	Count int64
	After time.Duration
	// Unowned has it put off also if it is pending on no consumer; it was delivered Deliveries times.
	Unowned    bool
	Deliveries int64
}

// The answers of Postpone.
const (
	Waits   = "waits"   // it was put off, now or before
	Lost    = "lost"    // it is another consumer's
	Dropped = "dropped" // it is pending on no consumer
	Gone    = "gone"    // the stream does not have it
)

// Postpone puts an entry off, in one try. After an error without an answer it may have done so: then
// it may be called once more.
func (p *Postponed) Postpone(ctx context.Context, e Postponement) (answer string, err error) {
	unowned := 0
	if e.Unowned {
		unowned = 1
	}
	after := max(e.After, 0).Milliseconds()
	if e.After > time.Duration(after)*time.Millisecond {
		after++ // it does not come back before its time
	}
	return script.Postpone.Run(ctx, p.Client, p.keys(), p.Group, e.Consumer, e.ID, e.Count, after, unowned, max(e.Deliveries, 1)).Text()
}

// backEntries is how many entries one BringBack brings back, at the most.
const backEntries = 100

// BringBack makes entries pending again that are due, as many as one script may.
func (p *Postponed) BringBack(ctx context.Context) (Moved, error) {
	reply, err := script.BringBack.Run(ctx, p.Client, p.keys(), p.Group, script.HandedBackTo,
		backEntries, moveBytes, putOff.Milliseconds()).Slice()
	if err != nil {
		return Moved{}, err
	}
	var added int64
	m, err := movedOf(reply, &added)
	m.Added = added
	return m, err
}

func (p *Postponed) keys() []string { return []string{p.Keys.Topic, p.Keys.Due, p.Keys.Contents} }
