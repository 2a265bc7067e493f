package conn

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/contain"
	"millrace/stream/internal/resp"
)

// Questions about a stream that are answered with entries, of which only the IDs
// matter. As go-redis reads them, their fields would be in memory each time, however
// large they are.

// Query is a command whose answer is read by us, while it comes in.
type Query struct {
	*redis.RawWriteToCmd
	in   *io.PipeWriter
	done chan error
}

// querySize is enough for the longest text that [wire.brief] is asked for, and no
// more: a thousand consumers that have nothing to do look around all the time.
const querySize = 4 << 10

// newQuery makes one of a command that has its key at the given place. It has to be
// ended, whatever became of it.
func newQuery(ctx context.Context, read func(*resp.Parser) error, key int8, args ...any) Query {
	out, in := io.Pipe()
	g := Query{redis.NewRawWriteToCmd(ctx, in, args...), in, make(chan error, 1)}
	g.SetFirstKeyPos(key)
	go func() {
		err := read(&resp.Parser{Reader: resp.Reader{Conn: out, Buf: make([]byte, querySize)}})
		_ = out.Close()
		g.done <- err
	}()
	return g
}

// ErrUnread is that the answer was another one, such as an error: then the command is
// to be sent again in the ordinary way, in which go-redis knows what to do about that.
// errCut is that the answer did not come whole.
var ErrUnread, errCut = errors.New("the answer was not read"), errors.New("the answer did not come whole")

// end comes after the command. It returns why its answer was not read: ErrUnread, or
// the connection's failure.
func (g Query) end() error {
	_ = g.in.CloseWithError(errCut)
	if err := <-g.done; err != nil && (g.Err() == nil || !errors.Is(err, errCut)) {
		return ErrUnread
	}
	return g.Err()
}

// SendQuery sends a query. Where the connection has failed it does so again, as
// go-redis would: in the ordinary way it would read the fields.
func SendQuery(ctx context.Context, send func(context.Context, redis.Cmder) error, again func() Query) error {
	const most = 3
	for attempt := 1; ; attempt++ {
		g := again()
		sent := contain.Caught(func() error { return send(ctx, g.RawWriteToCmd) })
		err := g.end() // also if a hook has panicked
		if err == nil {
			return sent // of a pipeline, another command may have failed
		}
		if err == ErrUnread || attempt == most || ctx.Err() != nil { //nolint:errorlint // our own, never wrapped
			return err
		}
	}
}

// QueryInfo is XINFO STREAM, without the fields of the first and the last entry.
func QueryInfo(ctx context.Context, stream string, into *redis.XInfoStream) Query {
	return newQuery(ctx, func(r *resp.Parser) error { return r.Info(into) }, 2, "xinfo", "stream", stream)
}

// FirstOf is XRANGE, or XREVRANGE, with COUNT 1. It returns the entry's ID, "" if there
// is none.
func FirstOf(ctx context.Context, client redis.UniversalClient, command, stream, from, to string) (id string, err error) {
	one, err := EntryOf(ctx, client, 0, command, stream, from, to)
	return one.ID, err
}

// EntryOf is FirstOf, and returns the entry's fields too if they are no larger than
// most.
func EntryOf(ctx context.Context, client redis.UniversalClient, most int64, command, stream, from, to string) (one resp.Entry, err error) {
	args := []any{command, stream, from, to, "count", 1}
	one, err = QueryEntry(ctx, client, most, args...)
	if err != ErrUnread { //nolint:errorlint // our own, never wrapped
		return one, err
	}
	cmd := redis.NewXMessageSliceCmd(ctx, args...)
	if err := client.Process(ctx, cmd); err != nil || len(cmd.Val()) == 0 {
		return resp.Entry{}, err
	}
	one.ID = cmd.Val()[0].ID
	one.Take(cmd.Val()[0].Values, most)
	return one, nil
}

// QueryEntry sends a command that answers with one entry at most, and returns that; its
// fields are none where they are larger than most. The error is ErrUnread where the answer
// is another one.
func QueryEntry(ctx context.Context, client redis.UniversalClient, most int64, args ...any) (one resp.Entry, err error) {
	read := func(r *resp.Parser) error {
		one = resp.Entry{}
		kind, n, err := r.Head()
		if err != nil || kind != '*' || n > 1 {
			return resp.Or(err, "it is no list of entries")
		}
		if n == 1 {
			one, _, err = r.Entry(most, resp.Unlimited)
		}
		return err
	}
	err = SendQuery(ctx, client.Process, func() Query { return newQuery(ctx, read, 1, args...) })
	return one, err
}

// NextID is XREAD with COUNT 1, of which it returns the ID, "" if there is none.
func NextID(ctx context.Context, client redis.UniversalClient, stream, position string) (id string, err error) {
	read := func(r *resp.Parser) error {
		id = ""
		kind, n, err := r.Head()
		if err != nil || n < 0 {
			return err // null is an answer, too
		}
		if kind != '*' && kind != '%' {
			return resp.Malformed("it is no list of streams")
		}
		r.Budgets = func(string) resp.Budget { return resp.Budget{} }
		found, err := r.Batches(kind, n)
		if len(found) > 0 && found[0].Len() > 0 {
			id = found[0].LastID()
		}
		return err
	}
	err = SendQuery(ctx, client.Process, func() Query {
		return newQuery(ctx, read, 4, "xread", "count", 1, "streams", stream, position)
	})
	return id, err
}

// HasEntry reports whether a stream has the entry at a place.
func HasEntry(ctx context.Context, client redis.UniversalClient, stream string, p resp.Place, maxEntry *int) (bool, error) {
	found, err := EntryAt(ctx, client, stream, p, maxEntry)
	return err == nil && p.Is(found), err
}

// EntryAt returns the entry that a stream has under the ID of a place, if it has one. The
// fields are left out where they are larger than maxEntry, and where the place does not tell
// entries of one ID apart.
func EntryAt(ctx context.Context, client redis.UniversalClient, stream string, p resp.Place, maxEntry *int) (resp.Entry, error) {
	most := resp.SizeLimit(maxEntry)
	if p.Sum == 0 {
		most = 0
	}
	found, err := EntryOf(ctx, client, most, "xrange", stream, p.ID, p.ID)
	if err != nil {
		return resp.Entry{}, fmt.Errorf("looking for the last entry that was read: %w", err)
	}
	return found, nil
}
