package letters

import (
	"strconv"
	"strings"

	"millrace/stream"
	"millrace/stream/admin/internal/entries"
)

// HeaderEdited is the header of an entry whose fields were changed before it was redriven.
const HeaderEdited = stream.DeadLetterPrefix + "edited"

// Letter is a dead letter, as its stream has it.
type Letter struct {
	ID string
	// Pairs are the fields of the entry as it was published.
	Pairs []string
	// Origin is the stream that the entry came from, EntryID the ID that it had there, and
	// OriginID the one that it had when it was given up for the first time.
	Origin, EntryID, OriginID string
	// Group or Label gave the entry up.
	Group, Label string
	Attempts     int64
	Cause        string
	// Redrives is how often it was redriven, and EditedBy who has changed its fields last.
	Redrives int
	EditedBy string
	// Last is the value of the last field, the time, which tells letters of one ID apart.
	Last string
	// Size is that of its names and values, in bytes.
	Size int
}

// Planned is a letter of a plan: enough to know it again, and to make pages of.
type Planned struct {
	ID, Last string
	Size     int
}

// Planned returns the letter as one of a plan.
func (l *Letter) Planned() Planned { return Planned{l.ID, l.Last, l.Size} }

// Address returns the address of the reader that gave the entry up.
func (l *Letter) Address() string { return stream.Identity{Group: l.Group, Label: l.Label}.Address() }

// Undecodable reports whether the letter was given up before its handler had it.
func (l *Letter) Undecodable() bool { return strings.Contains(l.Cause, "cannot decode entry ") }

// names are those of the last six fields of a letter, in their order; the third one is either of
// two.
var names = [6]string{
	stream.DeadLetterOrigin, stream.DeadLetterID, stream.DeadLetterGroup,
	stream.DeadLetterAttempts, stream.DeadLetterCause, stream.DeadLetterTime,
}

// Of returns an entry of a stream of dead letters as a letter, and whether it is one.
func Of(entry entries.Entry) (Letter, bool) {
	letter, pairs := Letter{ID: entry.ID}, entry.Pairs
	own := len(pairs) - 2*len(names)
	if own < 0 {
		return letter, false
	}
	added := pairs[own:]
	for i, name := range names {
		if has := added[2*i]; has != name && (name != stream.DeadLetterGroup || has != stream.DeadLetterLabel) {
			return letter, false
		}
	}
	letter.Origin, letter.EntryID = added[1], added[3]
	if added[4] == stream.DeadLetterGroup {
		letter.Group = added[5]
	} else {
		letter.Label = added[5]
	}
	letter.Attempts, _ = strconv.ParseInt(added[7], 10, 64)
	letter.Cause, letter.Last = added[9], added[11]
	for _, text := range pairs {
		letter.Size += len(text)
	}
	letter.takeHeaders(pairs[:own:own])
	return letter, true
}

// takeHeaders takes the headers of a redriven entry from the end of the pairs, and keeps the
// rest as its fields. Only headers that stand as a redrive writes them count.
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
	l.Pairs = pairs
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

// Restored returns the pairs of the entry that the letter is redriven as: its fields, and the
// headers of a redriven entry. redrive.lua does the same on the server. address names the
// reader of the entry; an empty one leaves the header out.
func (l *Letter) Restored(address string) []string {
	pairs := make([]string, 0, len(l.Pairs)+8)
	pairs = append(pairs, l.Pairs...)
	if l.EditedBy != "" {
		pairs = append(pairs, HeaderEdited, l.EditedBy)
	}
	if address != "" {
		pairs = append(pairs, stream.HeaderFor, address)
	}
	return append(pairs, stream.HeaderOriginID, l.OriginID, stream.HeaderRedrives, strconv.Itoa(l.Redrives+1))
}
