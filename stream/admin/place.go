package admin

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"millrace/offset"
)

// Place is a place in a stream: an entry, a time, the beginning or the end. The zero value is
// the beginning. A Place is a plain value, safe for concurrent use.
type Place struct {
	kind placeKind
	id   offset.ID
	time time.Time
}

type placeKind int

const (
	placeBegin placeKind = iota
	placeEnd
	placeID
	placeTime
)

// Begin returns the beginning of a stream.
func Begin() Place { return Place{} }

// End returns the end of a stream, as it is when the place is used.
func End() Place { return Place{kind: placeEnd} }

// AtID returns the place of an entry, which need not exist. A reader that is set to it goes on
// behind it.
func AtID(id offset.ID) Place { return Place{kind: placeID, id: id} }

// AtTime returns the place of a time: the first entry that Redis gave an ID at or after it, in
// whole milliseconds by the clock of the server.
func AtTime(t time.Time) Place { return Place{kind: placeTime, time: t} }

// String returns the place in a form that [ParsePlace] reads.
func (p Place) String() string {
	switch p.kind {
	case placeEnd:
		return "end"
	case placeID:
		return p.id.String()
	case placeTime:
		return p.time.Format(time.RFC3339Nano)
	default:
		return "begin"
	}
}

// behind returns the ID behind which a reader goes on at the place, given the last ID that the
// stream has given.
func (p Place) behind(generated offset.ID) offset.ID {
	switch p.kind {
	case placeEnd:
		return generated
	case placeID:
		return p.id
	case placeTime:
		if ms := p.time.UnixMilli(); ms > 0 {
			return offset.ID{Ms: uint64(ms - 1), Seq: math.MaxUint64}
		}
	}
	return offset.ID{}
}

// from and to are the place as the first and as the last ID of a range, both inclusive.
func (p Place) from() string {
	switch p.kind {
	case placeEnd:
		return "+"
	case placeID:
		return p.id.String()
	case placeTime:
		return strconv.FormatInt(max(0, p.time.UnixMilli()), 10) + "-0"
	default:
		return "-"
	}
}

func (p Place) to() string {
	switch p.kind {
	case placeEnd:
		return "+"
	case placeID:
		return p.id.String()
	case placeTime:
		return strconv.FormatInt(max(0, p.time.UnixMilli()), 10) // stands for its last one
	default:
		return "-"
	}
}

// placeForms are the forms that ParsePlace reads, for its error.
const placeForms = `write an entry ID such as 1795827996968-0, a time such as "2026-11-28 10:00" or 2026-11-28T10:00:00Z, an age such as 15m or 7d, or begin or end`

// ErrNoPlace comes from [ParsePlace] for a text that is none of the forms that it reads, and
// for a time in the future.
var ErrNoPlace = errors.New("admin: that is no place in a stream")

// ParsePlace reads a place as people write it: "begin", "end", an entry ID with or without its
// sequence number, a time in RFC 3339, or "2026-11-28 10:00", with seconds or without a time of
// day too, in the time zone of now, or an age such as "15m" or "7d", which is so long before now.
// Anything else, and a time after now, is an error that wraps [ErrNoPlace].
func ParsePlace(text string, now time.Time) (Place, error) {
	text = strings.TrimSpace(text)
	switch text {
	case "begin":
		return Begin(), nil
	case "end":
		return End(), nil
	}
	if id, err := offset.Parse(text); err == nil {
		return AtID(id), nil
	}
	t, ok := parseTime(text, now)
	if !ok {
		return Place{}, fmt.Errorf("%w: %.60q; %s", ErrNoPlace, text, placeForms)
	}
	if t.After(now) {
		return Place{}, fmt.Errorf("%w: %.60q is in the future; give a time that is over, or end", ErrNoPlace, text)
	}
	return AtTime(t), nil
}

func parseTime(text string, now time.Time) (t time.Time, ok bool) {
	if age, ok := parseAge(text); ok {
		return now.Add(-age), true
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, true
	}
	for _, form := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(form, text, now.Location()); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// parseAge reads a duration, with days too.
func parseAge(text string) (age time.Duration, ok bool) {
	if days, isDays := strings.CutSuffix(text, "d"); isDays {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err == nil
	}
	age, err := time.ParseDuration(text)
	return age, err == nil
}

// TimeOf returns the time that the ID of an entry has in it, zero for a text that is no ID.
// Where publishers chose the ID it means nothing.
func TimeOf(id string) time.Time {
	parsed, err := offset.Parse(id)
	if err != nil || parsed.Ms > math.MaxInt64 {
		return time.Time{}
	}
	return time.UnixMilli(int64(parsed.Ms))
}
