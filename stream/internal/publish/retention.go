package publish

import (
	"strconv"
	"time"
)

// Retention says which old entries are dropped when one is added. At most one rule is
// given; zero is not given.
type Retention struct {
	MaxLen      int64 // about so many remain
	ExactMaxLen int64 // so many remain
	MinIDAge    time.Duration
}

// appendArgs adds the arguments of XADD that trim the stream.
func (r Retention) appendArgs(args []any, now time.Time) []any {
	switch {
	case r.MaxLen != 0:
		return append(args, "maxlen", "~", r.MaxLen)
	case r.ExactMaxLen != 0:
		return append(args, "maxlen", "=", r.ExactMaxLen)
	case r.MinIDAge != 0:
		return append(args, "minid", "~", max(0, now.Add(-r.MinIDAge).UnixMilli()))
	}
	return args
}

// AppendTexts is appendArgs for arguments that are texts.
func (r Retention) AppendTexts(args []string, now time.Time) []string {
	switch {
	case r.MaxLen != 0:
		return append(args, "maxlen", "~", strconv.FormatInt(r.MaxLen, 10))
	case r.ExactMaxLen != 0:
		return append(args, "maxlen", "=", strconv.FormatInt(r.ExactMaxLen, 10))
	case r.MinIDAge != 0:
		return append(args, "minid", "~", strconv.FormatInt(max(0, now.Add(-r.MinIDAge).UnixMilli()), 10))
	}
	return args
}
