package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/contain"
	"millrace/stream/internal/script"
	"millrace/stream/internal/window"
)

// The fields that a dead letter has besides those of the original entry, which
// come first and are as they were, byte for byte; of an entry that the server no
// longer has they are what was read, sorted by name, and of a name that repeats the
// last value. These are the last six of every dead letter, in this order, so that the
// original can be restored even if it had fields of the same names.
const (
	// DeadLetterPrefix begins the name of each of them.
	DeadLetterPrefix = "millrace."
	// DeadLetterOrigin is the key of the stream that the entry came from.
	DeadLetterOrigin = DeadLetterPrefix + "stream"
	// DeadLetterID is the ID that the entry had there.
	DeadLetterID = DeadLetterPrefix + "id"
	// DeadLetterLabel is the label of the consumer in log mode that gave it up,
	// DeadLetterGroup the group of the one in group mode; it has one of the two.
	DeadLetterLabel = DeadLetterPrefix + "label"
	DeadLetterGroup = DeadLetterPrefix + "group"
	// DeadLetterAttempts is how often processing was tried, a decimal number.
	DeadLetterAttempts = DeadLetterPrefix + "attempts"
	// DeadLetterCause is the text of the last error, at most 1024 bytes of it.
	DeadLetterCause = DeadLetterPrefix + "error"
	// DeadLetterTime is when it was given up, in RFC 3339, UTC.
	DeadLetterTime = DeadLetterPrefix + "time"
)

// DeadLetterStream returns the key of the dead-letter stream of a stream, where
// nothing else is configured: the key in braces, as a hash tag, and ":dead". In
// a cluster the two are then in one slot, and the move from one to the other
// can be a single step (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags).
// A key that has a hash tag already keeps it.
func DeadLetterStream(stream string) string { return besideStream(stream, ":dead") }

// besideStream returns a key that is made of a stream's and a suffix and, in a
// cluster, in the stream's slot, if there is such a key.
func besideStream(stream, suffix string) string {
	if tagged := "{" + stream + "}" + suffix; conn.HashTag(stream) == stream && conn.HashTag(tagged) == stream {
		return tagged
	}
	return stream + suffix
}

func (e *DeadLetterError) target(stream string) string {
	if e.Stream != "" {
		return e.Stream
	}
	return DeadLetterStream(stream)
}

// deadLetter is a dead letter on its way: the entry, where it goes, the fields that
// it gets, and how the delivery ended that has brought it.
type deadLetter struct {
	one    *window.Item
	entry  Entry
	client redis.UniversalClient // nil is the consumer's own
	target string
	added  []string

	id      string
	attempt int64
	cause   error
	failure error // that came out of the chain
	took    time.Duration
	tried   chan struct{} // closed when it was tried, or has its end

	// failed is set once it could not be written, unknown once it may have been,
	// because there was no answer.
	failed, unknown bool
}

// newDeadLetter returns the dead letter of an entry, as it is to be written however
// late that is.
func (r *run) newDeadLetter(d *delivery, dead *DeadLetterError, failure error, took time.Duration) *deadLetter {
	owner, of := DeadLetterLabel, r.identity.Label
	if r.group {
		owner, of = DeadLetterGroup, r.identity.Group
	}
	return &deadLetter{
		one: d.it, entry: d.entry, client: dead.Client, target: dead.target(r.stream),
		added: []string{
			DeadLetterOrigin, r.stream,
			DeadLetterID, d.entry.ID,
			owner, of,
			DeadLetterAttempts, strconv.FormatInt(dead.Attempts, 10),
			DeadLetterCause, cut(contain.TextOf(dead.Err), 1024),
			DeadLetterTime, time.Now().UTC().Format(time.RFC3339Nano),
		},
		id: d.entry.ID, attempt: d.entry.Deliveries, cause: contain.Harmless(dead.Err), failure: failure, took: took,
	}
}

// mover moves an entry to its dead-letter stream in one step on the server. It
// reports false where a script cannot do that.
type mover func(ctx context.Context, letter *deadLetter) (bool, error)

// writeDeadLetter writes an entry to its dead-letter stream, in one try. A write whose
// reply is lost is written again, so that an entry may be there twice, with the same
// DeadLetterID. With errGone there is nothing left to write, which has been told.
func (r *run) writeDeadLetter(ctx context.Context, letter *deadLetter, move mover) error {
	if letter.client != nil {
		other, err := r.conns.Of(letter.client)
		if err != nil {
			return err
		}
		once := *letter // the next try asks for the client again
		once.client = other.Client
		letter = &once
	}
	err := func() error {
		if letter.target == r.stream && letter.client == nil {
			return errors.New("the dead-letter stream is the topic itself; give middleware.DeadLetter another one")
		}
		if letter.client == nil {
			moved, err := move(ctx, letter)
			if moved || err != nil {
				return err
			}
		}
		return r.moveThroughHere(ctx, letter)
	}()
	switch {
	case errors.Is(err, errGone):
		r.log().Error("entry lost: it is over the limit of size, and the stream no longer has it for its dead letter", "entry_id", letter.id)
		r.loseEntry(letter.id)
		return errGone
	case letter.client != nil:
		conn.Relocate(letter.client, err)
	}
	return err
}

// move is the mover of log mode.
func (r *run) move(ctx context.Context, letter *deadLetter) (bool, error) {
	reply, err := r.moveOnServer(ctx, script.Move, letter, letter.entry.ID)
	return reply == "moved", err
}

// moveOnServer runs a script that moves an entry, and returns its reply, which is
// empty where a script cannot move it. args come before the fields that the
// letter gets.
func (r *run) moveOnServer(ctx context.Context, script conn.OnceScript, letter *deadLetter, args ...any) (string, error) {
	for _, text := range letter.added {
		args = append(args, text)
	}
	reply, err := script.Run(ctx, r.client, []string{r.stream, letter.target}, args...).Text()
	switch v := classify(err); {
	case err == nil:
		return reply, nil
	case errors.Is(err, redis.Nil), // trimmed away since it was read
		v.Code == "CROSSSLOT",
		v.Withheld, // no scripts for this user
		strings.Contains(err.Error(), "too many results"): // more fields than a script can pass on
		return "", nil
	default:
		return "", fmt.Errorf("moving the entry to %s: %w", letter.target, err)
	}
}

// moveThroughHere fetches the entry once more, undecoded, and adds it to the
// target.
func (r *run) moveThroughHere(ctx context.Context, letter *deadLetter) error {
	client := letter.client
	if client == nil {
		client = r.client
	}
	if letter.entry.Fields == nil {
		// It is over the limit of size: no more than one of those at a time.
		if err := r.carrying.Lock(ctx); err != nil {
			return err
		}
		defer r.carrying.Unlock()
	}
	pairs, err := r.original(ctx, &letter.entry)
	if errors.Is(err, errGone) {
		return err
	}
	if err != nil {
		return fmt.Errorf("fetching the entry for %s: %w", letter.target, err)
	}
	for _, text := range letter.added {
		pairs = append(pairs, text)
	}
	// Once, as the entry was fetched: it is tried again later, which finds out sooner that
	// another server has taken over.
	if err := conn.DoOnce(ctx, client, append([]any{"xadd", letter.target, "*"}, pairs...)...).Err(); err != nil {
		return fmt.Errorf("adding the entry to %s: %w", letter.target, err)
	}
	return nil
}

// errGone is what becomes of a dead letter whose entry is in the stream no more, and
// was too large to be kept here. Without what it is about it would be none.
var errGone = errors.New("the entry was trimmed or deleted before it could be copied")

// original returns the entry's field-value pairs as the server has them or, if
// it no longer does, as they were read.
func (r *run) original(ctx context.Context, entry *Entry) ([]any, error) {
	reply, err := conn.DoOnce(ctx, r.client, "xrange", r.stream, entry.ID, entry.ID).Slice()
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
	if entry.Fields == nil {
		return nil, errGone
	}
	var pairs []any
	for _, name := range slices.Sorted(maps.Keys(entry.Fields)) {
		pairs = append(pairs, name, entry.Fields[name])
	}
	return pairs, nil
}

// cut shortens text to at most the given number of bytes of valid UTF-8.
func cut(text string, size int) string {
	text = strings.ToValidUTF8(text, "\uFFFD") // first: it can make the text longer
	if len(text) > size {
		for !utf8.RuneStart(text[size]) {
			size--
		}
		text = text[:size]
	}
	return text
}
