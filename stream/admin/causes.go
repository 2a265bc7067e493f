package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/admin/internal/entries"
	"millrace/stream/admin/internal/letters"
	"millrace/stream/internal/resp"
)

// Cause is a reason for which a reader has given entries up: letters whose causes differ only
// in numbers, IDs, addresses and quoted values have the same.
type Cause struct {
	// Reader is who gave them up. It is the zero value for entries that are no letters.
	Reader Reader
	// Text is the cause, with # in the place of numbers, IDs, addresses and quoted values. It
	// shows nothing that the letter's own cause does not show.
	Text string
	// Count is how many letters have it.
	Count int64
	// First and Last are when the first and the last of them was written.
	First, Last time.Time
	// Example is the ID of the last of them.
	Example string
}

// Causes returns why entries of a topic were given up, the most frequent cause first. It looks
// at the last letters, at most so many as most says, which has to be positive; if the counts
// add up to that, there may be more. Letters of other topics in the same stream are left out,
// and entries that are no letters are a cause of their own. [FromDeadLetters] names another stream
// than the usual one.
func (a *Admin) Causes(ctx context.Context, topic string, most int, opts ...LettersOption) ([]Cause, error) {
	where := Where{DeadLetterStream: lettersQueryOf(opts).stream}
	problems := where.problems(topic)
	if most <= 0 {
		problems = append(problems, fmt.Errorf("%w: most %d is not positive; give how many letters are looked at", stream.ErrInvalidOption, most))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	dead := where.deadLetterStream(topic)
	found := make(causes)
	err := entries.Pages(ctx, a.client, dead, "-", "+", true, func(page []entries.Entry) bool {
		for _, entry := range page[:min(len(page), most)] {
			letter, is := letters.Of(entry)
			switch {
			case !is:
				found.add(Reader{}, noLetter, entry.ID)
			case letter.Origin == topic:
				found.add(readerOf(&letter), letter.Cause, entry.ID)
			}
		}
		most -= len(page)
		return most > 0
	})
	if err != nil {
		return nil, readingFailed(dead, err)
	}
	return found.list(), nil
}

// noLetter is the text of the cause of entries that are no letters.
const noLetter = "it is no dead letter"

// causes are those that were found, from the last letter to the first.
type causes map[causeKey]*causeFound

type causeKey struct {
	reader Reader
	raw    string
}

// causeFound is the cause of one text as it was written.
type causeFound struct {
	count       int64
	first, last string // IDs
}

func (c causes) add(reader Reader, raw, id string) {
	found := c[causeKey{reader, raw}]
	if found == nil {
		found = &causeFound{last: id}
		c[causeKey{reader, raw}] = found
	}
	found.count++
	found.first = id
}

// list joins the causes whose normalised texts are equal.
func (c causes) list() []Cause {
	joined := make(map[causeKey]*Cause)
	for key, found := range c {
		first, last := timeOf(found.first), timeOf(found.last)
		key.raw = letters.Normalised(key.raw)
		cause := joined[key]
		if cause == nil {
			joined[key] = &Cause{Reader: key.reader, Text: key.raw, Count: found.count, First: first, Last: last, Example: found.last}
			continue
		}
		cause.Count += found.count
		if first.Before(cause.First) {
			cause.First = first
		}
		if last.After(cause.Last) || last.Equal(cause.Last) && resp.CompareIDs(cause.Example, found.last) < 0 {
			cause.Last, cause.Example = last, found.last
		}
	}
	list := make([]Cause, 0, len(joined))
	for _, cause := range joined {
		list = append(list, *cause)
	}
	slices.SortFunc(list, func(a, b Cause) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Text, b.Text), cmp.Compare(a.Reader.String(), b.Reader.String()))
	})
	return list
}

// timeOf returns the time of an ID.
func timeOf(text string) time.Time {
	id, _ := offset.Parse(text)
	return time.UnixMilli(int64(id.Ms))
}
