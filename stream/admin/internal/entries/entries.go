package entries

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/offset"
	"millrace/stream"
	"millrace/stream/internal/conn"
)

// Entry is an entry as the server has it, repeated names and their order included, which
// go-redis' own type has not.
type Entry struct {
	ID    string
	Pairs []string
}

// In returns the entry as one of the stream.
func (e Entry) In(name string) stream.Entry {
	return stream.Entry{Stream: name, ID: e.ID, Fields: codec.FieldsOf(e.Pairs...)}
}

// A page has few entries at first, then at most largestPage, and about pageMemory of names and
// values: how large entries are is known once some are here.
const (
	firstPage   = 10
	largestPage = 500
	pageMemory  = 2 << 20
)

// nextPage returns how many entries are read after a page.
func nextPage(page []Entry) int {
	size := len(page)
	for _, entry := range page {
		for _, text := range entry.Pairs {
			size += len(text)
		}
	}
	return max(1, min(largestPage, int(int64(len(page))*pageMemory/int64(max(1, size)))))
}

// readPage sends XRANGE or XREVRANGE, and returns the entries.
func readPage(ctx context.Context, client redis.UniversalClient, command, key, from, to string, most int) ([]Entry, error) {
	client, err := conn.PrimaryOf(ctx, client, key)
	if err != nil {
		return nil, err
	}
	return scan(client.Do(ctx, command, key, from, to, "count", most))
}

// ByIDs returns the entries that have one of the IDs.
func ByIDs(ctx context.Context, client redis.UniversalClient, key string, ids []offset.ID) (list []Entry, err error) {
	if client, err = conn.PrimaryOf(ctx, client, key); err != nil {
		return nil, err
	}
	cmds, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, id := range ids {
			p.Do(ctx, "xrange", key, id.String(), id.String())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, cmd := range cmds {
		one, err := scan(cmd.(*redis.Cmd)) //nolint:forcetypeassert // Do makes no other
		if err != nil {
			return nil, err
		}
		list = append(list, one...)
	}
	return list, nil
}

// scan returns the entries of a reply.
func scan(cmd *redis.Cmd) ([]Entry, error) {
	reply, err := cmd.Slice()
	if err != nil {
		return nil, err
	}
	return Scan(reply)
}

// Scan returns the entries of a list in a reply.
func Scan(reply []any) ([]Entry, error) {
	list := make([]Entry, 0, len(reply))
	for _, one := range reply {
		entry, is := one.([]any)
		if !is || len(entry) != 2 {
			return nil, ErrReply
		}
		id, isID := entry[0].(string)
		texts, isList := entry[1].([]any)
		if !isID || !isList || len(texts)%2 != 0 {
			return nil, ErrReply
		}
		pairs := make([]string, len(texts))
		for i, text := range texts {
			if pairs[i], is = text.(string); !is {
				return nil, ErrReply
			}
		}
		list = append(list, Entry{id, pairs})
	}
	return list, nil
}

// ErrReply is an answer that has other elements than it should.
var ErrReply = errors.New("the server's answer is no list of entries; is it a Redis server?")

// Pages reads a stream by pages, from the first ID to the last, or the other way round, until
// there is no more, or yield returns false.
func Pages(ctx context.Context, client redis.UniversalClient, name, from, to string, backward bool, yield func([]Entry) bool) error {
	for most := firstPage; ; {
		command, begin, end := "xrange", &from, to
		if backward {
			command, begin, end = "xrevrange", &to, from
		}
		page, err := readPage(ctx, client, command, name, *begin, end, most)
		if err != nil || len(page) == 0 || !yield(page) || len(page) < most {
			return err
		}
		*begin, most = "("+page[len(page)-1].ID, nextPage(page)
	}
}
