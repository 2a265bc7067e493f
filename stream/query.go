package stream

import (
	"context"
	"errors"
	"io"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// Questions about a stream that are answered with entries, of which only the IDs
// matter. As go-redis reads them, their fields would be in memory each time, however
// large they are.

// query is a command whose answer is read by us, while it comes in.
type query struct {
	*redis.RawWriteToCmd
	in   *io.PipeWriter
	done chan error
}

// querySize is enough for the longest text that [wire.brief] is asked for, and no
// more: a thousand consumers that have nothing to do look around all the time.
const querySize = 4 << 10

// newQuery makes one of a command that has its key at the given place. It has to be
// ended, whatever became of it.
func newQuery(ctx context.Context, read func(*reply) error, key int8, args ...any) query {
	out, in := io.Pipe()
	g := query{redis.NewRawWriteToCmd(ctx, in, args...), in, make(chan error, 1)}
	g.SetFirstKeyPos(key)
	go func() {
		err := read(&reply{wire: wire{conn: out, buf: make([]byte, querySize)}})
		_ = out.Close()
		g.done <- err
	}()
	return g
}

// errUnread is that the answer was another one, such as an error: then the command is
// to be sent again in the ordinary way, in which go-redis knows what to do about that.
// errCut is that the answer did not come whole.
var errUnread, errCut = errors.New("the answer was not read"), errors.New("the answer did not come whole")

// end comes after the command. It returns why its answer was not read: errUnread, or
// the connection's failure.
func (g query) end() error {
	_ = g.in.CloseWithError(errCut)
	if err := <-g.done; err != nil && (g.Err() == nil || !errors.Is(err, errCut)) {
		return errUnread
	}
	return g.Err()
}

// sendQuery sends a query. Where the connection has failed it does so again, as
// go-redis would: in the ordinary way it would read the fields.
func sendQuery(ctx context.Context, send func(context.Context, redis.Cmder) error, again func() query) error {
	const most = 3
	for attempt := 1; ; attempt++ {
		g := again()
		sent := caught(func() error { return send(ctx, g.RawWriteToCmd) })
		err := g.end() // also if a hook has panicked
		if err == nil {
			return sent // of a pipeline, another command may have failed
		}
		if err == errUnread || attempt == most || ctx.Err() != nil { //nolint:errorlint // our own, never wrapped
			return err
		}
	}
}

// infoOf is XINFO STREAM. Of the first and the last entry it has the IDs alone.
func infoOf(ctx context.Context, client redis.UniversalClient, stream string) (*redis.XInfoStream, error) {
	info := &redis.XInfoStream{}
	err := sendQuery(ctx, client.Process, func() query { return queryInfo(ctx, stream, info) })
	if err == errUnread { //nolint:errorlint // our own, never wrapped
		info, err = client.XInfoStream(ctx, stream).Result()
	}
	if isCut(harmless(err), false, 0) {
		return infoByScript(ctx, client, stream)
	}
	return info, err
}

func queryInfo(ctx context.Context, stream string, into *redis.XInfoStream) query {
	return newQuery(ctx, func(r *reply) error { return r.info(into) }, 2, "xinfo", "stream", stream)
}

func (r *reply) info(into *redis.XInfoStream) error {
	kind, n, err := r.head()
	switch {
	case err != nil:
		return err
	case kind == '*':
		n /= 2
	case kind != '%':
		return malformed("it is no map")
	}
	for range n {
		name, size, err := r.brief(maxNameSize, "a name is missing")
		if err != nil || size > maxNameSize {
			return or(err, "a name is too long")
		}
		switch string(name) {
		case "length":
			into.Length, err = r.number()
		case "entries-added":
			into.EntriesAdded, err = r.number()
		case "last-generated-id":
			into.LastGeneratedID, err = r.id()
		case "max-deleted-entry-id":
			into.MaxDeletedEntryID, err = r.id()
		case "first-entry":
			into.FirstEntry.ID, err = r.entryID()
		case "last-entry":
			into.LastEntry.ID, err = r.entryID()
		default:
			err = r.skip(1, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// number reads an integer.
func (r *reply) number() (int64, error) {
	line, err := r.line()
	if err != nil || line[0] != ':' {
		return 0, or(err, "a number is none")
	}
	return strconv.ParseInt(string(line[1:]), 10, 64)
}

func (r *reply) id() (string, error) {
	text, size, err := r.brief(maxNameSize, "an ID is missing")
	if err != nil || size > maxNameSize {
		return "", or(err, "an ID is too long")
	}
	return string(text), nil
}

// entryID reads an entry, of which there may be none.
func (r *reply) entryID() (string, error) {
	kind, n, err := r.head()
	if err != nil || n < 0 || kind == '_' {
		return "", err
	}
	if kind != '*' || n < 1 {
		return "", malformed("an entry is no pair")
	}
	id, err := r.id()
	if err != nil {
		return "", err
	}
	return id, r.skip(int64(n-1), nil)
}

// firstOf is XRANGE, or XREVRANGE, with COUNT 1. It returns the entry's ID, "" if there
// is none.
func firstOf(ctx context.Context, client redis.UniversalClient, command, stream, from, to string) (id string, err error) {
	one, err := entryOf(ctx, client, 0, command, stream, from, to)
	return one.ID, err
}

// entryOf is firstOf, and returns the entry's fields too if they are no larger than
// most.
func entryOf(ctx context.Context, client redis.UniversalClient, most int64, command, stream, from, to string) (one wireEntry, err error) {
	args := []any{command, stream, from, to, "count", 1}
	one, err = queryEntry(ctx, client, most, args...)
	if err != errUnread { //nolint:errorlint // our own, never wrapped
		return one, err
	}
	cmd := redis.NewXMessageSliceCmd(ctx, args...)
	if err := client.Process(ctx, cmd); err != nil || len(cmd.Val()) == 0 {
		return wireEntry{}, err
	}
	one.ID = cmd.Val()[0].ID
	one.take(cmd.Val()[0].Values, most)
	return one, nil
}

func queryEntry(ctx context.Context, client redis.UniversalClient, most int64, args ...any) (one wireEntry, err error) {
	read := func(r *reply) error {
		one = wireEntry{}
		kind, n, err := r.head()
		if err != nil || kind != '*' || n > 1 {
			return or(err, "it is no list of entries")
		}
		if n == 1 {
			one, _, err = r.entry(most, unlimited)
		}
		return err
	}
	err = sendQuery(ctx, client.Process, func() query { return newQuery(ctx, read, 1, args...) })
	return one, err
}

// nextID is XREAD with COUNT 1, of which it returns the ID, "" if there is none.
func nextID(ctx context.Context, client redis.UniversalClient, stream, position string) (id string, err error) {
	read := func(r *reply) error {
		id = ""
		kind, n, err := r.head()
		if err != nil || n < 0 {
			return err // null is an answer, too
		}
		if kind != '*' && kind != '%' {
			return malformed("it is no list of streams")
		}
		r.intakes = func(string) intake { return intake{} }
		found, err := r.batches(kind, n)
		if len(found) > 0 && found[0].len() > 0 {
			id = found[0].lastID()
		}
		return err
	}
	err = sendQuery(ctx, client.Process, func() query {
		return newQuery(ctx, read, 4, "xread", "count", 1, "streams", stream, position)
	})
	return id, err
}
