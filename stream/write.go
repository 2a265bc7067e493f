package stream

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// write is the command that adds one entry.
//
// It is a type of its own for two things that go-redis' own XADD cannot do. It
// is not sent again by the client, whatever its MaxRetries is: with every reply
// lost once, 20 XADDs made 40 entries and no error. (A second client with other
// options would do it too, but with connections beside the caller's pool, and
// nobody to close it.) And it knows whether it was sent, which the error does
// not tell: an EOF can come from the login on a new connection, and a refused
// connection from the second attempt.
type write struct {
	redis.StringCmd
	sent   autoID
	once   bool
	result *Published // in PublishAll
}

// NoRetry is asked by go-redis before it sends a command, or a pipeline with
// it, again after an error that may have come after its execution. Redirections
// in a cluster are followed all the same: there, the server has refused it.
func (w *write) NoRetry() bool { return !w.once }

// certainlyNot reports whether a write that ended with err has not added, and
// will not add, an entry.
func (w *write) certainlyNot(err error) bool {
	if w.sent == 0 {
		return true
	}
	if !classify(err).Answered() {
		return false
	}
	// A refusal speaks only for the attempt that it answers. A write without a
	// key is sent again after a refusal only; with one, after a lost reply too;
	// and in a pipeline that a cluster redirects, an earlier refusal can stand
	// where a later reply was lost.
	return w.sent == 1 || !w.once && w.result == nil
}

// autoID is the ID argument of XADD, "let the server number it", which counts
// how often it is put on the wire.
type autoID int

// MarshalBinary is called by go-redis when it has a connection and writes the
// command to it.
func (n *autoID) MarshalBinary() ([]byte, error) {
	*n++
	return star, nil
}

var star = []byte("*")

// String is for hooks that print commands.
func (n *autoID) String() string { return string(star) }

// frame are the arguments that the writes of one call have in common. Each that
// becomes an any is an allocation, so that it is done once.
type frame struct {
	stream, keys, window any
	trim                 []any
}

func (p *publisher) frame() frame {
	return frame{
		stream: p.stream, keys: 2, window: p.config.onceWindow.Milliseconds(),
		trim: p.config.retention.appendArgs(nil, time.Now()),
	}
}

// prepare makes w the command for an entry. how matters only for one with a key.
func (p *publisher) prepare(ctx context.Context, w *write, f frame, entry outgoing, how evaluation, memory *argMemory) {
	w.once = entry.once
	args := memory.take(10 + len(entry.pairs))
	if entry.once {
		args = append(args, how.command, how.script, f.keys, f.stream, p.keyspace+entry.key, f.window)
	} else {
		args = append(args, "xadd", f.stream)
	}
	args = append(args, f.trim...)
	args = append(args, &w.sent)
	for i := range entry.pairs {
		args = append(args, &entry.pairs[i]) // as a string, each would be an allocation
	}
	w.StringCmd = *redis.NewStringCmd(ctx, args...)
}

// argMemory is the memory for the arguments of many commands. One by one, to
// allocate and to collect them and their writes was a third of the CPU time.
type argMemory struct {
	free []any
	next int // how many arguments are expected
}

// argBlock is 32 KiB, the largest block that Go allocates cheaply.
const argBlock = 2048

// take returns room for n arguments.
func (m *argMemory) take(n int) []any {
	if len(m.free) < n {
		m.free = make([]any, max(n, min(m.next, argBlock)))
	}
	args := m.free[:0:n]
	m.free = m.free[n:]
	return args
}
