package codec

import (
	"errors"
	"strconv"
	"time"
)

// Unix is a [time.Time] whose text and JSON are Unix seconds, a decimal integer.
// It decodes to UTC. What is finer than a second is lost when it is encoded.
type Unix struct{ time.Time }

// UnixMilli is a [time.Time] whose text and JSON are Unix milliseconds, a
// decimal integer. It decodes to UTC. What is finer than a millisecond is lost
// when it is encoded.
type UnixMilli struct{ time.Time }

var (
	errUnix      = errors.New("not a decimal integer of Unix seconds")
	errUnixMilli = errors.New("not a decimal integer of Unix milliseconds")
)

// MarshalText returns the Unix seconds in decimal.
func (u Unix) MarshalText() ([]byte, error) {
	return strconv.AppendInt(nil, u.Unix(), 10), nil
}

// UnmarshalText sets u from Unix seconds in decimal. Its error does not contain
// the text.
func (u *Unix) UnmarshalText(text []byte) error {
	t, ok := parseUnix(string(text))
	if !ok {
		return errUnix
	}
	u.Time = t
	return nil
}

// MarshalJSON returns the Unix seconds as a JSON number. Without it the embedded
// time would speak, and a Unix in JSON would be RFC 3339.
func (u Unix) MarshalJSON() ([]byte, error) { return u.MarshalText() }

// UnmarshalJSON sets u from a JSON number of Unix seconds. Its error does not
// contain the number.
func (u *Unix) UnmarshalJSON(data []byte) error { return u.UnmarshalText(data) }

// MarshalText returns the Unix milliseconds in decimal.
func (u UnixMilli) MarshalText() ([]byte, error) {
	return strconv.AppendInt(nil, u.UnixMilli(), 10), nil
}

// UnmarshalText sets u from Unix milliseconds in decimal. Its error does not
// contain the text.
func (u *UnixMilli) UnmarshalText(text []byte) error {
	t, ok := parseUnixMilli(string(text))
	if !ok {
		return errUnixMilli
	}
	u.Time = t
	return nil
}

// MarshalJSON returns the Unix milliseconds as a JSON number. Without it the
// embedded time would speak, and a UnixMilli in JSON would be RFC 3339.
func (u UnixMilli) MarshalJSON() ([]byte, error) { return u.MarshalText() }

// UnmarshalJSON sets u from a JSON number of Unix milliseconds. Its error does
// not contain the number.
func (u *UnixMilli) UnmarshalJSON(data []byte) error { return u.UnmarshalText(data) }

func parseUnixMilli(text string) (time.Time, bool) {
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	return time.UnixMilli(ms).UTC(), true
}

func parseUnix(text string) (time.Time, bool) {
	s, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	return time.Unix(s, 0).UTC(), true
}
