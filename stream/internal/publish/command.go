package publish

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/script"
)

// command is the command that adds one entry.
//
// It is a type of its own for two things that go-redis' own XADD cannot do. It
// is not sent again by the client, whatever its MaxRetries is: with every reply
// lost once, 20 XADDs made 40 entries and no error. (A second client with other
// options would do it too, but with connections beside the caller's pool, and it
// would have to be closed.) And it knows whether it was sent, which the error does
// not tell: an EOF can come from the login on a new connection, and a refused
// connection from the second attempt.
type command struct {
	redis.StringCmd
	sent  autoID
	keyed bool
	// Of a chunk: the entry's index.
	piped bool
	index int
}

// NoRetry is asked by go-redis before it sends a command, or a pipeline with
// it, again after an error that may have come after its execution. Redirections
// in a cluster are followed all the same: there, the server has refused it.
func (c *command) NoRetry() bool { return !c.keyed }

// certainlyNot reports whether a command that ended with err has not added, and
// will not add, an entry.
func (c *command) certainlyNot(err error) bool {
	if c.sent == 0 {
		return true
	}
	if !conn.Classify(err).Answered() {
		return false
	}
	// A refusal speaks only for the attempt that it answers. A command without a
	// key is sent again after a refusal only; with one, after a lost reply too;
	// and in a pipeline that a cluster redirects, an earlier refusal can stand
	// where a later reply was lost.
	return c.sent == 1 || !c.keyed && !c.piped
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

// evaluation is a way to run the script that adds an entry with a key.
type evaluation struct{ command, script string }

var (
	byHash   = evaluation{"evalsha", redis.NewScript(script.PublishOnce).Hash()}
	bySource = evaluation{"eval", script.PublishOnce}
)

// frame are the arguments that the commands of one chunk have in common. Each that
// becomes an any is an allocation, so that it is done once.
type frame struct {
	stream, keys, window any
	prefix               string
	trim, headers        []any
}

func (p *Publisher) frame(headers []string) frame {
	s := &p.settings
	f := frame{
		stream: s.Stream, keys: 2, window: s.KeyWindow.Milliseconds(), prefix: s.Keys,
		trim: s.Retention.appendArgs(nil, time.Now()),
	}
	for i := range headers {
		f.headers = append(f.headers, &headers[i])
	}
	return f
}

// overhead is the most arguments that a command has beside the pairs and the headers.
const overhead = 10

// prepare makes c the command for an entry. how matters only for one with a key.
func (c *command) prepare(ctx context.Context, f frame, entry Entry, how evaluation, memory *argMemory) {
	c.keyed = entry.Key != ""
	args := memory.take(overhead + len(entry.Pairs) + len(f.headers))
	if c.keyed {
		args = append(args, how.command, how.script, f.keys, f.stream, f.prefix+entry.Key, f.window)
	} else {
		args = append(args, "xadd", f.stream)
	}
	args = append(args, f.trim...)
	args = append(args, &c.sent)
	for i := range entry.Pairs {
		args = append(args, &entry.Pairs[i]) // as a string, each would be an allocation
	}
	args = append(args, f.headers...)
	c.StringCmd = *redis.NewStringCmd(ctx, args...)
}

// argMemory is the memory for the arguments of many commands. One by one, to
// allocate and to collect them and their commands was a third of the CPU time.
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
