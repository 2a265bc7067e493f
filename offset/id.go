package offset

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// ID is the ID of a stream entry in numbers, for comparing. The zero value is
// 0-0, which lies before every entry. IDs are plain values: safe for concurrent
// use, comparable with ==, usable as map keys.
type ID struct {
	Ms  uint64 // Unix time in milliseconds, by the clock that made the ID
	Seq uint64 // position among the entries of that millisecond
}

// Parse reads an entry ID in the one form in which Redis returns it: "<ms>-<seq>",
// two decimal numbers that fit 64 bits, without sign, space or leading zero.
// Everything else is an error, the short forms and the special IDs that Redis
// takes in commands ("5", "$", "+") included: they name no entry.
func Parse(s string) (ID, error) {
	id, err := parse(s)
	if err != nil {
		return ID{}, fmt.Errorf("offset: %w", err)
	}
	return id, nil
}

// parse is Parse without the prefix, for errors that say more around it.
func parse(s string) (ID, error) {
	ms, seq, _ := strings.Cut(s, "-")
	msValue, msOK := parsePart(ms)
	seqValue, seqOK := parsePart(seq)
	if !msOK || !seqOK {
		return ID{}, fmt.Errorf("%s is not an entry ID: write <ms>-<seq>, two decimal numbers below 2^64 without sign, space or leading zero", quoteStart(s))
	}
	return ID{Ms: msValue, Seq: seqValue}, nil
}

func parsePart(s string) (uint64, bool) {
	if len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	// In base 10, ParseUint takes nothing but digits: no sign, no underscore.
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

// quoteStart keeps error texts short when a whole document was stored or passed in
// place of an ID or a label.
func quoteStart(s string) string {
	const longestID = 41
	if len(s) <= longestID {
		return strconv.Quote(s)
	}
	return fmt.Sprintf("%.*q...", longestID, s)
}

// String returns the ID as Redis writes it, "<ms>-<seq>". [Parse] reads it back.
func (id ID) String() string {
	return strconv.FormatUint(id.Ms, 10) + "-" + strconv.FormatUint(id.Seq, 10)
}

// Compare returns -1 if id comes before other in a stream, 0 if they are the
// same, and +1 if it comes after. The texts of two IDs must not be compared
// instead: "9-0" comes before "10-0".
func (id ID) Compare(other ID) int {
	return cmp.Or(cmp.Compare(id.Ms, other.Ms), cmp.Compare(id.Seq, other.Seq))
}
