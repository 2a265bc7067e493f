package commit

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/script"
	"millrace/stream/internal/task"
	"millrace/stream/internal/window"
)

// Letter is a dead letter on its way: the entry, where it goes, and the fields that it gets.
type Letter struct {
	Item *window.Item
	// Fields are those of the entry as it was read; none if they were not kept.
	Fields codec.Fields
	Client redis.UniversalClient // nil is the consumer's own
	Target string                // the key of the dead-letter stream
	Added  []string              // names and values that come after the entry's own

	// Ended is called once, with how it has ended, before the window knows of that.
	Ended func(Ending)

	// Settled and Err are the result of the last try: whether the entry was settled in the
	// same step, and why the letter was not written. With ErrClaimed the entry is another
	// consumer's, with ErrGone there is nothing left to write.
	Settled bool
	Err     error
	// Unknown is the Settler's own, from one try to the next: whether the letter may have been
	// written, and its entry settled, by a try that had no answer.
	Unknown bool

	tried  chan struct{} // closed when it was tried, or has its end
	failed bool          // it could not be written
}

// Mover moves an entry to its dead-letter stream in one step on the server. It reports
// false where a script cannot do that.
type Mover func(ctx context.Context, letter *Letter) (moved bool, err error)

// LetterWriter writes dead letters of one stream.
type LetterWriter struct {
	client   redis.UniversalClient
	clients  *conn.Clients
	stream   string
	carrying task.Lock
}

// NewLetterWriter returns a writer. The client sends the commands of the consumer; clients
// have those for letters on other servers.
func NewLetterWriter(client redis.UniversalClient, clients *conn.Clients, stream string) *LetterWriter {
	return &LetterWriter{client: client, clients: clients, stream: stream, carrying: task.NewLock()}
}

// Write writes an entry to its dead-letter stream, in one try: with move where the letter goes
// to the consumer's own server, and else through here. A write whose reply is lost is
// written again, so that an entry may be there twice.
func (w *LetterWriter) Write(ctx context.Context, letter *Letter, move Mover) error {
	if letter.Client != nil {
		other, err := w.clients.Of(letter.Client)
		if err != nil {
			return err
		}
		err = w.moveThroughHere(ctx, letter, other.Client)
		if !errors.Is(err, ErrGone) {
			conn.Relocate(other.Client, err)
		}
		return err
	}
	if letter.Target == w.stream {
		return errors.New("the dead-letter stream is the topic itself; give middleware.DeadLetter another one")
	}
	if moved, err := move(ctx, letter); moved || err != nil {
		return err
	}
	return w.moveThroughHere(ctx, letter, w.client)
}

// Move is the Mover that leaves the entry where it is, too.
func (w *LetterWriter) Move(ctx context.Context, letter *Letter) (moved bool, err error) {
	reply, err := w.MoveBy(ctx, script.Move, letter, letter.Item.ID)
	return reply == "moved", err
}

// MoveBy runs a script that moves an entry, and returns its reply, which is empty where a
// script cannot move it. args come before the fields that the letter gets.
func (w *LetterWriter) MoveBy(ctx context.Context, script conn.OnceScript, letter *Letter, args ...any) (string, error) {
	for _, text := range letter.Added {
		args = append(args, text)
	}
	reply, err := script.Run(ctx, w.client, []string{w.stream, letter.Target}, args...).Text()
	switch v := conn.Classify(err); {
	case err == nil:
		return reply, nil
	case errors.Is(err, redis.Nil), // trimmed away since it was read
		v.Code == "CROSSSLOT",
		v.Withheld, // no scripts for this user
		strings.Contains(err.Error(), "too many results"): // more fields than a script can pass on
		return "", nil
	default:
		return "", fmt.Errorf("moving the entry to %s: %w", letter.Target, err)
	}
}

// moveThroughHere fetches the entry once more, undecoded, and adds it to the target.
func (w *LetterWriter) moveThroughHere(ctx context.Context, letter *Letter, target redis.UniversalClient) error {
	if letter.Fields.Len() == 0 {
		// It is over the limit of size: no more than one of those at a time.
		if err := w.carrying.Lock(ctx); err != nil {
			return err
		}
		defer w.carrying.Unlock()
	}
	pairs, err := w.original(ctx, letter)
	if errors.Is(err, ErrGone) {
		return err
	}
	if err != nil {
		return fmt.Errorf("fetching the entry for %s: %w", letter.Target, err)
	}
	for _, text := range letter.Added {
		pairs = append(pairs, text)
	}
	// Once, as the entry was fetched: it is tried again later, which finds out sooner that
	// another server has taken over.
	if err := conn.DoOnce(ctx, target, append([]any{"xadd", letter.Target, "*"}, pairs...)...).Err(); err != nil {
		return fmt.Errorf("adding the entry to %s: %w", letter.Target, err)
	}
	return nil
}

// original returns the entry's field-value pairs as the server has them or, if it no longer
// does, as they were read.
func (w *LetterWriter) original(ctx context.Context, letter *Letter) ([]any, error) {
	id := letter.Item.ID
	reply, err := conn.DoOnce(ctx, w.client, "xrange", w.stream, id, id).Slice()
	if err != nil {
		return nil, err
	}
	if len(reply) == 1 {
		if found, ok := reply[0].([]any); ok && len(found) == 2 {
			if pairs, ok := found[1].([]any); ok {
				return pairs, nil
			}
		}
	}
	if letter.Fields.Len() == 0 {
		return nil, ErrGone
	}
	var pairs []any
	for name, value := range letter.Fields.All() {
		pairs = append(pairs, name, value)
	}
	return pairs, nil
}
