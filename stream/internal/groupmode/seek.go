package groupmode

import (
	"context"
	"fmt"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/loss"
	"millrace/stream/internal/mode"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
)

// seek sets the group to a place, and makes the group if it is missing. What is pending in the
// group stays so.
func (s *source) seek(ctx context.Context, to mode.Start) (from, at string, err error) {
	err = s.client.XGroupCreateMkStream(ctx, s.stream, s.group, resp.Beginning).Err()
	if err != nil && conn.Classify(err).Code != "BUSYGROUP" {
		return "", "", fmt.Errorf("making the group %q: %w", s.group, err)
	}
	place, read := resp.Beginning, int64(-1)
	switch {
	case to.End:
		place = "+"
	case to.After != nil:
		place = *to.After
		if read, err = countUpTo(ctx, s.losses.Stream(), place); err != nil {
			return "", "", err
		}
	}
	reply, err := script.Seek.Run(ctx, s.client, []string{s.stream}, s.group, place, read).StringSlice()
	if err != nil {
		return "", "", fmt.Errorf("setting the group %q to another place: %w", s.group, err)
	}
	return reply[0], reply[1], nil
}

// countedMost is how many entries are counted from either end of a stream to find the number of
// one. Each page of a count holds up the server for about a millisecond.
const countedMost = 10_000

// countUpTo returns how many of the entries that were ever added are up to a place: all but those
// that are behind it. It returns -1 if that is not known.
func countUpTo(ctx context.Context, of loss.Stream, place string) (int64, error) {
	before, err := of.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("looking at the stream %s: %w", of.Name, err)
	}
	if before.EntriesAdded == 0 || resp.CompareIDs(place, before.LastGeneratedID) >= 0 {
		return -1, nil
	}
	n, whole, err := count(ctx, of, resp.After(place), before.LastGeneratedID)
	if err != nil || whole {
		return before.EntriesAdded - n, err
	}
	if n, whole, err = count(ctx, of, "-", place); err != nil || !whole {
		return -1, err
	}
	after, err := of.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("looking at the stream %s: %w", of.Name, err)
	}
	gone := before.EntriesAdded - before.Length
	if after.EntriesAdded-after.Length != gone {
		return -1, nil // some of the entries that were counted may have been trimmed meanwhile
	}
	return gone + n, nil
}

// count counts the entries from one ID to another. It reports false if there are more than
// countedMost.
func count(ctx context.Context, of loss.Stream, from, to string) (n int64, whole bool, err error) {
	for {
		reply, err := script.Count.Run(ctx, of.Client, []string{of.Name}, from, to).Slice()
		if err != nil {
			return 0, false, fmt.Errorf("counting the entries of %s: %w", of.Name, err)
		}
		page, _ := reply[0].(int64)
		last, _ := reply[1].(string)
		if page == 0 {
			return n, true, nil
		}
		if n, from = n+page, resp.After(last); n > countedMost {
			return n, false, nil
		}
		if resp.CompareIDs(last, to) >= 0 {
			return n, true, nil
		}
	}
}
