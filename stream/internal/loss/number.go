package loss

import (
	"context"
	"fmt"

	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
)

// numberMost is how many entries are counted from either end of a stream to find the number of
// one. Each page of a count holds up the server for about a millisecond.
const numberMost = 10_000

// Number returns the number of a place: how many of the entries that were ever added are up to it.
// A group that is set to the place has read as many. It returns -1 if that is not known: before
// Redis 7, behind the last entry, far from both ends of the stream, and where an entry behind the
// place was deleted by its ID, with which no number would give the right lag.
func (s Stream) Number(ctx context.Context, place string) (int64, error) {
	before, err := s.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("looking at the stream %s: %w", s.Name, err)
	}
	gone := before.EntriesAdded - before.Length
	switch generated := before.LastGeneratedID; {
	case before.EntriesAdded == 0, resp.CompareIDs(place, generated) > 0:
		return -1, nil
	case place == generated:
		return before.EntriesAdded, nil
	case resp.CompareIDs(before.MaxDeletedEntryID, place) > 0:
		return -1, nil
	case before.Length == 0, resp.CompareIDs(place, before.FirstEntry.ID) < 0:
		return gone, nil
	}
	n, whole, err := s.Count(ctx, resp.After(place), before.LastGeneratedID, numberMost)
	if err != nil || whole {
		return before.EntriesAdded - n, err
	}
	if n, whole, err = s.Count(ctx, "-", place, numberMost); err != nil || !whole {
		return -1, err
	}
	after, err := s.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("looking at the stream %s: %w", s.Name, err)
	}
	if after.EntriesAdded-after.Length != gone {
		return -1, nil // some of the entries that were counted may have been trimmed meanwhile
	}
	return gone + n, nil
}

// Count counts the entries from one ID to another, both included. It stops above most, and
// reports false then. Another client of the server never waits for more than a page of it.
func (s Stream) Count(ctx context.Context, from, to string, most int64) (n int64, whole bool, err error) {
	for {
		reply, err := script.Count.Run(ctx, s.Client, []string{s.Name}, from, to).Slice()
		if err != nil {
			return 0, false, fmt.Errorf("counting the entries of %s: %w", s.Name, err)
		}
		var page int64
		var last string
		if !script.Scan(reply, &page, &last) {
			return 0, false, fmt.Errorf("counting the entries of %s: the answer has other elements; is it a Redis server?", s.Name)
		}
		if page == 0 {
			return n, true, nil
		}
		if n, from = n+page, resp.After(last); n > most {
			return n, false, nil
		}
		if resp.CompareIDs(last, to) >= 0 {
			return n, true, nil
		}
	}
}
