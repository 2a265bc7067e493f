package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/admin/internal/entries"
	"millrace/stream/admin/internal/letters"
	"millrace/stream/internal/conn"
)

// Trace is one entry, with its fate at each reader.
type Trace struct {
	// Entry has no fields if the stream does not have the entry (any more).
	Entry stream.Entry
	// Gone says that the stream does not have it.
	Gone bool
	// Readers are all readers of the stream, in the order of [Admin.Readers].
	Readers []Traced
}

// Fate is the state of an entry at one reader.
type Fate string

// The fates of an entry.
const (
	// FateAhead: the reader has not come to it.
	FateAhead Fate = "not reached"
	// FatePending: it was delivered to a consumer of the group, and is not done.
	FatePending Fate = "pending"
	// FatePassed: the reader has passed it: handled, skipped or absorbed it, or it was set to a
	// place behind it.
	FatePassed Fate = "passed"
	// FateDead: it has a dead letter.
	FateDead Fate = "dead letter"
	// FateUnknown: the position of the label is not known here.
	FateUnknown Fate = "unknown"
)

// Traced is the fate of an entry at one reader.
type Traced struct {
	Reader Reader
	Fate   Fate
	// Pending is set with [FatePending].
	Pending *Pending
	// Letter is set with [FateDead]: the first dead letter that the reader has made of it.
	Letter *Letterhead
}

// Letterhead is where a dead letter is.
type Letterhead struct{ Stream, ID string }

// traceLetters is among how many dead letters the one of an entry is looked for in each of the
// dead-letter streams, from the time of the entry on.
const traceLetters = 10_000

// traceClocks is how much the clocks of the servers of entries and dead letters may differ.
const traceClocks = time.Minute

// Trace returns an entry, with its fate at each reader. Its dead letters are looked for
// among the first 10,000 that were written after it, in each stream of letters that the topic is
// known to have, and in that of [FromDeadLetters]. The error wraps [ErrNoTopic] if there is no
// such stream, [ErrNoPlace] if the text is no ID, and [stream.ErrInvalidOption] for letters in the
// topic itself; an entry that is not there is no error.
func (a *Admin) Trace(ctx context.Context, name, id string, opts ...LettersOption) (Trace, error) {
	what := "reading an entry of " + name
	where := Where{DeadLetterStream: lettersQueryOf(opts).stream}
	if err := errors.Join(where.problems(name)...); err != nil {
		return Trace{}, err
	}
	parsed, err := offset.Parse(id)
	if err != nil {
		return Trace{}, fmt.Errorf("%w: %w", ErrNoPlace, err)
	}
	id = parsed.String()
	topic, err := a.Topic(ctx, name)
	if err != nil {
		return Trace{}, err
	}
	client, err := conn.PrimaryOf(ctx, a.client, name)
	if err != nil {
		return Trace{}, explain(what, err)
	}
	trace := Trace{Entry: stream.Entry{Stream: name, ID: id}, Gone: true}
	err = entries.Pages(ctx, client, name, id, id, false, func(page []entries.Entry) bool {
		trace.Entry, trace.Gone = page[0].In(name), false
		return false
	})
	if err != nil {
		return Trace{}, explain(what, err)
	}
	var dead []string
	for _, one := range topic.DeadLetters {
		dead = append(dead, one.Stream)
	}
	if key := where.DeadLetterStream; key != "" && !slices.Contains(dead, key) {
		dead = append(dead, key)
	}
	found, err := a.lettersOf(ctx, dead, name, id)
	if err != nil {
		return Trace{}, err
	}
	for _, standing := range topic.Standings {
		traced, err := fateOf(ctx, client, standing, parsed)
		if err != nil {
			return Trace{}, explain(what, err)
		}
		if letter, dead := found[standing.Reader.Address()]; dead && traced.Fate != FatePending {
			traced.Fate, traced.Letter = FateDead, &letter
		}
		trace.Readers = append(trace.Readers, traced)
	}
	return trace, nil
}

// fateOf returns the fate of an entry at a reader, dead letters apart.
func fateOf(ctx context.Context, client redis.UniversalClient, at Standing, id offset.ID) (Traced, error) {
	traced := Traced{Reader: at.Reader, Fate: FateUnknown}
	position, err := offset.Parse(at.Position)
	if err != nil {
		return traced, nil
	}
	traced.Fate = FateAhead
	if id.Compare(position) <= 0 {
		traced.Fate = FatePassed
	}
	if at.Reader.Group == "" || at.Pending == 0 {
		return traced, nil
	}
	// It may be pending and ahead, too: behind a seek.
	found, err := client.XPendingExt(ctx, &redis.XPendingExtArgs{
		Stream: at.Reader.Stream, Group: at.Reader.Group, Start: id.String(), End: id.String(), Count: 1,
	}).Result()
	if err == nil && len(found) > 0 {
		traced.Fate, traced.Pending = FatePending, pendingOf(found[0])
	}
	return traced, err
}

// lettersOf returns the dead letters of an entry, by the address of the reader that gave it up.
func (a *Admin) lettersOf(ctx context.Context, streams []string, topic, id string) (map[string]Letterhead, error) {
	found := map[string]Letterhead{}
	for _, dead := range streams {
		client, err := conn.PrimaryOf(ctx, a.client, dead)
		if err != nil {
			return nil, explain("reading "+dead, err)
		}
		seen := 0
		from := AtTime(TimeOf(id).Add(-traceClocks)).from()
		err = entries.Pages(ctx, client, dead, from, "+", false, func(page []entries.Entry) bool {
			for _, entry := range page {
				letter, is := letters.Of(entry)
				if !is || letter.EntryID != id || letter.Origin != topic {
					continue
				}
				address := letter.Address()
				if _, known := found[address]; !known {
					found[address] = Letterhead{dead, letter.ID}
				}
			}
			seen += len(page)
			return seen < traceLetters
		})
		if err != nil {
			return nil, explain("reading "+dead, err)
		}
	}
	return found, nil
}
