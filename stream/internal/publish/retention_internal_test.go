package publish

import (
	"math/big"
	"reflect"
	"testing"
	"time"
)

const (
	givenMaxLen = 1 << iota
	givenExactMaxLen
	givenMinIDAge
)

// FuzzRetention holds the arguments that XADD gets to plain arithmetic on numbers without
// an end.
func FuzzRetention(f *testing.F) {
	f.Add(byte(0), int64(0), int64(0), int64(0))
	f.Add(byte(givenMaxLen), int64(1), int64(0), int64(0))
	f.Add(byte(givenExactMaxLen), int64(5), int64(0), int64(0))
	f.Add(byte(givenMinIDAge), int64(0), int64(time.Hour+1), int64(1_700_000_000_000_000_000))
	f.Add(byte(givenMinIDAge), int64(0), int64(time.Hour), int64(5))
	f.Fuzz(func(t *testing.T, given byte, n, age, unixNano int64) {
		n, age = max(n, 1), max(age, int64(time.Millisecond)) // package stream refuses less
		var rule Retention
		var want []any
		switch given {
		case givenMaxLen:
			rule.MaxLen, want = n, []any{"maxlen", "~", n}
		case givenExactMaxLen:
			rule.ExactMaxLen, want = n, []any{"maxlen", "=", n}
		case givenMinIDAge:
			rule.MinIDAge, want = time.Duration(age), []any{"minid", "~", firstKept(age, unixNano)}
		}
		if got := rule.appendArgs(nil, time.Unix(0, unixNano)); !reflect.DeepEqual(got, want) {
			t.Errorf("XADD gets %v, want %v", got, want)
		}
	})
}

// firstKept is the millisecond in which an entry turns older than age, so that all
// before it are, or the first that an ID can have.
func firstKept(age, unixNano int64) int64 {
	ms := new(big.Int).Sub(big.NewInt(unixNano), big.NewInt(age))
	ms.Div(ms, big.NewInt(int64(time.Millisecond))) // rounds down, below zero too
	return max(0, ms.Int64())
}
