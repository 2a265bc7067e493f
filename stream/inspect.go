package stream

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/resp"
)

// survey is what the server says of a stream at one moment.
type survey struct {
	missing bool
	first   string // the first entry, "" if there is none
	end     string // the last one
	last    string // the highest ID that was ever given
	length  int64
	// added is how many entries were ever added, deleted the highest ID that was
	// deleted by XDEL; 0 and 0-0 where the server does not tell (before Redis 7).
	added   int64
	deleted string
	// witness is set if the stream has the entry that was read last, other if it has another
	// one with its ID.
	witness, other bool
}

// surveyOf asks for a survey, with a look for the entry at the place.
// Of an entry over the limit of size that costs no memory, here as elsewhere.
func surveyOf(ctx context.Context, client redis.UniversalClient, stream string, from resp.Place, maxEntry *int) (survey, error) {
	found, err := conn.EntryAt(ctx, client, stream, from, maxEntry)
	if err != nil {
		return survey{}, err
	}
	info, err := infoOf(ctx, client, stream)
	if err != nil {
		if classify(err).Class == conn.Gone {
			return survey{missing: true}, nil
		}
		return survey{}, fmt.Errorf("looking at the stream: %w", err)
	}
	return survey{
		first: info.FirstEntry.ID, end: info.LastEntry.ID, last: info.LastGeneratedID, length: info.Length,
		added: info.EntriesAdded, deleted: info.MaxDeletedEntryID,
		witness: from.Is(found), other: found.ID == from.ID && !from.Is(found),
	}, nil
}

// diagnose says what was lost of a stream that was read up to position, the
// ordinal-th entry that was ever added (-1 is not known). Nil means that nothing
// was, as far as the server can tell. Trimming moves neither entries-added nor
// max-deleted-entry-id (Redis 7.0), so that added-length counts what has gone.
func diagnose(position string, ordinal int64, s survey) *LossError {
	switch {
	case s.missing, s.last == resp.Beginning: // in the latter case nothing was added yet
		return &LossError{Cause: LossRecreated, From: position, Count: -1}
	case s.witness:
		return nil
	case resp.CompareIDs(s.last, position) < 0:
		return &LossError{Cause: LossAhead, From: position, To: s.first, Count: -1}
	case s.first != "" && resp.CompareIDs(s.first, position) <= 0:
		if !s.other && resp.CompareIDs(s.deleted, position) >= 0 {
			return nil // deleted itself, by XDEL
		}
		return &LossError{Cause: LossReplaced, From: position, To: s.first, Count: -1}
	}
	// All that the stream has is newer than what was read last.
	loss := &LossError{Cause: LossTrimmed, From: position, To: s.first}
	gone := s.added - s.length
	switch {
	case s.added == 0: // not told
		loss.Count = -1
	case gone <= 0, ordinal > gone:
		// So many were read, but so many have not gone: it is another stream.
		loss.Cause, loss.Count = LossRecreated, -1
	case ordinal < 0 && s.deleted == position:
		return nil // deleted itself, and nothing behind it was
	case ordinal < 0:
		loss.Count = gone
	case ordinal == gone:
		return nil // what was read, and no more
	default:
		loss.Count, loss.Exact = gone-ordinal, true
	}
	return loss
}
