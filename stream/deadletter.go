package stream

import (
	"context"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"millrace/codec"
	"millrace/stream/internal/commit"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/contain"
	"millrace/stream/internal/loss"
	"millrace/stream/internal/task"
)

// The fields that a dead letter has besides those of the original entry, which come first and
// are as they were, byte for byte and in their order; of an entry that the server no longer has
// they are those that were read. These are the last six of every dead letter, in this order, so
// that the original can be restored even if it had fields of the same names.
const (
	// DeadLetterPrefix begins the name of each of them. Such names are reserved for headers
	// ([millrace/codec.IsHeader]), which [Entry.Header] returns.
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

// The headers of an entry that was made of a dead letter again, a redriven one. They are the
// last of its fields.
const (
	// HeaderFor says whose the entry is: the [Identity.Address] of the consumers that had given
	// it up. All others of the stream skip it. An entry without the header is everybody's.
	HeaderFor = DeadLetterPrefix + "for"
	// HeaderOriginID is the ID that the entry had when it was given up for the first time.
	HeaderOriginID = DeadLetterPrefix + "origin-id"
	// HeaderRedrives is how often it was redriven, a decimal number.
	HeaderRedrives = DeadLetterPrefix + "redrives"
)

// HeaderDeliveries is how often an entry had been delivered when it was added to its stream again,
// under another ID, because it had left the stream while it was put off ([RetryAfter]): a decimal
// number, which [Entry.Deliveries] includes. It is the last of its fields, behind [HeaderFor].
const HeaderDeliveries = DeadLetterPrefix + "deliveries"

// DeadLetterStream returns the key of the dead-letter stream of a stream, where
// nothing else is configured: the key in braces, as a hash tag, and ":dead". In
// a cluster the two are then in one slot, and the move from one to the other
// can be a single step (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags).
// A key that has a hash tag already keeps it.
func DeadLetterStream(stream string) string { return besideStream(stream, ":dead") }

// besideStream returns a key that is made of a stream's and a suffix and, in a
// cluster, in the stream's slot, if there is such a key.
func besideStream(stream, suffix string) string {
	return conn.Beside(stream, suffix)
}

// addressed returns a handler that skips the entries which were redriven for another reader. A
// dead letter that has the header is not meant: it is for whoever reads the dead letters.
func addressed(next EntryHandler) EntryHandler {
	return func(ctx context.Context, entry *Entry) error {
		to, has := entry.Fields.Get(HeaderFor)
		if !has || entry.reader == nil || isLetter(entry.Fields) {
			return next(ctx, entry)
		}
		if to == entry.reader.Address() {
			entry.Deliveries += deliveredBefore(entry.Fields)
			return next(ctx, entry)
		}
		return Skip("redriven for " + cut(to, 200))
	}
}

// deliveredBefore returns the value of HeaderDeliveries, 0 if that is not the last field: in an
// entry that has become a dead letter since, and was redriven, it is not, and does not count.
func deliveredBefore(fields codec.Fields) int64 {
	if lastName(fields) != HeaderDeliveries {
		return 0
	}
	text, _ := fields.Get(HeaderDeliveries)
	n, _ := strconv.ParseInt(text, 10, 32) // beyond 32 bits it is the greatest
	return max(0, n)
}

// isLetter reports whether fields end as those of a dead letter do. Those of a redriven entry
// do not.
func isLetter(fields codec.Fields) bool { return lastName(fields) == DeadLetterTime }

func lastName(fields codec.Fields) (last string) {
	for name := range fields.All() {
		last = name
	}
	return last
}

func (e *DeadLetterError) target(stream string) string {
	if e.Stream != "" {
		return e.Stream
	}
	return DeadLetterStream(stream)
}

// postLetter has the dead letter of an entry written, which comes from its worker.
func (r *run) postLetter(d *delivery, dead *DeadLetterError, failure error, took time.Duration) {
	if !r.window.Hold(d.it) {
		defer r.window.Forget(d.it) // also if an observer ends this goroutine
		r.noteEnd(d.it, OutcomeClaimed, failure, took)
		return
	}
	r.letters.Post(r.newLetter(d, dead, failure, took))
}

// newLetter returns the dead letter of an entry, as it is to be written however late that
// is.
func (r *run) newLetter(d *delivery, dead *DeadLetterError, failure error, took time.Duration) *commit.Letter {
	of := r.reader
	owner, name := DeadLetterLabel, of.Label
	if r.engine.inGroup() {
		owner, name = DeadLetterGroup, of.Group
	}
	letter := &commit.Letter{
		Item: d.it, Fields: d.entry.Fields, Client: dead.Client, Target: dead.target(of.Stream),
		Added: []string{
			DeadLetterOrigin, of.Stream,
			DeadLetterID, d.entry.ID,
			owner, name,
			DeadLetterAttempts, strconv.FormatInt(dead.Attempts, 10),
			DeadLetterCause, cut(contain.TextOf(dead.Err), 1024),
			DeadLetterTime, time.Now().UTC().Format(time.RFC3339Nano),
		},
	}
	attempt, cause := d.entry.Deliveries, contain.Harmless(dead.Err)
	letter.Ended = func(how commit.Ending) {
		r.noteEnd(letter.Item, r.letterEnded(letter, how, attempt, cause), failure, took)
	}
	return letter
}

// letterEnded logs how a dead letter has ended, and returns the outcome of its entry.
func (r *run) letterEnded(letter *commit.Letter, how commit.Ending, attempt int64, cause error) Outcome {
	log := r.engine.log.With("entry_id", letter.Item.ID)
	switch how {
	case commit.Claimed:
		log.Warn("entry given up while its dead letter was to be written: another consumer has it", "attempt", attempt)
		return OutcomeClaimed
	case commit.Gone:
		log.Error("entry lost: it is over the limit of size, and the stream no longer has it for its dead letter")
		r.NoteLoss(nil, loss.OfPending(letter.Item.ID))
		return OutcomeAbsorbed
	case commit.Stopped:
		log.Info("entry left: stopped before its dead letter was written", "attempt", attempt)
		return OutcomeInterrupted
	default:
		log.Warn("entry passed: it is in the dead letters now", "attempt", attempt, "dead_letter_stream", letter.Target, "err", cause)
		return OutcomeDeadLettered
	}
}

// outageOfLetters returns the outage of a server of dead letters, which may be another one
// than the topic's.
func (r *run) outageOfLetters(elsewhere bool) task.Outage {
	o := r.newOutage(r.engine.log, "writing to the dead letters")
	o.elsewhere = elsewhere
	return o
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
