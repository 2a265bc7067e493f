package stream

import (
	"context"
	"io"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// Questions about a stream that are answered with entries, of which only the IDs
// matter. As go-redis reads them, their fields would be in memory each time, however
// large they are.

// glance is a command whose answer is read by us, while it comes in.
type glance struct {
	*redis.RawWriteToCmd
	in   *io.PipeWriter
	done chan error
}

// glanceSize is enough for the longest text that [wire.brief] is asked for, and no
// more: a thousand consumers that have nothing to do look around all the time.
const glanceSize = 4 << 10

// newGlance makes one of a command that has its key at the given place. It has to be
// ended, whatever became of it.
func newGlance(ctx context.Context, read func(*reply) error, key int8, args ...any) glance {
	out, in := io.Pipe()
	g := glance{redis.NewRawWriteToCmd(ctx, in, args...), in, make(chan error, 1)}
	g.SetFirstKeyPos(key)
	go func() {
		err := read(&reply{wire: wire{conn: out, buf: make([]byte, glanceSize)}})
		_ = out.Close()
		g.done <- err
	}()
	return g
}

// end comes after the command, and reports whether its answer was read. It was not
// if it is an error, or did not come whole: then the command is to be sent again in
// the ordinary way, in which go-redis knows what to do about such things.
func (g glance) end() bool {
	_ = g.in.Close()
	return <-g.done == nil && g.Err() == nil
}

// process sends the command, and ends it.
func (g glance) process(ctx context.Context, client redis.UniversalClient) bool {
	_ = client.Process(ctx, g.RawWriteToCmd) // end looks at it
	return g.end()
}

// infoOf is XINFO STREAM. Of the first and the last entry it has the IDs alone.
func infoOf(ctx context.Context, client redis.UniversalClient, stream string) (*redis.XInfoStream, error) {
	info := &redis.XInfoStream{}
	if glanceAtInfo(ctx, stream, info).process(ctx, client) {
		return info, nil
	}
	return client.XInfoStream(ctx, stream).Result()
}

func glanceAtInfo(ctx context.Context, stream string, into *redis.XInfoStream) glance {
	return newGlance(ctx, func(r *reply) error { return r.info(into) }, 2, "xinfo", "stream", stream)
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
func entryOf(ctx context.Context, client redis.UniversalClient, most int64, command, stream, from, to string) (one Entry, err error) {
	args := []any{command, stream, from, to, "count", 1}
	if one, ok := glanceAtEntry(ctx, client, most, args...); ok {
		return one, nil
	}
	cmd := redis.NewXMessageSliceCmd(ctx, args...)
	if err := client.Process(ctx, cmd); err != nil || len(cmd.Val()) == 0 {
		return Entry{}, err
	}
	one.ID = cmd.Val()[0].ID
	one.take(cmd.Val()[0].Values, most)
	return one, nil
}

func glanceAtEntry(ctx context.Context, client redis.UniversalClient, most int64, args ...any) (one Entry, ok bool) {
	read := func(r *reply) error {
		kind, n, err := r.head()
		if err != nil || kind != '*' || n > 1 {
			return or(err, "it is no list of entries")
		}
		if n == 1 {
			one, _, err = r.entry(most, unlimited)
		}
		return err
	}
	ok = newGlance(ctx, read, 1, args...).process(ctx, client)
	return one, ok
}

// glanceAtNext is XREAD with COUNT 1, of which it returns the ID, "" if there is none.
func glanceAtNext(ctx context.Context, client redis.UniversalClient, stream, position string) (id string, ok bool) {
	read := func(r *reply) error {
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
	ok = newGlance(ctx, read, 4, "xread", "count", 1, "streams", stream, position).process(ctx, client)
	return id, ok
}
