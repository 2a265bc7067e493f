package stream

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Backoff says how long to wait before something is tried again: Min at first,
// twice as long each further time, never more than Max. Of each wait a random
// part of up to a half is left out, so that many consumers that failed
// together do not try again together. (The "equal jitter" of Brooker,
// "Exponential Backoff And Jitter", 2015.)
//
// A zero field means that field's default, which is said where a Backoff is
// taken.
type Backoff struct {
	Min, Max time.Duration
}

// Delay returns how long to wait after the given number of failures in a row;
// less than 1 counts as 1, and a Max below Min as Min. It is safe for concurrent
// use.
func (b Backoff) Delay(failures int64) time.Duration {
	delay := max(b.Min, 1)
	for ; failures > 1 && delay < b.Max; failures-- {
		delay *= 2
		if delay <= 0 { // overflow
			delay = b.Max
		}
	}
	delay = max(min(delay, b.Max), b.Min)
	return delay - rand.N(delay/2+1)
}

// Or returns b with the zero and negative fields taken from defaults.
func (b Backoff) Or(defaults Backoff) Backoff {
	if b.Min <= 0 {
		b.Min = defaults.Min
	}
	if b.Max <= 0 {
		b.Max = defaults.Max
	}
	b.Max = max(b.Min, b.Max)
	return b
}

func (b Backoff) String() string { return fmt.Sprintf("%v to %v", b.Min, b.Max) }
