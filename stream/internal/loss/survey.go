package loss

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/contain"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
)

// Stream is a stream whose losses are looked for, and the client that asks for it.
type Stream struct {
	Client redis.UniversalClient
	Name   string
	// MaxEntry limits the size of entries whose fields are looked at; nil is no limit.
	MaxEntry *int
}

// Info is XINFO STREAM. Of the first and the last entry it has the IDs alone.
func (s Stream) Info(ctx context.Context) (*redis.XInfoStream, error) {
	info := &redis.XInfoStream{}
	err := conn.SendQuery(ctx, s.Client.Process, func() conn.Query { return conn.QueryInfo(ctx, s.Name, info) })
	if err == conn.ErrUnread { //nolint:errorlint // our own, never wrapped
		info, err = s.Client.XInfoStream(ctx, s.Name).Result()
	}
	if conn.IsCut(contain.Harmless(err), false, 0) {
		return s.infoByScript(ctx)
	}
	return info, err
}

// infoByScript is for a stream whose first and last entry, which XINFO brings, are too
// large for a reply.
func (s Stream) infoByScript(ctx context.Context) (*redis.XInfoStream, error) {
	reply, err := script.Info.Run(ctx, s.Client, []string{s.Name}).Slice()
	if err != nil {
		return nil, err
	}
	info := &redis.XInfoStream{}
	if !script.Scan(reply, &info.Length, &info.EntriesAdded, &info.LastGeneratedID, &info.MaxDeletedEntryID, &info.FirstEntry.ID, &info.LastEntry.ID) {
		return nil, resp.Malformed("XINFO has other elements")
	}
	return info, nil
}

// survey is the state of a stream at one moment, as the server tells it.
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

// survey asks for a survey, with a look for the entry at the place.
// Of an entry over the limit of size that costs no memory, here as elsewhere.
func (s Stream) survey(ctx context.Context, from resp.Place) (survey, error) {
	found, err := conn.EntryAt(ctx, s.Client, s.Name, from, s.MaxEntry)
	if err != nil {
		return survey{}, err
	}
	info, err := s.Info(ctx)
	if err != nil {
		if conn.Classify(err).Class == conn.Gone {
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

// gone is how many entries were trimmed or deleted. Trimming moves neither entries-added nor
// max-deleted-entry-id (Redis 7.0).
func (s survey) gone() int64 { return s.added - s.length }

// diagnose returns the loss of a reader of the stream that has read up to position, the
// ordinal-th entry that was ever added (-1 is not known).
func (s survey) diagnose(position string, ordinal int64) Finding {
	switch {
	case s.missing, s.last == resp.Beginning: // in the latter case nothing was added yet
		return Finding{Cause: Recreated, From: position, Count: -1}
	case s.witness:
		return Finding{}
	case resp.CompareIDs(s.last, position) < 0:
		return Finding{Cause: Ahead, From: position, To: s.first, Count: -1}
	case s.first != "" && resp.CompareIDs(s.first, position) <= 0:
		if !s.other && resp.CompareIDs(s.deleted, position) >= 0 {
			return Finding{} // deleted itself, by XDEL
		}
		return Finding{Cause: Replaced, From: position, To: s.first, Count: -1}
	}
	// All that the stream has is newer than the entry that was read last.
	found := Finding{Cause: Trimmed, From: position, To: s.first}
	gone := s.gone()
	switch {
	case s.added == 0: // not told
		found.Count = -1
	case gone <= 0, ordinal > gone:
		// So many were read, but so many have not gone: it is another stream.
		found.Cause, found.Count = Recreated, -1
	case ordinal < 0 && s.deleted == position:
		return Finding{} // deleted itself, and nothing behind it was
	case ordinal < 0:
		found.Count = gone
	case ordinal == gone:
		return Finding{} // the entries that were read, and no more
	default:
		found.Count, found.Exact = gone-ordinal, true
	}
	return found
}
