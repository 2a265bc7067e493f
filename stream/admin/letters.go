package admin

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"millrace/codec"
	"millrace/stream"
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
const HeaderEdited = stream.DeadLetterPrefix + "edited"

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
		for page, err := range where.entries(ctx, a.client, dead) {
			if err != nil {
				yield(Letter{}, readingFailed(dead, err))
				return
			}
			for _, entry := range page {
				letter, is := letterOf(dead, entry)
				if !is {
					err = &NoLetterError{Stream: dead, ID: entry.id}
				} else if err = nil; !where.matches(topic, &letter) {
					continue
				}
				if !yield(letter, err) {
					return
				}
			}
		}
	}
}

func readingFailed(dead string, err error) error {
	return fmt.Errorf("admin: reading the dead letters %s: %w", dead, conn.Explain(err))
}

// letterNames are the names of the last six fields of a letter, in their order; the third one
// is either of two. redrive.lua has them, too.
var letterNames = [6]string{
	stream.DeadLetterOrigin, stream.DeadLetterID, stream.DeadLetterGroup,
	stream.DeadLetterAttempts, stream.DeadLetterCause, stream.DeadLetterTime,
}

// letterOf returns an entry of a stream of dead letters as a letter, and whether it is one.
func letterOf(dead string, entry rawEntry) (Letter, bool) {
	letter := Letter{Stream: dead, ID: entry.id}
	pairs := entry.pairs
	own := len(pairs) - 2*len(letterNames)
	if own < 0 {
		return letter, false
	}
	added := pairs[own:]
	for i, name := range letterNames {
		if has := added[2*i]; has != name && (name != stream.DeadLetterGroup || has != stream.DeadLetterLabel) {
			return letter, false
		}
	}
	letter.Reader.Stream, letter.EntryID = added[1], added[3]
	if added[4] == stream.DeadLetterGroup {
		letter.Reader.Group = added[5]
	} else {
		letter.Reader.Label = added[5]
	}
	letter.Attempts, _ = strconv.ParseInt(added[7], 10, 64)
	letter.Cause, letter.last = added[9], added[11]
	letter.At, _ = time.Parse(time.RFC3339Nano, letter.last)
	for _, text := range pairs {
		letter.size += len(text)
	}
	letter.takeHeaders(pairs[:own:own])
	return letter, true
}

// takeHeaders takes the headers of a redriven entry from the end of the pairs, and keeps the
// rest as the letter's fields. Only headers that stand as a redrive writes them count.
func (l *Letter) takeHeaders(pairs []string) {
	l.OriginID = l.EntryID
	if n := len(pairs); n >= 4 && pairs[n-2] == stream.HeaderRedrives && pairs[n-4] == stream.HeaderOriginID {
		if redrives, is := count(pairs[n-1]); is {
			l.Redrives, l.OriginID = redrives, pairs[n-3]
			pairs = pairs[:n-4]
			if n -= 4; n >= 2 && pairs[n-2] == stream.HeaderFor {
				pairs = pairs[:n-2]
			}
		}
	}
	if n := len(pairs); n >= 2 && pairs[n-2] == HeaderEdited && pairs[n-1] != "" {
		l.EditedBy, pairs = pairs[n-1], pairs[:n-2]
	}
	l.Fields = codec.FieldsOf(pairs...)
}

// count returns a decimal number of at most nine digits, and whether the text is one.
func count(text string) (n int, is bool) {
	if text == "" || len(text) > 9 {
		return 0, false
	}
	for _, digit := range []byte(text) {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		n = 10*n + int(digit-'0')
	}
	return n, true
}

// restored returns the pairs of the entry that the letter is redriven as: its fields, and the
// headers of a redriven entry. redrive.lua does the same on the server. address names the
// reader of the entry; an empty one leaves the header out.
func (l *Letter) restored(address string) []string {
	pairs := make([]string, 0, 2*l.Fields.Len()+8)
	for name, value := range l.Fields.All() {
		pairs = append(pairs, name, value)
	}
	if l.EditedBy != "" {
		pairs = append(pairs, HeaderEdited, l.EditedBy)
	}
	if address != "" {
		pairs = append(pairs, stream.HeaderFor, address)
	}
	return append(pairs, stream.HeaderOriginID, l.OriginID, stream.HeaderRedrives, strconv.Itoa(l.Redrives+1))
}
