package admin

import (
	"fmt"
	"strings"
	"time"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/admin/internal/letters"
)

// Where chooses dead letters. All that is set has to hold; the zero value chooses every letter
// of the topic. A letter whose entry came from another stream is never chosen.
type Where struct {
	// Cause is a text that the letter's cause contains, as it was written or as [Admin.Causes]
	// shows it.
	Cause string
	// Reader is the group or label that gave the entry up. Its Stream may be empty.
	Reader Reader
	// Since and Before limit the time of the letter, which is that of its ID. Since is
	// included, Before is not.
	Since, Before time.Time
	// OlderThan is the least age of the letter, by the server's clock. It takes the right
	// +time.
	OlderThan time.Duration
	// MinRedrives and MaxRedrives limit how often the letter was redriven; both are included.
	// A MaxRedrives of zero is no limit.
	MinRedrives, MaxRedrives int
	// IDs are those of letters, if not empty.
	IDs []string
	// DeadLetterStream is the key of the letters. Empty is [stream.DeadLetterStream] of the
	// topic, which is where consumers write them by default.
	DeadLetterStream string
}

// LettersOption says where dead letters are, for what takes no [Where].
type LettersOption func(*lettersQuery)

// lettersQuery is the sum of some options.
type lettersQuery struct{ stream string }

// FromDeadLetters names the stream of the letters, as [Where.DeadLetterStream] does. Default, and
// for an empty key: [stream.DeadLetterStream] of the topic.
func FromDeadLetters(key string) LettersOption { return func(q *lettersQuery) { q.stream = key } }

func lettersQueryOf(opts []LettersOption) (q lettersQuery) {
	for _, opt := range opts {
		if opt != nil {
			opt(&q)
		}
	}
	return q
}

// deadLetterStream returns the key of the letters of a topic.
func (w *Where) deadLetterStream(topic string) string {
	if w.DeadLetterStream != "" {
		return w.DeadLetterStream
	}
	return stream.DeadLetterStream(topic)
}

// problems returns everything that is wrong with it.
func (w *Where) problems(topic string) (list []error) {
	refuse := func(format string, args ...any) {
		list = append(list, fmt.Errorf("%w: "+format, append([]any{stream.ErrInvalidOption}, args...)...))
	}
	if strings.TrimSpace(topic) == "" {
		refuse("topic %q: give the key of the topic's stream", topic)
	} else if w.DeadLetterStream == topic {
		refuse("Where.DeadLetterStream %q is the topic itself; give the key of the dead letters", topic)
	}
	if w.Reader.Group != "" && w.Reader.Label != "" {
		refuse("Where.Reader has the group %q and the label %q; give one of them", w.Reader.Group, w.Reader.Label)
	}
	if w.Reader.Stream != "" && w.Reader.Stream != topic {
		refuse("Where.Reader is of %q, and the topic is %q; give one of the topic's", w.Reader.Stream, topic)
	}
	if !w.Since.IsZero() && !w.Before.IsZero() && !w.Since.Before(w.Before) {
		refuse("Where.Since %v is not before Where.Before %v; give an earlier one", w.Since, w.Before)
	}
	if w.OlderThan < 0 {
		refuse("Where.OlderThan %v is negative; give an age, or 0 for any", w.OlderThan)
	}
	if w.MinRedrives < 0 || w.MaxRedrives < 0 {
		refuse("Where.MinRedrives %d or MaxRedrives %d is negative; give a number, or 0 for no limit", w.MinRedrives, w.MaxRedrives)
	} else if w.MaxRedrives > 0 && w.MinRedrives > w.MaxRedrives {
		refuse("Where.MinRedrives %d is above Where.MaxRedrives %d; give a lower one", w.MinRedrives, w.MaxRedrives)
	}
	for _, id := range w.IDs {
		if _, err := offset.Parse(id); err != nil {
			list = append(list, fmt.Errorf("%w: Where.IDs: %w", stream.ErrInvalidOption, err))
		}
	}
	return list
}

// matches reports whether the letter is chosen, apart from its ID.
func (w *Where) matches(topic string, letter *letters.Letter) bool {
	switch {
	case letter.Origin != topic:
	case w.Reader.Group != "" && letter.Group != w.Reader.Group:
	case w.Reader.Label != "" && letter.Label != w.Reader.Label:
	case letter.Redrives < w.MinRedrives:
	case w.MaxRedrives > 0 && letter.Redrives > w.MaxRedrives:
	case w.Cause != "" && !strings.Contains(letter.Cause, w.Cause) && !strings.Contains(letters.Normalised(letter.Cause), w.Cause):
	default:
		return true
	}
	return false
}

// lookedAt returns the range of letters of which those that match are chosen.
func (w *Where) lookedAt() letters.Range {
	return letters.Range{Since: w.Since, Before: w.Before, OlderThan: w.OlderThan, IDs: w.IDs}
}
