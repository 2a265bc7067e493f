package conn

import (
	"bytes"
	"context"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/resp"
)

// Piped is a [Query] for a pipeline of many: its answer is kept until all have come, and read
// then. A Query for each of a hundred has a goroutine for each, which takes six times as long.
type Piped struct {
	*redis.RawWriteToCmd
	answer *answer
}

// answerSize is how much of an answer is kept. One with larger entries is not read.
const answerSize = 4 << 10

// answer keeps the beginning of an answer.
type answer struct {
	kept []byte
	cut  bool
}

// Write implements io.Writer.
func (a *answer) Write(p []byte) (int, error) {
	if len(a.kept)+len(p) > answerSize {
		a.cut = true
		return len(p), nil
	}
	a.kept = append(a.kept, p...)
	return len(p), nil
}

func newPiped(ctx context.Context, key int8, args ...any) Piped {
	p := Piped{answer: &answer{}}
	p.RawWriteToCmd = redis.NewRawWriteToCmd(ctx, p.answer, args...)
	p.SetFirstKeyPos(key)
	return p
}

// PipedInfo is XINFO STREAM.
func PipedInfo(ctx context.Context, stream string) Piped {
	return newPiped(ctx, 2, "xinfo", "stream", stream)
}

// PipedFirst is XRANGE with COUNT 1.
func PipedFirst(ctx context.Context, stream, from, to string) Piped {
	return newPiped(ctx, 1, "xrange", stream, from, to, "count", 1)
}

// Read has the answer read, after the pipeline. It returns ErrUnread where that is too long or
// another one, such as an error: then it is to be asked for alone.
func (p Piped) Read(read func(*resp.Parser) error) error {
	if p.Err() != nil || p.answer.cut || len(p.answer.kept) == 0 {
		return ErrUnread
	}
	parser := &resp.Parser{Reader: resp.Reader{Conn: bytes.NewReader(p.answer.kept), Buf: make([]byte, len(p.answer.kept)+1)}}
	if read(parser) != nil {
		return ErrUnread
	}
	return nil
}

// ReadInfo is Read of [PipedInfo].
func (p Piped) ReadInfo(into *redis.XInfoStream) error {
	return p.Read(func(r *resp.Parser) error { return r.Info(into) })
}

// ReadFirst is Read of [PipedFirst]. The ID is empty if there is no entry.
func (p Piped) ReadFirst(id *string) error {
	return p.Read(func(r *resp.Parser) error {
		*id = ""
		kind, n, err := r.Head()
		if err != nil || kind != '*' || n > 1 {
			return resp.Or(err, "it is no list of entries")
		}
		if n == 1 {
			one, _, err := r.Entry(0, resp.Unlimited)
			*id = one.ID
			return err
		}
		return nil
	})
}
