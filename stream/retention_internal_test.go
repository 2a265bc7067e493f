package stream

import (
	"errors"
	"math/bits"
	"testing"
	"time"

	"millrace/stream/internal/publish"
)

const (
	givenMaxLen = 1 << iota
	givenExactMaxLen
	givenMinIDAge
)

// FuzzRetention holds the options to the rules that their documentation gives.
func FuzzRetention(f *testing.F) {
	f.Add(byte(0), int64(0), int64(0))
	f.Add(byte(givenMaxLen), int64(1), int64(0))
	f.Add(byte(givenExactMaxLen), int64(-1), int64(0))
	f.Add(byte(givenMinIDAge), int64(0), int64(time.Hour+1))
	f.Add(byte(givenMinIDAge), int64(0), int64(time.Hour))
	f.Add(byte(givenMinIDAge), int64(0), int64(1))
	f.Add(byte(givenMaxLen|givenMinIDAge), int64(5), int64(time.Hour))
	f.Fuzz(func(t *testing.T, given byte, n, age int64) {
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
		var want publish.Retention
		switch given {
		case givenMaxLen:
			want.MaxLen = n
		case givenExactMaxLen:
			want.ExactMaxLen = n
		case givenMinIDAge:
			want.MinIDAge = time.Duration(age)
		}
		if got := config.retention.rule(); got != want {
			t.Errorf("the rule is %+v, want %+v", got, want)
		}
	})
}
