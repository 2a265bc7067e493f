package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace/offset"
	"millrace/stream"
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
	err := rawPages(ctx, a.client, dead, "-", "+", true, func(page []rawEntry) bool {
		for _, entry := range page[:min(len(page), most)] {
			letter, is := letterOf(dead, entry)
			switch {
			case !is:
				found.add(Reader{}, noLetter, entry.id)
			case letter.Reader.Stream == topic:
				found.add(letter.Reader, letter.Cause, entry.id)
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
		key.raw = normalised(key.raw)
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

// normalised returns a cause with # in the place of numbers, hexadecimal texts, IDs, addresses
// and quoted values. The name behind "field" stays.
func normalised(cause string) string {
	var b strings.Builder
	b.Grow(len(cause))
	for i := 0; i < len(cause); {
		switch c := cause[i]; {
		case c == '"' || c == '`' || c == '\'' && !inWord(cause, i-1):
			quoted, end := unquote(cause, i)
			if strings.HasSuffix(cause[:i], "field ") && isName(quoted) {
				b.WriteString(cause[i:end])
			} else {
				b.WriteByte('#')
			}
			i = end
		case isWordByte(c):
			end := i + 1
			for end < len(cause) && isWordByte(cause[end]) {
				end++
			}
			end = id(cause, i, end)
			b.WriteString(shortened(cause[i:end]))
			i = end
		default:
			b.WriteByte(c)
			i++
		}
	}
	return b.String()
}

// unquote returns the text between the quote at i and the one that closes it, and where that
// ends. Without a closing quote, all that follows is quoted.
func unquote(text string, i int) (quoted string, end int) {
	for j := i + 1; j < len(text); j++ {
		switch {
		case text[j] == '\\' && text[i] != '`':
			j++
		case text[j] == text[i]:
			return text[i+1 : j], j + 1
		}
	}
	return text[i+1:], len(text)
}

// id returns where an ID ends whose first word is text[i:end]: words with dashes between them,
// of which at least one has a digit and all are hexadecimal, such as those of a UUID or of an
// entry. It is end if that is none.
func id(text string, i, end int) int {
	if !isHex(text[i:end]) {
		return end
	}
	last, digit := end, hasDigit(text[i:end])
	for at := end; at+1 < len(text) && text[at] == '-' && isWordByte(text[at+1]); {
		next := at + 1
		for next < len(text) && isWordByte(text[next]) {
			next++
		}
		if !isHex(text[at+1 : next]) {
			break
		}
		digit = digit || hasDigit(text[at+1:next])
		at, last = next, next
	}
	if !digit {
		return end
	}
	return last
}

// shortened returns a word, or an ID of several words, with # in the place of its numbers.
func shortened(word string) string {
	switch {
	case !hasDigit(word):
		return word
	case isHex(strings.ReplaceAll(word, "-", "")), strings.HasPrefix(word, "0x"), strings.HasPrefix(word, "0X"):
		return "#"
	}
	var b strings.Builder
	for i := range len(word) {
		if !isDigit(word[i]) {
			b.WriteByte(word[i])
		} else if i == 0 || !isDigit(word[i-1]) {
			b.WriteByte('#')
		}
	}
	return b.String()
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLetterByte(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func isWordByte(c byte) bool { return isDigit(c) || isLetterByte(c) || c == '_' }

func inWord(text string, i int) bool { return i >= 0 && isWordByte(text[i]) }

func hasDigit(word string) bool { return strings.ContainsAny(word, "0123456789") }

func isHex(word string) bool { return strings.Trim(word, "0123456789abcdefABCDEF") == "" }

// isName reports whether a text is like the name of a field, and not like a value.
func isName(text string) bool {
	for i := range len(text) {
		if !isLetterByte(text[i]) && text[i] != '_' && text[i] != '.' {
			return false
		}
	}
	return text != "" && len(text) <= 64
}

// timeOf returns the time of an ID.
func timeOf(text string) time.Time {
	id, _ := offset.Parse(text)
	return time.UnixMilli(int64(id.Ms))
}
