package admin

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"millrace/codec"
	"millrace/stream/admin/internal/letters"
	"millrace/stream/internal/conn"
)

// Letter is a dead letter: an entry that a reader of a topic has given up.
type Letter struct {
	// Stream is the key of the dead letters, and ID the letter's in there.
	Stream, ID string
	// Fields are those of the entry as it was published, without the fields and headers that
	// giving up, redriving and editing have added.
	Fields codec.Fields
	// Reader is the group or label that gave the entry up, and Reader.Stream the key of the
	// stream that the entry came from.
	Reader Reader
	// EntryID is the ID that the entry had there, and OriginID the one that it had when it
	// was given up for the first time.
	EntryID, OriginID string
	// Attempts is how often processing was tried the last time, and Cause the text of the last
	// error.
	Attempts int64
	Cause    string
	// At is when it was given up, by the consumer's clock; the zero time if the letter does
	// not say.
	At time.Time
	// Redrives is how often it was redriven.
	Redrives int
	// EditedBy names the person who changed the fields last ([Admin.Edit]). It is empty if the
	// fields are the original ones.
	EditedBy string

	last string // the value of its last field, which tells letters of one ID apart
	size int    // of its names and values, in bytes
}

// HeaderEdited is the header of an entry whose fields were changed before it was redriven: it
// says by whom.
const HeaderEdited = letters.HeaderEdited

// NoLetterError says that an entry in a stream of dead letters is none: its last six fields
// are not those that a consumer writes. Such an entry is left alone.
type NoLetterError struct {
	// Stream is the key of the dead letters, and ID that of the entry.
	Stream, ID string
}

func (e *NoLetterError) Error() string {
	return fmt.Sprintf("admin: entry %s of %s is no dead letter, as its last six fields are others; look at it, and move or delete it by hand", e.ID, e.Stream)
}

// DeadLetters returns the dead letters of a topic that are chosen, in the order in which they
// were given up: those that are there when it is called. An entry that is no letter comes as a
// [*NoLetterError], and others follow; any other error is the last.
func (a *Admin) DeadLetters(ctx context.Context, topic string, where Where) iter.Seq2[Letter, error] {
	return func(yield func(Letter, error) bool) {
		if err := errors.Join(where.problems(topic)...); err != nil {
			yield(Letter{}, err)
			return
		}
		dead := where.deadLetterStream(topic)
		for page, err := range where.lookedAt().Pages(ctx, a.client, dead) {
			if err != nil {
				yield(Letter{}, readingFailed(dead, err))
				return
			}
			for _, entry := range page {
				letter, is := letters.Of(entry)
				if !is {
					err = &NoLetterError{Stream: dead, ID: entry.ID}
				} else if err = nil; !where.matches(topic, &letter) {
					continue
				}
				if !yield(letterOf(dead, &letter), err) {
					return
				}
			}
		}
	}
}

func readingFailed(dead string, err error) error {
	return fmt.Errorf("admin: reading the dead letters %s: %w", dead, conn.Explain(err))
}

// letterOf returns a letter of the stream dead.
func letterOf(dead string, l *letters.Letter) Letter {
	at, _ := time.Parse(time.RFC3339Nano, l.Last)
	return Letter{
		Stream: dead, ID: l.ID, Fields: codec.FieldsOf(l.Pairs...), Reader: readerOf(l), EntryID: l.EntryID, OriginID: l.OriginID,
		Attempts: l.Attempts, Cause: l.Cause, At: at, Redrives: l.Redrives, EditedBy: l.EditedBy, last: l.Last, size: l.Size,
	}
}

// readerOf returns the reader that gave the entry of a letter up.
func readerOf(l *letters.Letter) Reader {
	return Reader{Stream: l.Origin, Group: l.Group, Label: l.Label}
}
