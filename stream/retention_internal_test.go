package stream

import (
	"errors"
	"math/big"
	"math/bits"
	"reflect"
	"testing"
	"time"
)

const (
	givenMaxLen = 1 << iota
	givenExactMaxLen
	givenMinIDAge
)

// FuzzRetention holds what the options take, and what XADD gets of it, to plain
// arithmetic on numbers without an end.
func FuzzRetention(f *testing.F) {
	f.Add(byte(0), int64(0), int64(0), int64(0))
	f.Add(byte(givenMaxLen), int64(1), int64(0), int64(0))
	f.Add(byte(givenExactMaxLen), int64(-1), int64(0), int64(0))
	f.Add(byte(givenMinIDAge), int64(0), int64(time.Hour+1), int64(1_700_000_000_000_000_000))
	f.Add(byte(givenMinIDAge), int64(0), int64(time.Hour), int64(5))
	f.Add(byte(givenMinIDAge), int64(0), int64(1), int64(5))
	f.Add(byte(givenMaxLen|givenMinIDAge), int64(5), int64(time.Hour), int64(0))
	f.Fuzz(func(t *testing.T, given byte, n, age, unixNano int64) {
		given &= givenMaxLen | givenExactMaxLen | givenMinIDAge
		var opts []ProducerOption
		if given&givenMaxLen != 0 {
			opts = append(opts, WithMaxLen(n))
		}
		if given&givenExactMaxLen != 0 {
			opts = append(opts, WithExactMaxLen(n))
		}
		if given&givenMinIDAge != 0 {
			opts = append(opts, WithMinIDAge(time.Duration(age)))
		}
		config := newProducerConfig(opts)
		err := config.validate()
		valid := bits.OnesCount8(given) < 2 && (given&(givenMaxLen|givenExactMaxLen) == 0 || n > 0) &&
			(given&givenMinIDAge == 0 || age >= int64(time.Millisecond))
		if (err == nil) != valid || err != nil && !errors.Is(err, ErrInvalidOption) {
			t.Fatalf("valid: %t, but: %v", valid, err)
		}
		if err != nil {
			return
		}
		var want []any
		switch given {
		case givenMaxLen:
			want = []any{"maxlen", "~", n}
		case givenExactMaxLen:
			want = []any{"maxlen", "=", n}
		case givenMinIDAge:
			want = []any{"minid", "~", firstKept(age, unixNano)}
		}
		if got := config.retention.appendArgs(nil, time.Unix(0, unixNano)); !reflect.DeepEqual(got, want) {
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
