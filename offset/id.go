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

// Parse reads an entry ID in each form in which Redis takes one: "<ms>-<seq>", two
// decimal numbers that fit 64 bits, perhaps with leading zeros, in at most 127 bytes; or
// "<ms>", which stands for "<ms>-0". [ID.String] writes the one form in which Redis
// returns it. Everything else is an error, signs, spaces and the special IDs that Redis
// takes in commands ("$", "+", ">") included: they name no entry.
func Parse(s string) (ID, error) {
	id, err := parse(s)
	if err != nil {
		return ID{}, fmt.Errorf("offset: %w", err)
	}
	return id, nil
}

// parse is Parse without the prefix, for errors that say more around it.
func parse(s string) (ID, error) {
	ms, seq, both := strings.Cut(s, "-")
	if !both {
		seq = "0"
	}
	// In base 10, ParseUint takes nothing but digits: no sign, no underscore.
	msValue, msErr := strconv.ParseUint(ms, 10, 64)
	seqValue, seqErr := strconv.ParseUint(seq, 10, 64)
	if msErr != nil || seqErr != nil || len(s) > longestText {
		return ID{}, fmt.Errorf("%s is not an entry ID: write <ms>-<seq>, two decimal numbers below 2^64 without sign or space", quoteStart(s))
	}
	return ID{Ms: msValue, Seq: seqValue}, nil
}

// longestText is how long an ID may be that Redis takes, leading zeros included.
const longestText = 127

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
